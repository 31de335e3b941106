"""What a task's protocol may vary or has to choose, and suites: lists of tasks that one table shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from harness.errors import unique_names


class Shape(NamedTuple):
    """What of a base encoder decides its settings: its type, as in its configuration, and its number of layers."""

    model_type: str
    depth: int


@dataclass(frozen=True)
class Variant:
    """What a protocol changes for one kind of base: of these types (none: of any), with so many layers."""

    name: str
    changes: Mapping[str, Any]
    model_types: tuple[str, ...] = ()
    depths: tuple[int, int] = (1, 10**6)  # the fewest and the most layers

    def fits(self, shape: Shape) -> bool:
        least, most = self.depths
        return shape.model_type in (self.model_types or (shape.model_type,)) and least <= shape.depth <= most


class Choice(NamedTuple):
    """What is done here where the official code is broken, or differs from its paper or from itself over time.

    `name` is a setting of the task, or a name for what no setting changes.
    """

    name: str
    here: str
    official: str


@dataclass(frozen=True)
class Suite:
    """A named list of tasks that one table shows; a task's languages are its own official list."""

    name: str
    title: str
    tasks: tuple[str, ...]
    description: str

    def __post_init__(self) -> None:  # a task that is listed twice would count twice in the average
        object.__setattr__(self, "tasks", tuple(unique_names("task", self.tasks)))
