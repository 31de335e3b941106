"""PPA does what its paper says: queue and momentum, sides that change places, code-switching at fine-tuning."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from harness.errors import UserError
from harness.experiments.plan import plan_run
from harness.experiments.recipe import make_recipe
from harness.experiments.stage import Stage, Workbench
from harness.records import Corpus, TaggedSentence, TextPair
from harness.storage.artifacts import Artifacts
from harness.training.loop import Rate
from methods.ppa import PPA
from methods.ppa_switch import PPASwitch
from tasks.pawsx import SPEC
from tests.support.reference_encoder import ReferenceEncoder
from tests.support.small_babel import SMALL, URI, Trial, corpora, encoder, isolated, method_class, perturb, source
from validation.probes import sentences


@pytest.fixture(autouse=True)
def _alone() -> Iterator[None]:
    with isolated():
        yield


def keys_of(trial: Trial) -> list[Tensor]:
    """A list that fills with the keys of every micro-batch."""
    seen: list[Tensor] = []
    trial.method.momentum_copy["head"].register_forward_hook(lambda *call: seen.append(call[2].detach().clone()))
    return seen


@pytest.mark.parametrize(("batch", "accumulation"), [(10, 1), (5, 2)])
def test_the_queue_overwrites_the_oldest_keys(batch: int, accumulation: int) -> None:
    trial = Trial("ppa")
    keys, run = keys_of(trial), trial.run(batch=batch, accumulation=accumulation)
    queue, sentences, collate = trial.method.queue, [], trial.method.collate

    def watched(examples: Any, rng: Any) -> Any:
        sentences.extend(example.sentence for example in examples)
        return collate(examples, rng)

    run.collate = watched
    for step in range(1, 4):
        run.step()
        pushed = torch.cat(keys)
        assert len(pushed) == int(queue.pushed) == 10 * step
        places = torch.arange(max(0, 10 * step - len(queue)), 10 * step)
        assert torch.equal(queue.keys[places % len(queue)], pushed[places])
        assert queue.item_ids[places % len(queue), 0].tolist() == [sentences[place] for place in places]
        assert queue.empty_mask().tolist() == [place >= 10 * step for place in range(len(queue))]


def test_the_queue_keeps_the_end_of_a_larger_batch() -> None:
    trial = Trial("ppa", queue=8)
    keys, run = keys_of(trial), trial.run(batch=12)
    for _ in range(2):
        run.step()
        newest = {tuple(row) for row in keys[-1][-8:].tolist()}
        assert {tuple(row) for row in trial.method.queue.keys.tolist()} == newest


def test_the_copies_follow_by_momentum_and_take_no_gradient() -> None:
    trial = Trial("ppa", momentum=0.9)
    run, slow = trial.run(), trial.method.momentum_copy["encoder"]
    assert not [p for p in trial.method.momentum_copy.parameters() if any(p is trained for trained in run.parameters)]
    for _ in range(2):
        before = [p.clone() for p in slow.parameters()]
        run.step()
        for old, ours, theirs in zip(before, trial.encoder.parameters(), slow.parameters(), strict=True):
            torch.testing.assert_close(theirs, 0.9 * old + 0.1 * ours)
            assert not theirs.requires_grad
            assert theirs.grad is None
    assert slow.model.cls.predictions.decoder.weight is slow.input_embeddings
    assert trial.encoder.training
    assert not any(module.training for module in slow.modules()), "a frozen copy draws no dropout"


def test_the_contrast_reaches_the_query_side_alone() -> None:
    trial = Trial("ppa")
    trial.run().step()
    trial.method.loss(trial.encoder, trial.batch(), 0)["contrast"].sum.backward()
    assert all(p.grad is not None for p in (*trial.method.head.parameters(), trial.encoder.input_embeddings))
    assert all(p.grad is None for p in trial.method.momentum_copy.parameters())
    assert trial.encoder.model.cls.predictions.transform.dense.weight.grad is None
    assert not trial.method.queue.keys.requires_grad


@torch.no_grad()
def test_the_loss_is_that_of_the_paper(tmp_path: Path) -> None:
    trial = Trial("ppa", dropout=0.0, queue=7)
    trial.step.eval()
    trial.method.queue.keys[:5] = torch.randn(5, 16, generator=torch.Generator().manual_seed(0))
    trial.method.queue.pushed += 5
    perturb(trial.method.momentum_copy)
    batch = trial.batch(4)
    trial.method.queue.item_ids[2, 0] = batch["sentence_ids"][1, 0]  # a key of the second pair, pushed some steps ago
    models = [
        ReferenceEncoder(encoder, tmp_path / name).model
        for name, encoder in (("fast", trial.encoder), ("slow", trial.method.momentum_copy["encoder"]))
    ]
    trial.step.double()
    terms = trial.method.loss(trial.encoder, batch, 0)
    for name, value in (("tlm", tlm_by_hand(models[0], batch)), ("contrast", contrast_by_hand(models, trial, batch))):
        assert float(terms[name].sum) / terms[name].count == pytest.approx(value, rel=1e-5)


def tlm_by_hand(model: Any, batch: Any) -> float:
    text, labels = batch["text"], dict(zip(batch["positions"].tolist(), batch["labels"].tolist(), strict=True))
    losses, start = [], 0
    for ids, segments in zip(text.ids.split(text.lengths), text.segments.split(text.lengths), strict=True):
        logits = model(ids[None], token_type_ids=segments[None]).logits[0]
        for place in range(len(ids)):
            if start + place in labels:
                row = logits[place]
                losses.append(float(row.exp().sum().log() - row[labels[start + place]]))
        start += len(ids)
    assert len(losses) == len(labels)
    return float(np.mean(losses))


def contrast_by_hand(models: list[Any], trial: Trial, batch: Any) -> float:
    heads = [list(head.parameters()) for head in (trial.method.head, trial.method.momentum_copy["head"])]

    def project(ids: Tensor, side: int) -> Tensor:
        w1, b1, w2, b2 = heads[side]
        first = models[side](ids[None], output_hidden_states=True).hidden_states[-1][0, 0]
        out: Tensor = w2 @ torch.clamp(w1 @ first + b1, min=0) + b2
        return out

    losses = []
    sides = (batch[side].ids.split(batch[side].lengths) for side in ("queries", "keys"))
    for i, (x, y) in enumerate(zip(*sides, strict=True)):
        held = [key for place, key in enumerate(trial.method.queue.keys[:5]) if (i, place) != (1, 2)]
        q, candidates = project(x, 0), [project(y, 1), *held]
        s = [math.exp(float(q @ k / (q.norm() * k.norm())) / 0.05) for k in candidates]
        losses.append(-math.log(s[0] / sum(s)))
    return float(np.mean(losses))


def test_the_order_of_the_sides_is_random_and_the_joint_text_has_both() -> None:
    trial = Trial("ppa")
    examples = [trial.examples[i] for i in range(32)]
    batch = trial.method.collate(examples, np.random.default_rng(0))
    queries, keys = (batch[n].ids.split(batch[n].lengths) for n in ("queries", "keys"))
    swapped = [not np.array_equal(q, e.source) for q, e in zip(queries, examples, strict=True)]
    assert 8 < sum(swapped) < 24
    for q, k, length in zip(queries, keys, batch["text"].lengths, strict=True):
        assert length == min(len(q), 24) + min(len(k), 24) - 1
    assert set(batch["text"].segments.tolist()) == {0, 1}


def switch(**config: Any) -> Any:
    method = PPASwitch(PPASwitch.Config(**config))
    method.prepare_finetuning(corpora(PPASwitch))
    return method


def test_clusters_of_several_pairs_are_refused() -> None:
    """As where all hypotheses of a premise share a cluster: another pair's label would be learnt."""

    class Premises:
        def records(self, kind: Corpus) -> list[TextPair]:
            return [TextPair(f"a-{label}", "x", "y", label, "premise-1") for label in ("entailment", "neutral")]

    with pytest.raises(UserError, match="do not tell which pairs"):
        PPASwitch(PPASwitch.Config()).prepare_finetuning(Premises())  # type: ignore[arg-type]


