"""Test items that also occur in a run's alignment text, as its row records them (see `harness.data.overlap`)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

LIMIT = 0.01  # the share of a test set above which figures are marked


class ContaminatedSet(NamedTuple):
    """A test set of which more than `LIMIT` occurs in the alignment text."""

    share: float
    task: str
    view: str


def overlap_counts(
    alignment: Mapping[str, Any], task: str | None = None, views: Collection[str] | None = None
) -> dict[str, Any] | None:
    """The number of items in a task's views, of exact and near duplicates among them, and their share.

    `task` or `views` None means all. Returns None if nothing was measured: the run was not aligned, or is too old.
    """
    cells = list(_cells(alignment, task, views))
    if not cells:
        return None
    sums = {name: sum(cell[name] for cell in cells) for name in ("items", "exact", "near")}
    return {**sums, "share": (sums["exact"] + sums["near"]) / max(1, sums["items"])}


def contaminated_sets(
    alignment: Mapping[str, Any], task: str | None = None, views: Collection[str] | None = None
) -> list[ContaminatedSet]:
    """The test sets above the limit among a task's views, the largest share first."""
    sets = (
        ContaminatedSet((cell["exact"] + cell["near"]) / max(1, cell["items"]), cell["task"], cell["view"])
        for cell in _cells(alignment, task, views)
    )
    return sorted((one for one in sets if one.share > LIMIT), key=lambda one: (-one.share, one.task, one.view))


def _cells(
    alignment: Mapping[str, Any], task: str | None, views: Collection[str] | None
) -> Iterator[Mapping[str, Any]]:
    for cell in alignment.get("overlap", ()):
        if task in (None, cell["task"]) and (views is None or cell["view"] in views):
            yield cell
