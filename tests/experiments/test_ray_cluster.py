"""The Ray executor: what it asks for, what it refuses, and a real cluster of which a node is killed."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from harness.cli.options import ExecutionOptions
from harness.errors import UsageError, UserError
from harness.experiments.executors.ray_cluster import (
    ClusterWork,
    Needs,
    RayCluster,
    check_node,
    check_reachable,
    connect,
)
from harness.experiments.executors.schedule import methods_of, take_turns
from harness.experiments.executors.workers import WorkSettings
from harness.storage.artifacts import Artifacts
from harness.storage.shared import VARIABLE, SharedArtifacts
from harness.storage.usage import lease
from tests.support.ray_run import METHODS, plans
from tests.support.s3_server import s3_server
from tests.support.tiny_runs import run_plans, scores_of
from tests.support.toy_stages import Note, note

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, kw_only=True)
class MethodNote(Note):
    kind: ClassVar[str] = "align"
    method: str


@dataclass(frozen=True, kw_only=True)
class HostNote(Note):
    kind: ClassVar[str] = "score"
    on_device: ClassVar[bool] = False


def cluster(device: str = "cpu", needs: Needs | None = None) -> RayCluster:
    return RayCluster(Artifacts(Path("unused")), None, device, needs or Needs())


def work(artifacts: Artifacts, held: Path) -> ClusterWork:
    return ClusterWork(WorkSettings(artifacts, "cpu", 1, 1, ()), held, {})


def test_a_stage_works_for_the_method_that_its_inputs_come_from() -> None:
    sample = note("sample")
    align = MethodNote(text="a", method="ml-ctl", inputs={"sample": sample.fingerprint}, place=sample.place)
    tuned, shared = note("tuned", align), note("shared", sample)
    found = methods_of([sample, align, tuned, shared])
    assert [found[stage.fingerprint] for stage in (sample, align, tuned, shared)] == ["", "ml-ctl", "ml-ctl", ""]


def test_methods_take_turns() -> None:
    method = {"a1": "a", "a2": "a", "a3": "a", "b1": "b", "b2": "b", "c1": "c"}
    assert take_turns(["a1", "a2", "a3", "b1", "b2", "c1"], [], method) == ["a1", "b1", "c1", "a2", "b2", "a3"]
    assert take_turns(["a2", "a3", "b2", "c1"], ["a1", "b1"], method) == ["c1", "a2", "b2", "a3"]


def test_stages_declare_what_they_need() -> None:
    host = HostNote(text="host", place=note("a").place)
    assert cluster().options(note("a")) == {"num_cpus": 1}
    big = cluster("cuda", Needs(cpus=4, ranks=2, memory=1.5))
    assert big.options(note("a")) == {"num_cpus": 4, "num_gpus": 1, "memory": 3 * 2**29}
    assert big.options(MethodNote(text="a", method="m", place=host.place)) == {
        "num_cpus": 8,
        "num_gpus": 2,
        "memory": 3 * 2**29,
    }
    assert big.options(host) == {"num_cpus": 4, "memory": 3 * 2**29}


@pytest.mark.parametrize(
    ("device", "resources", "room"),
    [
        ("cpu", {}, 0),
        ("cpu", {"CPU": 9.0}, 4),
        ("cuda", {"CPU": 64.0, "GPU": 8.0}, 4),
        ("cuda", {"CPU": 4.0, "GPU": 8.0}, 2),
        ("cuda", {"CPU": 64.0}, 0),
    ],
)
def test_room_of_a_cluster(device: str, resources: dict[str, float], room: int) -> None:
    assert cluster(device, Needs(cpus=1, ranks=2)).room(resources) == room


def test_a_node_without_the_folder_of_artifacts_is_refused(tmp_path: Path) -> None:
    artifacts, stage = Artifacts(tmp_path / "artifacts"), note("a")
    with lease(artifacts, [stage.fingerprint]) as held:
        check_node(stage, work(artifacts, held))
    with pytest.raises(UserError, match="does not see the folder of artifacts") as caught:
        check_node(stage, work(artifacts, held))
    assert "ALIGNBOARD_HOME" in str(caught.value)
    check_node(stage, work(SharedArtifacts(artifacts.root, f"file://{tmp_path}/shared"), held))


def test_a_node_with_other_code_is_refused(tmp_path: Path) -> None:
    stage = note("a")
    object.__setattr__(stage, "fingerprint", replace(stage, text="b").fingerprint)
    with pytest.raises(UserError, match="another version"):
        check_node(stage, work(Artifacts(tmp_path), Path(__file__)))


def test_missing_ray_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"alignboard\[ray\]"):
        connect("auto")


def test_an_address_where_nothing_answers_is_reported() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        for given in (address, f"ray://{address}"):
            with pytest.raises(UserError, match=re.escape(f"no Ray cluster can be reached at {given}")):
                check_reachable(given, "start one")


@pytest.mark.parametrize("address", ["head", "head:many", "ray://head", ":6379"])
def test_an_address_without_host_and_port_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match="HOST:PORT"):
        check_reachable(address, "start one")


@pytest.mark.parametrize(
    "options",
    [ExecutionOptions(address="head:6379"), ExecutionOptions(cpus_per_stage=2), ExecutionOptions(memory_per_stage=4.0)],
)
def test_options_of_ray_are_refused_without_it(options: ExecutionOptions) -> None:
    with pytest.raises(UsageError, match="has no effect without --executor ray"):
        options.make_executor()


def test_an_unknown_executor_is_refused() -> None:
    with pytest.raises(UsageError, match="unknown executor 'rays'"):
        ExecutionOptions(executor="rays").make_executor()


@pytest.fixture
def ray_nodes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A head that runs nothing; worker nodes are added by the test."""
    utils = pytest.importorskip("ray.cluster_utils", reason="Ray is not installed: pip install 'alignboard[ray]'")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_worker_niceness", "0")  # else a busy machine lets Ray's workers wait
    head = {"num_cpus": 0, "object_store_memory": 80 * 2**20, "include_dashboard": False}
    nodes = utils.Cluster(initialize_head=True, head_node_args=head)
    yield nodes
    nodes.shutdown()


