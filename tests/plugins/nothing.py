"""A loose plug-in file that registers something which is neither a method nor a task."""

from alignboard import register


@register("nothing")
class Nothing:
    pass
