"""Which sentence pairs of alignment text duplicate a test text. Only the texts of test sets are read, never labels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from harness.data.contamination import Guard
from harness.data.source import Source
from harness.method import SamplePair
from harness.records import ParallelPair, Record
from harness.registry import TASKS
from harness.task import Task

TestViews = Mapping[str, Sequence[str]]  # the views of each task whose test sets are compared
Pair = SamplePair | ParallelPair


def without_test_text(pairs: Sequence[ParallelPair], source: Source, tests: TestViews) -> list[ParallelPair]:
    """The sentence pairs neither side of which duplicates a test text."""
    flagged = _flagged_texts(pairs, Guard(_test_records(source, tests), source.pivot), source.pivot)
    return [pair for pair in pairs if not _touches(pair, flagged, source.pivot)]


def find_overlap(pairs: Sequence[SamplePair], source: Source, tests: TestViews) -> dict[str, Any]:
    """What a run's row records of its alignment data.

    The pivot, the languages, the number of distinct sentence pairs (`pairs`) and of those that duplicate a test text
    (`touching`), and for each test set the items that were touched (`overlap`).
    """
    guard = Guard(_test_records(source, tests), source.pivot)
    flagged = _flagged_texts(pairs, guard, source.pivot)
    distinct = {(pair.language, pair.source, pair.target): pair for pair in pairs}.values()
    return {
        "pivot": source.pivot,
        "languages": sorted({pair.language for pair in pairs}),
        "pairs": len(distinct),
        "touching": sum(_touches(pair, flagged, source.pivot) for pair in distinct),
        "overlap": [overlap._asdict() for overlap in guard.overlaps()],
    }


def _test_records(source: Source, tests: TestViews) -> Iterator[tuple[Task, str, Sequence[Record]]]:
    for name, views in tests.items():
        task: Task = TASKS.get(name)()
        yield from ((task, view, source.task(task.spec, view, "test")) for view in views)


def _flagged_texts(pairs: Iterable[Pair], guard: Guard, pivot: str) -> dict[str, set[str]]:
    texts: dict[str, dict[str, None]] = {}
    for pair in pairs:
        texts.setdefault(pivot, {})[pair.source] = None
        texts.setdefault(pair.language, {})[pair.target] = None
    return guard.judge(texts)


def _touches(pair: Pair, flagged: Mapping[str, set[str]], pivot: str) -> bool:
    return pair.source in flagged[pivot] or pair.target in flagged[pair.language]
