"""The loop: accumulation and ranks equal the joined batch, resume is bit-exact, schedules and orders."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from harness import stopping
from harness.errors import UserError
from harness.files import read_json
from harness.method import Term
from harness.training.checkpoint import unique_tensors
from harness.training.finetuning import sweep
from harness.training.loop import Step, TrainSettings, learning_rate, train
from harness.training.order import Order
from harness.training.settings import AlignSettings
from tests.support.processes import run_ranks
from tests.support.tiny_encoder import tiny_encoder


class TwoTerms(nn.Module):
    """Two terms whose counts differ between micro-batches, through shared parameters and dropout. `offset` is what
    `counts` adds to the true counts; None leaves them to `loss`."""

    def __init__(self, dropout: float = 0.0, offset: float | None = 0.0) -> None:
        super().__init__()
        self.offset, self.passes = offset, 0
        self.head = nn.Linear(4, 1)
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("queue", torch.zeros(3))

    def counts(self, batch: dict[str, Any], step: int) -> dict[str, float] | None:
        if self.offset is None:
            return None
        return {"square": len(batch["y"]) + self.offset, "some": float((batch["x"][:, 0] > 0).sum()) + self.offset}

    def loss(self, encoder: nn.Module, batch: dict[str, Any], step: int) -> dict[str, Term]:
        self.passes += 1
        out = self.head(self.dropout(encoder(batch["x"]))).squeeze(1)
        chosen = batch["x"][:, 0] > 0
        return {
            "square": Term((out - batch["y"]).square().sum(), len(out)),
            "some": Term(out[chosen].abs().sum(), float(chosen.sum()), 0.3),
        }

    def after_step(self, encoder: nn.Module) -> None:
        self.queue += 1


class Rows:
    def __init__(self, n: int = 50) -> None:
        rng = np.random.default_rng(0)
        self.x, self.y = rng.normal(size=(n, 4)).astype(np.float32), rng.normal(size=n).astype(np.float32)
        self.lengths = rng.integers(1, 9, n)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int) -> int:
        return i


ROWS = Rows()


def collate(numbers: Sequence[int], rng: np.random.Generator) -> dict[str, Any]:
    noise = rng.normal(size=(len(numbers), 4)).astype(np.float32) * 0.01
    return {"x": torch.from_numpy(ROWS.x[numbers] + noise), "y": torch.from_numpy(ROWS.y[numbers])}


def quiet(numbers: Sequence[int], rng: np.random.Generator) -> dict[str, Any]:
    return {"x": torch.from_numpy(ROWS.x[numbers]), "y": torch.from_numpy(ROWS.y[numbers])}


def module(dropout: float = 0.0, offset: float | None = 0.0) -> Step:
    torch.manual_seed(3)
    return Step(nn.Sequential(nn.Linear(4, 4), nn.Tanh()), TwoTerms(dropout, offset))


def settings(**change: Any) -> TrainSettings:
    return TrainSettings(**{"steps": 12, "learning_rate": 0.05, "batch": 8, "seed": 5, **change})


def same_weights(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    for (name, a), b in zip(one.items(), other.values(), strict=True):
        assert torch.allclose(a, b, atol=1e-5), name


@pytest.mark.parametrize(("offset", "passes"), [(0.0, 48), (None, 96)])
def test_accumulation_equals_the_joined_batch(offset: float | None, passes: int) -> None:
    joined, split = module(), module(offset=offset)
    train(joined, ROWS, quiet, settings(batch=8))
    train(split, ROWS, quiet, settings(batch=2, accumulation=4))
    same_weights(joined.state_dict(), split.state_dict())
    assert (joined.objective.passes, split.objective.passes) == (12, passes)


def test_counts_that_the_loss_contradicts_are_refused() -> None:
    with pytest.raises(ValueError, match=r"TwoTerms\.counts gives"):
        train(module(offset=1.0), ROWS, quiet, settings(batch=2, accumulation=4))


def test_dropout_is_the_same_whether_counts_are_known_or_not() -> None:
    known, unknown = module(0.2), module(0.2, offset=None)
    for one in (known, unknown):
        train(one, ROWS, collate, settings(batch=2, accumulation=4))
    assert all(torch.equal(a, b) for a, b in zip(known.parameters(), unknown.parameters(), strict=True))


def rank_worker(rank: int, folder: str, offset: float | None) -> None:
    torch.set_num_threads(1)
    meeting = Path(folder, "meeting").as_uri()
    torch.distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=2)
    chosen = settings(batch=4, accumulation=2, checkpoint_seconds=0.0)
    split, broken, again = (module(offset=offset) for _ in range(3))
    train(split, ROWS, quiet, chosen)
    with pytest.raises(Killed):
        train(broken, ROWS, quiet, chosen, checkpoint=Path(folder, "two"), evaluate=die_at_7, evaluate_every=1)
    train(again, ROWS, quiet, chosen, checkpoint=Path(folder, "one"))
    torch.save([split.state_dict(), again.state_dict()], Path(folder, f"{rank}.pt"))
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("offset", [0.0, None])
def test_two_ranks_equal_the_joined_batch_and_another_number_resumes(tmp_path: Path, offset: float | None) -> None:
    joined, broken, again = (module(offset=offset) for _ in range(3))
    train(joined, ROWS, quiet, settings(batch=8))
    chosen = settings(batch=8, checkpoint_seconds=0.0)
    with pytest.raises(Killed):
        train(broken, ROWS, quiet, chosen, checkpoint=tmp_path / "one", evaluate=die_at_7, evaluate_every=1)
    run_ranks(rank_worker, str(tmp_path), offset)
    for rank in range(2):
        for found in torch.load(tmp_path / f"{rank}.pt"):  # trained by two ranks, and resumed by two after one
            same_weights(joined.state_dict(), found)
    assert read_json(tmp_path / "two" / "state.json")["trace"]["steps"] == 6
    train(again, ROWS, quiet, chosen, checkpoint=tmp_path / "two")  # resumed by one after two
    same_weights(joined.state_dict(), again.state_dict())


class Killed(Exception):
    pass


def die_at_7(step: int) -> None:
    if step == 7:
        raise Killed


@pytest.mark.parametrize("by_tokens", [False, True])
def test_resume_is_bit_exact(tmp_path: Path, by_tokens: bool) -> None:
    chosen = settings(by_tokens=by_tokens, batch=20 if by_tokens else 4, accumulation=2, checkpoint_seconds=0.0)
    whole, broken = module(0.2), module(0.2)
    trace = train(whole, ROWS, collate, chosen)

    calls = 0

    def dying(numbers: Sequence[int], rng: np.random.Generator) -> dict[str, Any]:
        nonlocal calls
        calls += 1
        if calls == 15:
            raise Killed
        return collate(numbers, rng)

    with pytest.raises(Killed):
        train(broken, ROWS, dying, chosen, checkpoint=tmp_path / "state")
    again = module(0.2)
    resumed = train(again, ROWS, collate, chosen, checkpoint=tmp_path / "state")
    assert resumed == trace
    assert resumed.to_json() == trace.to_json()
    assert resumed.earlier_seconds > trace.earlier_seconds == 0, "what it cost before the kill is not forgotten"
    for (name, a), b in zip(whole.state_dict().items(), again.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    assert again.objective.queue.tolist() == [12.0] * 3


def test_a_training_that_stops_early_is_the_beginning_of_the_whole() -> None:
    whole, early = module(0.2), module(0.2)
    passed: dict[str, torch.Tensor] = {}

    def keep(step: int) -> None:
        if step == 5:
            passed.update({name: value.clone() for name, value in whole.state_dict().items()})

    train(whole, ROWS, collate, settings(), evaluate=keep, evaluate_every=5)
    assert train(early, ROWS, collate, settings(stop_step=5)).steps == 5
    for name, value in early.state_dict().items():
        assert torch.equal(value, passed[name]), name
    with pytest.raises(ValueError, match="stop_step=13 is beyond steps=12"):
        AlignSettings(steps=12, stop_step=13)
    assert AlignSettings(steps=12).model_dump() == AlignSettings(steps=12, stop_step=None).model_dump()
    assert "stop_step" not in AlignSettings(steps=12).model_dump()


def test_resume_after_a_kill_between_the_renames_of_a_checkpoint(tmp_path: Path) -> None:
    chosen = settings(checkpoint_seconds=0.0)
    whole, again = module(), module()
    train(whole, ROWS, collate, chosen, checkpoint=tmp_path / "state")
    (tmp_path / "state").rename(tmp_path / ".state.old")
    trace = train(again, ROWS, collate, chosen, checkpoint=tmp_path / "state")
    assert trace.steps == 12
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), again.parameters(), strict=True))


def test_a_damaged_checkpoint_is_not_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chosen, whole = settings(checkpoint_seconds=0.0), module()
    trace = train(whole, ROWS, collate, chosen, checkpoint=tmp_path / "state")
    shutil.copytree(tmp_path / "state", tmp_path / "kept")
    names = sorted(path.name for path in (tmp_path / "kept").iterdir())
    assert len(names) == 3
    for name in names:
        for damage in (flip_bit, truncate):
            damage(tmp_path / "state" / name)
            again = module()
            assert train(again, ROWS, collate, chosen, checkpoint=tmp_path / "state") == trace
            assert "the checkpoint is damaged" in capsys.readouterr().err
            assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), again.parameters(), strict=True))


def flip_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(content)


def truncate(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def test_a_request_to_stop_saves_the_step_that_was_finished(tmp_path: Path) -> None:
    whole, broken, again = module(0.2), module(0.2), module(0.2)
    trace = train(whole, ROWS, collate, settings(), checkpoint=tmp_path / "whole")
    steps = 0

    def interrupting(numbers: Sequence[int], rng: np.random.Generator) -> dict[str, Any]:
        nonlocal steps
        steps += 1
        if steps == 5:
            os.kill(os.getpid(), signal.SIGTERM)
        return collate(numbers, rng)

    with pytest.raises(SystemExit) as stopped, stopping.stop_on_signals():
        train(broken, ROWS, interrupting, settings(), checkpoint=tmp_path / "state")
    assert stopped.value.code == stopping.PREEMPTED
    assert read_json(tmp_path / "state" / "state.json")["trace"]["steps"] == 5
    assert train(again, ROWS, collate, settings(), checkpoint=tmp_path / "state") == trace
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), again.parameters(), strict=True))


def test_an_epoch_has_every_example_once_and_seeds_differ() -> None:
    order = Order(50, seed=1)
    epochs = [[order.at(c) for c in range(50 * e, 50 * e + 50)] for e in range(3)]
    assert all(sorted(e) == list(range(50)) for e in epochs)
    assert epochs[0] != epochs[1]
    assert [Order(50, seed=2).at(c) for c in range(50)] != epochs[0]


def test_batches_by_tokens_stay_within_the_budget() -> None:
    order, cursor = Order(50, seed=1), 0
    for _ in range(30):
        numbers, cursor = order.take_tokens(cursor, 20, ROWS.lengths)
        assert numbers
        assert ROWS.lengths[numbers].sum() <= 20


def test_schedules() -> None:
    linear = settings(steps=10, warmup_steps=2, learning_rate=1.0)
    assert [learning_rate(linear, s) for s in (0, 1, 2, 6, 9)] == [0.0, 0.5, 1.0, 0.5, 0.125]
    assert learning_rate(settings(schedule="constant", learning_rate=1.0), 11) == 1.0


def test_evaluation_runs_at_its_cadence_and_at_the_end() -> None:
    steps: list[int] = []
    train(module(), ROWS, collate, settings(), evaluate=steps.append, evaluate_every=5)
    assert steps == [5, 10, 12]


def test_a_loss_that_is_not_finite_is_an_error() -> None:
    def poisoned(numbers: Sequence[int], rng: np.random.Generator) -> dict[str, Any]:
        return {**collate(numbers, rng), "y": torch.full((len(numbers),), float("nan"))}

    with pytest.raises(UserError, match="no longer finite at step 12"):
        train(module(), ROWS, poisoned, settings())


def test_gradients_that_overflow_at_every_step_are_an_error() -> None:
    """In fp16 such a step is skipped, so that nothing is trained and the loss stays finite."""
    one = module()
    one.encoder[0].weight.register_hook(lambda gradient: gradient * float("nan"))
    with pytest.raises(UserError, match=r"gradients are not finite at step 40"):
        train(one, ROWS, collate, settings(steps=60, precision="fp16"))


def test_tied_tensors_are_saved_once() -> None:
    layer = nn.Linear(3, 3)
    both = nn.ModuleDict({"a": layer, "b": layer})
    assert set(unique_tensors(both.state_dict())) == {"a.weight", "a.bias"}


def test_states_that_are_not_finite_are_named_by_layer_and_sentence() -> None:
    encoder = tiny_encoder(layers=3).eval()
    rows = encoder.tokenizer.encode(["abc", "a long one", "xyz"], 32).ids

    def first_error() -> str:
        with pytest.raises(UserError) as caught:
            list(sweep(encoder, lambda text: encoder(text).tokens(), rows))
        return str(caught.value)

    encoder.blocks[1].output.LayerNorm.weight.data[0] = float("inf")
    assert "layer 2 (0 is the embeddings)" in first_error()
    encoder.input_embeddings.data[int(rows[2][1])] = float("nan")
    assert "layer 0 (0 is the embeddings)" in first_error()
    assert "sentence 3 of the stage: '[CLS] x y z [SEP]'" in first_error().replace("##", "").replace("xyz", "x y z")
