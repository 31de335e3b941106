"""VECO: attention to the translation that is plugged in while training, and leaves no trace when plugged out."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import layer_norm
from transformers import AutoModelForMaskedLM

from harness.modeling.attention import Layout
from harness.modeling.packing import pack
from methods.veco import VECO
from tests.support.small_babel import Trial, corpora, encoder, isolated, sample
from validation.probes import language_models as probes
from validation.probes.common import TrainedMethod, next_of_language


@pytest.fixture(autouse=True)
def _alone() -> Iterator[None]:
    with isolated():
        yield


def batch_of(trial: Trial) -> Any:
    trial.step.eval()
    return trial.batch(5)


@torch.no_grad()
def test_the_unplugged_encoder_equals_the_plain_one_bit_for_bit() -> None:
    trial, plain = Trial("veco"), encoder()
    batch = batch_of(trial)
    plain.eval()
    unplugged = trial.encoder(batch["text"]).tokens()
    assert torch.equal(unplugged, plain(batch["text"]).tokens())
    assert torch.equal(unplugged, plain(batch["text"], after_attention=lambda layer, hidden: hidden).tokens())
    assert not torch.equal(
        unplugged, trial.method.states_with_plugs(trial.encoder, batch["text"], unplugged, batch["partners"])
    )


def test_the_export_equals_the_trained_encoder_without_plugs_bit_for_bit(tmp_path: Path) -> None:
    trial = Trial("veco")
    trial.run().step()
    batch = batch_of(trial)
    trial.method.export(trial.encoder).save(tmp_path)
    again = type(trial.encoder).load(tmp_path).eval()
    with torch.no_grad():
        assert torch.equal(trial.encoder(batch["text"]).tokens(), again(batch["text"]).tokens())


@pytest.mark.parametrize("warm", [True, False])
def test_plugs_start_as_copies_of_self_attention_or_random(warm: bool) -> None:
    trial = Trial("veco", warm_plugs=warm)
    for plug, block in zip(trial.method.plugs, trial.encoder.blocks, strict=True):
        own = block.attention.self
        pairs = [(plug.query, own.query), (plug.key, own.key), (plug.value, own.value)]
        for ours, theirs in [*pairs, (plug.output.dense, block.attention.output.dense)]:
            assert torch.equal(ours.weight, theirs.weight) == warm
            assert ours.weight is not theirs.weight
            assert float(ours.weight.detach().std()) == pytest.approx(0.02, rel=0.1)


@torch.no_grad()
def test_the_loss_is_that_of_the_paper(tmp_path: Path) -> None:
    trial = Trial("veco", dropout=0.0)
    trial.encoder.save(tmp_path)
    trial.step.double()
    batch = batch_of(trial)
    model = AutoModelForMaskedLM.from_pretrained(tmp_path, dtype=torch.float64, attn_implementation="eager").eval()
    rows = batch["text"].ids.split(batch["text"].lengths)
    own = [model(ids[None], output_hidden_states=True).hidden_states for ids in rows]
    plain = [states[-1][0] for states in own]
    crossed = [crossed_by_hand(model, trial, own[i][0][0], plain[(i + 5) % 10]) for i in range(10)]
    terms = trial.method.loss(trial.encoder, batch, 0)
    for name, states in (("mlm", plain), ("ca_mlm", crossed)):
        logits = model.cls(torch.cat(states))[batch["positions"]]
        losses = [float(row.exp().sum().log() - row[label]) for row, label in zip(logits, batch["labels"], strict=True)]
        assert float(terms[name].sum) / terms[name].count == pytest.approx(np.mean(losses), rel=1e-5)


def crossed_by_hand(model: Any, trial: Trial, hidden: Tensor, partner: Tensor) -> Tensor:
    """Last states of one sentence (L, H) over its partner's last states, head by head."""
    for block, plug in zip(model.bert.encoder.layer, trial.method.plugs, strict=True):
        hidden = block.attention(hidden[None], None)[0][0]
        q, k, v = plug.query(hidden), plug.key(partner), plug.value(partner)
        heads = []
        for head in range(8):
            part = slice(8 * head, 8 * head + 8)
            scores = (q[:, part] @ k[:, part].T / math.sqrt(8)).exp()
            heads.append(scores / scores.sum(1, keepdim=True) @ v[:, part])
        mixed = torch.cat(heads, 1) @ plug.output.dense.weight.T + plug.output.dense.bias + hidden
        norm = plug.output.LayerNorm
        hidden = layer_norm(mixed, (64,), norm.weight, norm.bias, norm.eps)
        hidden = block.output(block.intermediate(hidden), hidden)
    return hidden


