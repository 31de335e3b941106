"""XLM-E: a generator that replaces, a discriminator that detects, no gradient between them, the detector exported."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import AutoModelForMaskedLM

from harness.training.loop import Run
from methods.xlm_e import sample_tokens
from tests.support.small_babel import Trial, isolated, settings, tokenizer
from validation.probes import language_models


@pytest.fixture(autouse=True)
def _alone() -> Iterator[None]:
    with isolated():
        yield


def test_the_generator_starts_from_the_first_layers_and_is_a_copy() -> None:
    trial = Trial("xlm-e")
    generator, encoder = trial.method.generator, trial.encoder
    assert (generator.depth, encoder.depth) == (1, 2)
    assert Trial("xlm-e", generator_layers=2).method.generator.depth == 2
    ours = dict(encoder.named_parameters())
    for name, parameter in generator.named_parameters():
        assert torch.equal(parameter, ours[name])
        assert (parameter is ours[name]) == ("word_embeddings" in name)
    assert generator.model.get_output_embeddings().weight is encoder.input_embeddings, "and so is the output"
    with pytest.raises(ValueError, match="layer 3 of an encoder with 2 layers"):
        Trial("xlm-e", generator_layers=3)


def test_samples_follow_the_probabilities_of_the_generator() -> None:
    logits = torch.log(torch.tensor([[0.2, 0.0, 0.5, 0.3]]))
    for draw, token in ((0.0, 0), (0.19, 0), (0.21, 2), (0.69, 2), (0.71, 3), (0.999999, 3)):
        assert sample_tokens(logits, torch.tensor([draw])).item() == token
    draws = torch.from_numpy(np.random.default_rng(0).random(20_000))
    shares = torch.bincount(sample_tokens(logits.expand(20_000, -1), draws), minlength=4) / 20_000
    torch.testing.assert_close(shares, torch.tensor([0.2, 0.0, 0.5, 0.3]), atol=0.02, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("prefix", ["", "alone_"])
def test_only_masked_tokens_change_and_each_change_is_marked(prefix: str) -> None:
    trial = Trial("xlm-e")
    trial.step.eval()
    batch = trial.batch(8)
    made = trial.method.replace_tokens(batch, prefix)
    original = batch[f"{prefix}text"].ids.clone()
    original[batch[f"{prefix}positions"]] = batch[f"{prefix}labels"]
    assert torch.equal(made.replaced, made.text.ids != original)
    assert made.replaced.any()
    changed = set(made.replaced.nonzero().flatten().tolist())
    assert changed <= set(batch[f"{prefix}positions"].tolist())
    assert torch.equal(made.text.ids, trial.method.replace_tokens(batch, prefix).text.ids), "the batch holds the draws"
    assert not torch.equal(made.text.ids, trial.method.replace_tokens(trial.batch(8, seed=1), prefix).text.ids)


@torch.no_grad()
def test_the_loss_is_that_of_the_paper(tmp_path: Path) -> None:
    trial = Trial("xlm-e", dropout=0.0)
    trial.step.eval()
    models = {}
    for name, encoder in (("generator", trial.method.generator), ("encoder", trial.encoder)):
        encoder.save(tmp_path / name)
        models[name] = AutoModelForMaskedLM.from_pretrained(
            tmp_path / name, dtype=torch.float64, attn_implementation="eager"
        ).eval()
    trial.step.double()
    batch = trial.batch(4)
    terms = trial.method.loss(trial.encoder, batch, 0)
    total = 0.0
    for prefix, masked_lm, detection in (("", "tlm", "trtd"), ("alone_", "mlm", "mrtd")):
        expected = by_hand(trial, models, batch, prefix)
        for name, value in zip((masked_lm, detection), expected, strict=True):
            assert float(terms[name].sum) / terms[name].count == pytest.approx(value, rel=1e-5)
        total += expected[0] + 50 * expected[1]
    assert float(trial.loss(batch)) == pytest.approx(total, rel=1e-5)


def by_hand(trial: Trial, models: Any, batch: Any, prefix: str) -> tuple[float, float]:
    """Means of the generator's and the discriminator's losses, sentence by sentence and token by token."""
    text, draws = batch[f"{prefix}text"], batch[f"{prefix}draws"].tolist()
    masked = dict(zip(batch[f"{prefix}positions"].tolist(), batch[f"{prefix}labels"].tolist(), strict=True))
    w1, b1, w2, b2 = trial.method.head.parameters()
    generating, detecting, start = [], [], 0
    for ids, segments in zip(text.ids.split(text.lengths), text.segments.split(text.lengths), strict=True):
        logits = models["generator"](ids[None], token_type_ids=segments[None]).logits[0]
        filled, replaced = ids.tolist(), [False] * len(ids)
        for place in range(len(ids)):
            if start + place not in masked:
                continue
            label, draw = masked[start + place], draws[len(generating)]
            generating.append(float(logits[place].exp().sum().log() - logits[place, label]))
            filled[place] = drawn_by_hand(logits[place], draw)
            replaced[place] = filled[place] != label
        arguments = {"token_type_ids": segments[None], "output_hidden_states": True}
        states = models["encoder"](torch.tensor([filled]), **arguments).hidden_states[-1][0]
        for state, changed in zip(states, replaced, strict=True):
            inner = w1 @ state + b1
            inner = inner * (1 + torch.erf(inner / math.sqrt(2))) / 2
            probability = 1 / (1 + math.exp(-float(w2 @ inner + b2)))
            detecting.append(-math.log(probability if changed else 1 - probability))
        start += len(ids)
    assert len(generating) == len(masked)
    return float(np.mean(generating)), float(np.mean(detecting))


def drawn_by_hand(logits: Tensor, draw: float) -> int:
    weights, reached = logits.exp().tolist(), 0.0
    for token, weight in enumerate(weights):
        reached += weight / sum(weights)
        if reached > draw:
            return token
    return len(weights) - 1


def test_no_gradient_passes_between_generator_and_discriminator() -> None:
    trial = Trial("xlm-e")
    shared = trial.encoder.input_embeddings
    terms = trial.method.loss(trial.encoder, trial.batch(), 0)
    (terms["trtd"].sum + terms["mrtd"].sum).backward(retain_graph=True)
    assert all(p.grad is None for p in trial.method.generator.parameters() if p is not shared)
    assert all(p.grad is not None for p in (*trial.encoder.base.parameters(), *trial.method.head.parameters()))
    trial.step.zero_grad()
    (terms["tlm"].sum + terms["mlm"].sum).backward()
    assert all(p.grad is not None for p in trial.method.generator.parameters())
    own = [p for p in (*trial.encoder.parameters(), *trial.method.head.parameters()) if p is not shared]
    assert all(p.grad is None for p in own)


def test_selected_tokens_are_masked_or_kept_and_never_random() -> None:
    trial = Trial("xlm-e", mask_rate=0.9)
    batch, mask = trial.batch(48), tokenizer().mask_id
    seen = batch["text"].ids[batch["positions"]]
    assert ((seen == mask) | (seen == batch["labels"])).all()
    assert float((seen == mask).float().mean()) == pytest.approx(0.85, abs=0.03)


def test_the_shared_embeddings_stay_shared_in_training_and_over_a_checkpoint(tmp_path: Path) -> None:
    trial, again = Trial("xlm-e"), Trial("xlm-e")
    run = trial.run()
    run.step()
    run.checkpoint = tmp_path / "state"
    run.save()
    Run(again.step, again.examples, again.method.collate, settings(), tmp_path / "state").resume()
    for made in (trial, again):
        assert made.method.generator.input_embeddings is made.encoder.input_embeddings
    assert torch.equal(again.encoder.input_embeddings, trial.encoder.input_embeddings)


def test_the_discriminator_is_exported() -> None:
    trial = Trial("xlm-e")
    assert trial.method.export(trial.encoder) is trial.encoder
    assert trial.encoder.tokenizer is tokenizer()


@pytest.mark.long
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_replaced_tokens_are_detected_in_held_out_pairs(seed: int) -> None:
    found = language_models.xlm_e(seed)
    assert found["trtd"] > 0.8
    assert found["mrtd"] > 0.7, "without the translation, a word that fits is not seen to be replaced"
