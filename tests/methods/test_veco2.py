"""VECO 2.0 as described: sentences against sentences, words against the other tokens of their own instance."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForMaskedLM

from harness.errors import UserError
from tests.support.small_babel import Trial, isolated, sample
from validation.probes.words import veco2

NAME = "veco2"


@pytest.fixture(autouse=True)
def _alone() -> Iterator[None]:
    with isolated():
        yield


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a * b).sum() / math.sqrt(float((a * a).sum() * (b * b).sum())))


def repeated(trial: Trial, n: int) -> list[Any]:
    """Examples of which the first two are one sentence pair with two words."""
    examples = sorted((trial.examples[i] for i in range(len(trial.examples))), key=lambda e: e.pair.sentence)
    twice = next(i for i in range(1, len(examples)) if examples[i].pair.sentence == examples[i - 1].pair.sentence)
    return [*examples[twice - 1 : twice + 1], *examples[:n]][:n]


class ByHand:
    """The four terms of a batch, sentence by sentence, by loops."""

    def __init__(self, trial: Trial, batch: Any, folder: Path) -> None:
        trial.encoder.save(folder)
        self.model = AutoModelForMaskedLM.from_pretrained(folder, dtype=torch.float64, attn_implementation="eager")
        self.model.eval()
        self.batch, self.n = batch, len(batch["groups"])
        self.alone, self.joint = (self._states(batch[name]) for name in ("alone_text", "text"))

    def _states(self, text: Any) -> list[torch.Tensor]:
        rows = zip(text.ids.split(text.lengths), text.segments.split(text.lengths), strict=True)
        return [self.model.bert(i[None], token_type_ids=s[None]).last_hidden_state[0] for i, s in rows]

    def masked(self, states: list[torch.Tensor], prefix: str) -> float:
        hidden, losses = torch.cat(states), []
        positions, labels = (self.batch[f"{prefix}{name}"].tolist() for name in ("positions", "labels"))
        for place, label in zip(positions, labels, strict=True):
            logits = self.model.cls(hidden[place])
            losses.append(float(logits.logsumexp(0) - logits[label]))
        return float(np.mean(losses))

    def sequence(self) -> float:
        vectors = [states.mean(0) for states in self.alone]
        sides, groups, losses = (vectors[: self.n], vectors[self.n :]), self.batch["groups"].tolist(), []
        for own, other in (sides, sides[::-1]):
            for i in range(self.n):
                kept = [j for j in range(self.n) if j == i or groups[j] != groups[i]]
                total = sum(math.exp(cosine(own[i], other[j]) / 0.05) for j in kept)
                losses.append(-math.log(math.exp(cosine(own[i], other[i]) / 0.05) / total))
        return float(np.mean(losses))

    def token(self) -> float:
        words, losses, starts = self.batch["words"], [], np.cumsum([0, *map(len, self.joint)])
        groups = [words.index[words.owner == k].tolist() for k in range(len(words.sizes))]
        m, special = len(groups) // 2, self.batch["text"].special
        hidden = torch.cat(self.joint)
        for k, own in enumerate(groups):
            other = groups[(k + m) % (2 * m)]
            row = int(np.searchsorted(starts, own[0], side="right")) - 1
            a, b = (hidden[places].mean(0) for places in (own, other))
            rest = [t for t in range(starts[row], starts[row + 1]) if t not in own + other and not special[t]]
            positive = math.exp(cosine(a, b) / 0.1)
            negatives = sum(math.exp(cosine(a, hidden[t]) / 0.1) for t in rest)
            losses.append(-math.log(positive / (positive + negatives)))
        return float(np.mean(losses))


@torch.no_grad()
def test_the_four_terms_are_those_described(tmp_path: Path) -> None:
    trial = Trial(NAME, dropout=0.0)
    batch = trial.method.collate(repeated(trial, 6), np.random.default_rng(1))
    assert len(batch["words"].sizes) > 10
    trial.step.eval().double()
    expected = ByHand(trial, batch, tmp_path)
    terms = {n: float(term.sum / term.count) for n, term in trial.method.loss(trial.encoder, batch, 0).items()}
    assert terms["sequence"] == pytest.approx(expected.sequence(), rel=1e-9)
    assert terms["token"] == pytest.approx(expected.token(), rel=1e-9)
    assert terms["mlm"] == pytest.approx(expected.masked(expected.alone, "alone_"), rel=1e-5)  # float32 logits
    assert terms["tlm"] == pytest.approx(expected.masked(expected.joint, ""), rel=1e-5)


def test_words_in_the_joint_text_are_those_of_the_sides_and_not_masked() -> None:
    trial = Trial(NAME)
    examples = [trial.examples[i] for i in range(40)]
    batch = trial.method.collate(examples, np.random.default_rng(0))
    words, ids, masked = batch["words"], batch["text"].ids.tolist(), set(batch["positions"].tolist())
    groups = [words.index[words.owner == k].tolist() for k in range(len(words.sizes))]
    assert not masked & {place for group in groups for place in group}
    m, owner = len(groups) // 2, batch["text"].layout.owner.tolist()
    swapped = set()
    for first, second in zip(groups[:m], groups[m:], strict=True):
        example = examples[row := owner[first[0]]]
        assert owner[second[0]] == row
        x, y = example.pair.source.tolist(), example.pair.target.tolist()
        shown = [ids[p] for p in first], [ids[p] for p in second]
        allowed = {(tuple(x[slice(*a)]), tuple(y[slice(*b)])): False for a, b in example.words}
        pair = tuple(map(tuple, shown))
        swapped.add(pair not in allowed)
        assert pair in allowed or pair[::-1] in allowed
    assert swapped == {True, False}
    assert m < sum(len(e.words) for e in examples), "pairs with a masked subword are left out"


def test_words_beyond_the_maximal_side_length_are_skipped() -> None:
    whole, narrow = Trial(NAME), Trial(NAME)
    narrow.method.max_side_length = 6
    examples = [whole.examples[i] for i in range(20)]
    counts = []
    for trial in (whole, narrow):
        batch = trial.method.collate(examples, np.random.default_rng(0))
        assert max(batch["text"].lengths) <= 2 * trial.method.max_side_length - 1
        assert not batch["text"].special[batch["words"].index].any()
        counts.append(len(batch["words"].sizes))
    assert 0 < counts[1] < counts[0]


def test_a_batch_without_word_pairs_has_the_other_terms() -> None:
    trial = Trial(NAME)
    batch = trial.method.collate([trial.examples[i]._replace(words=()) for i in range(3)], np.random.default_rng(0))
    terms = trial.method.loss(trial.encoder, batch, 0)
    assert terms["token"].count == 0
    assert not terms["token"].sum.detach()
    trial.loss(batch).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in trial.encoder.parameters())


def test_the_token_term_reaches_the_joint_text_and_the_sequence_term_the_sides_alone() -> None:
    for name, passes in (("token", (False, True)), ("sequence", (True, False))):
        trial, held = Trial(NAME, dropout=0.0), []
        embed = trial.encoder.embed

        def kept(*given: Any, held: list[Any] = held, embed: Any = embed) -> torch.Tensor:
            held.append(embed(*given))
            held[-1].retain_grad()
            return held[-1]

        trial.encoder.embed = kept
        trial.method.loss(trial.encoder, trial.batch(6), 0)[name].sum.backward()
        assert tuple(h.grad is not None and bool(h.grad.any()) for h in held) == passes


def test_a_sample_without_word_pairs_is_refused() -> None:
    strange = [replace(pair, source="?", target="!", source_span=None, target_span=None) for pair in sample()[:3]]
    with pytest.raises(UserError, match="matches no sentence of the sample"):
        Trial(NAME, pairs=strange)


@pytest.mark.long
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_both_contrasts_decrease_and_words_find_their_translations(seed: int) -> None:
    found = veco2(seed)
    assert found["sequence"] < found["sequence_base"]
    assert found["token"] < found["token_base"]
    assert found["words"] > max(found["words_base"], found["words_without"]) + 5
