"""XLM: the TLM loss by hand, positions, language embeddings, and what it learns from the other side."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForMaskedLM

from tests.support.small_babel import Trial, isolated
from validation.probes import language_models


@pytest.fixture(autouse=True)
def _alone() -> Iterator[None]:
    with isolated():
        yield


@torch.no_grad()
@pytest.mark.parametrize(("name", "reset"), [("xlm", False), ("xlm", True), ("infoxlm", False)])
def test_the_loss_is_masked_lm_over_the_joined_pair(name: str, reset: bool, tmp_path: Path) -> None:
    trial, own = Trial(name, dropout=0.0, reset_positions=reset), name == "xlm"
    trial.step.eval()
    short = [e for e in trial.examples if max(len(e.source), len(e.target)) <= trial.method.max_side_length]
    examples = short[:5]
    batch = trial.method.collate(examples, np.random.default_rng(3))
    trial.encoder.save(tmp_path)
    model = AutoModelForMaskedLM.from_pretrained(tmp_path, dtype=torch.float64, attn_implementation="eager").eval()
    losses, start, orders = [], 0, set()
    masked = dict(zip(batch["positions"].tolist(), batch["labels"].tolist(), strict=True))
    for example, length in zip(examples, batch["text"].lengths, strict=True):
        ids = batch["text"].ids[start : start + length].clone()
        whole = ids.clone()
        for position, label in masked.items():
            if start <= position < start + length:
                whole[position - start] = label
        sides = (example.source, example.target), (example.target, example.source)
        joined = [[*a, *(b if own else b[1:])] for a, b in sides]
        assert whole.tolist() in joined
        orders.add(joined.index(whole.tolist()))
        cut = whole.tolist().index(trial.encoder.tokenizer.sep_id) + 1
        places = [*range(cut), *range(0 if reset else cut, length - cut if reset else length)]
        out = model(
            input_ids=ids[None],
            token_type_ids=torch.tensor([[0] * cut + [1] * (length - cut)]),
            position_ids=torch.tensor([places]),
        ).logits[0]
        for position, label in masked.items():
            if start <= position < start + length:
                row = out[position - start]
                losses.append(float(row.exp().sum().log() - row[label]))
        start += length
    assert orders == {0, 1}, "either side comes first now and then"
    trial.step.double()
    term = trial.method.loss(trial.encoder, batch, 0)["tlm"]
    assert float(term.sum / term.count) == pytest.approx(float(np.mean(losses)), rel=1e-5)


@pytest.mark.parametrize(("share", "first"), [(0.0, "source"), (1.0, "target")])
def test_the_order_of_the_sides_can_be_fixed(share: float, first: str) -> None:
    trial = Trial("xlm", target_first=share, mask_rate=1e-9)
    text = trial.batch(12)["text"]
    for i, ids in enumerate(text.ids.split(text.lengths)):
        side = getattr(trial.examples[i], first)[:4]
        assert sum(a == b for a, b in zip(ids.tolist(), side.tolist(), strict=False)) >= 3, "one may be masked"


def test_language_embeddings_start_at_zero_learn_and_are_dropped() -> None:
    plain, marked = Trial("xlm", dropout=0.0), Trial("xlm", dropout=0.0, language_embeddings=True)
    batch = marked.batch(6)
    torch.testing.assert_close(plain.loss(plain.batch(6)), marked.loss(batch))
    used = {int(number) for number in torch.cat([batch["languages"], batch["alone_languages"]])}
    marked.loss(batch).backward()
    gradient = marked.method.languages.grad.abs().sum(1) > 0
    assert {i for i, any_ in enumerate(gradient.tolist()) if any_} == used
    assert set(marked.method.export(marked.encoder).state_dict()) == set(plain.encoder.state_dict())


def test_a_long_side_is_cut_and_keeps_its_separator() -> None:
    trial = Trial("xlm")
    batch = trial.batch(30)
    sep, room = trial.encoder.tokenizer.sep_id, trial.method.max_side_length
    sides = [side for i in range(30) for side in (trial.examples[i].source, trial.examples[i].target)]
    assert max(map(len, sides)) > room
    assert max(batch["text"].lengths) < 2 * room
    ends = np.cumsum(batch["text"].lengths) - 1
    assert (batch["text"].ids[torch.from_numpy(ends)] == sep).all()


def test_languages_follow_the_order_of_the_sides() -> None:
    trial = Trial("xlm")
    batch, codes = trial.batch(12), [trial.examples[i].language for i in range(12)]
    for row, code in zip(batch["languages"].split(batch["text"].lengths), codes, strict=True):
        assert set(row.tolist()) == {0, trial.method.numbers[code]}


@pytest.mark.long
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_translation_helps_to_predict_a_masked_word(seed: int) -> None:
    found = language_models.xlm(seed)
    assert found["true"] < found["shuffled"] - 0.3
    assert found["true"] < found["true_base"]
    before, after = (found[f"shuffled{when}"] - found[f"true{when}"] for when in ("_base", ""))
    assert after > max(before, 0.1), "another sentence's translation costs more than it cost the base"
