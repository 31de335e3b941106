"""The contamination guard's stages: alignment text is judged against the suite's test sets before anything trains.

The stage `overlap` judges the sample that is trained on, and its findings go into the run's row. Where the recipe says
`contamination: remove`, the sample is drawn from a pool without the pairs that duplicate a test text. Of the test sets
only the texts are read here, never the labels.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from harness.data.contamination import Guard
from harness.data.sample import Sample, SampleSettings, draw_sample
from harness.data.source import Source
from harness.method import SamplePair
from harness.provenance import source_hash
from harness.records import Corpus, ParallelPair, Record
from harness.registry import TASKS
from harness.task import Task

if TYPE_CHECKING:
    from harness.experiments.plan import Stage

Contamination = Literal["report", "remove"]
OVERLAP = "overlap.json"
_CODE = ("harness.data.contamination", "harness.experiments.guard", "harness.records")
Pair = SamplePair | ParallelPair


class Tests(NamedTuple):
    """The test sets of a run: the views of each task, and the fingerprints of their cells."""

    views: Mapping[str, Sequence[str]]
    data: Mapping[str, str]


def guarded(sample: Stage, tests: Tests, contamination: Contamination) -> tuple[Stage, Stage]:
    """The sample's stage, drawn without what stands in the test sets where that is asked for, and the stage that judges
    it. A sample whose overlap is only reported has the fingerprint that it always had."""
    params: dict[str, Any] = {"tests": {task: list(views) for task, views in tests.views.items()}}
    if contamination == "remove":
        code = source_hash(("harness.data.sample", "harness.data.matching", *_CODE))
        both = {**sample.data, **tests.data}
        sample = replace(sample, params={**sample.params, **params}, data=both, code=code)
    inputs = {"sample": sample.fingerprint}
    return sample, replace(
        sample, kind="overlap", params=params, inputs=inputs, data=dict(tests.data), code=source_hash(_CODE)
    )


def draw(source: Source, params: Mapping[str, Any]) -> Sample:
    """The sample of a source by the parameters of a `sample` stage, without test text where they name test sets."""
    manifest = source.manifest([])
    languages = manifest.languages(Corpus.PARALLEL)
    parallel: Any = source.corpus(Corpus.PARALLEL, languages)
    covered = [language for language in languages if language in manifest.languages(Corpus.DICTIONARY)]
    dictionary: Any = source.corpus(Corpus.DICTIONARY, covered) if covered else ()
    settings = SampleSettings(**{name: value for name, value in params.items() if name != "tests"})
    if "tests" not in params:
        return draw_sample(parallel, dictionary, settings)
    clean = without_test_text(parallel, source, params["tests"])
    note = f"{len(parallel) - len(clean):,} of {len(parallel):,} sentence pairs left out: they stand in a test set"
    sample = draw_sample(clean, dictionary, settings)
    return replace(sample, notes=(note, *sample.notes))


def without_test_text(
    pairs: Sequence[ParallelPair], source: Source, views: Mapping[str, Sequence[str]]
) -> list[ParallelPair]:
    """The sentence pairs of a pool neither side of which duplicates a test text."""
    found = _flagged(pairs, Guard(_records(source, views), source.pivot), source.pivot)
    return [pair for pair in pairs if not _touches(pair, found, source.pivot)]


def judge(pairs: Sequence[SamplePair], source: Source, views: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """What a run's row tells of its alignment data: the pivot, the languages, how many sentence pairs there are and how
    many of them duplicate a test text, and for each test set the items touched."""
    guard = Guard(_records(source, views), source.pivot)
    found = _flagged(pairs, guard, source.pivot)
    distinct = {(pair.language, pair.source, pair.target): pair for pair in pairs}.values()
    return {
        "pivot": source.pivot,
        "languages": sorted({pair.language for pair in pairs}),
        "pairs": len(distinct),
        "touching": sum(_touches(pair, found, source.pivot) for pair in distinct),
        "overlap": [overlap._asdict() for overlap in guard.overlaps()],
    }


def save(facts: Mapping[str, Any], folder: Path) -> None:
    (folder / OVERLAP).write_text(json.dumps(facts, ensure_ascii=False), encoding="utf-8")


def _records(source: Source, views: Mapping[str, Sequence[str]]) -> Iterator[tuple[Task, str, Sequence[Record]]]:
    for name, listed in views.items():
        task = TASKS.get(name)()
        yield from ((task, view, source.task(task.spec, view, "test")) for view in listed)


def _flagged(pairs: Iterable[Pair], guard: Guard, pivot: str) -> dict[str, set[str]]:
    texts: dict[str, dict[str, None]] = {}
    for pair in pairs:
        texts.setdefault(pivot, {})[pair.source] = None
        texts.setdefault(pair.language, {})[pair.target] = None
    return guard.judge(texts)


def _touches(pair: Pair, found: Mapping[str, set[str]], pivot: str) -> bool:
    return pair.source in found[pivot] or pair.target in found[pair.language]