def test_a_switched_pair_keeps_its_meaning() -> None:
    method = switch()
    records: Any = source().task(SPEC, "qaa", "train")[:20]
    rng = np.random.default_rng(0)
    mixed = 0
    for record in records:
        allowed = [record, *method.versions[record.cluster]]
        assert len(allowed) == len(source().languages)
        for _ in range(12):
            made = method.finetune_example(record, rng)
            assert (made.id, made.label, made.cluster) == (record.id, record.label, record.cluster)
            assert made.first in {pair.first for pair in allowed}
            assert made.second in {pair.second for pair in allowed}
            mixed += (made.first == record.first) != (made.second == record.second)
    assert 60 < mixed < 180
    sentence = TaggedSentence("a", ("b",), ("c",))
    assert method.finetune_example(sentence, rng) is sentence


def test_the_rate_of_switching_is_a_setting() -> None:
    never, always, rng = switch(code_switch=0.0), switch(code_switch=1.0), np.random.default_rng(0)
    records: Any = source().task(SPEC, "qaa", "train")
    for record in records:
        whole = never.finetune_example(record, rng)
        versions = {(pair.first, pair.second) for pair in (record, *never.versions[record.cluster])}
        assert (whole.first, whole.second) in versions
        half = always.finetune_example(record, rng)
        assert half.first == record.first or half.second == record.second


