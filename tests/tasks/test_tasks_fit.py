"""The trained families: they learn, predict in the order of the records, select as XTREME does, and survive a kill."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import harness.training.loop
from harness.errors import UsageError, UserError
from harness.modeling.encoder import Encoder
from harness.modeling.tokenizer import Tokenizer
from harness.records import TaggedSentence, TextPair
from harness.task import Fit, Task, TrainedSettings
from harness.training.checkpoint import load_tensors
from harness.training.finetuning import Curve, train_settings, updates_per_epoch
from tasks.panx import PANX
from tasks.pawsx import PAWSX
from tasks.tatoeba import Tatoeba
from tasks.udpos import UDPOS
from tasks.xnli import XNLI
from tests.support.processes import SERVED
from tests.support.tiny_encoder import tiny_encoder

SETTINGS = TrainedSettings(learning_rate=2e-2, batch_size=8, accumulation=1, epochs=4, max_length=24)
TRAINED: list[type[Task]] = [XNLI, PAWSX, UDPOS, PANX]


pytestmark = pytest.mark.usefixtures("one_thread")


def random_records(task: Task, n: int, seed: int) -> list[Any]:
    """Items whose label is a letter that they hold: a pair's first letter, or each word itself."""
    rng, labels = np.random.default_rng(seed), task.spec.labels
    letters = "abcdefghijklmnopqrstuvwxyz"[: len(labels)]
    items: list[Any] = []
    for number in range(n):
        length = int(rng.integers(1, 12))
        picks = rng.integers(0, len(labels), length)
        if isinstance(task, XNLI | PAWSX):
            text = letters[picks[0]] * 3 + "." * length
            items.append(TextPair(str(number), text, "," * length, labels[picks[0]]))
        else:
            words = tuple(letters[p] + "." * int(rng.integers(0, 3)) for p in picks)
            items.append(TaggedSentence(str(number), words, tuple(labels[p] for p in picks)))
    return items


def fine_tune(task: Task, folder: Path, settings: TrainedSettings = SETTINGS, **more: Any) -> tuple[nn.Module, Fit]:
    model = task.build(tiny_encoder(), settings)
    dev = {"en": random_records(task, 60, seed=2), "xx": random_records(task, 40, seed=3)}
    train = random_records(task, 300, seed=1)
    return model, task.fit(model, train, dev, settings, None, pivot="en", seed=0, checkpoint=folder, **more)


@pytest.mark.parametrize("cls", TRAINED)
def test_fine_tuning_learns_and_predictions_keep_the_order_of_the_records(cls: type[Task], tmp_path: Path) -> None:
    task = cls()
    model, fit = fine_tune(task, tmp_path)
    load_tensors(model, fit.states[fit.kept["english"]])
    first = random_records(task, 70, seed=4)
    shuffled = [first[i] for i in np.random.default_rng(0).permutation(len(first))]
    predictions = task.predict(model, {"de": first, "fr": [], "tr": shuffled[:50]}, SETTINGS)
    statistics = task.statistics(predictions["de"], first)
    assert task.metric(statistics.sums())[task.spec.metric] > 85
    assert predictions["fr"] == []
    by_id = {record.id: made for record, made in zip(first, predictions["de"], strict=True)}
    assert predictions["tr"] == [by_id[record.id] for record in shuffled[:50]]
    alone = [task.predict(model, {"de": [record]}, SETTINGS)["de"][0] for record in first[:10]]
    assert predictions["de"][:10] == alone


@pytest.mark.parametrize("cls", TRAINED)
def test_statistics_are_additive(cls: type[Task]) -> None:
    task, rng = cls(), np.random.default_rng(0)
    records = random_records(task, 50, seed=5)
    wrong = [random_records(task, 50, seed=6)[i] for i in range(50)]
    gold = [r.label if isinstance(r, TextPair) else r.tags for r in records]
    other = [r.label if isinstance(r, TextPair) else (r.tags * 12)[: len(g)] for r, g in zip(wrong, gold, strict=True)]
    predictions = [g if rng.random() < 0.5 else o for g, o in zip(gold, other, strict=True)]
    statistics = task.statistics(predictions, records)
    assert statistics.items == tuple(r.id for r in records)
    assert {len(column) for column in statistics.columns.values()} == {50}
    right = task.statistics(gold, records)
    assert task.metric(right.sums())[task.spec.metric] == 100
    parts = [task.statistics(predictions[a:b], records[a:b]).sums() for a, b in ((0, 20), (20, 50))]
    joined = {name: parts[0][name] + parts[1][name] for name in parts[0]}
    if cls is not UDPOS:  # its tag X is a span that seqeval 1.2.2 lets reach over sentences
        assert joined == statistics.sums()


