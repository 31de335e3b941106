"""Settings that are the number of a layer of the base."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, get_type_hints

from pydantic import BaseModel

from harness.errors import UsageError


@dataclass(frozen=True)
class LayerOf:
    """Marks a setting as the number of a layer of the base, `Annotated[int, LayerOf(1)]`.

    0 is the embeddings, -1 the last layer, and `lowest` the first layer that the method can use.
    """

    lowest: int = 0


_marks: dict[type[Any], dict[str, int]] = {}  # what was read of a class


def layer_marks(settings: type[Any]) -> dict[str, int]:
    """The fields of a record of settings that number a layer, each with the lowest layer that it can be."""
    if settings in _marks:
        return _marks[settings]
    if issubclass(settings, BaseModel):
        found: dict[str, Any] = {name: field.metadata for name, field in settings.model_fields.items()}
    else:
        hints = get_type_hints(settings, include_extras=True)
        found = {field.name: getattr(hints[field.name], "__metadata__", ()) for field in fields(settings)}
    marked = {name: [mark.lowest for mark in marks if isinstance(mark, LayerOf)] for name, marks in found.items()}
    _marks[settings] = {name: max(lowest) for name, lowest in marked.items() if lowest}
    return _marks[settings]


def check_layers(settings: Mapping[str, Any], lowest: Mapping[str, int], depth: int, where: str = "config") -> None:
    """Raises UsageError where a setting in `lowest` is not a layer of a base with `depth` layers.

    `settings` are those of a method or of a task, `lowest` their `layer_marks`, `where` their place in the recipe.
    """
    for name, least in lowest.items():
        number = settings[name]
        resolved = number if number is None or number >= 0 else depth + 1 + number
        if resolved is not None and not least <= resolved <= depth:
            raise UsageError(
                f"{where}.{name} is no layer that can be taken from this base",
                found=f"{name}={number}, a base of {depth} layers",
                expected=f"{least} to {depth}, or {least - depth - 1} to -1 counted from the last",
                remedy=f"choose another layer, --set {where}.{name}=N",
            )
