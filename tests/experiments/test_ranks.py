"""Several processes that train one stage together, started by a worker or by torchrun."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from harness import provenance
from harness.cli.options import ExecutionOptions
from harness.errors import UsageError, UserError
from harness.experiments.executors.local import Local
from harness.experiments.plan import RunPlan
from harness.experiments.runner import Runner, RunReport
from harness.files import read_json
from harness.storage.artifacts import Artifacts
from harness.storage.store import Store
from tests.support.ray_run import plans
from tests.support.tiny_runs import RecordingDisplay

ROOT = Path(__file__).parents[2]
SAME_DRAWS = ("pretrain.steps=0", "tasks.pawsx.epochs=4")  # masks of tokens are drawn by each rank


def run(home: Path, work: list[RunPlan], ranks: int) -> RunReport:
    artifacts, store = Artifacts(home / "artifacts"), Store.open(home / "board.db", create=True)
    executor = Local(artifacts, 1, "cpu", threads=ranks, all_threads=ranks, ranks=ranks)
    report = Runner(store, artifacts, executor, RecordingDisplay()).run(work)
    store.close()
    return report


def scores_of(home: Path) -> dict[tuple[str, ...], float]:
    store = Store.open(home / "board.db", read_only=True)
    rows = store.cells().to_dict("records")
    store.close()
    return {tuple(str(row[name]) for name in ("task", "view", "split", "step", "metric")): row["value"] for row in rows}


def devices_of(home: Path, work: list[RunPlan]) -> dict[str, str]:
    """The device that each kind of stage was computed on."""
    artifacts = Artifacts(home / "artifacts")
    found = {stage.kind: artifacts.find(stage.fingerprint) for plan in work for stage in plan.stages}
    return {kind: read_json(artifact.path / "cost.json")["device"] for kind, artifact in found.items() if artifact}


@pytest.mark.long
def test_two_processes_give_the_scores_of_one(tmp_path: Path) -> None:
    work = plans("l2-align", changes=SAME_DRAWS)
    reports = [run(tmp_path / str(ranks), work, ranks) for ranks in (1, 2)]
    assert [failure.message for report in reports for failure in report.failures] == []
    one, two = scores_of(tmp_path / "1"), scores_of(tmp_path / "2")
    assert one.keys() == two.keys()
    assert two == pytest.approx(one, abs=1e-4)
    alone = dict.fromkeys(("sample", "overlap", "embed", "predict", "score"), "cpu")
    assert devices_of(tmp_path / "2", work) == {**alone, **dict.fromkeys(("pretrain", "align", "finetune"), "2 x cpu")}


def helpers_of(root: Path) -> list[int]:
    """The processes that were started as ranks by a test in `root`."""
    found = []
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words, environment = command.read_bytes(), (command.parent / "environ").read_bytes()
        except OSError:
            continue
        if b"executors.ranks" in words and str(root).encode() in environment:
            found.append(int(command.parent.name))
    return found


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are listed from /proc")
def test_a_stage_that_loses_a_rank_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STARTED_BY", str(tmp_path))
    killed: list[int] = []

    def kill_one() -> None:
        while not any(" step " in log.read_text() for log in tmp_path.glob("home/artifacts/work/*/stage.log")):
            time.sleep(0.05)
        killed.extend(helpers_of(tmp_path))
        os.kill(killed[0], signal.SIGKILL)

    thread = threading.Thread(target=kill_one, daemon=True)
    thread.start()
    report = run(tmp_path / "home", plans("mbert", changes=("pretrain.steps=200",)), 2)
    assert len(killed) == 1
    assert [failure.message for failure in report.failures] == []
    assert not helpers_of(tmp_path)


@pytest.mark.long
def test_torchrun_trains_one_run_on_its_processes(tmp_path: Path) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
    command = ["-m", "harness.cli", "run", "l2-align", "--suite", "alignment", "--source", "babel:size=small"]
    tiny = ("pretrain.steps=0", "pretrain.vocab_size=600", "align.steps=6", "align.batch_size=8", "sample.size=60")
    command += ["--protocol", "mini", "--base", "init:1x32", "--seeds", "1", *(w for c in tiny for w in ("--set", c))]
    for name, start in {"one": [sys.executable], "two": [*torchrun, "2"]}.items():
        environment = {**os.environ, "ALIGNBOARD_HOME": str(tmp_path / name), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [*start, *command], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("l2-align") == 1, "rank 0 alone prints the table"
    one, two = scores_of(tmp_path / "one"), scores_of(tmp_path / "two")
    assert one.keys() == two.keys()
    assert two == pytest.approx(one, abs=1.0)  # rounding changes single items of 156
    costs = [read_json(file) for file in (tmp_path / "two").glob("artifacts/objects/*/*/cost.json")]
    assert "2 x cpu" in {cost["device"] for cost in costs}


SLEEPING = """
import os, pathlib, sys, time
from harness.cli import app
end = app.end_with_parent
app.end_with_parent = lambda parent: (end(parent), pathlib.Path(sys.argv[1], str(os.getpid())).touch())
with app.first_of_torchrun():
    time.sleep(600)
"""


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are looked for in /proc")
def test_no_process_outlives_a_torchrun_that_was_killed(tmp_path: Path) -> None:
    (tmp_path / "sleep.py").write_text(SLEEPING)
    (ranks := tmp_path / "ranks").mkdir()
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    agent = subprocess.Popen([*torchrun, str(tmp_path / "sleep.py"), str(ranks)], env=environment)
    while len(list(ranks.iterdir())) < 2:
        assert agent.poll() is None
        time.sleep(0.1)
    agent.kill()
    agent.wait()
    deadline = time.monotonic() + 60
    while any(Path("/proc", rank.name).exists() for rank in ranks.iterdir()):
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (ExecutionOptions(workers=2), "--workers has no effect under torchrun"),
        (ExecutionOptions(gpus_per_stage=2), "--gpus-per-stage has no effect under torchrun"),
        (ExecutionOptions(executor="ray"), "does not run under torchrun"),
    ],
)
def test_options_that_torchrun_decides_are_refused(
    monkeypatch: pytest.MonkeyPatch, options: ExecutionOptions, message: str
) -> None:
    for name, value in {"TORCHELASTIC_RUN_ID": "1", "WORLD_SIZE": "2", "RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=message):
        options.make_executor()


def test_a_stage_gets_no_more_gpus_than_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "gpus", lambda: (provenance.Gpu("a", 1), provenance.Gpu("b", 1)))
    assert Local.on(Artifacts(tmp_path), device="cuda", ranks=2).workers == 1
    with pytest.raises(UserError, match="at most 2"):
        Local.on(Artifacts(tmp_path), device="cuda", ranks=3)
