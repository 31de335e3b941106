"""Which sentence pairs of alignment text duplicate a test text. Only the texts of test sets are read, never labels."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from harness.data.contamination import Guard
from harness.data.record_table import select_rows
from harness.data.source import Source
from harness.files import short_digest
from harness.records import ParallelPair, Record, SamplePair
from harness.registry import TASKS
from harness.task import Task

TestViews = Mapping[str, Sequence[str]]  # the views of each task whose test sets are compared
Pair = SamplePair | ParallelPair


def without_test_text(pairs: Sequence[ParallelPair], source: Source, tests: TestViews) -> Sequence[ParallelPair]:
    """The sentence pairs neither side of which duplicates a test text."""
    flagged = _flagged_texts(pairs, Guard(_test_records(source, tests), source.pivot), source.pivot)
    clean = (row for row, pair in enumerate(pairs) if not _touches(pair, flagged, source.pivot))
    return select_rows(pairs, np.fromiter(clean, np.int32))


def find_overlap(pairs: Sequence[SamplePair], source: Source, tests: TestViews) -> dict[str, Any]:
    """What a run's row records of its alignment data.

    The pivot, the languages, the number of distinct sentence pairs (`pairs`) and of those that duplicate a test text
    (`touching`), and for each test set the items that were touched (`overlap`).
    """
    guard = Guard(_test_records(source, tests), source.pivot)
    flagged = _flagged_texts(pairs, guard, source.pivot)
    distinct, touching, languages = set(), set(), set()
    for pair in pairs:
        digest = short_digest(f"{pair.language}\0{pair.source}\0{pair.target}")
        distinct.add(digest)
        languages.add(pair.language)
        if _touches(pair, flagged, source.pivot):
            touching.add(digest)
    return {
        "pivot": source.pivot,
        "languages": sorted(languages),
        "pairs": len(distinct),
        "touching": len(touching),
        "overlap": [overlap._asdict() for overlap in guard.overlaps()],
    }


def _test_records(source: Source, tests: TestViews) -> Iterator[tuple[Task, str, Sequence[Record]]]:
    for name, views in tests.items():
        task: Task = TASKS.get(name)()
        yield from ((task, view, source.task(task.spec, view, "test")) for view in views)


def _flagged_texts(pairs: Sequence[Pair], guard: Guard, pivot: str) -> dict[str, set[str]]:
    """The texts of each language that duplicate a test text. Memory holds digests of the others."""
    rows: dict[str, array[int]] = {}
    for row, pair in enumerate(pairs):
        rows.setdefault(pair.language, array("i")).append(row)
    texts = {pivot: _distinct_texts(pair.source for pair in pairs)}
    for language, own in rows.items():
        texts[language] = _distinct_texts(pairs[row].target for row in own)
    return guard.judge(texts)


def _distinct_texts(texts: Iterable[str]) -> Iterator[str]:
    seen: set[bytes] = set()
    for text in texts:
        if (digest := short_digest(text)) not in seen:
            seen.add(digest)
            yield text


def _touches(pair: Pair, flagged: Mapping[str, set[str]], pivot: str) -> bool:
    return pair.source in flagged[pivot] or pair.target in flagged[pair.language]
