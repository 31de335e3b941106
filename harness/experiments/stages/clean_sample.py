"""Draws the sample from a pool without the pairs that duplicate a test text (`contamination: remove`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from harness.data.overlap import without_test_text
from harness.data.sample import Sample, draw_sample
from harness.data.source import Source
from harness.experiments.stages.sample import DrawSample, read_pool


@dataclass(frozen=True, kw_only=True)
class DrawCleanSample(DrawSample):
    """`tests` has the views of each task whose test sets are compared."""

    tests: Mapping[str, tuple[str, ...]]

    def draw(self, source: Source) -> Sample:
        parallel, dictionary = read_pool(source)
        clean = without_test_text(parallel, source, self.tests)
        note = f"{len(parallel) - len(clean):,} of {len(parallel):,} sentence pairs left out: they stand in a test set"
        sample = draw_sample(clean, dictionary, self.settings)
        return replace(sample, notes=(note, *sample.notes))