def test_a_source_without_translated_training_sets_is_refused(shared: Path, tmp_path: Path) -> None:
    assert PPASwitch.needs - PPA.needs == {"translated-train"}
    encoder().save(tmp_path / "base")
    uri = f"folder:{shared / 'data' / 'open'}"
    assert stages_of("ppa", tmp_path / "base", uri, languages="available")
    with pytest.raises(UserError, match="ppa-switch needs a corpus that the source does not have") as refused:
        stages_of("ppa-switch", tmp_path / "base", uri, languages="available")
    assert refused.value.expected == "translated-train"


def test_a_source_without_pairs_to_switch_is_refused() -> None:
    class Without:
        def records(self, kind: Any) -> list[Any]:
            return [TaggedSentence("a", ("b",), ("c",))]

    with pytest.raises(UserError, match="nothing to switch to") as refused:
        PPASwitch().prepare_finetuning(Without())  # type: ignore[arg-type]
    assert "`ppa`" in str(refused.value.remedy)


class Silent:
    def update(self, rate: Rate) -> None:
        """Shows nothing."""


def stages_of(name: str, base: Path, uri: str = URI, **more: Any) -> dict[tuple[str, str | None], Stage]:
    method_class(name)
    changes = ["align.steps=2", "align.batch_size=8", "sample.size=64", "align.max_length=48"]
    changes += [f"config.{field}={value}" for field, value in SMALL[name].items()]
    tasks = ["tasks.pawsx.epochs=1", "tasks.pawsx.max_dev=20"]
    recipe = make_recipe(
        method=name,
        base=str(base),
        source=uri,
        suite="xtreme-align",
        protocol="mini",
        changes=[*changes, *tasks],
        **more,
    )
    return {(stage.kind, stage.task): stage for stage in plan_run(recipe, 1).stages}


def test_a_run_passes_the_corpus_to_the_hook(tmp_path: Path) -> None:
    encoder().save(tmp_path / "base")
    bench = Workbench(Artifacts(tmp_path / "artifacts"), torch.device("cpu"), Silent())
    read = {}
    for name in ("ppa", "ppa-switch"):
        stages = stages_of(name, tmp_path / "base")
        chosen = [stages[key] for key in (("sample", None), ("align", None), ("finetune", "pawsx"))]
        results = [stage.execute(bench) for stage in chosen]
        read[name] = results[-1].cost["tokens"]
        translated = [cell for cell in chosen[-1].data if cell.startswith("translated-train/")]
        assert len(translated) == (len(source().languages) - 1 if "switch" in name else 0)
    assert read["ppa"] != read["ppa-switch"]


@pytest.mark.long
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_queue_and_hook_in_a_small_world(seed: int) -> None:
    found = sentences.ppa(seed)
    assert found["queue_own"] > 0.9
    assert 0.4 < found["queue_pivot"] < 0.6
    assert found["retrieval"] > max(found["retrieval_base"], found["retrieval_without"])
    assert found["switched"] > 0.5
    assert found["mixed"] > 0.2
    assert found["label_kept"] == 1.0
