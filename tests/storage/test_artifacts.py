"""Artifacts appear whole or not at all: damage, kills, races and a full disk."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from harness.errors import UserError
from harness.files import COST, LOG, file_digest
from harness.storage import artifacts as artifacts_module
from harness.storage.artifacts import Artifacts
from harness.storage.home import home
from harness.storage.manifest import MANIFEST
from tests.support.processes import SERVED


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    return Artifacts(tmp_path / "store")


def make(artifacts: Artifacts, fingerprint: str = "abcd", text: str = "hello") -> None:
    with artifacts.create(fingerprint, "align", {"steps": 3}) as folder:
        (folder / "weights").mkdir()
        (folder / "weights" / "model.bin").write_text(text)
        (folder / "notes.txt").write_text("n")


def files_under(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


def test_created_artifact_is_found_with_sizes_hashes_and_meta(artifacts: Artifacts) -> None:
    assert artifacts.find("abcd") is None
    make(artifacts)
    found = artifacts.find("abcd", verify=True)
    assert found is not None
    assert (found.kind, found.meta, found.size) == ("align", {"steps": 3}, 6)
    assert set(found.files) == {"weights/model.bin", "notes.txt"}
    # sha256 of "hello", a published constant
    assert found.files["weights/model.bin"].sha256 == "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
    assert artifacts.fingerprints() == ["abcd"]


def test_files_and_folders_of_an_artifact_have_the_mode_of_new_ones(artifacts: Artifacts, tmp_path: Path) -> None:
    (tmp_path / "new").touch()
    (tmp_path / "folder").mkdir()
    with artifacts.create("abcd", "align", {}) as folder:
        (folder / "model.safetensors").touch(0o600)  # as safetensors writes them
    written = artifacts.find_file("abcd", "model.safetensors")
    assert written is not None
    assert written.stat().st_mode == (tmp_path / "new").stat().st_mode
    assert written.parent.stat().st_mode == (tmp_path / "folder").stat().st_mode


def test_meta_may_be_completed_inside_the_block(artifacts: Artifacts) -> None:
    meta: dict[str, float] = {}
    with artifacts.create("abcd", "align", meta):
        meta["device_seconds"] = 2.5
    found = artifacts.find("abcd")
    assert found is not None
    assert found.meta == {"device_seconds": 2.5}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_exception_leaves_nothing(artifacts: Artifacts, error: type[BaseException]) -> None:
    with pytest.raises(error), artifacts.create("abcd", "align", {}) as folder:  # noqa: PT012
        (folder / "half").write_text("half")
        raise error
    assert artifacts.find("abcd") is None
    assert files_under(artifacts.root) == []


def truncate(path: Path) -> None:
    path.write_text("hell")


def flip(path: Path) -> None:
    path.write_text("jello")


@pytest.mark.parametrize(
    ("damage", "verify", "note"),
    [
        (Path.unlink, False, "weights/model.bin is missing"),
        (truncate, False, "4 bytes, expected 5"),
        (flip, True, "has changed since it was written"),
    ],
)
def test_damaged_artifact_is_set_aside_and_recomputed(artifacts, damage, verify, note) -> None:  # type: ignore[no-untyped-def]
    make(artifacts)
    damage(artifacts.root / "objects/ab/abcd/weights/model.bin")
    assert artifacts.find("abcd", verify=verify) is None
    notes = list(artifacts.root.glob("damaged/*/note.txt"))
    assert [note in path.read_text() for path in notes] == [True]
    make(artifacts)
    assert artifacts.find("abcd", verify=True) is not None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"files": {}}', '{"files": {"a": 3}}', "\0\0"])
def test_unreadable_manifest_is_damage(artifacts: Artifacts, content: str) -> None:
    make(artifacts)
    (artifacts.root / "objects/ab/abcd" / MANIFEST).write_text(content)
    assert artifacts.find("abcd") is None
    assert len(list(artifacts.root.glob("damaged/*/abcd"))) == 1


def test_manifest_of_another_artifact_is_damage(artifacts: Artifacts) -> None:
    make(artifacts)
    path = artifacts.root / "objects/ab/abcd" / MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text()), "fingerprint": "abce"}))
    assert artifacts.find("abcd") is None


def settle(artifacts: Artifacts, fingerprint: str = "abcd") -> None:
    """Waits until a change of a file shows in its times, and has the artifact checked."""
    time.sleep(0.1)
    assert artifacts.find(fingerprint) is not None


def test_unchanged_files_are_read_once_and_changed_ones_again(
    artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def digest(path: Path) -> str:
        read.append(path.name)
        return file_digest(path)

    make(artifacts)
    monkeypatch.setattr(artifacts_module, "file_digest", digest)
    settle(artifacts)
    assert sorted(read) == ["model.bin", "notes.txt"]
    assert artifacts.find("abcd") is not None
    assert len(read) == 2
    assert artifacts.find("abcd", verify=True) is not None
    assert len(read) == 4
    file = artifacts.root / "objects/ab/abcd/weights/model.bin"
    before = file.stat()
    flip(file)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.stat().st_size == before.st_size
    assert artifacts.find("abcd") is None


def test_one_bit_anywhere_in_an_artifact_is_noticed(artifacts: Artifacts) -> None:
    make(artifacts)
    settle(artifacts)
    folder = artifacts.root / "objects/ab/abcd"
    whole = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    rng, tried = random.Random(0), 0
    for path, content in whole.items():
        for place in rng.sample(range(len(content)), min(len(content), 60)):
            flipped = bytearray(content)
            flipped[place] ^= 1 << rng.randrange(8)
            path.write_bytes(flipped)
            assert artifacts.find("abcd") is None, (path.name, place)
            assert not folder.exists()
            shutil.copytree(next(artifacts.root.glob("damaged/*/abcd")), folder)
            shutil.rmtree(artifacts.root / "damaged")
            path.write_bytes(content)
            tried += 1
    assert tried == 66
    assert artifacts.find("abcd") is not None


def test_a_reader_gets_no_damaged_file_and_moves_none(artifacts: Artifacts) -> None:
    make(artifacts)
    settle(artifacts)
    assert artifacts.find_file("abcd", "notes.txt") is not None
    assert artifacts.find_file("abcd", "other.txt") is None
    assert artifacts.find_file("abce", "notes.txt") is None
    flip(artifacts.root / "objects/ab/abcd/notes.txt")
    assert artifacts.find_file("abcd", "notes.txt") is None
    assert artifacts.find_file("abcd", "weights/model.bin") is not None
    assert (artifacts.root / "objects/ab/abcd").is_dir()


def test_what_was_made_from_another_version_of_its_input_is_set_aside(artifacts: Artifacts) -> None:
    make(artifacts, "aaaa", text="first")
    base = artifacts.find("aaaa")
    assert base is not None
    with artifacts.create("bbbb", "finetune", {}, {"aaaa": base.content}) as folder:
        (folder / "model").write_text("from the first")
    assert artifacts.find("bbbb") is not None
    flip(artifacts.root / "objects/aa/aaaa/weights/model.bin")
    assert artifacts.find("aaaa") is None
    assert artifacts.find("bbbb") is not None, "it was made from what was whole"
    make(artifacts, "aaaa", text="second")
    assert artifacts.fault("bbbb") == "made from another version of its input"
    assert [path.name for path in artifacts.root.glob("damaged/*/bbbb")] == ["bbbb"]


def test_cost_and_log_are_no_part_of_the_content(artifacts: Artifacts) -> None:
    contents = set()
    for number in range(2):
        with artifacts.create(f"aa{number}", "align", {}) as folder:
            (folder / "weights").write_text("same")
            (folder / COST).write_text(str(number))
            (folder / LOG).write_text(str(number))
        found = artifacts.find(f"aa{number}")
        assert found is not None
        contents.add(found.content)
    assert len(contents) == 1


def test_first_of_two_writers_wins(artifacts: Artifacts) -> None:
    with artifacts.create("abcd", "align", {}) as folder:
        (folder / "a").write_text("second")
        make(artifacts, text="first")
    found = artifacts.find("abcd", verify=True)
    assert found is not None
    assert set(found.files) == {"weights/model.bin", "notes.txt"}
    assert not list(artifacts.root.glob("staging/*"))


def race(root: Path, barrier: Barrier, name: str) -> None:
    artifacts = Artifacts(root)
    for index in range(20):
        barrier.wait(30)
        with artifacts.create(f"f{index}", "align", {"by": name}) as folder:
            (folder / "data").write_text(name * 1000)


def test_concurrent_writers_of_one_artifact_all_succeed(artifacts: Artifacts) -> None:
    barrier = SERVED.Barrier(2)
    racers = [SERVED.Process(target=race, args=(artifacts.root, barrier, name)) for name in "xy"]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(60)
    assert [racer.exitcode for racer in racers] == [0, 0]
    for index in range(20):
        found = artifacts.find(f"f{index}", verify=True)
        assert found is not None
        assert (found.path / "data").read_text() == found.meta["by"] * 1000
    assert not list(artifacts.root.glob("damaged/*"))


def test_full_disk_is_reported_and_leaves_nothing(artifacts: Artifacts) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with pytest.raises(UserError) as caught, artifacts.create("abcd", "align", {}) as folder:  # noqa: PT012
        (folder / "good").write_text("x" * 100_000)
        (folder / "bad").symlink_to("/dev/full")
        (folder / "bad").write_text("no room for this")
    assert str(artifacts.root) in str(caught.value)
    assert "MiB free" in str(caught.value)
    assert caught.value.remedy
    assert artifacts.find("abcd") is None
    assert files_under(artifacts.root) == []


def start(root: Path, body: str) -> subprocess.Popen[str]:
    """Runs `body` in another process, up to the line "ready" that it prints."""
    program = f"""