def test_only_the_crossed_term_trains_the_plugs() -> None:
    trial = Trial("veco", dropout=0.0)
    terms = trial.method.loss(trial.encoder, trial.batch(), 0)
    terms["mlm"].sum.backward(retain_graph=True)
    assert all(p.grad is None for p in trial.method.parameters())
    trial.encoder.zero_grad()
    terms["ca_mlm"].sum.backward()
    assert all(p.grad is not None for p in trial.method.parameters())
    assert all(p.grad is not None for p in trial.encoder.blocks.parameters())


@torch.no_grad()
def test_the_partner_is_masked() -> None:
    trial = Trial("veco")
    batch = batch_of(trial)
    text, spot = batch["text"], batch["text"].starts[7] + 1  # in the partner of sentence 2
    before = trial.encoder(text).tokens()
    changed = text.with_ids(text.ids.clone().index_fill_(0, torch.tensor([spot]), 7))
    after = trial.encoder(changed).tokens()
    crossed = [
        trial.method.states_with_plugs(trial.encoder, t, s, batch["partners"])
        for t, s in ((text, before), (changed, after))
    ]
    moved = [
        not torch.allclose(a, b, atol=1e-6) for a, b in zip(*(c.split(text.lengths) for c in crossed), strict=True)
    ]
    assert [row for row in range(10) if moved[row]] == [2, 7]


def tried(trial: Trial) -> TrainedMethod:
    """The trial as a probe sees it, on a few pairs of its own sample."""
    trial.step.eval()
    return TrainedMethod(encoder().eval(), trial.encoder, trial.method, corpora(VECO), sample()[:60])


def test_transformers_loads_the_export_as_the_unplugged_encoder_bit_for_bit() -> None:
    trial = Trial("veco")
    run = trial.run()
    for _ in range(3):
        run.step()
    trained = tried(trial)
    text = probes.masked_pairs(trained)["text"]
    assert probes.unplugged_difference(trained, text) == 0.0
    with torch.no_grad():
        trial.encoder.blocks[0].output.dense.weight[0, 0] += 1e-3
    export, trained.method.export = trained.method.export, lambda changed: encoder()
    assert probes.unplugged_difference(trained, text) > 0.0
    trained.method.export = export
    assert probes.unplugged_difference(trained, text) == 0.0


@torch.no_grad()
def test_the_probe_uses_the_same_masks_with_a_partner_of_the_same_language() -> None:
    trial = Trial("veco")
    trained = tried(trial)
    batch = probes.masked_pairs(trained)
    text, codes = batch["text"], batch["codes"]
    others = next_of_language(codes)
    n = len(codes)
    assert sorted(others) == list(range(n))
    assert all(a != b and codes[a] == codes[b] for a, b in enumerate(others))
    alone = trial.encoder(text).tokens()
    states, partners = probes.shuffle_partners(alone, text, codes)
    together = trial.method.states_with_plugs(trial.encoder, text, states, partners).split(text.lengths)
    rows = text.ids.split(text.lengths)
    for place, partner in ((0, n + others[0]), (n + 3, others[3])):  # each alone, over that partner
        pair = pack([rows[place].numpy(), rows[partner].numpy()])
        apart = trial.method.states_with_plugs(
            trial.encoder, pair, trial.encoder(pair).tokens(), Layout.of((pair.lengths[1], pair.lengths[0]))
        )
        torch.testing.assert_close(together[place], apart.split(pair.lengths)[0], atol=1e-5, rtol=0)
    assert set(probes.plugged_losses(trained)) == {"ca_mlm", "ca_mlm_shuffled"}


@pytest.mark.long
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_translation_helps_on_held_out_pairs(seed: int) -> None:
    """The claim is the translation's, not that of more layers: the same plugs over another sentence of the language,
    and as much training without plugs, both do worse on the same masks."""
    found = probes.veco(seed)
    assert found["ca_mlm"] < found["mlm"]
    assert found["ca_mlm"] < found["ca_mlm_shuffled"] - 0.1
    assert found["ca_mlm"] < found["mlm_without"]
    assert found["unplugged_difference"] == 0.0
