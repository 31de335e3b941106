"""Runs exported as one file are verified and shown elsewhere; damaged archives are refused and leave nothing."""

from __future__ import annotations

import hashlib
import io
import json
import sqlite3
import tarfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from harness.errors import UserError
from harness.experiments.stored import finished_runs
from harness.files import file_digest, seal
from harness.storage import archive
from harness.storage.artifacts import Artifacts
from harness.storage.store import RunRow, Store
from tests.support.cli_calls import printed_by as command
from tests.support.cli_calls import run_command
from tests.support.scored_store import make_scored_store

Members = dict[str, bytes]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("ALIGNBOARD_HOME", str(tmp_path))
    monkeypatch.delenv("ALIGNBOARD_DB", raising=False)
    return make_scored_store(tmp_path)


@pytest.fixture
def exported(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    store.refresh_summary("r", {"xnli": ("de", "sw")}, {"xnli": "accuracy"})
    command(capsys, "export", "mbert", "--out", str(tmp_path / "run.tar"))
    return tmp_path / "run.tar"


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home of another machine, which holds nothing."""
    return tmp_path / "elsewhere"


def members(file: Path) -> Members:
    with tarfile.open(file) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]


def write(file: Path, content: Members) -> None:
    with tarfile.open(file, "w") as tar:
        for name, text in content.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text))


def listed_again(content: Members, changed: Members) -> Members:
    """The archive with other files, and a list that fits them."""
    content = {**content, **changed}
    contents = json.loads(content.pop(archive.CONTENTS))
    for name, text in changed.items():
        contents["files"][name] = {"size": len(text), "sha256": hashlib.sha256(text).hexdigest()}
    del contents["digest"]
    return {archive.CONTENTS: json.dumps(seal(contents)).encode(), **content}


def test_imported_run_verifies_and_is_shown_as_it_was(
    exported: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = command(capsys, "show"), command(capsys, "show", "--format", "json")
    monkeypatch.setenv("ALIGNBOARD_HOME", str(elsewhere))
    assert command(capsys, "import", str(exported)).startswith("runs: 1 added, 0 completed, 0 there already")
    assert command(capsys, "verify") == "artifacts 2, scores 2, problems 0\n"
    assert command(capsys, "db", "check").endswith(": 0 problems\n")
    assert (command(capsys, "show"), command(capsys, "show", "--format", "json")) == shown
    assert command(capsys, "import", str(exported)).startswith("runs: 0 added, 0 completed, 1 there already")
    assert "removed: 0," in command(capsys, "gc", "--unknown")
    assert not list(elsewhere.glob("artifacts/staging/*"))


def test_archive_names_no_user_and_is_not_overwritten(exported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with tarfile.open(exported) as tar:
        assert {(m.uname, m.gname, m.uid, m.mtime) for m in tar} == {("", "", 0, 0)}
    command(capsys, "export", "mbert", "--out", str(exported), code=2)


def test_runs_without_a_seed_are_listed(store: Store) -> None:
    store.add_run(RunRow(id="ab12", method="theirs", suite="xnli", protocol="official", kind="external", status="done"))
    with pytest.raises(UserError, match=r"ab12 \(theirs\)"):
        finished_runs(store, ["nothing"], kinds=("external",))


def truncate(content: bytes, place: float) -> bytes:
    return content[: int(len(content) * place)]


@pytest.mark.parametrize("place", [0.0, 0.01, 0.3, 0.6, 0.9])
def test_truncated_archive_is_refused(
    place: float, exported: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    exported.write_bytes(truncate(exported.read_bytes(), place))
    refused(exported, elsewhere, monkeypatch, capsys)


def refused(file: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """The message about an archive that cannot be imported, which leaves nothing."""
    monkeypatch.setenv("ALIGNBOARD_HOME", str(elsewhere))
    assert run_command("import", str(file)) == 1
    message = capsys.readouterr().err
    assert "nothing was imported" in message
    assert Artifacts(elsewhere / "artifacts").fingerprints() == []
    assert not (elsewhere / "board.db").exists()
    assert not list(elsewhere.glob("artifacts/staging/*"))
    return message


def test_flipped_bit_in_any_file_is_noticed(
    exported: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = exported.read_bytes()
    with tarfile.open(exported) as tar:
        places = [(member.name, member.offset_data + member.size // 2) for member in tar]
    assert len(places) >= 6
    for name, place in places:
        changed = bytearray(whole)
        changed[place] ^= 1
        exported.write_bytes(changed)
        message = refused(exported, elsewhere, monkeypatch, capsys)
        assert name in message


def drop(content: Members) -> Members:
    return {name: text for name, text in content.items() if not name.endswith("weights")}


def add(content: Members) -> Members:
    return {**content, "artifacts/objects/zz/zz": b"more"}


def escape(content: Members) -> Members:
    return listed_again(content, {"artifacts/objects/../../../evil": b"evil"})


def absolute(content: Members) -> Members:
    return listed_again(content, {"/tmp/alignboard-evil": b"evil"})


def newer(content: Members) -> Members:
    contents = json.loads(content[archive.CONTENTS])
    del contents["digest"]
    return {**content, archive.CONTENTS: json.dumps(seal({**contents, "format": 99})).encode()}


def reorder(content: Members) -> Members:
    return dict(reversed(content.items()))


def other_score(content: Members) -> Members:
    """A score that was improved by hand, in a list that fits."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "board.db"
        file.write_bytes(content["board.db"])
        with closing(sqlite3.connect(file)) as connection, connection:
            connection.execute("UPDATE score SET value = 99.0 WHERE view = 'sw'")
        return listed_again(content, {"board.db": file.read_bytes()})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (drop, "1 of 5 files are not in it"),
        (add, "'artifacts/objects/zz/zz' is not the file that the list has"),
        (escape, "outside the destination"),
        (absolute, "a list of other files"),
        (newer, "newer version"),
        (reorder, "no list of files"),
        (other_score, "99.0 in the database, 25.0 from the statistics"),
        (lambda _: {"photo.jpg": b"photo"}, "no list of files"),
    ],
)
def test_changed_archive_is_refused(
    change: Callable[[Members], Members],
    words: str,
    exported: Path,
    elsewhere: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write(exported, change(members(exported)))
    assert words in refused(exported, elsewhere, monkeypatch, capsys)
    assert not list(exported.parent.rglob("evil"))


def test_link_and_swollen_file_are_refused(
    exported: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    content = members(exported)
    name = next(name for name in content if name.endswith("weights"))
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE):
        with tarfile.open(exported, "w") as tar:
            for each, text in content.items():
                member = tarfile.TarInfo(each)
                member.size = len(text)
                if each == name:
                    member.type, member.linkname, member.size = kind, "/etc/passwd", 0
                tar.addfile(member, io.BytesIO(text))
        assert "is not the file that the list has" in refused(exported, elsewhere, monkeypatch, capsys)
    contents = json.loads(content[archive.CONTENTS])
    del contents["digest"]
    contents["files"][name]["size"] = 2**40
    write(exported, {**content, archive.CONTENTS: json.dumps(seal(contents)).encode()})
    assert "bytes listed, in a file of" in refused(exported, elsewhere, monkeypatch, capsys)


def test_full_disk_is_reported_before_anything_is_unpacked(
    exported: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(archive, "SPARE", 2**60)
    refused(exported, elsewhere, monkeypatch, capsys)


def test_damaged_artifact_is_not_exported(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = next(tmp_path.glob("artifacts/objects/cd/*/weights"))
    digest = file_digest(weights)
    weights.write_bytes(b"weighty")
    assert file_digest(weights) != digest
    command(capsys, "export", "mbert", "--out", str(tmp_path / "run.tar"), code=1)
    assert not list(tmp_path.glob("*run.tar*"))


@pytest.mark.parametrize("header", [{"GNU.sparse.map": "x"}, {"mtime": "nan"}, {"path": "artifacts/objects/a\0b"}])
def test_header_that_no_file_can_have_is_damage(header: dict[str, str], tmp_path: Path) -> None:
    name = header.get("path", archive.BOARD)
    files = {each: {"size": 1, "sha256": hashlib.sha256(b"a").hexdigest()} for each in (name, archive.BOARD)}
    contents = json.dumps(seal({"format": archive.FORMAT, "runs": [], "files": files})).encode()
    with tarfile.open(tmp_path / "run.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        for each, text, headers in ((archive.CONTENTS, contents, {}), (archive.BOARD, b"a", header)):
            member = tarfile.TarInfo(each)
            member.size, member.pax_headers = len(text), headers
            tar.addfile(member, io.BytesIO(text))
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match="not an archive of runs, or a damaged one"):
        archive.unpack_archive(tmp_path / "run.tar", tmp_path / "out")
