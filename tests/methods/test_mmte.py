"""MMTE: a decoder that sees the source and no future, tied to the embeddings, and gone in the export."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import gelu, layer_norm

from harness.errors import UsageError
from harness.modeling.packing import pack
from methods.mmte import cross_entropy
from tests.support.small_babel import Trial, isolated, tokenizer
from validation.probes.language_models import mmte


@pytest.fixture(autouse=True)
def _alone() -> Iterator[None]:
    with isolated():
        yield


@torch.no_grad()
def test_the_decoder_attends_to_the_source_and_not_to_later_tokens() -> None:
    trial = Trial("mmte")
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
    trial = Trial("mmte")
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


@torch.no_grad()
def test_the_loss_is_that_of_the_paper() -> None:
    trial = Trial("mmte", dropout=0.0)
    trial.step.eval().double()
    batch = trial.batch(3)
    states = trial.encoder(batch["text"]).tokens().split(batch["text"].lengths)
    prefixes, losses, labels = batch["prefix"].ids.split(batch["prefix"].lengths), [], batch["labels"].tolist()
    for source, prefix, language in zip(states, prefixes, batch["languages"].tolist(), strict=True):
        for hidden in decoded_by_hand(trial, source, prefix, language):
            logits = trial.encoder.input_embeddings @ hidden
            losses.append(float(logits.exp().sum().log() - logits[labels[len(losses)]]))
    term = trial.method.loss(trial.encoder, batch, 0)["translation"]
    assert term.count == len(losses) == len(labels)
    assert float(term.sum) / term.count == pytest.approx(np.mean(losses), rel=1e-5)


@pytest.mark.parametrize("rows", [1, 4, 11, 64])
def test_cross_entropy_in_parts_has_value_and_gradients_of_the_whole(rows: int) -> None:
    torch.manual_seed(0)
    states, embeddings = torch.randn(11, 6), torch.randn(20, 6)
    labels = torch.randint(20, (11,))
    found = []
    for one_by_one in (False, True):
        leaves = [t.clone().requires_grad_() for t in (states, embeddings)]
        if one_by_one:
            loss = cross_entropy(*leaves, labels, rows)
        else:
            loss = torch.nn.functional.cross_entropy(leaves[0] @ leaves[1].T, labels, reduction="sum")
        found.append((loss, *torch.autograd.grad(loss * 2, leaves)))
    for whole, parts in zip(*found, strict=True):
        torch.testing.assert_close(parts, whole, atol=1e-5, rtol=1e-5)


def test_only_the_logits_of_one_part_are_in_memory() -> None:
    kept: list[int] = []

    def note(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel())
        return tensor

    states, embeddings = torch.randn(40, 6, requires_grad=True), torch.randn(200, 6, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        cross_entropy(states, embeddings, torch.zeros(40, dtype=torch.long), rows=10)
    assert max(kept, default=0) <= embeddings.numel(), "the graph holds logits (10 rows are 2,000 numbers)"


def decoded_by_hand(trial: Trial, source: Tensor, prefix: Tensor, language: int) -> list[Tensor]:
    """The decoder's states of one prefix, token by token: each is computed from the tokens up to it alone."""
    method, places = trial.method, range(len(prefix))
    hidden = [trial.encoder.input_embeddings[prefix[i]] + method.places[i] + method.languages[language] for i in places]
    for layer in method.layers:
        normed = [normal(h, layer.norms[0]) for h in hidden]
        hidden = [hidden[i] + attention(layer.own, normed[i], torch.stack(normed[: i + 1])) for i in places]
        hidden = [h + attention(layer.cross, normal(h, layer.norms[1]), source) for h in hidden]
        wide, narrow = layer.feed[0], layer.feed[2]
        hidden = [
            h + narrow.weight @ gelu(wide.weight @ normal(h, layer.norms[2]) + wide.bias) + narrow.bias for h in hidden
        ]
    return [normal(h, method.norm) for h in hidden]


def normal(vector: Tensor, norm: Any) -> Tensor:
    return layer_norm(vector, (64,), norm.weight, norm.bias, norm.eps)


def attention(part: Any, query: Tensor, keys: Tensor) -> Tensor:
    """One query (H,) over keys (L, H), with 8 heads of 8."""
    q, k, v = part.query(query), part.key(keys), part.value(keys)
    mixed = []
    for head in range(8):
        cut = slice(8 * head, 8 * head + 8)
        weights = torch.stack([(q[cut] @ key[cut] / math.sqrt(8)).exp() for key in k])
        mixed.append((weights / weights.sum()) @ v[:, cut])
    out: Tensor = part.output(torch.cat(mixed))
    return out


def test_gradients_reach_decoder_and_encoder_and_not_the_language_model_head() -> None:
    trial = Trial("mmte")
    trial.loss(trial.batch()).backward()
    assert all(p.grad is not None for p in trial.method.parameters())
    assert all(p.grad is not None for p in trial.encoder.base.parameters())
    assert trial.encoder.model.cls.predictions.transform.dense.weight.grad is None
    assert not any(p is trial.encoder.input_embeddings for p in trial.method.parameters()), "tied, not copied"


@torch.no_grad()
def test_greedy_translation_takes_the_best_token_each_time() -> None:
    trial = Trial("mmte")
    run = trial.run(steps=40, learning_rate=3e-3)
    with torch.enable_grad():
        for _ in range(40):
            run.step()
    trial.step.eval()
    method, batch, special = trial.method, trial.batch(3), tokenizer().special_ids
    made = method.translate(trial.encoder, batch["text"], batch["languages"])
    assert len(made) == 6
    for row, ids in enumerate(batch["text"].ids.split(batch["text"].lengths)):
        text = pack([ids.numpy()])
        states, prefix = trial.encoder(text).tokens(), [tokenizer().cls_id]
        while len(prefix) < 48 and (len(prefix) == 1 or prefix[-1] != tokenizer().sep_id):
            arguments = (states, text.layout, pack([prefix]), batch["languages"][row : row + 1])
            last = method.decode(trial.encoder, *arguments)[-1]
            prefix.append(int((trial.encoder.input_embeddings @ last).argmax()))
        assert made[row] == [token for token in prefix if token not in special]


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises(UsageError, match="do not fit the base"):
        Trial("mmte", heads=7)


@pytest.mark.long
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_decoder_translates_held_out_pairs(seed: int) -> None:
    found = mmte(seed)
    assert found["bleu"] > found["copy"]
    assert found["bleu"] > found["unigram"]
    assert found["bleu"] > found["shuffled"]
