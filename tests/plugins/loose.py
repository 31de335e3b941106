"""A loose plug-in file: a method that is found with `--plugin` alone."""

from alignboard import Method, register


@register("loose-method")
class LooseMethod(Method):
    """Trains nothing."""

    objective = "none"
    trains = False