import sys, time
from pathlib import Path
from harness.storage.artifacts import Artifacts
from harness.storage.home import home
artifacts = Artifacts(Path(sys.argv[1]))
{textwrap.dedent(body)}
"""
    child = subprocess.Popen([sys.executable, "-c", program, str(root)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    return child


def kill(child: subprocess.Popen[str]) -> None:
    os.kill(child.pid, signal.SIGKILL)
    child.communicate()


def test_killed_writer_leaves_no_artifact_and_gc_removes_its_remains(artifacts: Artifacts) -> None:
    child = start(
        artifacts.root,
        """
        with artifacts.create("abcd", "align", {}) as folder:
            (folder / "half").write_text("half")
            print("ready", flush=True)
            time.sleep(60)
        """,
    )
    artifacts.gc(set)
    assert len(list(artifacts.root.glob("staging/*/half"))) == 1  # the writer lives
    kill(child)
    assert artifacts.find("abcd") is None
    assert artifacts.gc(set).size == 4
    assert files_under(artifacts.root) == []


def test_lock_is_released_when_its_process_dies(artifacts: Artifacts) -> None:
    child = start(
        artifacts.root,
        """
        with artifacts.lock("abcd"):
            print("ready", flush=True)
            time.sleep(60)
        """,
    )
    waited: list[str] = []

    def on_wait() -> None:
        waited.append("abcd")
        kill(child)

    with artifacts.lock("other", on_wait), artifacts.lock("abcd", on_wait):
        assert waited == ["abcd"]


def count(root: Path, barrier: Barrier) -> None:
    artifacts, counter = Artifacts(root), root / "counter"
    barrier.wait(30)
    for _ in range(200):
        with artifacts.lock("abcd"):
            counter.write_text(str(int(counter.read_text()) + 1))


def test_lock_excludes_under_contention(artifacts: Artifacts) -> None:
    artifacts.root.mkdir()
    (artifacts.root / "counter").write_text("0")
    barrier = SERVED.Barrier(3)
    counters = [SERVED.Process(target=count, args=(artifacts.root, barrier)) for _ in range(3)]
    for process in counters:
        process.start()
    for process in counters:
        process.join(60)
    assert (artifacts.root / "counter").read_text() == "600"


def test_work_folder_lasts_until_publication(artifacts: Artifacts) -> None:
    (artifacts.work("abcd") / "step-10").write_text("checkpoint")
    assert (artifacts.work("abcd") / "step-10").exists()
    make(artifacts)
    assert not (artifacts.root / "work/abcd").exists()


def test_gc_keeps_requested_and_locked_artifacts(artifacts: Artifacts) -> None:
    for fingerprint in ("aaaa", "bbbb", "cccc"):
        make(artifacts, fingerprint)
    (artifacts.work("dddd") / "old").write_text("checkpoint")
    with artifacts.lock("cccc"):
        collected = artifacts.gc(lambda: {"aaaa"})
    assert collected.fingerprints == ("bbbb", "dddd")
    assert collected.size > 10
    assert artifacts.fingerprints() == ["aaaa", "cccc"]


def test_home_of_a_user_unknown_to_the_system_is_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def nobody() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", nobody)
    monkeypatch.delenv("ALIGNBOARD_HOME", raising=False)
    with pytest.raises(UserError, match="ALIGNBOARD_HOME"):
        home()
    monkeypatch.setenv("ALIGNBOARD_HOME", str(tmp_path))
    assert home() == tmp_path


def test_what_a_desktop_or_a_network_disk_leaves_among_the_artifacts_is_no_artifact(artifacts: Artifacts) -> None:
    make(artifacts)
    artifacts.work("abcd")
    for place in ("work", "objects/ab"):
        (artifacts.root / place / ".DS_Store").touch()
    artifacts.sweep()
    assert artifacts.fingerprints() == ["abcd"]
    assert artifacts.gc(lambda: ["abcd"]).fingerprints == ()
    assert artifacts.find("abcd") is not None


def test_folder_that_is_removed_is_left_to_its_remover(artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch) -> None:
    make(artifacts)
    remove, sizes = shutil.rmtree, []

    def sweep_first(path: Path, **options: bool) -> None:
        if not sizes:
            sizes.append(Artifacts(artifacts.root).sweep())
        remove(path, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(artifacts_module.shutil, "rmtree", sweep_first)
    assert artifacts.gc(lambda: []).fingerprints == ("abcd",)
    assert sizes == [0]
    assert not list(artifacts.root.glob("staging/*"))
