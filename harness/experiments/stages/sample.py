"""Draws the list of pairs that every method of a comparison trains on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from harness.data.sample import Sample, SampleSettings, draw_sample, save_sample
from harness.data.source import Source
from harness.experiments.stage import Stage, Workbench
from harness.experiments.stages.inputs import cached_source
from harness.records import Corpus, DictionaryEntry, ParallelPair


@dataclass(frozen=True, kw_only=True)
class DrawSample(Stage):
    """Reads parallel text and dictionaries."""

    kind: ClassVar[str] = "sample"
    settings: SampleSettings

    def run(self, bench: Workbench, folder: Path) -> None:
        save_sample(self.draw(cached_source(self.place.source)), folder)

    def draw(self, source: Source) -> Sample:
        return draw_sample(*read_pool(source), self.settings)


def read_pool(source: Source) -> tuple[Sequence[ParallelPair], Sequence[DictionaryEntry]]:
    """The source's parallel text in all languages, and the dictionaries of those that have one."""
    manifest = source.manifest([])
    languages = manifest.languages(Corpus.PARALLEL)
    parallel: Any = source.corpus(Corpus.PARALLEL, languages)
    covered = [language for language in languages if language in manifest.languages(Corpus.DICTIONARY)]
    dictionary: Any = source.corpus(Corpus.DICTIONARY, covered) if covered else ()
    return parallel, dictionary
