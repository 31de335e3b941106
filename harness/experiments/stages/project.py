"""Measures and maps the sentences of a retrieval task, embedded as the task embeds them for its score.

It comes after a run and is no part of it: nothing is trained or chosen by what it finds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from harness.experiments.stage import StageRows, Workbench
from harness.experiments.stages.embed import Embed
from harness.experiments.stages.inputs import load_encoder, task_of
from harness.files import INTRINSIC, PROJECTION, read_json, write_json
from harness.storage.store import ScoreRow

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Project(Embed):
    """Input `encoder`."""

    kind: ClassVar[str] = "project"
    row_files: ClassVar[tuple[str, ...]] = (PROJECTION,)

    def run(self, bench: Workbench, folder: Path) -> None:
        from harness.evaluation.projection import project

        task = task_of(self)
        encoder = load_encoder(self, bench, self.inputs).to(bench.device).eval()

        def encode(texts: Sequence[str]) -> Tensor:
            return task.vectors(encoder, texts, self.settings, precision=self.precision)

        with self.keep_outputs(bench):
            write_json(folder / PROJECTION, project(encode, self.gold_records()))

    def rows(self, folder: Path, protocol: str) -> StageRows:
        return StageRows(
            [
                ScoreRow(
                    stage=self.fingerprint,
                    task=str(self.task),
                    view=measured["language"],
                    language=measured["language"],
                    split=INTRINSIC,
                    protocol=protocol,
                    metric=measured["measure"],
                    value=measured["value"],
                    n=measured["n"],
                )
                for measured in read_json(folder / PROJECTION)["measures"]
            ]
        )
