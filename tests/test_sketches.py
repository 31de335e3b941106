"""The sketches do what their papers say: queue and momentum, attention that unplugs, a decoder that is dropped."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from small_world import Trial, alone, encoder, tokenizer
from torch import Tensor


@pytest.fixture(autouse=True)
def _alone() -> Iterator[None]:
    with alone():
        yield


def cross_batch(trial: Trial) -> Any:
    trial.step.eval()
    return trial.batch(5)


@torch.no_grad()
def test_the_unplugged_encoder_is_the_plain_one_to_the_bit() -> None:
    trial, plain = Trial("veco-sketch"), encoder()
    batch = cross_batch(trial)
    plain.eval()
    alone = trial.encoder(batch["text"]).tokens()
    assert torch.equal(alone, plain(batch["text"]).tokens())
    assert torch.equal(alone, plain(batch["text"], after_attention=lambda layer, hidden: hidden).tokens())
    assert not torch.equal(alone, trial.method.plugged(trial.encoder, batch["text"], alone, batch["partners"]))


def test_plugs_start_as_copies_of_the_self_attention() -> None:
    trial = Trial("veco-sketch")
    for plug, block in zip(trial.method.plugs, trial.encoder.blocks, strict=True):
        for name in ("query", "key", "value"):
            ours, theirs = getattr(plug, name).weight, getattr(block.attention.self, name).weight
            assert torch.equal(ours, theirs)
            assert ours is not theirs


@torch.no_grad()
def test_a_plug_attends_to_the_partner_alone() -> None:
    trial = Trial("veco-sketch")
    batch = cross_batch(trial)
    text, plug = batch["text"], trial.method.plugs[0]
    hidden, states = (torch.randn(text.tokens, 64, generator=torch.Generator().manual_seed(n)) for n in (1, 2))
    cut = text.starts[5]
    out = plug(hidden, torch.cat([states[cut:], states[:cut]]), text.layout, batch["partners"]).split(text.lengths)
    rows, others = hidden.split(text.lengths), states.split(text.lengths)
    for row in range(10):
        partner = others[(row + 5) % 10]
        scores = plug.query(rows[row]) @ plug.key(partner).T / math.sqrt(64)  # one head of 64
        expected = plug.output(scores.softmax(-1) @ plug.value(partner), rows[row])
        torch.testing.assert_close(out[row], expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_the_decoder_sees_the_source_and_no_future() -> None:
    trial = Trial("mmte-sketch")
    trial.step.eval()
    batch = trial.batch(4)
    text, prefix = batch["text"], batch["prefix"]

    def decoded(text: Any = text, prefix: Any = prefix) -> tuple[Tensor, ...]:
        states, languages = trial.encoder(text).tokens(), batch["languages"]
        out: Tensor = trial.method.decode(trial.encoder, states, text.layout, prefix, languages)
        return out.split(prefix.lengths)

    before = decoded()
    later = prefix.ids.clone()
    later[prefix.starts[1] + 3] = tokenizer().mask_id
    other = text.ids.clone()
    other[text.starts[1] + 1] = tokenizer().mask_id
    for after, first in ((decoded(prefix=prefix.with_ids(later)), 3), (decoded(text=text.with_ids(other)), 0)):
        changed = (after[1] - before[1]).abs().amax(1) > 1e-6
        assert changed.tolist() == [place >= first for place in range(len(changed))]
        for row in (0, *range(2, 8)):
            torch.testing.assert_close(after[row], before[row], atol=1e-6, rtol=0)


def test_translations_are_predicted_in_both_directions_with_their_language() -> None:
    trial = Trial("mmte-sketch")
    examples = [trial.examples[i] for i in range(4)]
    batch = trial.method.collate(examples, np.random.default_rng(0))
    wanted = [e.target for e in examples] + [e.source for e in examples]
    labels = batch["labels"].split(batch["prefix"].lengths)
    for ids, prefix, label in zip(wanted, batch["prefix"].ids.split(batch["prefix"].lengths), labels, strict=True):
        assert [*prefix.tolist(), label.tolist()[-1]] == ids.tolist()
        assert [prefix.tolist()[0], *label.tolist()] == ids.tolist()
    numbers = trial.method.numbers
    codes = [trial.examples.pairs[i].language for i in range(4)] + ["qaa"] * 4
    assert batch["languages"].tolist() == [numbers[code] for code in codes]
