"""InfoXLM: mixed-up views, a queue that must be full, raw dot products of a middle layer."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from harness.modeling.encoder import Encoder
from harness.training.loop import Run, train
from methods.objectives.bilingual import mix_pairs
from tests.support.reference_encoder import ReferenceEncoder
from tests.support.small_babel import (
    Trial,
    corpora,
    encoder,
    isolated,
    method_class,
    perturb,
    sample,
    settings,
    tokenizer,
)
from validation.probes import sentences


@pytest.fixture(autouse=True)
def _alone() -> Iterator[None]:
    with isolated():
        yield


def test_mixed_pairs_have_two_pairs_of_one_language_in_any_order() -> None:
    trial = Trial("infoxlm")
    examples = [trial.examples[i] for i in range(40)]
    language = {e.target.tobytes(): e.language for e in examples}
    partner = {e.source.tobytes(): e.target.tobytes() for e in examples}
    seen, orders, swaps, languages = 0, [0, 0], 0, {e.language for e in examples}
    numbers = {e.target.tobytes(): e.sentence for e in examples}
    for view in mix_pairs(examples, np.random.default_rng(0)):
        query, key = ([side.tobytes() for side in sides] for sides in (view.queries, view.keys))
        swapped = query[0] not in partner
        x, y = (key, query) if swapped else (query, key)
        assert {partner[side] for side in x} == set(y), "translations of each other"
        assert {numbers[side] for side in y} == set(view.sentences)
        assert len({language[side] for side in y}) == 1
        orders[[partner[side] for side in x] == y] += 1
        swaps += swapped
        seen += 1
    counts = [sum(e.language == code for e in examples) for code in languages]
    assert seen == sum(-(-count // 2) for count in counts)
    assert min(orders) > 3
    assert 3 < swaps < seen - 3


def test_mixed_pairs_are_masked_and_joined() -> None:
    trial = Trial("infoxlm")
    batch = trial.batch(24)
    for name in ("queries", "keys"):
        text = batch[name]
        assert set(text.segments.tolist()) == {0, 1}
        assert 0.05 < float((text.ids == tokenizer().mask_id).float().mean()) < 0.2
    assert len(batch["queries"]) == len(batch["keys"])


def test_the_contrast_starts_when_the_queue_is_full() -> None:
    for wait in (True, False):
        trial = Trial("infoxlm", queue=40, wait_for_queue=wait)
        run, per_step = trial.run(), len(trial.batch()["keys"])
        found = []
        for _ in range(8):
            full = not bool(trial.method.queue.empty_mask().any())
            run.step()
            found.append((full, run.read_losses()["xlco"]))
        assert per_step < 40
        assert {full for full, _ in found} == {True, False}
        assert found[0][1] == pytest.approx(0.0, abs=1e-6)
        assert all(loss > 0 for full, loss in found if full)
        assert all((loss == 0) == wait for full, loss in found[1:] if not full)


def test_the_queue_is_filled_before_the_first_step() -> None:
    trial, again, other = (Trial("infoxlm", queue=40, fill_queue=fill) for fill in (True, True, False))
    queue = trial.method.queue
    assert not queue.empty_mask().any()
    assert other.method.queue.empty_mask().all()
    assert queue.keys.norm(dim=1).min() > 0
    assert torch.equal(queue.keys, again.method.queue.keys), "the keys follow the seed"
    assert set(queue.item_ids.flatten().tolist()) <= {pair.sentence for pair in sample()}
    run = trial.run()
    run.step()
    assert run.read_losses()["xlco"] > 0, "the first step has negatives"


def test_a_resumed_run_keeps_the_queue_of_its_checkpoint(tmp_path: Path) -> None:
    whole, broken, again = (Trial("infoxlm", queue=40, fill_queue=True) for _ in range(3))
    again.method.queue.keys.zero_()  # as if other keys had filled it
    chosen = settings(steps=3, checkpoint_seconds=0.0)
    train(whole.step, whole.examples, whole.method.collate, chosen)
    started = Run(broken.step, broken.examples, broken.method.collate, chosen, tmp_path / "state")
    started.step()
    started.save()
    train(again.step, again.examples, again.method.collate, chosen, checkpoint=tmp_path / "state")
    for (key, a), b in zip(whole.step.state_dict().items(), again.step.state_dict().values(), strict=True):
        assert torch.equal(a, b), key


@pytest.mark.parametrize("seed", [0, 1])
def test_pooled_counts_divide_the_sum_of_all_terms_by_all_items(seed: int) -> None:
    plain, pooled = (Trial("infoxlm", dropout=0.0, pooled_counts=value, fill_queue=True) for value in (False, True))
    batch = plain.batch(8, seed)
    parts, terms = (trial.method.loss(trial.encoder, batch, 0) for trial in (plain, pooled))
    items = len(batch["labels"]) + len(batch["alone_labels"]) + len(batch["queries"])
    assert sum(term.count for term in parts.values()) == items
    assert {term.count for term in terms.values()} == {items}
    assert pooled.method.counts(batch, 0) == dict.fromkeys(("tlm", "mlm", "xlco"), items)
    expected = sum(float(term.sum.detach()) for term in parts.values()) / items
    assert float(pooled.loss(batch).detach()) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", ["infoxlm", "xlm-align"])
def test_a_dropout_of_its_own_ends_with_the_alignment(name: str, tmp_path: Path) -> None:
    cls = method_class(name)
    trained, reads = encoder(dropout=0.1), corpora(cls)
    method = cls(cls.Config(dropout=0.0))
    method.build(trained, reads)
    text = method.collate([method.examples(reads)[i] for i in range(4)], np.random.default_rng(0))["text"]
    trained.train()
    assert torch.equal(trained(text).tokens(), trained(text).tokens())
    method.export(trained).save(tmp_path)
    again = Encoder.load(tmp_path).train()
    assert not torch.equal(again(text).tokens(), again(text).tokens()), "fine-tuning has the base's dropout"


@pytest.mark.parametrize("normalize", [False, True])
@torch.no_grad()
def test_the_loss_is_that_of_the_paper(normalize: bool, tmp_path: Path) -> None:
    trial = Trial("infoxlm", dropout=0.0, queue=5, normalize=normalize, layer=1)
    trial.step.eval()
    held = torch.randn(5, 64, generator=torch.Generator().manual_seed(0))
    trial.method.queue.keys[:] = held
    trial.method.queue.pushed += 5
    slow = trial.method.momentum_copy
    perturb(slow)
    batch = trial.batch(6)
    trial.method.queue.item_ids[0, 1] = batch["sentence_ids"][
        0, 0
    ]  # a key that has a sentence in common with the first query
    model, copy = (
        ReferenceEncoder(encoder, tmp_path / name).model
        for name, encoder in (("fast", trial.encoder), ("slow", slow["encoder"]))
    )
    trial.step.double()
    terms = trial.method.loss(trial.encoder, batch, 0)
    rows = [
        vectors_by_hand(model, trial.method.project.weight, batch["queries"]),
        vectors_by_hand(copy, slow["project"].weight, batch["keys"]),
    ]
    losses = []
    for i, (q, k) in enumerate(zip(*rows, strict=True)):
        others = held.double()[1:] if batch["sentence_ids"][0, 0] in batch["sentence_ids"][i] else held.double()
        scores = [float(q @ v) / (float(q.norm() * v.norm()) if normalize else 1.0) for v in (k, *others)]
        losses.append(math.log(sum(math.exp(s / 0.25) for s in scores)) - scores[0] / 0.25)
    assert float(terms["xlco"].sum) / terms["xlco"].count == pytest.approx(np.mean(losses), rel=1e-9)
    for name, prefix in (("tlm", ""), ("mlm", "alone_")):
        expected = masked_by_hand(model, batch, prefix)
        assert float(terms[name].sum) / terms[name].count == pytest.approx(expected, rel=1e-5)
    assert [terms[name].weight for name in ("tlm", "mlm", "xlco")] == [1, 1, 1]


def vectors_by_hand(model: Any, matrix: Tensor, text: Any) -> list[Tensor]:
    found = []
    for ids, segments in zip(text.ids.split(text.lengths), text.segments.split(text.lengths), strict=True):
        states = model(ids[None], token_type_ids=segments[None], output_hidden_states=True).hidden_states
        found.append(matrix @ states[1][0, 0])
    return found


def masked_by_hand(model: Any, batch: Any, prefix: str) -> float:
    text, labels = batch[f"{prefix}text"], batch[f"{prefix}labels"].tolist()
    parts = zip(text.ids.split(text.lengths), text.segments.split(text.lengths), strict=True)
    logits = torch.cat([model(ids[None], token_type_ids=segments[None]).logits[0] for ids, segments in parts])
    rows = logits[batch[f"{prefix}positions"]]
    return float(np.mean([float(row.exp().sum().log() - row[label]) for row, label in zip(rows, labels, strict=True)]))


def test_the_contrast_reaches_the_query_side_up_to_its_layer() -> None:
    trial = Trial("infoxlm", wait_for_queue=False, layer=1)
    trial.run().step()
    trial.method.loss(trial.encoder, trial.batch(), 0)["xlco"].sum.backward()
    assert trial.method.project.weight.grad is not None
    assert all(p.grad is not None for p in trial.encoder.blocks[0].parameters())
    assert all(p.grad is None for p in trial.encoder.blocks[1].parameters())
    assert all(p.grad is None for p in trial.method.momentum_copy.parameters())


def test_the_layer_is_one_of_the_base() -> None:
    assert Trial("infoxlm").method.layer == 1
    assert Trial("infoxlm", layer=-1).method.layer == 2
    with pytest.raises(ValueError, match="layer 8 of an encoder with 2 layers"):
        Trial("infoxlm", layer=8)


@pytest.mark.long
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_translations_get_closer_on_held_out_pairs(seed: int) -> None:
    found = sentences.infoxlm(seed)
    assert found["retrieval"] > found["retrieval_base"]
    assert found["retrieval"] > found["retrieval_without"]
    assert found["tlm"] < found["tlm_shuffled"]