def test_selection_keeps_the_first_strictly_best_step_and_each_views_oracle(tmp_path: Path) -> None:
    curve = Curve(tmp_path, "accuracy", "en")
    model = nn.Linear(1, 1)
    for step, (english, other) in enumerate([(50, 10), (70, 30), (70, 20), (60, 30), (65, 40)], start=1):
        nn.init.constant_(model.weight, step)
        curve.add(step, {"en": {"accuracy": english}, "xx": {"accuracy": other}}, model)
    assert curve.best_steps(until=5) == {"english": 2, "en": 2, "xx": 5}
    assert curve.best_steps(until=4) == {"english": 2, "en": 2, "xx": 2}
    assert sorted(file.name for file in curve.states.iterdir()) == ["2.safetensors", "5.safetensors"]
    assert {step: float(s["weight"]) for step, s in curve.fit(trace=None).states.items()} == {2: 2.0, 5: 5.0}  # type: ignore[arg-type]


def test_a_dev_score_that_is_no_number_is_refused(tmp_path: Path) -> None:
    """As the first one it would win against every later score."""
    curve = Curve(tmp_path, "accuracy", "en")
    with pytest.raises(UserError, match="en: the dev score accuracy is nan at step 4"):
        curve.add(4, {"en": {"accuracy": float("nan")}}, nn.Linear(1, 1))
    assert not curve.points


def test_curve_keeps_the_weights_that_a_resumed_run_needs(tmp_path: Path) -> None:
    """The loop's checkpoint is at step 2, the newest point at step 4: both bests are there, and step 3 is not."""
    curve, model = Curve(tmp_path, "accuracy", "en"), nn.Linear(1, 1)
    (tmp_path / "loop").mkdir()
    (tmp_path / "loop" / "state.json").write_text('{"trace": {"steps": 2}}')
    for step, score in enumerate([50, 60, 70, 80], start=1):
        curve.add(step, {"en": {"accuracy": score}}, model)
    assert sorted(file.name for file in curve.states.iterdir()) == ["2.safetensors", "4.safetensors"]
    again = Curve(tmp_path, "accuracy", "en")
    assert again.points == curve.points
    again.add(3, {"en": {"accuracy": 55}}, model)
    assert again.best_steps(until=3) == {"english": 2}
    assert [point.step for point in again.points] == [1, 2, 3]
    assert [file.name for file in again.states.iterdir()] == ["2.safetensors"]


@pytest.mark.parametrize("name", ["curve.json", "digests.json", "states/2.safetensors"])
def test_a_damaged_curve_or_best_model_starts_again(tmp_path: Path, name: str) -> None:
    curve, model = Curve(tmp_path / "state", "accuracy", "en"), nn.Linear(1, 1)
    for step, score in enumerate([50, 60, 55], start=1):
        curve.add(step, {"en": {"accuracy": score}}, model)
    assert Curve(tmp_path / "state", "accuracy", "en").points == curve.points
    file = tmp_path / "state" / name
    content = bytearray(file.read_bytes())
    content[-9] ^= 1
    file.write_bytes(content)
    if file.parent.name == "states":
        with pytest.raises(UserError, match="has changed since it was written"):
            curve.fit(trace=None)  # type: ignore[arg-type]
    assert Curve(tmp_path / "state", "accuracy", "en").points == []
    assert not file.exists()