def raylet_of(node: Any) -> int:
    (info,) = node.all_processes["raylet"]
    return int(info.process.pid)


def stage_at_work(root: Path, raylet: int) -> Path | None:
    """The log of a training stage that a worker of this raylet has begun and not ended."""
    for log in root.glob("work/*/stage.log"):
        try:
            title = re.search(r"start (finetune|align) .* process (\d+)", log.read_text())
            if title and int(Path(f"/proc/{title[2]}/stat").read_text().rpartition(")")[2].split()[1]) == raylet:
                return log
        except OSError:
            continue
    return None


@pytest.mark.long
def test_a_cluster_that_loses_a_node_and_gets_another_gives_the_scores_of_local(ray_nodes: Any, tmp_path: Path) -> None:
    local, report = tmp_path / "local", run_plans(tmp_path / "local", plans(*METHODS))[0]
    assert not report.failures
    first, _ = (ray_nodes.add_node(num_cpus=1, object_store_memory=80 * 2**20) for _ in range(2))
    home, raylet = tmp_path / "home", raylet_of(first)
    command = [sys.executable, "-m", "tests.support.ray_run", str(home), ray_nodes.address]
    with subprocess.Popen(command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE) as run:
        deadline = time.monotonic() + 300
        while (log := stage_at_work(home / "artifacts", raylet)) is None:
            assert time.monotonic() < deadline
            assert run.poll() is None, "it ended before a node could be killed"
            time.sleep(0.02)
        ray_nodes.remove_node(first, allow_graceful=False)
        ray_nodes.add_node(num_cpus=1, object_store_memory=80 * 2**20)
        ended = json.loads(run.communicate(timeout=600)[0].splitlines()[-1])
    assert (run.returncode, ended["failures"], ended["finished"]) == (0, [], 2)
    again = (home / "artifacts" / "objects" / log.parent.name[:2] / log.parent.name / "stage.log").read_text()
    assert len(re.findall(r"^\S+ \S+ start", again, re.MULTILINE)) == 2, "the stage of the lost node was tried again"
    assert scores_of(home / "board.db") == scores_of(local / "board.db")


@pytest.mark.long
def test_nodes_without_a_common_folder_share_a_bucket(ray_nodes: Any, tmp_path: Path) -> None:
    work = plans("ml-ctl", changes=("tasks.pawsx.epochs=1",))
    local, report = tmp_path / "local", run_plans(tmp_path / "local", work)[0]
    assert not report.failures
    with s3_server() as bucket:
        for name in ("first", "second"):
            place = {"ALIGNBOARD_HOME": str(tmp_path / name)}
            ray_nodes.add_node(num_cpus=1, object_store_memory=80 * 2**20, env_vars=place)
        home = tmp_path / "home"
        command = [sys.executable, "-m", "tests.support.ray_run", str(home), ray_nodes.address, "ml-ctl", "1"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", VARIABLE: bucket}
        done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, check=True, timeout=900)
    ended = json.loads(done.stdout.splitlines()[-1])
    assert (ended["failures"], ended["finished"]) == ([], 1)
    assert scores_of(home / "board.db") == scores_of(local / "board.db")
    made = [{path.name for path in (tmp_path / name).glob("artifacts/objects/*/*")} for name in ("first", "second")]
    assert made[0] | made[1] == {stage.fingerprint for stage in work[0].stages}
    assert made[0] & made[1], "one node has what the other has computed"
    assert not list(home.rglob("*.safetensors")), "the command itself needs no weights"
