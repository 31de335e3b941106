"""Outputs that are kept while a stage predicts: what a kill costs, and what damage does."""

from __future__ import annotations

import os
import shutil
import signal
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from harness import stopping
from harness.experiments.stage import Workbench
from harness.modeling.packing import PackedText
from harness.storage.artifacts import Artifacts
from harness.training import finetuning, loop, outputs
from harness.training.finetuning import sweep
from harness.training.outputs import keep_outputs
from tests.support.processes import SERVED
from tests.support.tiny_encoder import tiny_encoder
from tests.support.toy_stages import note

TEXTS = ["ab" * (number % 7 + 1) for number in range(48)]
EVERY = 5  # batches between two checkpoints
KILLED = 18  # the batch in whose middle the process is killed
SAVED = 15


class Embedding:
    """Two sweeps over the same sentences, of two layers; the process gets a signal in the middle of batch `last`."""

    def __init__(self, last: int = 0, number: int = signal.SIGKILL) -> None:
        self.encoder, self.last, self.signal, self.computed = tiny_encoder().eval(), last, number, 0

    def run(self, folder: Path, patch: pytest.MonkeyPatch) -> list[Tensor]:
        patch.setattr(finetuning, "TOKENS_PER_BATCH", {"cpu": 50})
        patch.setattr(outputs, "time", SimpleNamespace(monotonic=lambda: float(self.computed)))  # a second a batch
        patch.setattr(loop, "CHECKPOINT_SECONDS", float(EVERY))
        ids = self.encoder.tokenizer.encode(TEXTS, 16).ids
        with keep_outputs(folder):
            return [s.output for layer in (1, 2) for s in sweep(self.encoder, partial(self.forward, layer), ids)]

    def forward(self, layer: int, text: PackedText) -> Tensor:
        self.computed += 1
        if self.computed == self.last:
            os.kill(os.getpid(), self.signal)
        return self.encoder(text, layers=(layer,)).mean(layer)


def die(folder: str) -> None:
    torch.set_num_threads(1)
    Embedding(KILLED).run(Path(folder), pytest.MonkeyPatch())


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a process left that was killed in its second sweep."""
    folder = tmp_path_factory.mktemp("outputs") / "state"
    process = SERVED.Process(target=die, args=(str(folder),))
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    assert sorted(path.name for path in folder.iterdir()) == [f"{first:08}.npz" for first in (0, 5, 10)]
    return folder


@pytest.fixture
def whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """The outputs of an undisturbed process."""
    return Embedding().run(tmp_path / "whole", monkeypatch)


def equal(these: list[Tensor], those: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(these, those, strict=True))


def test_a_kill_costs_what_was_computed_since_the_last_checkpoint(
    killed: Path, whole: list[Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(whole) > KILLED > len(whole) / 2
    again, folder = Embedding(), Path(shutil.copytree(killed, tmp_path / "state"))
    assert equal(again.run(folder, monkeypatch), whole)
    assert again.computed == len(whole) - SAVED


@pytest.mark.parametrize("name", ["00000000.npz", "00000005.npz", "00000010.npz"])
def test_a_damaged_part_is_computed_again_alone(
    name: str,
    killed: Path,
    whole: list[Tensor],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    content = (killed / name).read_bytes()
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 4
    for number, damaged in enumerate((bytes(flipped), content[: len(content) // 2], content[:4], b"")):
        again, folder = Embedding(), Path(shutil.copytree(killed, tmp_path / str(number)))
        (folder / name).write_bytes(damaged)
        assert equal(again.run(folder, monkeypatch), whole)
        assert again.computed == len(whole) - SAVED + EVERY
        assert f"{folder / name}: the checkpoint is damaged" in capsys.readouterr().err
        third = Embedding()
        assert equal(third.run(folder, monkeypatch), whole)
        assert third.computed < EVERY, "the part that was computed again was written again"


def test_outputs_of_other_batches_are_not_used(killed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.TEXTS", TEXTS[::-1])
    other = Embedding().run(tmp_path / "other", monkeypatch)
    again, folder = Embedding(), Path(shutil.copytree(killed, tmp_path / "state"))
    assert equal(again.run(folder, monkeypatch), other)
    assert again.computed > len(other) / 2


def test_a_short_stage_writes_nothing(tmp_path: Path) -> None:
    encoder = tiny_encoder().eval()
    with keep_outputs(tmp_path / "state"):
        for swept in sweep(encoder, lambda text: encoder(text).mean(), encoder.tokenizer.encode(TEXTS, 16).ids):
            assert swept.output.isfinite().all()
    assert not (tmp_path / "state").exists()


def test_a_request_to_stop_saves_what_was_computed(
    whole: list[Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with stopping.stop_on_signals(), pytest.raises(stopping.StopRequest):
        Embedding(7, signal.SIGTERM).run(tmp_path / "state", monkeypatch)
    again = Embedding()
    assert equal(again.run(tmp_path / "state", monkeypatch), whole)
    assert again.computed == len(whole) - 7


def test_what_was_made_from_another_input_is_not_resumed(tmp_path: Path) -> None:
    bench = partial(Workbench, Artifacts(tmp_path), torch.device("cpu"), watch=None)  # type: ignore[arg-type]
    places = {bench(read={"encoder": content}).checkpoint(note("a")) for content in ("one", "another", "one")}
    assert len(places) == 2
    assert len({place.parent for place in places}) == 1