def test_cadence_and_dev_languages(tmp_path: Path) -> None:
    _, once = fine_tune(XNLI(), tmp_path / "epochs")
    assert [(p.step, p.view) for p in once.curve] == [(38, "en"), (76, "en"), (114, "en"), (150, "en")]
    assert set(once.kept) == {"english"}
    changed = replace(SETTINGS, evaluate_every=50, dev_languages="all", max_dev=30, epochs=2)
    _, fit = fine_tune(XNLI(), tmp_path / "updates", changed)
    assert [(p.step, p.view) for p in fit.curve] == [(s, v) for s in (50, 75) for v in ("en", "xx")]
    assert set(fit.kept) == {"english", "en", "xx"}
    assert set(fit.states) == set(fit.kept.values())


def test_official_cadence_counts_updates_of_32() -> None:
    assert updates_per_epoch(TrainedSettings(), 392_704) == 12_272
    assert train_settings(TrainedSettings(epochs=5), 392_702, seed=0, precision="fp32").steps == 61_360
    assert {cls.spec.protocols["official"].batch_size * 4 for cls in TRAINED} == {32}


def test_the_head_starts_from_the_seed_and_seeds_differ(tmp_path: Path) -> None:
    short = replace(SETTINGS, epochs=0.2)
    (_, a), (_, b) = fine_tune(XNLI(), tmp_path / "a", short), fine_tune(XNLI(), tmp_path / "b", short)
    _, c = fine_tune(XNLI(), tmp_path / "c", replace(short, seed=42))
    assert all(torch.equal(x, y) for x, y in zip(last(a).values(), last(b).values(), strict=True))
    assert not all(torch.equal(x, y) for x, y in zip(last(a).values(), last(c).values(), strict=True))
    assert replace(short, seed=42).seed_of(1) == 43
    assert short.seed_of(1) == 1


def last(fit: Fit) -> dict[str, torch.Tensor]:
    return fit.states[fit.kept["english"]]


def test_prepared_records_are_tokenised_for_each_batch(tmp_path: Path) -> None:
    """The identity hook trains to the same bits as the tokenised set; another hook is seen by the model."""
    short = replace(SETTINGS, epochs=0.5, max_length=60)  # a sentence in pieces would be several examples
    for cls in (XNLI, UDPOS):
        folder = tmp_path / cls.__name__
        _, plain = fine_tune(cls(), folder / "plain", short)
        _, same = fine_tune(cls(), folder / "same", short, prepare=lambda record, rng: record)
        _, other = fine_tune(cls(), folder / "other", short, prepare=upper)
        assert all(torch.equal(a, b) for a, b in zip(last(plain).values(), last(same).values(), strict=True))
        assert not all(torch.equal(a, b) for a, b in zip(last(plain).values(), last(other).values(), strict=True))


def upper(record: Any, rng: np.random.Generator) -> Any:
    if isinstance(record, TextPair):
        return replace(record, second=record.second + "z" * int(rng.integers(1, 4)))
    return replace(record, words=tuple(w + "z" * int(rng.integers(1, 4)) for w in record.words))


def test_sentences_longer_than_the_limit_get_a_tag_for_every_word(tmp_path: Path) -> None:
    task = UDPOS()
    model, fit = fine_tune(task, tmp_path)
    load_tensors(model, fit.states[fit.kept["english"]])
    long = TaggedSentence("long", tuple("abcdefghij" * 9), task.spec.labels[:10] * 9)
    made = task.predict(model, {"en": [long]}, SETTINGS)["en"]
    assert len(made[0]) == 90
    assert np.mean([a == b for a, b in zip(made[0], long.tags or (), strict=True)]) > 0.85


def test_attention_dropout_follows_the_settings() -> None:
    for wanted, rate in ((False, 0.0), (True, 0.1)):
        model = XNLI().build(tiny_encoder(), replace(SETTINGS, attention_dropout=wanted))
        rates = {m.p for name, m in model.named_modules() if name.endswith("attention.self.dropout")}
        assert rates == {rate}


def test_the_pooler_of_the_checkpoint_is_used_and_trained(tmp_path: Path) -> None:
    bare = tiny_encoder()
    encoder = Encoder(bare.model, bare.tokenizer, nn.Linear(bare.width, bare.width))
    model = XNLI().build(encoder, SETTINGS)
    names = {name for name, _ in model.named_parameters()}
    assert {"encoder.pooler.weight", "head.output.weight"} <= names
    assert not any("head.dense" in name for name in names)
    assert any("head.dense" in name for name, _ in XNLI().build(bare, SETTINGS).named_parameters())


