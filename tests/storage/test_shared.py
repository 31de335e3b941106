"""Artifacts that machines share at a URL: what is whole is had by all, what is not counts for none."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from harness.errors import UserError
from harness.files import COST
from harness.storage.artifacts import Artifacts
from harness.storage.manifest import MANIFEST
from harness.storage.remote import RemoteFiles
from harness.storage.shared import VARIABLE, SharedArtifacts, open_artifacts
from harness.storage.store import Store
from harness.storage.usage import collect
from tests.support.cli_calls import run_command
from tests.support.s3_server import s3_server


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with s3_server() as url:
        yield url


@pytest.fixture(params=["file", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty place: a folder that is mounted, or one in a bucket."""
    if request.param == "file":
        return f"file://{tmp_path}/mounted"
    return f"{request.getfixturevalue('bucket')}/{os.urandom(6).hex()}"


class Machines:
    """Folders of several machines, with one URL."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder, self.url = folder, url

    def __getitem__(self, name: str) -> SharedArtifacts:
        """A machine, as a process that has just started sees it."""
        return SharedArtifacts(self.folder / name, self.url)

    def there(self) -> list[str]:
        """The files at the URL, without the folder that has the digest of the files."""
        files = fsspec.filesystem(self.url.partition("://")[0])
        files.invalidate_cache()
        root = files._strip_protocol(self.url)
        return sorted(path.removeprefix(root + "/") for path in files.find(root))

    def overwrite(self, ending: str, content: bytes) -> None:
        files = fsspec.filesystem(self.url.partition("://")[0])
        (path,) = (path for path in self.there() if path.endswith(ending))
        files.pipe_file(f"{files._strip_protocol(self.url)}/{path}", content)


@pytest.fixture
def machines(tmp_path: Path, url: str) -> Machines:
    return Machines(tmp_path, url)


@pytest.fixture
def mounted(tmp_path: Path) -> Machines:
    return Machines(tmp_path, f"file://{tmp_path}/mounted")


def make(artifacts: Artifacts, name: str = "abcd", text: str = "hello", **inputs: str) -> None:
    with artifacts.create(name, "align", {"title": "align"}, inputs) as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "weights.bin").write_text(text)
        (folder / "scores.json").write_text("[1]")
        (folder / COST).write_text(json.dumps(text))


def weights(artifacts: Artifacts, name: str = "abcd") -> str | None:
    found = artifacts.find(name)
    return None if found is None else (found.path / "deep" / "weights.bin").read_text()


def test_what_one_machine_publishes_another_finds(machines: Machines) -> None:
    make(machines["a"], first="some content")
    assert [path.rpartition("/")[2] for path in machines.there()] == [
        COST,
        "weights.bin",
        "scores.json",
        MANIFEST,
    ]
    found = machines["b"].find("abcd")
    assert found is not None
    assert found.path == machines.folder / "b" / "objects" / "ab" / "abcd"
    assert found == Artifacts(machines.folder / "b").find("abcd", verify=True), "as if it had been computed there"
    assert (found.kind, found.inputs, weights(machines["b"])) == ("align", {"first": "some content"}, "hello")
    assert machines["b"].find("abce") is None


def test_only_the_files_that_are_read_are_fetched(machines: Machines) -> None:
    make(machines["a"])
    reader = machines["b"]
    part = reader.find("abcd", files=["scores.json", "no such file"])
    assert part is not None
    assert [path.name for path in part.path.iterdir()] == ["scores.json"]
    assert (part.path / "scores.json").read_text() == "[1]"
    assert not (reader.root / "objects").exists()
    (part.path / "scores.json").write_text("[2]")
    assert reader.find("abcd", files=["scores.json"]) == part
    assert (part.path / "scores.json").read_text() == "[1]", "what was damaged here is fetched again"
    one = machines["c"].find_file("abcd", "scores.json")
    assert one is not None
    assert one.read_text() == "[1]"
    assert machines["c"].find_file("abcd", "no such file") is None
    assert reader.gc(lambda: ()).fingerprints == ("abcd",)
    assert not part.path.exists()


@pytest.mark.parametrize("ending", ["weights.bin", MANIFEST])
def test_what_is_damaged_at_the_url_is_refused_and_made_again(machines: Machines, ending: str) -> None:
    make(machines["a"])
    machines.overwrite(ending, b"jello")
    reader = machines["b"]
    assert reader.find("abcd") is None
    assert not list(reader.root.glob("objects/*/*"))
    if ending != MANIFEST:
        assert "damaged/abcd.json" in machines.there()
        (note,) = reader.root.glob("damaged/*/note.txt")
        assert machines.url in note.read_text()
        assert "the content of deep/weights.bin has changed" in note.read_text()
    make(reader, text="hello again")
    assert (weights(reader), weights(machines["c"])) == ("hello again", "hello again")


def test_a_machine_that_has_a_whole_copy_replaces_a_damaged_one(machines: Machines) -> None:
    make(machines["a"])
    machines.overwrite("weights.bin", b"jello")
    assert machines["b"].find("abcd") is None
    whole = machines["a"].find("abcd")
    assert whole is not None
    machines["a"].share(whole)
    assert weights(machines["b"]) == "hello"


def test_an_upload_that_is_interrupted_leaves_nothing_that_counts(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RemoteFiles, "write", stop)
        with pytest.raises(KeyboardInterrupt):
            make(machines["a"])
    assert len(machines.there()) == 3, "its files are there"
    assert machines["b"].find("abcd") is None
    assert machines["b"].absent(["abcd"]) == {"abcd"}
    found = machines["a"].find("abcd")
    assert found is not None, "what was finished here stays"
    machines["a"].share(found)
    assert weights(machines["b"]) == "hello"


def test_a_download_that_is_interrupted_leaves_nothing(machines: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    make(machines["a"])

    whole = RemoteFiles.download

    def stop(remote: RemoteFiles, path: str, file: Path) -> bool:
        if not path.endswith("weights.bin"):
            return whole(remote, path, file)
        file.write_text("hel")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RemoteFiles, "download", stop)
        with pytest.raises(KeyboardInterrupt):
            machines["b"].find("abcd")
        with pytest.raises(KeyboardInterrupt):
            machines["b"].find("abcd", files=["deep/weights.bin"])
    assert not [path for path in (machines.folder / "b").rglob("*") if path.is_file()]
    assert weights(machines["b"]) == "hello"


def test_the_first_of_two_versions_counts(mounted: Machines) -> None:
    second = Artifacts(mounted.folder / "b")
    make(second, text="by b")
    make(second, "dddd", abcd=second.find("abcd").content)  # type: ignore[union-attr]
    make(mounted["a"], text="by a")
    late = mounted["b"]
    found = late.find("abcd")
    assert found is not None
    late.share(found)
    assert weights(late) == "by a"
    assert late.find("dddd") is None, "it was made from the version that does not count"
    assert weights(mounted["c"]) == "by a"


def test_equal_versions_of_two_machines_are_kept(mounted: Machines) -> None:
    make(mounted["a"])
    make(Artifacts(mounted.folder / "b"))
    late, before = mounted["b"], mounted.there()
    found = late.find("abcd")
    assert found is not None
    late.share(found)
    assert not list(late.root.glob("damaged/*"))
    assert mounted.there() == before


def test_what_was_made_from_another_version_of_its_input_is_not_fetched_and_is_replaced(mounted: Machines) -> None:
    make(mounted["a"], "aaaa")
    make(mounted["a"], "bbbb", aaaa="another content")
    assert mounted["b"].find("bbbb") is None
    content = mounted["b"].find("aaaa").content  # type: ignore[union-attr]
    make(mounted["b"], "bbbb", text="anew", aaaa=content)
    assert weights(mounted["c"], "bbbb") == "anew"


def test_what_another_machine_uploads_meanwhile_is_found(mounted: Machines) -> None:
    early = mounted["b"]
    early.prefetch(["abcd", "abce"])
    assert early.find("abcd") is None
    make(mounted["a"])
    assert weights(early) == "hello"


def test_many_artifacts_are_looked_for_at_once(mounted: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    make(mounted["a"], "aaaa")
    make(mounted["a"], "bbbb")
    reads: list[int] = []
    read = RemoteFiles.read
    monkeypatch.setattr(RemoteFiles, "read", lambda self, paths: reads.append(len(paths)) or read(self, paths))
    planning = mounted["b"]
    planning.prefetch(["aaaa", "bbbb", "cccc"])
    assert planning.find("cccc") is None
    assert planning.find("aaaa", files=[]) is not None
    assert planning.find("bbbb", files=[]) is not None
    assert reads == [3]


def test_gc_leaves_what_is_shared(mounted: Machines) -> None:
    make(mounted["a"])
    before = mounted.there()
    assert collect(mounted["a"], []).fingerprints == ("abcd",)
    assert mounted.there() == before
    assert weights(mounted["a"]) == "hello", "it is fetched again"


def test_gc_of_shared_copies_deletes_there_what_is_not_kept(machines: Machines) -> None:
    make(machines["a"])
    make(machines["a"], "dddd")
    copies = machines["b"].shared_copies()
    assert copies.fingerprints() == ["abcd", "dddd"]
    gone = copies.gc(lambda: {"dddd"})
    assert (gone.fingerprints, gone.size > 400) == (("abcd",), True)
    assert (machines["c"].find("abcd"), weights(machines["c"], "dddd")) == (None, "hello")
    assert weights(machines["a"]) == "hello", "folders keep what they have"


def test_gc_of_the_command_line_deletes_shared_copies_if_asked(
    mounted: Machines, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"ALIGNBOARD_HOME": str(mounted.folder), VARIABLE: mounted.url}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("ALIGNBOARD_DB", raising=False)
    Store.open(mounted.folder / "board.db", create=True).close()
    make(mounted["artifacts"])
    assert run_command("gc", "--unknown") == 0
    assert len(mounted.there()) == 4
    assert run_command("gc", "--unknown", "--shared", "--dry-run") == 0
    assert len(mounted.there()) == 4
    assert "shared artifacts to remove: 1" in capsys.readouterr().out
    assert run_command("gc", "--shared") == 0
    assert len(mounted.there()) == 4, "no database knows it"
    assert run_command("gc", "--unknown", "--shared") == 0
    assert mounted.there() == []
    monkeypatch.delenv(VARIABLE)
    assert run_command("gc", "--shared") == 2


def test_fault_names_what_is_damaged_here_or_there(mounted: Machines) -> None:
    make(mounted["a"])
    assert mounted["b"].fault("abcd") is None
    (mounted.folder / "b/objects/ab/abcd/deep/weights.bin").write_text("jello")
    assert mounted["b"].fault("abcd") == "missing or damaged"
    assert mounted["b"].fault("abcd") is None, "it is fetched again"
    mounted.overwrite("weights.bin", b"jello")
    assert mounted["c"].fault("abcd") == "missing or damaged"


def test_a_manifest_that_names_files_outside_is_refused(mounted: Machines) -> None:
    make(mounted["a"])
    (path,) = Path(mounted.url.removeprefix("file://")).rglob(MANIFEST)
    content = json.loads(path.read_text())
    content["files"] = {"../../../../escaped": {"size": 5, "sha256": "0" * 64}}
    content.pop("digest")
    content.pop("inputs")
    path.write_text(json.dumps(content))
    assert mounted["b"].find("abcd") is None
    assert mounted["c"].find("abcd", files=["../../../../escaped"]) is None


def test_another_process_gets_the_url_alone(mounted: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    make(mounted["a"])
    received = pickle.loads(pickle.dumps(mounted["a"]))
    assert (received.root, received.remote.url) == (mounted.folder / "a", mounted.url)
    monkeypatch.setenv("ALIGNBOARD_HOME", str(mounted.folder / "node"))
    assert received.on_node().root == mounted.folder / "node" / "artifacts"
    assert weights(received.on_node()) == "hello"
    assert received.is_seen(Path("no lease here"))


def test_the_environment_names_the_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert type(open_artifacts(tmp_path)) is Artifacts
    monkeypatch.setenv(VARIABLE, "s3://bucket/prefix/")
    opened = open_artifacts(tmp_path)
    assert isinstance(opened, SharedArtifacts)
    assert (opened.root, opened.remote.url) == (tmp_path, "s3://bucket/prefix")


def test_a_bucket_that_does_not_exist_is_named(bucket: str) -> None:
    with pytest.raises(UserError, match=r"s3://nowhere-at-all/prefix/a.*\n.*bucket does not exist"):
        RemoteFiles("s3://nowhere-at-all/prefix").read(["a"])
