"""The whole line on babel at its smallest: plan, stages, rows; hits, misses by source, failures, kills and damage."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.experiments import runner
from harness.experiments.executors.local import Local
from harness.experiments.plan import RunPlan
from harness.experiments.runner import Runner, RunReport
from harness.storage.artifacts import Artifacts
from harness.storage.store import RunRow, Store
from harness.storage.store.database import LostConnectionError
from tests.support.stage_logs import assert_every_stage_has_its_log
from tests.support.tiny_runs import RecordingDisplay, run_plans, tiny_plans


def values(home: Path) -> dict[tuple[str, ...], float]:
    frame = Store.open(home / "board.db").scores(split="test")
    return {(r.method, r.task, r.view, r.metric): r.value for r in frame.itertuples()}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home where mbert and ml-ctl-cz have run once."""
    folder = tmp_path_factory.mktemp("home")
    report, _ = run_plans(folder, tiny_plans("mbert", "ml-ctl-cz"))
    assert not report.failures
    assert report.finished == 2
    return folder


def test_every_task_and_view_has_a_score_and_every_run_its_provenance(home: Path) -> None:
    store = Store.open(home / "board.db")
    for plan in tiny_plans("mbert", "ml-ctl-cz"):
        scores = store.scores(run=plan.id, split="test")
        for task, views in plan.expected.items():
            got = scores[(scores["task"] == task) & (scores["metric"] == plan.metric[task])]
            assert set(got["view"]) == set(views)
            assert ((got["value"] >= 0) & (got["value"] <= 100)).all()
        (row,) = store.runs(id=plan.id)
        assert row["status"] == "done"
        assert row["packages"]["torch"]
        assert row["card"]["docstring"]
        assert "ml-ctl" in row["card"]["ablations"]
        assert row["views"] == {task: list(views) for task, views in plan.expected.items()}
        judged = {(cell["task"], cell["view"]) for cell in row["alignment"].get("overlap", ())}
        assert judged == (set() if plan.recipe.method == "mbert" else _cells(plan))
        stages = store.stages(plan.id)
        assert len(stages) == len(plan.stages)
        assert (stages["device_seconds"] >= 0).all()
        assert (stages["peak_memory_bytes"] > 0).all()


def _cells(plan: RunPlan) -> set[tuple[str, str]]:
    return {(task, view) for task, views in plan.expected.items() for view in views}


def test_a_second_run_finds_every_stage(home: Path) -> None:
    before = values(home)
    report, display = run_plans(home, tiny_plans("mbert", "ml-ctl-cz"))
    assert not display.made
    assert report.reused == len({s.fingerprint for p in tiny_plans("mbert", "ml-ctl-cz") for s in p.stages})
    assert values(home) == before


def test_a_lost_database_is_put_back_from_the_artifacts(home: Path, tmp_path: Path) -> None:
    (tmp_path / "artifacts").symlink_to(home / "artifacts")
    report, display = run_plans(tmp_path, tiny_plans("mbert"))
    assert not display.made
    assert report.finished == 1
    assert values(tmp_path) == {k: v for k, v in values(home).items() if k[0] == "mbert"}


def test_the_seed_decides_and_two_workers_give_the_same_scores_as_one(home: Path, tmp_path: Path) -> None:
    plans = tiny_plans("ml-ctl-cz")
    run_plans(tmp_path, plans, workers=2)
    assert_every_stage_has_its_log(tmp_path, *plans)
    here, there = values(tmp_path), values(home)
    assert here == {k: v for k, v in there.items() if k[0] == "ml-ctl-cz"}


def test_methods_share_sample_and_base_but_not_encoders() -> None:
    first, second = tiny_plans("cz-snt", "ml-ctl-cz")
    shared = {s.fingerprint for s in first.stages} & {s.fingerprint for s in second.stages}
    assert {s.kind for s in first.stages if s.fingerprint in shared} == {"pretrain", "sample", "overlap"}


def kinds_that_miss(old: list[RunPlan], new: list[RunPlan]) -> set[tuple[str, str]]:
    known = {s.fingerprint for p in old for s in p.stages}
    return {(p.recipe.method, s.kind) for p in new for s in p.stages if s.fingerprint not in known}


def test_editing_one_objective_remakes_only_what_depends_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from harness import code

    old = tiny_plans("continued-mlm", "ml-ctl-cz")
    text = code.source_text

    def edited(module: str) -> str:
        return text(module) + "\nCHANGED = True\n" if module == "methods.objectives.contrastive" else text(module)

    code.clear_caches()
    monkeypatch.setattr(code, "source_text", edited)
    missed = kinds_that_miss(old, tiny_plans("continued-mlm", "ml-ctl-cz"))
    after = {"align", "finetune", "predict", "embed", "score"}
    assert missed == {("ml-ctl-cz", kind) for kind in after}
    monkeypatch.undo()
    code.clear_caches()