def test_mistakes_in_the_data_raise_errors(tmp_path: Path) -> None:
    task, good = XNLI(), random_records(XNLI(), 20, seed=1)
    model = task.build(tiny_encoder(), SETTINGS)

    def fit(train: Sequence[Any], dev: dict[str, Sequence[Any]]) -> None:
        task.fit(model, train, dev, SETTINGS, None, pivot="en", seed=0, checkpoint=tmp_path)

    with pytest.raises(UserError, match="no dev set in 'en'"):
        fit(good, {"de": good})
    with pytest.raises(UserError, match="training set of xnli is empty"):
        fit([], {"en": good})
    with pytest.raises(UserError, match="label outside the set in item '0'"):
        fit([replace(good[0], label="maybe")], {"en": good})
    hidden = [replace(record, label=None) for record in good]
    with pytest.raises(UserError, match="withheld"):
        task.statistics(["neutral"] * 20, hidden)
    with pytest.raises(UserError, match="19 predictions"):
        task.statistics(["neutral"] * 19, good)
    tagged = TaggedSentence("s", ("a", "b"), ("NOUN",))
    with pytest.raises(UserError, match="1 tags for 2 words"):
        UDPOS().encode(tiny_encoder().tokenizer, [tagged], TrainedSettings(max_length=24), gold=True)
    with pytest.raises(UserError, match="withheld"):
        UDPOS().statistics([["X"]], [TaggedSentence("s", ("a",), None)])


def test_a_cap_takes_the_same_items_of_parallel_sets() -> None:
    english, german = random_records(XNLI(), 90, seed=1), random_records(XNLI(), 90, seed=2)
    few, more = XNLI().cap(english, 10), XNLI().cap(german, 40)
    assert [r.id for r in few] == [r.id for r in XNLI().cap(german, 10)]
    assert {r.id for r in few} < {r.id for r in more}
    assert [int(r.id) for r in more] == sorted(int(r.id) for r in more)
    assert XNLI().cap(more, 40) is more
    assert XNLI().cap(english, None) is english
    with pytest.raises(UsageError, match="pool cannot be cut"):
        Tatoeba().cap(english, 100)


RESUMED = replace(SETTINGS, evaluate_every=7, epochs=1.5, dev_languages="all")


class Dying:
    """Passes records on and ends its process, without a word, at the n-th."""

    def __init__(self, after: int) -> None:
        self.left = after

    def __call__(self, record: Any, rng: np.random.Generator) -> Any:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return upper(record, rng)


def die(folder: str, after: int) -> None:
    torch.set_num_threads(1)
    harness.training.loop.CHECKPOINT_SECONDS = 0.02
    fine_tune(PANX(), Path(folder), RESUMED, prepare=Dying(after))


def test_resume_is_bit_exact(tmp_path: Path) -> None:
    _, whole = fine_tune(PANX(), tmp_path / "whole", RESUMED, prepare=upper)
    process = SERVED.Process(target=die, args=(str(tmp_path / "killed"), 250))
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    assert (tmp_path / "killed" / "loop" / "state.json").is_file()
    assert list((tmp_path / "killed" / "states").glob("*.safetensors"))
    _, resumed = fine_tune(PANX(), tmp_path / "killed", RESUMED, prepare=upper)
    assert resumed.curve == whole.curve
    assert resumed.kept == whole.kept
    for step, state in whole.states.items():
        assert all(torch.equal(tensor, resumed.states[step][name]) for name, tensor in state.items())


def test_tokenised_sets_are_cached_between_runs(tmp_path: Path) -> None:
    encoder = tiny_encoder()
    encoder.tokenizer = Tokenizer(encoder.tokenizer.hf, tmp_path / "cache")
    task, records = UDPOS(), random_records(UDPOS(), 30, seed=1)
    first = task.encode(encoder.tokenizer, records, TrainedSettings(max_length=24), gold=True)
    again = task.encode(encoder.tokenizer, records, TrainedSettings(max_length=24), gold=True)
    assert len(list((tmp_path / "cache").iterdir())) == 1
    assert all((first[i].ids == again[i].ids).all() and (first[i].tags == again[i].tags).all() for i in range(30))
