"""A source from a package outside the repository: classification tasks in one CSV file."""

import csv
import hashlib
from collections.abc import Sequence
from pathlib import Path

from alignboard import Corpus, Manifest, Source, TaskCell, TaskSpec, TextPair, UserError, missing_task
from harness.records import CorpusRecord, Record


class Spreadsheet(Source):
    """`spreadsheet:FILE.csv` with the columns task, split, view, first, second and label."""

    kind = "spreadsheet"
    pivot = "en"

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def open(cls, location: str) -> "Spreadsheet":
        return cls(Path(location))

    @property
    def name(self) -> str:
        return f"spreadsheet:{self.path.stem}"

    def manifest(self, specs: Sequence[TaskSpec]) -> Manifest:
        rows, digest = self._rows(), hashlib.sha256(self.path.read_bytes()).hexdigest()
        wanted = {spec.name for spec in specs}
        cells = [(row["task"], row["view"], row["split"]) for row in rows if row["task"] in wanted]
        return Manifest("en", tuple(TaskCell(*cell, cells.count(cell), digest) for cell in dict.fromkeys(cells)), ())

    def task(self, spec: TaskSpec, view: str, split: str) -> Sequence[Record]:
        rows = [row for row in self._rows() if (row["task"], row["view"], row["split"]) == (spec.name, view, split)]
        if not rows:
            raise missing_task(self.name, spec.name, sorted({row["task"] for row in self._rows()}))
        return [
            TextPair(f"{split}-{i}", row["first"], row["second"], row["label"], f"{spec.name}-{split}-{i}")
            for i, row in enumerate(rows)
        ]

    def corpus(self, kind: Corpus, languages: Sequence[str]) -> Sequence[CorpusRecord]:
        raise UserError(f"{self.name} has no corpora", expected=kind.value, remedy="take the corpora of another source")

    def _rows(self) -> list[dict[str, str]]:
        with self.path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
