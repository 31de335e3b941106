"""Draws the sample from a pool without the pairs that duplicate a test text (`contamination: remove`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from harness.data.overlap import without_test_text
from harness.data.sample import Sample, draw_sample
from harness.data.source import Source
from harness.experiments.stages.sample import DrawSample, read_dictionary, read_pool


@dataclass(frozen=True, kw_only=True)
class DrawCleanSample(DrawSample):
    """`tests` has the views of each task whose test sets are compared."""

    tests: Mapping[str, tuple[str, ...]]

    def draw(self, source: Source, folder: Path | None = None) -> Sample:
        pool = read_pool(source, folder)
        clean = without_test_text(pool, source, self.tests)
        note = f"{len(pool) - len(clean):,} of {len(pool):,} sentence pairs left out: they occur in a test set"
        sample = draw_sample(clean, read_dictionary(source), self.settings, cache=folder)
        return replace(sample, notes=(note, *sample.notes))
