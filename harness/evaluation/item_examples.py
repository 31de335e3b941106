"""Items of a test set as people read them: text, gold and prediction, for the board's comparison of two methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from harness.task import Example, Task

MOST = 300  # items kept of each view: the first ones, which views of parallel items share
LONGEST = 2000  # characters kept of a text


def examples(task: Task, final: Sequence[Any], records: Sequence[Any]) -> list[Example]:
    """The first items of a view with their predictions. `final` is what `Task.decide` returned."""
    shown = islice(task.show(final, records), MOST)
    return [Example(one.item, *(text[:LONGEST] for text in one[1:])) for one in shown]


def table(by_view: Mapping[tuple[str, str], Sequence[Example]]) -> dict[str, list[str]]:
    """Examples by (selection, view) as columns."""
    rows = [(selection, view, *one) for (selection, view), listed in by_view.items() for one in listed]
    names = ("selection", "view", *Example._fields)
    return {name: [row[at] for row in rows] for at, name in enumerate(names)}