def test_a_change_of_one_setting_remakes_only_what_depends_on_it() -> None:
    old = tiny_plans("mbert", "ml-ctl-cz")
    by_task = tiny_plans("mbert", "ml-ctl-cz", changes=("tasks.xnli.epochs=3",))
    known = {s.fingerprint for p in old for s in p.stages}
    assert {s.task for p in by_task for s in p.stages if s.fingerprint not in known} == {"xnli"}
    assert ("mbert", "finetune") not in kinds_that_miss(
        old, tiny_plans("mbert", "ml-ctl-cz", changes=("align.steps=7",))
    )


def test_shuffled_pairs_is_a_run_of_its_own_on_the_same_sample() -> None:
    (plain,), (shuffled,) = tiny_plans("ml-ctl-cz"), tiny_plans("ml-ctl-cz", transform="shuffled-pairs")
    assert plain.id != shuffled.id
    assert [s.fingerprint for s in plain.stages if s.kind == "sample"] == [
        s.fingerprint for s in shuffled.stages if s.kind == "sample"
    ]


def test_a_damaged_artifact_is_set_aside_and_made_again(home: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(home / "artifacts", tmp_path / "artifacts")
    work = tiny_plans("mbert")
    score = next(s for s in work[0].stages if s.kind == "score" and s.task == "tatoeba")
    artifact = Artifacts(tmp_path / "artifacts").find(score.fingerprint)
    assert artifact is not None
    file = artifact.path / "statistics.parquet"
    file.write_bytes(file.read_bytes()[:-10])
    report, display = run_plans(tmp_path, work)
    assert display.made == ["score tatoeba"]
    assert report.finished == 1
    assert any((tmp_path / "artifacts" / "damaged").iterdir())


@pytest.mark.long  # tests/experiments/test_executor.py has a stage that kills its worker
def test_a_failing_stage_fails_its_runs_alone(tmp_path: Path) -> None:
    work = tiny_plans("mbert", "ml-ctl-cz", changes=("align.learning_rate=1e30",))
    report, display = run_plans(tmp_path, work)
    assert display.failures == ["align ml-ctl-cz seed 0"]
    assert report.finished == 1
    store = Store.open(tmp_path / "board.db")
    rows = {row["method"]: row for row in store.runs()}
    assert rows["mbert"]["status"] == "done"
    assert rows["ml-ctl-cz"]["status"] == "failed"
    assert "no longer finite" in rows["ml-ctl-cz"]["error"]


def test_a_server_that_is_away_when_a_run_begins_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, artifacts = Store.open(tmp_path / "board.db", create=True), Artifacts(tmp_path)
    tries, add = list[str](), Store.add_run

    def add_run(self: Store, row: RunRow) -> None:
        tries.append(row.id)
        if len(tries) == 1:
            raise LostConnectionError("the store cannot be used")
        add(self, row)

    monkeypatch.setattr(Store, "add_run", add_run)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    plans = tiny_plans("mbert")
    monkeypatch.setattr(runner, "execute_stages", lambda *args: RunReport())
    Runner(store, artifacts, Local(artifacts, 1, "cpu", threads=1, all_threads=1), RecordingDisplay()).run(plans)
    assert tries == [plans[0].id] * 2
    store.close()


@pytest.mark.long  # tests/faults kills at instants of its own
@pytest.mark.parametrize("kind", ["align", "finetune"])
def test_a_run_killed_in_the_middle_ends_in_the_same_scores(home: Path, tmp_path: Path, kind: str) -> None:
    """SIGKILL while a checkpoint of `kind` lies there and the stage is not finished, then the same command again."""
    command = [sys.executable, "-m", "tests.support.run_to_kill", str(tmp_path), kind]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("in the middle of"), line
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    reached = json.loads(line.partition(":")[2])
    report, display = run_plans(tmp_path, tiny_plans("ml-ctl-cz"))
    assert report.finished == 1
    assert any(title.startswith(kind) for title in display.made)
    assert reached > 0, "it was killed before its first checkpoint"
    assert values(tmp_path) == {k: v for k, v in values(home).items() if k[0] == "ml-ctl-cz"}


@pytest.mark.long  # tests/faults sends the signal to a run that has started
def test_ctrl_c_marks_the_runs_interrupted_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.support.run_to_kill", str(tmp_path), "align"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    process.wait(timeout=60)
    store = Store.open(tmp_path / "board.db")
    assert [run["status"] for run in store.runs()] == ["interrupted"]
    assert store.scores(split="test").empty
    assert not list((tmp_path / "artifacts" / "staging").glob("*"))
    deadline = time.monotonic() + 60
    report, _ = run_plans(tmp_path, tiny_plans("ml-ctl-cz"))
    assert time.monotonic() < deadline + 600
    assert report.finished == 1
