"""Whether results were made from the same data.

A run's card records a fingerprint of every cell of the source that its stages read, such as `xnli/de/test`, or
`parallel/de`. Results of one cell may be combined only if it was the same.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from harness.files import text_digest

_LENGTH = 12  # digits of a fingerprint in a card, hashed again, since a source may give any text


def shorten_fingerprints(cells: Mapping[str, str]) -> dict[str, str]:
    """Cells with fingerprints as a card records them."""
    return {cell: text_digest(fingerprint)[:_LENGTH] for cell, fingerprint in sorted(cells.items())}


def data_cells(run: Mapping[str, Any]) -> Mapping[str, str]:
    """The recorded cells of a run. One without a record has a single cell, "", for all its data."""
    cells: Mapping[str, str] = (run["card"] or {}).get("data") or {}
    return cells or ({"": run["data_fingerprint"]} if run["data_fingerprint"] else {})


def differing_cells(cells: Iterable[Mapping[str, str]]) -> dict[str, int]:
    """The cells that are not the same for all who have them, each with the number of its versions."""
    versions: dict[str, set[str]] = {}
    for own in cells:
        for cell, fingerprint in own.items():
            versions.setdefault(cell, set()).add(fingerprint)
    return {cell: len(found) for cell, found in sorted(versions.items()) if len(found) > 1}


def cells_of_test_items(data: Mapping[str, str], task: str, views: Collection[str] | None = None) -> dict[str, str]:
    """The cells of a task's test items, in all views or in some, in order; the one cell of a run without a record."""
    parts = {cell: cell.split("/") for cell in sorted(data)}
    kept = {cell for cell, part in parts.items() if _is_test(part, task) and (views is None or part[1] in views)}
    return {cell: data[cell] for cell in parts if not cell or cell in kept}


def differing_views(first: Mapping[str, str], second: Mapping[str, str], task: str) -> set[str] | None:
    """The views of a task whose test items differ between two sets of cells; None means all views."""
    differing = differing_cells([first, second])
    if "" in differing:
        return None
    parts = (cell.split("/") for cell in differing)
    return {part[1] for part in parts if _is_test(part, task)}


def _is_test(parts: list[str], task: str) -> bool:
    return len(parts) == 3 and (parts[0], parts[2]) == (task, "test")
