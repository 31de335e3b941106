"""Checks every item that a run reads, training sets included, before anything is trained.

Reading finds what no reader accepts, such as a line over the limit; the task's family finds the rest (see
`Task.gold_faults`). What was checked is remembered by the fingerprints of data and code, so that a later plan on the
same data reads nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from harness.code import code_hash, plugin_module
from harness.data.source import Source, TaskCell
from harness.faults import DiskError
from harness.files import json_digest, write_json
from harness.modeling.array_cache import Progress
from harness.registry import TASKS
from harness.storage.home import artifacts_root
from harness.task import Task, TaskSpec

CHECKED = "checked"  # the folder of what was checked, beside the artifacts
STEP = 1024  # items between two steps of progress


def check_items(source: Source, cells: Mapping[TaskCell, TaskSpec], modules: Sequence[str]) -> None:
    """Raises UserError for the first fault of the items in `cells`; `modules` are those that read the source.

    A source of generated data is not read.
    """
    if source.generated:
        return
    folder = artifacts_root() / CHECKED
    code = {spec.name: code_hash(__name__, *modules, plugin_module(TASKS.get(spec.name))) for spec in cells.values()}
    marks = {cell: folder / json_digest([source.kind, *_key(cell), code[cell.task]])[:40] for cell in cells}
    unchecked = [cell for cell, mark in marks.items() if not mark.exists()]
    progress = Progress("checking the data", "items", sum(cell.count for cell in unchecked))
    done = 0
    for cell in unchecked:
        task: Task = TASKS.get(cell.task)()
        items = source.items(cells[cell], cell.view, cell.split)
        counted = _counted(items, progress, done)
        for item, fault in task.gold_faults(counted, cell.split):
            file, line = source.place(cells[cell], cell.view, cell.split, item)
            raise fault.error(f"in the {cell.split} set of {cell.task} in {cell.view!r}", file, line)
        done += cell.count
        with suppress(OSError, DiskError):  # what cannot be remembered is checked again
            write_json(marks[cell], _key(cell))


def _key(cell: TaskCell) -> list[str]:
    return [cell.task, cell.view, cell.split, cell.fingerprint]


def _counted(items: Iterable[Any], progress: Progress, done: int) -> Iterator[Any]:
    for number, item in enumerate(items, start=1):
        yield item
        if number % STEP == 0:
            progress.advance(STEP, done + number)
