"""Runs of several machines that share artifacts in a bucket: each machine is a home of its own."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from harness.evaluation.item_statistics import SCORES
from harness.experiments import stages
from harness.experiments.executors.local import Local
from harness.experiments.plan import RunPlan
from harness.experiments.runner import Runner, RunReport, execute_stages
from harness.experiments.stage import Stage
from harness.experiments.stages.finetune import CURVE
from harness.experiments.stages.overlap import OVERLAP
from harness.experiments.trials import CHOICE
from harness.files import PROJECTION, TRACE
from harness.storage.shared import SharedArtifacts
from harness.storage.store import Store
from tests.support.s3_server import s3_server
from tests.support.tiny_runs import RecordingDisplay, scores_of, tiny_plans
from tests.support.toy_stages import note


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with s3_server() as url:
        yield url


def machine(home: Path, url: str) -> Local:
    return Local(SharedArtifacts(home / "artifacts", url), 1, "cpu", threads=1, all_threads=1)


def run(home: Path, url: str, database: Path, work: list[RunPlan]) -> RunReport:
    executor, store = machine(home, url), Store.open(database, create=True)
    report = Runner(store, executor.artifacts, executor, RecordingDisplay()).run(work)
    store.close()
    return report


def run_notes(home: Path, url: str, *work: Stage) -> RecordingDisplay:
    display = RecordingDisplay()
    report = execute_stages({stage.fingerprint: stage for stage in work}, machine(home, url), display)
    assert not report.failures
    return display


def test_a_second_machine_computes_nothing_and_gets_the_same_rows(
    bucket: str, finished_home: Path, tmp_path: Path
) -> None:
    work, url, board = tiny_plans("mbert"), f"{bucket}/runs", tmp_path / "a" / "board.db"
    count = len(work[0].stages)
    shutil.copytree(finished_home, tmp_path / "a")
    for home, database in (("a", board), ("b", board), ("c", tmp_path / "c" / "board.db")):
        report = run(tmp_path / home, url, database, work)
        assert (report.computed, report.reused, report.finished) == (0, count, 1), home
    assert list((tmp_path / "a").rglob("*.safetensors"))
    assert not list((tmp_path / "b").rglob("*.safetensors")), "rows need no weights"
    assert scores_of(tmp_path / "c" / "board.db") == scores_of(board)


def test_rows_are_read_from_the_files_that_are_fetched() -> None:
    found = set()
    for info in pkgutil.iter_modules(stages.__path__, f"{stages.__name__}."):
        module = importlib.import_module(info.name)
        for kind in (kind for kind in vars(module).values() if isinstance(kind, type) and issubclass(kind, Stage)):
            if kind.__module__ == info.name and "rows" in vars(kind):
                names = re.findall(r"folder / (\w+)", inspect.getsource(kind.rows))
                assert {getattr(module, name) for name in names} == {*kind.row_files} != set(), kind
                found |= {*kind.row_files}
    assert found == {SCORES, CURVE, CHOICE, TRACE, OVERLAP, PROJECTION}


def test_what_a_machine_has_from_before_is_uploaded_when_it_is_used(bucket: str, tmp_path: Path) -> None:
    root, url = note("root"), f"{bucket}/before"
    run_notes(tmp_path / "a", f"{bucket}/elsewhere", root)
    assert run_notes(tmp_path / "a", url, root).found == ["root"]
    tuned = note("tuned", root)
    display = run_notes(tmp_path / "b", url, root, tuned)
    assert (display.found, display.made) == (["root"], ["tuned"])


def test_an_input_that_is_damaged_in_the_bucket_is_computed_again(bucket: str, tmp_path: Path) -> None:
    root, url = note("root", random=True), f"{bucket}/damaged"
    run_notes(tmp_path / "a", url, root)
    files = fsspec.filesystem("s3")
    (path,) = (path for path in files.find(url) if path.endswith("note.txt"))
    files.pipe_file(path, b"best")
    tuned = note("tuned", root)
    display = run_notes(tmp_path / "b", url, root, tuned)
    assert display.made == ["root", "tuned"]
    found = machine(tmp_path / "c", url).artifacts.find(tuned.fingerprint)
    assert found is not None
    assert (found.path / "note.txt").read_text().startswith("root")
    assert run_notes(tmp_path / "a", url, root, tuned).made == [], "the version that was replaced is set aside"
    assert list((tmp_path / "a" / "artifacts" / "damaged").iterdir())


def test_two_machines_that_compute_one_stage_at_once_end_with_the_version_that_was_shared_first(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, url = note("root", random=True), f"{bucket}/at-once"
    tuned, share = note("tuned", root), SharedArtifacts._share_new

    def share_late(late: SharedArtifacts, fingerprint: str) -> None:
        monkeypatch.undo()
        assert run_notes(tmp_path / "a", url, root, tuned).made == ["root", "tuned"]
        share(late, fingerprint)

    monkeypatch.setattr(SharedArtifacts, "_share_new", share_late)
    display = run_notes(tmp_path / "b", url, root, tuned)
    assert (display.made, display.found) == (["root"], ["tuned"])
    artifacts = [machine(tmp_path / name, url).artifacts for name in ("a", "b", "c")]
    for stage in (root, tuned):
        found = [each.find(stage.fingerprint) for each in artifacts]
        assert len({(each.path / "note.txt").read_text() for each in found if each is not None}) == 1
        assert None not in found
    assert list((tmp_path / "b" / "artifacts" / "damaged").iterdir()), "its own version is set aside"
