"""`alignboard gc` keeps what any database, any process at work and any ablation's trials still use."""

from __future__ import annotations

import json
import shutil
import time
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from harness.errors import UsageError, UserError
from harness.files import remove_parts
from harness.storage import usage
from harness.storage.artifacts import Artifacts
from harness.storage.store import RunRow, Store
from harness.storage.store.schema import StageRow
from harness.storage.usage import collect, forget_store, keep_trials, lease, register_store, registered_stores
from tests.support.cli_calls import run_command
from tests.support.processes import SERVED

FIRST, SECOND, UNUSED = "aa11", "bb22", "cc33"


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    """Three artifacts in a home."""
    made = Artifacts(tmp_path / "home" / "artifacts")
    for fingerprint in (FIRST, SECOND, UNUSED):
        with made.create(fingerprint, "align", {}) as folder:
            (folder / "weights").write_text("weights")
    return made


def add_store(artifacts: Artifacts, path: Path, *used: str, status: str = "done", planned: tuple[str, ...] = ()) -> str:
    """A registered database with one run; returns its location."""
    store = Store.open(path, create=True)
    card = {"stages": [[fingerprint, "align", None] for fingerprint in planned]}
    store.add_run(RunRow(id="r", method="mbert", suite="s", protocol="mini", status=status, card=card))
    for fingerprint in used:
        store.put_stage(StageRow(fingerprint=fingerprint, kind="align", status="done"))
        store.link_stage("r", fingerprint, hit=False)
    register_store(artifacts, store)
    store.close()
    return store.location


