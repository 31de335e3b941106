"""Kills, damage and a clock that is set back: after the same command again, every score is equal to the bit, no cell
has two, and no finished stage was computed twice.

A few of each kind run in CI, all with `make test-faults`. Each test first asserts that the fault happened.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.barriers import BARRIERS
from harness.stopping import INTERRUPTED, PREEMPTED
from harness.storage.artifacts import Artifacts
from harness.storage.manifest import MANIFEST
from harness.storage.store import Store
from tests.support.fault_checks import ALL, Finished, Server, copy_of, count, long, resume, scores_of
from tests.support.fault_runs import Job

INSTANTS = 200 if ALL else 10
FEW = ("artifact published:5", "checkpoint written:4", "scores recorded:1")  # in CI; the other cases are long
TIMES = {"stage started": 4, "stage computed": 4, "artifact published": 5, "file written": 25, "checkpoint written": 4}


def places() -> Iterator[str]:
    """Every barrier, early and in the middle."""
    for name in BARRIERS:
        yield f"{name}:{TIMES.get(name, 1)}"
        if ALL:
            yield from (f"{name}:{number}" for number in (1, 2, 3, 7) if number != TIMES.get(name, 1))


@pytest.mark.parametrize("place", [name if name in FEW else long(name) for name in places()])
def test_a_kill_at_a_barrier_loses_nothing(place: str, server: Server, undisturbed: Finished, tmp_path: Path) -> None:
    home = tmp_path / "home"
    ended = server.run(Job(str(home), kill_at=place))
    if ended.code == 0 and ALL:
        pytest.skip("a run does not come to this place so often")
    assert ended.code == -signal.SIGKILL
    resume("SIGKILL at a barrier", server, home, undisturbed)


@pytest.mark.parametrize("number", [0, *map(long, range(1, INSTANTS))])
def test_a_kill_at_a_random_instant_loses_nothing(
    number: int, server: Server, undisturbed: Finished, tmp_path: Path
) -> None:
    home, after = tmp_path / "home", random.Random(number).uniform(0.02, 0.9) * undisturbed.ended.seconds
    while (ended := server.run(Job(str(home), after=after))).code == 0:  # it was faster than the undisturbed run
        shutil.rmtree(home)
        after /= 2
    assert ended.code == -signal.SIGKILL
    resume("SIGKILL at a random instant", server, home, undisturbed)


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGTERM, PREEMPTED), long(signal.SIGUSR1, PREEMPTED), (signal.SIGINT, INTERRUPTED)],
)
def test_a_signal_marks_the_run_interrupted(
    number: int, code: int, server: Server, undisturbed: Finished, tmp_path: Path
) -> None:
    home, after = tmp_path / "home", undisturbed.ended.seconds / 3
    while (ended := server.run(Job(str(home), after=after, signal=number))).code == 0:  # it ended before the signal
        shutil.rmtree(home)
        after /= 2
    assert ended.code == code
    store = Store.open(home / "board.db", read_only=True)
    assert [run["status"] for run in store.runs()] == ["interrupted"]
    store.close()
    resume("SIGTERM, SIGUSR1, SIGINT", server, home, undisturbed)


def files(undisturbed: Finished) -> list[Path]:
    root = undisturbed.home / "artifacts"
    return sorted(path.relative_to(undisturbed.home) for path in (root / "objects").rglob("*") if path.is_file())


def flip_bit(file: Path, rng: random.Random) -> None:
    content = bytearray(file.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    file.write_bytes(content)


def test_one_bit_in_any_file_of_an_artifact_is_noticed_and_mended(
    server: Server, undisturbed: Finished, tmp_path: Path
) -> None:
    rng, every = random.Random(1), files(undisturbed)
    assert {path.name for path in every} >= {MANIFEST, "scores.json", "model.safetensors", "predictions.json"}
    for number, name in enumerate(every if ALL else rng.sample(every, 3)):
        home = copy_of(undisturbed.home, tmp_path / str(number))
        flip_bit(home / name, rng)
        ended = server.run(Job(str(home)))
        artifacts = Artifacts(home / "artifacts")
        survived = (
            (ended.code, ended.errors, len(ended.computed)) == (0, [], 1)
            and scores_of(home) == undisturbed.scores
            and not [name for name in artifacts.fingerprints() if artifacts.fault(name)]
        )
        count("one bit in a file of an artifact", survived=survived)
        assert survived, (name, ended)
        assert len(list(artifacts.root.glob("damaged/*"))) == 1
        shutil.rmtree(home)


@pytest.mark.long
def test_one_bit_in_any_file_of_the_token_cache_is_noticed(
    server: Server, undisturbed: Finished, tmp_path: Path
) -> None:
    rng, root = random.Random(2), undisturbed.home / "artifacts" / "tokens"
    every = sorted(path.relative_to(root) for path in root.rglob("*") if path.is_file() and path.stat().st_size)
    for number, name in enumerate(every if ALL else rng.sample(every, 2)):
        home = copy_of(undisturbed.home, tmp_path / str(number))
        flip_bit(home / "artifacts" / "tokens" / name, rng)
        for folder in ("objects", "checked"):
            shutil.rmtree(home / "artifacts" / folder)
        (home / "board.db").unlink()
        resume("one bit in the cache of tokens", server, home, undisturbed)
        shutil.rmtree(home)


@pytest.mark.long
@pytest.mark.parametrize("kind", ["align", "finetune", "embed", "predict"])
def test_a_checkpoint_that_is_truncated_or_changed_is_not_used(
    kind: str, server: Server, undisturbed: Finished, tmp_path: Path
) -> None:
    rng, titles = random.Random(3), [title.split()[0] for title in undisturbed.ended.computed]
    killed, place = tmp_path / "killed", f"stage computed:{titles.index(kind) + 1}"
    assert server.run(Job(str(killed), kill_at=place)).code == -signal.SIGKILL
    root = killed / "artifacts" / "work"
    kinds = {".safetensors", ".json", ".npz"}
    every = sorted(path for path in root.rglob("*") if path.is_file() and path.suffix in kinds)
    assert len(every) >= 2
    cases = [(path, cut) for path in every for cut in (-1, *range(0, path.stat().st_size, 4096))]
    for number, (path, cut) in enumerate(cases if ALL else rng.sample(cases, 2)):
        home = copy_of(killed, tmp_path / str(number))
        if cut < 0:
            flip_bit(home / path.relative_to(killed), rng)
        else:
            os.truncate(home / path.relative_to(killed), cut)
        resume("a checkpoint truncated or changed", server, home, undisturbed)
        shutil.rmtree(home)


@pytest.mark.long
def test_a_clock_that_is_set_back_changes_nothing(server: Server, undisturbed: Finished, tmp_path: Path) -> None:
    for number in range(8 if ALL else 1):
        home, back = tmp_path / str(number), 86400.0 * 10**number if number < 4 else 60.0 * number
        ended = server.run(Job(str(home), kill_at=f"stage started:{3 + number % 4}", clock_back=back))
        assert ended.code == -signal.SIGKILL
        resume("the clock set back, then SIGKILL", server, home, undisturbed)
