"""XLM-Align: the labels it gives itself, the pointer that must find them, and less alignment error on unseen pairs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from methods.objectives.alignment import iter_max, side_positions, sinkhorn
from tests.support.reference_encoder import ReferenceEncoder, masked_mean
from tests.support.small_babel import Trial, isolated
from validation.probes.language_models import xlm_align


@pytest.fixture(autouse=True)
def _alone() -> Iterator[None]:
    with isolated():
        yield


def balanced(similarity: np.ndarray, rounds: int) -> np.ndarray:
    plan = [[max(value, 1e-6) if value > 0 else 1e-6 for value in row] for row in similarity.tolist()]
    for _ in range(rounds):
        columns = [sum(row[j] for row in plan) for j in range(len(plan[0]))]
        plan = [[value / columns[j] for j, value in enumerate(row)] for row in plan]
        plan = [[value / sum(row) for value in row] for row in plan]
    return np.array(plan)


def largest_of_both(cells: np.ndarray) -> set[tuple[int, int]]:
    found = set()
    for i, row in enumerate(cells.tolist()):
        j = row.index(max(row))
        column = cells[:, j].tolist()
        if column.index(max(column)) == i:
            found.add((i, j))
    return found


def iterated(cells: np.ndarray) -> set[tuple[int, int]]:
    """Two rounds of IterMax, with loops."""
    links = largest_of_both(cells)
    rows, columns = {i for i, _ in links}, {j for _, j in links}
    m, n = cells.shape
    if min(m, n) <= 2 or len(rows) == m or len(columns) == n:
        return links
    again = cells.copy()
    for i in range(m):
        for j in range(n):
            taken = (i in rows) + (j in columns)
            again[i, j] *= {0: 1.0, 1: 0.9, 2: 0.0}[taken]
    return links | {(i, j) for i, j in largest_of_both(again) if i not in rows or j not in columns}


@pytest.mark.parametrize("shape", [(1, 4), (2, 5), (3, 3), (6, 4), (5, 9)])
def test_labels_are_those_of_loops_over_each_pair_alone(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(sum(shape))
    m, n = shape
    for _ in range(30):
        cells = rng.normal(0.3, 1.0, size=shape)
        padded = torch.full((1, m + 2, n + 3), 9.0, dtype=torch.float64)
        padded[0, :m, :n] = torch.from_numpy(cells)
        valid = torch.zeros_like(padded, dtype=torch.bool)
        valid[0, :m, :n] = True
        plan = sinkhorn(padded, valid, 2)
        np.testing.assert_allclose(plan[0, :m, :n], balanced(cells, 2), rtol=1e-9)
        assert not plan[~valid].any()
        links = iter_max(plan, valid)
        assert {(i, j) for _, i, j in links.nonzero().tolist()} == iterated(balanced(cells, 2))


def test_a_later_round_links_the_remaining_words() -> None:
    cells = torch.tensor([[[0.9, 0.8, 0.0], [0.7, 0.1, 0.2], [0.85, 0.3, 0.1]]])
    valid = torch.ones_like(cells, dtype=torch.bool)
    first, second = iter_max(cells, valid, rounds=1)[0], iter_max(cells, valid, rounds=2)[0]
    assert first.nonzero().tolist() == [[0, 0]]
    assert second.nonzero().tolist() == [[0, 0], [0, 1], [2, 0]]


def test_sides_are_the_words_without_special_tokens() -> None:
    trial = Trial("xlm-align")
    batch = trial.batch(6)
    text, special = batch["text"], {trial.method.tokenizer.cls_id, trial.method.tokenizer.sep_id}
    first, second = side_positions(text)
    for row, (start, length) in enumerate(zip(text.starts, text.lengths, strict=True)):
        inner = [p for p in range(start, start + length) if int(batch["clean"][p]) not in special]
        one = [p for p in inner if int(text.segments[p]) == 0]
        assert first[row][first[row] >= 0].tolist() == one
        assert second[row][second[row] >= 0].tolist() == inner[len(one) :]


@pytest.mark.parametrize("pooled", [False, True])
@torch.no_grad()
def test_the_loss_is_that_of_the_paper(pooled: bool, tmp_path: Path) -> None:
    trial = Trial("xlm-align", dropout=0.0, pooled_counts=pooled)
    trial.step.eval()
    batch, text = trial.batch(5, seed=2), trial.batch(5, seed=2)["text"]
    plain = ReferenceEncoder(trial.encoder, tmp_path)
    clean, masked, alone_ = plain.passes(text, batch["clean"]), plain.passes(text), plain.passes(batch["alone_text"])
    trial.step.double()
    terms = {n: float(t.sum / t.count) for n, t in trial.method.loss(trial.encoder, batch, 0).items()}
    tlm = masked_mean(masked, text, batch["positions"], batch["labels"])
    mlm = masked_mean(alone_, batch["alone_text"], batch["alone_positions"], batch["alone_labels"])
    chosen = set(batch["positions"].tolist())
    losses = [x for row in range(5) for x in _pointed(trial.method, text, row, clean[row], masked[row], chosen)]
    assert losses
    expected = {"tlm": tlm, "mlm": mlm, "align": sum(losses) / len(chosen)}
    if pooled:
        sums = {"tlm": tlm * len(chosen), "mlm": mlm * len(batch["alone_labels"]), "align": sum(losses)}
        count = len(chosen) + len(batch["alone_labels"]) + len(losses)
        expected = {name: total / count for name, total in sums.items()}
        assert trial.method.counts(batch, 0) is None
    for name, rel in (("tlm", 1e-5), ("mlm", 1e-5), ("align", 1e-9)):
        assert terms[name] == pytest.approx(expected[name], rel=rel)


def _pointed(method: Any, text: Any, row: int, clean: Any, masked: Any, chosen: set[int]) -> list[float]:
    """Of one pair: labels from the clean pass, the pointer's losses from the masked one."""
    start, length = text.starts[row], text.lengths[row]
    middle = int((text.segments[start : start + length] == 0).sum())
    x, y = list(range(1, middle - 1)), list(range(middle, length - 1))
    states, hidden = (out.hidden_states[layer][0] for out, layer in ((clean, method.layer), (masked, -1)))
    links = iterated(balanced((states[x] @ states[y].T).numpy(), 2))
    there: dict[int, int] = {}
    back: dict[int, int] = {}
    for i, j in sorted(links):  # the last link of a token counts
        there[i], back[j] = j, i
    losses = []
    for asking, asked, partner in ((x, y, there), (y, x, back)):
        for i, j in partner.items():
            if start + asking[i] in chosen:
                query = method.query.weight @ hidden[asking[i]] + method.query.bias
                keys = [method.key.weight @ hidden[k] + method.key.bias for k in asked]
                scores = [float(query @ key) / math.sqrt(len(query)) for key in keys]
                losses.append(math.log(sum(math.exp(s) for s in scores)) - scores[j])
    return losses