def test_artifacts_of_every_registered_database_are_kept(
    artifacts: Artifacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALIGNBOARD_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("ALIGNBOARD_DB", raising=False)
    add_store(artifacts, tmp_path / "home" / "board.db", FIRST)
    add_store(artifacts, tmp_path / "elsewhere.db", SECOND)
    assert run_command("gc") == 0
    assert len(artifacts.fingerprints()) == 3
    assert run_command("gc", "--unknown") == 0
    assert artifacts.fingerprints() == [FIRST, SECOND]


def test_registered_database_that_cannot_be_read_stops_the_collection(
    artifacts: Artifacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ALIGNBOARD_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("ALIGNBOARD_DB", raising=False)
    add_store(artifacts, tmp_path / "home" / "board.db", FIRST)
    other = add_store(artifacts, tmp_path / "elsewhere.db", SECOND)
    Path(other).unlink()
    assert run_command("gc") == 1
    message = capsys.readouterr().err
    assert f"{other}: nothing was deleted, since a database that uses these artifacts cannot be read" in message
    assert f"--forget {other}" in message
    assert len(artifacts.fingerprints()) == 3
    assert run_command("gc", "--dry-run") == 1
    assert run_command("gc", "--unknown", "--forget", other) == 0
    assert artifacts.fingerprints() == [FIRST]
    assert run_command("gc", "--forget", other) == 2


def test_location_inside_the_home_moves_with_it(artifacts: Artifacts, tmp_path: Path) -> None:
    add_store(artifacts, tmp_path / "home" / "board.db", FIRST)
    outside = add_store(artifacts, tmp_path / "elsewhere.db", SECOND)
    shutil.move(tmp_path / "home", tmp_path / "moved")
    moved = Artifacts(tmp_path / "moved" / "artifacts")
    assert registered_stores(moved) == sorted([outside, str(tmp_path / "moved" / "board.db")])
    forget_store(moved, str(tmp_path / "moved" / "board.db"))
    assert registered_stores(moved) == [outside]
    with pytest.raises(UsageError, match="unknown database of these artifacts"):
        forget_store(moved, "nowhere.db")


def test_planned_stages_of_a_running_run_are_kept(artifacts: Artifacts, tmp_path: Path) -> None:
    location = add_store(artifacts, tmp_path / "board.db", FIRST, status="running", planned=(FIRST, SECOND))
    assert collect(artifacts, [location]).fingerprints == (UNUSED,)


def hold_lease(root: Path, held: Event) -> None:
    with lease(Artifacts(root), [FIRST, "dd44"]):
        held.set()
        time.sleep(60)


def test_artifacts_of_a_process_at_work_are_kept_until_it_dies(artifacts: Artifacts) -> None:
    held = SERVED.Event()
    process = SERVED.Process(target=hold_lease, args=(artifacts.root, held))
    process.start()
    assert held.wait(60)
    assert collect(artifacts, []).fingerprints == (SECOND, UNUSED)
    process.kill()
    process.join()
    assert collect(artifacts, []).fingerprints == (FIRST,)
    assert not list(artifacts.root.glob("leases/*"))


def test_lease_ends_with_its_block(artifacts: Artifacts) -> None:
    with lease(artifacts, [FIRST]), lease(artifacts, [FIRST, SECOND]):
        assert collect(artifacts, []).fingerprints == (UNUSED,)
    assert collect(artifacts, []).fingerprints == (FIRST, SECOND)


def test_what_is_in_use_is_read_while_no_lease_can_be_taken(artifacts: Artifacts) -> None:
    held = SERVED.Event()
    process = SERVED.Process(target=hold_lease, args=(artifacts.root, held))

    def keep() -> set[str]:
        process.start()
        assert not held.wait(5)
        return {FIRST}

    assert artifacts.gc(keep).fingerprints == (SECOND, UNUSED)
    assert held.wait(60)
    process.kill()
    process.join()


def test_trials_are_kept_until_they_are_given_up(artifacts: Artifacts) -> None:
    keep_trials(artifacts, [SECOND])
    assert collect(artifacts, []).fingerprints == (FIRST, UNUSED)
    assert collect(artifacts, [], trials=True).fingerprints == (SECOND,)
    assert not list(artifacts.root.glob("trials/*"))


def test_unreadable_database_keeps_the_trials(artifacts: Artifacts, tmp_path: Path) -> None:
    keep_trials(artifacts, [SECOND])
    with pytest.raises(UserError, match="nothing was deleted"):
        collect(artifacts, [str(tmp_path / "none.db")], trials=True)
    assert list(artifacts.root.glob("trials/*"))


def test_entry_of_a_database_that_is_damaged_is_named_and_can_be_forgotten(
    artifacts: Artifacts, tmp_path: Path
) -> None:
    location = add_store(artifacts, tmp_path / "one.db", FIRST)
    (entry,) = artifacts.root.glob("stores/*")
    for content in ("[]", '{"stora": "one.db"}', '{"store": 1}'):
        entry.write_text(content)
        with pytest.raises(UserError, match="should name a database") as caught:
            registered_stores(artifacts)
        assert caught.value.file == entry
    entry.write_text(json.dumps({"store": location.replace("one", "ona")}))
    forget_store(artifacts, location.replace("one", "ona"))
    assert not registered_stores(artifacts)
    entry.write_text(json.dumps({"store": location.replace("one", "ona")}))
    register_store(artifacts, Store.open(location))
    assert registered_stores(artifacts) == [location]


def test_damaged_list_of_trials_stops_the_collection(artifacts: Artifacts) -> None:
    keep_trials(artifacts, [FIRST])
    (file,) = artifacts.root.glob("trials/*")
    file.write_text('{"aa11": 1}')
    with pytest.raises(UserError, match="should list artifacts"):
        collect(artifacts, [])
    assert len(artifacts.fingerprints()) == 3


def test_lease_that_ends_while_leases_are_read_keeps_nothing(
    artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = usage._files
    gone = artifacts.root / "leases" / "gone.json"
    monkeypatch.setattr(usage, "_files", lambda root, kind: [*read(root, kind), *([gone] if kind == "leases" else [])])
    assert collect(artifacts, []).fingerprints == (FIRST, SECOND, UNUSED)


def test_parts_that_vanish_while_they_are_collected_are_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".part-1-1-b").write_text("old")
    monkeypatch.setattr(Path, "rglob", lambda folder, pattern: [folder / ".part-1-1-a", folder / ".part-1-1-b"])
    assert remove_parts(tmp_path) == 3
    assert not list(tmp_path.iterdir())
