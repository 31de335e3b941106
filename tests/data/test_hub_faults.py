"""What the hub source does when the hub, the connection or a file fails: one clear error, and nothing half written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import datasets.config
import pytest
from huggingface_hub import constants

from harness.data.hub import Hub, repository
from harness.errors import UserError
from harness.records import Corpus
from harness.registry import TASKS
from tests.support import hub_world
from tests.support.hub_server import COMMIT, Fault, in_its_place
from tests.support.hub_server import Hub as Server

FILE = "PAN-X.ar/test-00000-of-00001.parquet"
PANX = TASKS.get("panx").spec
SOURCE = "nli=none,parallel=none"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    with in_its_place(Server(hub_world.hub_files()), monkeypatch, tmp_path / "home") as running:
        monkeypatch.setattr(repository, "WAITS", (0.0, 0.0))
        yield running


def read(location: str = SOURCE) -> list:
    return list(Hub.open(location).task(PANX, "ar", "test"))


def refused(location: str = SOURCE) -> str:
    with pytest.raises(UserError) as refusal:
        read(location)
    message = str(refusal.value)
    assert refusal.value.exit_code == 1
    assert all(word in message for word in ("google/xtreme", "found:", "expected:", "remedy:")), message
    return message


def kept(tmp_path: Path) -> list[Path]:
    """The Parquet files that the cache offers to a reader."""
    return [path for path in (tmp_path / "home").rglob("*.parquet") if path.is_file()]


def test_missing_config_is_named(server: Server) -> None:
    del server.repos[hub_world.XTREME][FILE]
    assert f"@{COMMIT}: the config lacks this split: PAN-X.ar, split test" in refused()


def test_listed_file_without_content_is_named(server: Server, tmp_path: Path) -> None:
    server.faults.append(Fault(FILE, status=404, method="HEAD", code="EntryNotFound"))
    assert FILE in refused()
    assert kept(tmp_path) == []


@pytest.mark.parametrize(("status", "code"), [(401, ""), (401, "GatedRepo"), (403, "GatedRepo")])
def test_gated_or_private_data_set_names_the_remedy(server: Server, status: int, code: str) -> None:
    server.faults.append(Fault("/api/datasets/google/xtreme", status=status, code=code))
    message = refused()
    assert "HF_TOKEN" in message
    assert ("accept the terms" in message) == (code == "GatedRepo")


def test_missing_revision_is_named(server: Server) -> None:
    message = refused(f"google/xtreme@beef,{SOURCE}")
    assert "google/xtreme@beef" in message
    assert "name a commit" in message


def test_a_connection_that_drops_is_resumed(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 64)  # what came in whole chunks is not fetched again
    server.faults.append(Fault(f"/cdn/.*{FILE}", cut=True, times=1))
    assert len(read()) == hub_world.ROWS
    ranges = [asked for _, path, asked in server.requests if path.startswith("/cdn/") and asked]
    size = len(server.repos[hub_world.XTREME][FILE])
    (start,) = (int(asked.removeprefix("bytes=").removesuffix("-")) for asked in ranges)
    assert 0 < start <= size // 2


def test_corrupt_download_is_reported_and_removed(server: Server, tmp_path: Path) -> None:
    server.faults.append(Fault(f"/cdn/.*{FILE}", corrupt=True, times=1))
    assert "damaged" in refused()
    assert kept(tmp_path) == []
    assert len(read()) == hub_world.ROWS


def test_damaged_cached_file_is_reported_and_fetched_again(server: Server, tmp_path: Path) -> None:
    read()
    (path,) = kept(tmp_path)[:1]
    path.resolve().write_bytes(path.read_bytes()[:-9] + b"?")
    assert "damaged" in refused()
    assert len(read()) == hub_world.ROWS


def test_rows_that_the_card_does_not_declare(server: Server) -> None:
    card = hub_world._card("PAN-X.ar", "test", "PAN-X.ar/test-*", 8)
    server.repos[hub_world.XTREME]["README.md"] = card
    message = refused()
    assert "7 rows" in message
    assert "8 rows" in message


@pytest.mark.parametrize("path", ["/api/datasets/google/xtreme", f"/cdn/.*{FILE}"])
def test_passing_server_error_is_retried(server: Server, path: str) -> None:
    server.faults.append(Fault(path, status=500, times=1))
    assert len(read()) == hub_world.ROWS


@pytest.mark.parametrize("path", ["/api/datasets/google/xtreme", f"/cdn/.*{FILE}"])
def test_lasting_server_error_is_reported(server: Server, tmp_path: Path, path: str) -> None:
    server.faults.append(Fault(path, status=500))
    assert "run the command again" in refused()
    assert kept(tmp_path) == []


def go_offline(monkeypatch: pytest.MonkeyPatch, offline: bool) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", offline)


def test_offline(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go_offline(monkeypatch, True)
    assert "unset HF_HUB_OFFLINE" in refused()
    assert server.requests == []
    go_offline(monkeypatch, False)
    records = read()
    before = len(server.requests)
    go_offline(monkeypatch, True)
    assert read() == records
    with pytest.raises(UserError, match=r"PAN-X\.en/test"):
        Hub.open(SOURCE).task(PANX, "en", "test")
    assert len(server.requests) == before


def test_a_branch_stays_at_its_first_commit(server: Server) -> None:
    records = read()
    server.repos[hub_world.XTREME] = {}
    assert read() == records


def test_parallel_text_that_breaks_off_leaves_nothing(server: Server, tmp_path: Path) -> None:
    hub = Hub.open("nli=none")
    hub.manifest([])
    server.faults.append(Fault("/cdn/.*ar-en", status=403))
    before = set(kept(tmp_path))
    with pytest.raises(UserError, match="opus-100"):
        hub.corpus(Corpus.PARALLEL, ["ar"])
    assert set(kept(tmp_path)) == before
    server.faults.clear()
    assert len(hub.corpus(Corpus.PARALLEL, ["ar"])) == 8


def arrow_files(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "home" / "datasets").rglob("*-test.arrow"))


@pytest.mark.parametrize("keep", [0, 100, -100], ids=["empty", "cut at the start", "cut at the end"])
def test_a_truncated_arrow_cache_is_written_anew(server: Server, tmp_path: Path, keep: int) -> None:
    records = read()
    (path,) = arrow_files(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[:keep])
    assert read() == records
    assert len(path.read_bytes()) == len(whole)


def test_a_truncated_arrow_cache_is_refused_offline(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read()
    (path,) = arrow_files(tmp_path)
    path.write_bytes(path.read_bytes()[:100])
    go_offline(monkeypatch, True)
    assert "unset HF_HUB_OFFLINE" in refused()


def test_a_moved_branch_is_named_and_not_followed(server: Server) -> None:
    (before,) = {cell.fingerprint for cell in Hub.open(SOURCE).manifest([PANX]).tasks if cell.view == "ar"} & {
        cell.fingerprint for cell in Hub.open(SOURCE).manifest([PANX]).tasks if cell.split == "test"
    }
    server.commit = "f" * 40
    moved = Hub.open(SOURCE).manifest([PANX])
    assert before in {cell.fingerprint for cell in moved.tasks}
    assert f"google/xtreme is read at commit {COMMIT}" in moved.notes
    assert any(f"google/xtreme has moved on the hub, to commit {'f' * 40}" in note for note in moved.notes)


def test_a_new_commit_has_other_fingerprints_and_its_own_cache(server: Server, tmp_path: Path) -> None:
    records, old = read(), {cell.fingerprint for cell in Hub.open(SOURCE).manifest([PANX]).tasks}
    server.commit = "f" * 40
    assert read(f"google/xtreme@{'f' * 40},{SOURCE}") == records
    new = {cell.fingerprint for cell in Hub.open(f"google/xtreme@{'f' * 40},{SOURCE}").manifest([PANX]).tasks}
    assert not old & new
    assert len(arrow_files(tmp_path)) == 2


def test_a_failing_hub_does_not_fall_back_to_the_cache_of_another_commit(server: Server) -> None:
    read()
    server.commit = "f" * 40
    new = Hub.open(f"google/xtreme@{'f' * 40},{SOURCE}")
    new.manifest([PANX])
    server.faults.append(Fault("/tree/", status=403))
    with pytest.raises(UserError, match="f" * 40):
        new.task(PANX, "ar", "test")
