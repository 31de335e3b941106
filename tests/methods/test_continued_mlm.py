"""continued-mlm, the control: masked LM of both sides, each a sentence of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.support.reference_encoder import ReferenceEncoder, masked_mean
from tests.support.small_babel import Trial, isolated


@pytest.fixture(autouse=True)
def _alone() -> Iterator[None]:
    with isolated():
        yield


@torch.no_grad()
def test_the_loss_is_the_mean_over_the_masked_subwords_of_both_sides(tmp_path: Path) -> None:
    trial = Trial("continued-mlm", dropout=0.0)
    trial.step.eval()
    batch = trial.batch(6)
    passes = ReferenceEncoder(trial.encoder, tmp_path).passes(batch["text"])
    expected = masked_mean(passes, batch["text"], batch["positions"], batch["labels"])
    trial.step.double()
    assert float(trial.loss(batch)) == pytest.approx(expected, rel=1e-5)
    rows = batch["text"].ids.index_put((batch["positions"],), batch["labels"]).split(batch["text"].lengths)
    examples = [trial.examples[i] for i in range(6)]
    assert [row.tolist() for row in rows] == [
        list(s) for s in (*(e.source for e in examples), *(e.target for e in examples))
    ]