def test_labels_take_no_gradient_and_keep_dropout_on() -> None:
    trial = Trial("xlm-align")
    batch = trial.batch()
    trial.step.train()
    state = torch.get_rng_state()
    links = trial.method.links(trial.encoder, batch)
    assert torch.equal(torch.get_rng_state(), state), "labels are made without dropout"
    assert not links.requires_grad
    assert trial.encoder.training
    assert links.any()


def test_the_pointer_alone_reaches_the_encoder_and_its_own_head() -> None:
    trial = Trial("xlm-align")
    trial.method.loss(trial.encoder, trial.batch(), 0)["align"].sum.backward()
    assert trial.method.query.weight.grad.any()
    assert trial.method.key.weight.grad.any()
    assert trial.encoder.blocks[0].attention.self.query.weight.grad.any()
    assert trial.encoder.model.cls.predictions.transform.dense.weight.grad is None


def test_pooled_counts_are_those_of_a_step_that_accumulates() -> None:
    whole, parts = (Trial("xlm-align", dropout=0.0, pooled_counts=True) for _ in range(2))
    runs = whole.run(batch=12), parts.run(batch=6, accumulation=2)
    for run in runs:
        run.step()
    assert all(loss > 0 for loss in runs[1].read_losses().values())


def test_the_pointer_starts_at_its_first_step() -> None:
    trial = Trial("xlm-align", align_from=3)
    batch = trial.batch()
    assert set(trial.method.loss(trial.encoder, batch, 2)) == {"tlm", "mlm"}
    assert set(trial.method.loss(trial.encoder, batch, 3)) == {"tlm", "mlm", "align"}


@pytest.mark.long
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_alignment_error_decreases_on_unseen_pairs(seed: int) -> None:
    seen = xlm_align(seed)
    assert seen["error"] < seen["error_base"] - 0.02, seen
    assert seen["error"] < seen["error_without"], seen
