"""Compares the sample with the suite's test sets before anything trains; the findings go into the run's row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from harness.data.overlap import find_overlap
from harness.data.sample import load_sample
from harness.data.source import cached_source
from harness.experiments.stage import Stage, StageRows, Workbench
from harness.files import read_json, write_json

OVERLAP = "overlap.json"


@dataclass(frozen=True, kw_only=True)
class FindOverlap(Stage):
    """Input `sample`. `tests` has the views of each task whose test sets are compared."""

    kind: ClassVar[str] = "overlap"
    row_files: ClassVar[tuple[str, ...]] = (OVERLAP,)
    on_device: ClassVar[bool] = False
    tests: Mapping[str, tuple[str, ...]]

    def run(self, bench: Workbench, folder: Path) -> None:
        pairs = load_sample(bench.input(self.inputs["sample"])).pairs
        write_json(folder / OVERLAP, find_overlap(pairs, cached_source(self.place.source), self.tests))

    def rows(self, folder: Path, protocol: str) -> StageRows:
        return StageRows(alignment=read_json(folder / OVERLAP))
