"""AMBER: dot-product contrast and mutual attention, and what both do to pairs held out."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from methods.amber import agreement
from tests.support.reference_encoder import ReferenceEncoder, masked_mean
from tests.support.small_babel import Trial, isolated
from validation.probes import sentences


@pytest.fixture(autouse=True)
def _alone() -> Iterator[None]:
    with isolated():
        yield


@pytest.mark.parametrize("normalize_rows", [False, True])
@torch.no_grad()
def test_the_loss_is_that_of_the_paper(normalize_rows: bool, tmp_path: Path) -> None:
    trial = Trial("amber", dropout=0.0, normalize_rows=normalize_rows, sentence_weight=0.5, word_weight=2.0)
    trial.step.eval()
    batch = trial.batch(6, seed=4)
    plain = ReferenceEncoder(trial.encoder, tmp_path)
    both, single = plain.passes(batch["text"]), plain.passes(batch["alone"])
    trial.step.double()
    terms = trial.method.loss(trial.encoder, batch, 0)
    means = {name: float(term.sum / term.count) for name, term in terms.items()}
    assert {name: term.weight for name, term in terms.items()} == {"tlm": 1.0, "sentence": 0.5, "word": 2.0}
    assert means["tlm"] == pytest.approx(
        masked_mean(both, batch["text"], batch["positions"], batch["labels"]), rel=1e-5
    )
    centres = [out.hidden_states[-1][0].mean(0) for out in single]
    groups = batch["groups"].tolist()
    total = 0.0
    for i in range(6):
        others = [j for j in range(6) if j == i or groups[j] != groups[i]]
        scores = {j: float(centres[i] @ centres[6 + j]) for j in others}
        total += math.log(sum(math.exp(s - scores[i]) for s in scores.values()))
    assert means["sentence"] == pytest.approx(total / 6, rel=1e-7)
    kinds = batch["text"].segments.split(batch["text"].lengths)
    expected = [
        _disagreement(out.attentions[-1][0], kind, normalize_rows) for out, kind in zip(both, kinds, strict=True)
    ]
    assert means["word"] == pytest.approx(sum(expected) / 6, rel=1e-9)


def _disagreement(matrix: torch.Tensor, segments: torch.Tensor, normalize_rows: bool) -> float:
    kinds = segments.tolist()
    last = [max(i for i, kind in enumerate(kinds) if kind == side) for side in (0, 1)]  # the separators
    x = [i for i, kind in enumerate(kinds) if kind == 0 and i not in (0, last[0])]
    y = [i for i, kind in enumerate(kinds) if kind == 1 and i != last[1]]
    total = 0.0
    for head in matrix.tolist():
        for i in x:
            for j in y:
                there = head[i][j] / (sum(head[i][k] for k in y) if normalize_rows else 1)
                back = head[j][i] / (sum(head[j][k] for k in x) if normalize_rows else 1)
                total += there * back
    return 1 - total / len(matrix) / min(len(x), len(y))


def test_agreement_is_one_where_each_word_attends_to_its_partner_alone() -> None:
    matrix = torch.zeros(2, 7, 7)  # [CLS] a b [SEP] c d [SEP]
    for word, partner in ((1, 5), (2, 4)):
        matrix[:, word, partner] = matrix[:, partner, word] = 1.0
    assert agreement([matrix], [4], normalize_rows=False).tolist() == [1.0]
    matrix[1, 4, 2], matrix[1, 4, 1] = 0.0, 1.0  # in one head of two, one word looks elsewhere
    assert agreement([matrix], [4], normalize_rows=False).tolist() == [0.75]


def test_each_term_has_gradients_where_it_should() -> None:
    trial = Trial("amber")
    last = trial.encoder.blocks[-1]
    reached = {}
    for name in ("tlm", "sentence", "word"):
        trial.step.zero_grad(set_to_none=True)
        trial.method.loss(trial.encoder, trial.batch(), 0)[name].sum.backward()
        reached[name] = [
            weight.grad is not None and bool(weight.grad.any())
            for weight in (
                trial.encoder.blocks[0].attention.self.query.weight,
                last.attention.self.query.weight,
                last.output.dense.weight,
                trial.encoder.model.cls.predictions.transform.dense.weight,
            )
        ]
    assert reached == {
        "tlm": [True, True, True, True],
        "sentence": [True, True, True, False],
        "word": [True, True, False, False],  # what comes after the attention of the last layer plays no part in it
    }


@pytest.mark.long
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_retrieval_and_agreement_increase_on_unseen_pairs(seed: int) -> None:
    seen = sentences.amber(seed)
    assert seen["retrieval"] > max(seen["retrieval_base"], seen["retrieval_without"]) + 0.1, seen
    assert seen["agreement"] > 1.5 * max(seen["agreement_base"], seen["agreement_without"]), seen
