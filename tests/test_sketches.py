"""The sketches do what their papers say: queue and momentum, attention that unplugs, a decoder that is dropped."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_world import SMALL, URI, Trial, alone, corpora, encoder, method_class, source, tokenizer
from torch import Tensor

from harness.artifacts import Artifacts
from harness.plan import Stage, plan_run
from harness.recipe import make_recipe
from harness.records import TaggedSentence
from harness.registry import loaded_plugins
from harness.stages import Done, Workbench, work
from harness.training import Rate
from tasks.pawsx import SPEC


@pytest.fixture(autouse=True)
def _alone() -> Iterator[None]:
    with alone():
        yield


def keys_of(trial: Trial) -> list[Tensor]:
    """A list that fills with the keys of every micro-batch."""
    seen: list[Tensor] = []
    trial.method.slow["head"].register_forward_hook(lambda *call: seen.append(call[2].detach().clone()))
    return seen


@pytest.mark.parametrize(("batch", "accumulation"), [(10, 1), (5, 2)])
def test_the_queue_holds_the_newest_keys_in_a_ring(batch: int, accumulation: int) -> None:
    trial = Trial("ppa-sketch")
    keys, run = keys_of(trial), trial.run(batch=batch, accumulation=accumulation)
    queue = trial.method.queue
    for step in range(1, 4):
        run.step()
        pushed = torch.cat(keys)
        assert len(pushed) == int(trial.method.pushed) == 10 * step
        places = torch.arange(max(0, 10 * step - len(queue)), 10 * step)
        assert torch.equal(queue[places % len(queue)], pushed[places])
    assert not trial.method.fresh


def test_a_batch_larger_than_the_queue_leaves_its_end() -> None:
    trial = Trial("ppa-sketch", queue=8)
    keys, run = keys_of(trial), trial.run(batch=12)
    run.step()
    assert torch.equal(trial.method.queue, keys[0][-8:])


def test_the_copies_follow_by_momentum_and_take_no_gradient() -> None:
    trial = Trial("ppa-sketch", momentum=0.9)
    run, slow = trial.run(), trial.method.slow["encoder"]
    assert not [p for p in trial.method.slow.parameters() if any(p is trained for trained in run.parameters)]
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


@torch.no_grad()
def test_momentum_contrast_by_hand() -> None:
    trial = Trial("ppa-sketch", queue=7)
    rng = torch.Generator().manual_seed(0)
    queries, keys = (torch.randn(3, 16, generator=rng, dtype=torch.float64) for _ in range(2))
    trial.method.queue[:5] = torch.randn(5, 16, generator=rng)
    trial.method.pushed += 5
    expected = []
    for q, k in zip(queries, keys, strict=True):
        s = [math.exp(float(q @ v / (q.norm() * v.norm())) / 0.05) for v in (k, *trial.method.queue[:5].double())]
        expected.append(-math.log(s[0] / sum(s)))
    term = trial.method.contrast(queries, keys)
    assert float(term.sum) / term.count == pytest.approx(np.mean(expected), rel=1e-9)


def test_sides_change_places_and_the_joint_text_holds_both() -> None:
    trial = Trial("ppa-sketch")
    examples = [trial.examples[i] for i in range(32)]
    batch = trial.method.collate(examples, np.random.default_rng(0))
    queries, keys = (batch[n].ids.split(batch[n].lengths) for n in ("queries", "keys"))
    swapped = [not np.array_equal(q, e.source) for q, e in zip(queries, examples, strict=True)]
    assert 8 < sum(swapped) < 24
    for q, k, length in zip(queries, keys, batch["text"].lengths, strict=True):
        assert length == min(len(q), 24) + min(len(k), 24) - 1
    assert set(batch["text"].segments.tolist()) == {0, 1}


def test_a_switched_pair_keeps_its_meaning() -> None:
    method = method_class("ppa-switch-sketch")()
    method.prepare_finetuning(corpora(type(method)))
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
    assert 60 < mixed < 200
    sentence = TaggedSentence("a", ("b",), ("c",))
    assert method.finetune_example(sentence, rng) is sentence


class Silent:
    def update(self, rate: Rate) -> None:
        """Shows nothing."""


def stages_of(name: str, base: Path) -> dict[tuple[str, str | None], Stage]:
    method_class(name)
    changes = ["align.steps=2", "align.batch_size=8", "sample.size=64", "align.max_length=48"]
    changes += [f"config.{field}={value}" for field, value in SMALL[name].items()]
    tasks = ["tasks.pawsx.epochs=1", "tasks.pawsx.max_dev=20"]
    recipe = make_recipe(
        method=name, base=str(base), source=URI, suite="xtreme-align", protocol="mini", changes=[*changes, *tasks]
    )
    return {(stage.kind, stage.task): stage for stage in plan_run(recipe, 1, loaded_plugins()).stages}


def test_a_run_hands_the_hook_its_corpus(tmp_path: Path) -> None:
    encoder().save(tmp_path / "base")
    bench = Workbench(Artifacts(tmp_path / "artifacts"), torch.device("cpu"), Silent())
    read = {}
    for name in ("ppa-sketch", "ppa-switch-sketch"):
        stages = stages_of(name, tmp_path / "base")
        chosen = [stages[key] for key in (("sample", None), ("align", None), ("finetune", "pawsx"))]
        done: list[Done] = [work(stage, bench) for stage in chosen]
        read[name] = done[-1].cost["tokens"]
        translated = [cell for cell in chosen[-1].data if cell.startswith("translated-train/")]
        assert len(translated) == (len(source().languages) - 1 if "switch" in name else 0)
    assert read["ppa-sketch"] != read["ppa-switch-sketch"]


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
