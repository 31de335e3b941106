"""Draws the list of pairs that every method of a comparison trains on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from harness.data.record_table import write_table
from harness.data.sample import POOL_LAYOUT, Sample, SampleSettings, draw_sample, save_sample
from harness.data.source import Source, cached_source
from harness.experiments.stage import Stage, Workbench
from harness.records import Corpus, DictionaryEntry, ParallelPair


@dataclass(frozen=True, kw_only=True)
class DrawSample(Stage):
    """Reads parallel text and dictionaries."""

    kind: ClassVar[str] = "sample"
    on_device: ClassVar[bool] = False
    settings: SampleSettings

    def run(self, bench: Workbench, folder: Path) -> None:
        unfinished = bench.artifacts.work(self.fingerprint)
        save_sample(self.draw(cached_source(self.place.source), unfinished), folder)

    def draw(self, source: Source, folder: Path | None = None) -> Sample:
        """The sample. With `folder` the pool and its word matches are kept there and not in memory, and a killed draw
        resumes."""
        return draw_sample(read_pool(source, folder), read_dictionary(source), self.settings, cache=folder)


def read_pool(source: Source, folder: Path | None) -> Sequence[ParallelPair]:
    """The source's parallel text in all languages, in memory or, with `folder`, in files."""
    records: Any = source.stream(Corpus.PARALLEL, source.manifest([]).languages(Corpus.PARALLEL))
    return write_table(records, folder / "pool", POOL_LAYOUT, "reading the parallel text") if folder else list(records)


def read_dictionary(source: Source) -> Sequence[DictionaryEntry]:
    """The dictionaries of the languages that have both parallel text and one."""
    manifest = source.manifest([])
    known = manifest.languages(Corpus.DICTIONARY)
    covered = [language for language in manifest.languages(Corpus.PARALLEL) if language in known]
    dictionary: Any = source.corpus(Corpus.DICTIONARY, covered) if covered else ()
    return dictionary  # type: ignore[no-any-return]
