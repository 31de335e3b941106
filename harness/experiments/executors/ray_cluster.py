"""Runs stages on the nodes of a Ray cluster: each stage is a task that declares the cores, GPUs and memory it needs.

Only this process plans and writes the database. The nodes run the same version of the code. They see the folder of
artifacts under the same path, where results, checkpoints and logs are as those of local workers are; or each has a
folder of its own, and results are shared through a bucket.
"""

from __future__ import annotations

import atexit
import os
import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from harness import provenance, stopping
from harness.errors import UsageError, UserError, unknown
from harness.experiments.executors.ranks import own_ranks
from harness.experiments.executors.schedule import Ends, WorkerPool, run_stages
from harness.experiments.executors.workers import DEVICES, POLL, Listener, WorkSettings, attempt
from harness.experiments.stage import Stage, StageFailure, StageResult
from harness.faults import explain, quote
from harness.registry import load_plugin, loaded_plugins
from harness.storage.artifacts import Artifacts
from harness.storage.usage import lease

if TYPE_CHECKING:
    from harness.training.loop import Rate

QUEUED = 4  # stages that are submitted beyond the room of the cluster, so that an autoscaler sees what is wanted
PATIENCE = 60.0  # seconds without any stage at work until a note says what is waited for
CONNECT_SECONDS = 10.0
THREADS = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")  # environment variables of this process that hold on the nodes, too


class Needs(NamedTuple):
    """What a stage declares: cores, which are also its threads; memory in GiB; and how many processes share it if it
    can be shared, each with so many cores and a GPU."""

    cpus: int = 1
    ranks: int = 1
    memory: float | None = None


class ClusterWork(NamedTuple):
    """What a node has to know: how stages are run, a file in the folder of artifacts that it must see, and environment
    variables."""

    settings: WorkSettings
    lease: Path
    environment: Mapping[str, str]


@dataclass(frozen=True)
class RayCluster:
    """The executor of a Ray cluster: at most `workers` stages at once, else as many as the cluster has room for."""

    artifacts: Artifacts
    workers: int | None
    device: str
    needs: Needs

    @classmethod
    def on(
        cls, artifacts: Artifacts, address: str | None, workers: int | None, device: str, needs: Needs
    ) -> RayCluster:
        """Connects to the cluster at `address`, that of RAY_ADDRESS, or the one of this machine. `auto` is CUDA where a
        node has a GPU. Raises UserError where Ray or the cluster is not there."""
        if device not in DEVICES:
            raise unknown("device", device, DEVICES)
        ray = connect(address)
        gpus = ray.cluster_resources().get("GPU", 0)
        return cls(artifacts, workers, ("cuda" if gpus else "cpu") if device == "auto" else device, needs)

    def run(self, stages: Sequence[Stage], listener: Listener) -> Ends:
        """Runs the stages as `run_stages` says; methods take turns."""

        @contextmanager
        def open_pool(plugins: tuple[str, ...], held: Path) -> Iterator[WorkerPool]:
            cpus, ranks = self.needs.cpus, self.needs.ranks
            settings = WorkSettings(self.artifacts, self.device, cpus, cpus, plugins, ranks)
            tasks = _Tasks(self, ClusterWork(settings, held, _environment()), listener)
            try:
                with redirect_stdout(sys.stderr):  # on which Ray prints the logs of lost nodes
                    yield tasks
            finally:
                tasks.cancel(force=True)

        return run_stages(self.artifacts, stages, open_pool)

    def options(self, stage: Stage) -> dict[str, Any]:
        """The resources that a stage declares to Ray."""
        ranks = self.needs.ranks if stage.by_ranks else 1
        found: dict[str, Any] = {"num_cpus": ranks * self.needs.cpus}
        if self.device == "cuda" and stage.on_device:
            found["num_gpus"] = ranks
        if self.needs.memory:
            found["memory"] = int(self.needs.memory * 2**30)
        return found

    def room(self, resources: Mapping[str, float]) -> int:
        """How many stages fit into a cluster with these resources at once."""
        wanted = {"CPU": self.needs.cpus, **({"GPU": 1} if self.device == "cuda" else {})}
        return min(int(resources.get(name, 0) // (self.needs.ranks * amount)) for name, amount in wanted.items())


def connect(address: str | None) -> Any:
    """The module `ray`, connected to a cluster. Raises UserError where that is impossible."""
    try:
        import ray
    except ImportError as error:
        raise UserError("Ray is not installed", remedy="pip install 'alignboard[ray]'") from error
    if not ray.is_initialized():
        address = address or os.environ.get("RAY_ADDRESS") or "auto"
        remedy = "start a cluster with `ray start --head --num-cpus 0`, and give the address that this prints"
        check_reachable(address, remedy)
        try:
            ray.init(address=address, log_to_driver=False, logging_level="ERROR")
        except (OSError, RuntimeError, ValueError) as error:
            what = f"the Ray cluster at {address} cannot be used"
            raise UserError(what, found=quote(error), remedy=remedy) from error
        atexit.register(_disconnect)
    return ray


def _disconnect() -> None:
    """Ends the connection, at which Ray prints what it still has to say: not among the tables on standard output."""
    import ray

    with redirect_stdout(sys.stderr):
        ray.shutdown()


def check_reachable(address: str, remedy: str) -> None:
    """Raises UserError where nothing answers at HOST:PORT, for which Ray would wait minutes."""
    if address == "auto":
        return
    try:
        parts = urlsplit(address if "://" in address else f"//{address}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if host is None or port is None:
        raise UsageError("no address of a Ray cluster", found=repr(address), expected="HOST:PORT or ray://HOST:PORT")
    try:
        socket.create_connection((host, port), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        what = f"no Ray cluster can be reached at {address}"
        raise UserError(what, found=str(error.strerror or error), remedy=remedy) from error


class Mailbox:
    """An actor beside this process that collects the progress of stages: None when one starts."""

    def __init__(self) -> None:
        self.letters: list[tuple[str, Rate | None]] = []

    def put(self, fingerprint: str, rate: Rate | None) -> None:
        self.letters.append((fingerprint, rate))

    def take(self) -> list[tuple[str, Rate | None]]:
        letters, self.letters = self.letters, []
        return letters


class _Tasks:
    """The stages that are submitted to the cluster. Ray's own retries are off: `run_stages` tries again."""

    takes_turns = True

    def __init__(self, cluster: RayCluster, work: ClusterWork, listener: Listener) -> None:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self.ray, self.cluster, self.work, self.listener = ray, cluster, work, listener
        self._mailbox = ray.remote(num_cpus=0, scheduling_strategy=here)(Mailbox).remote()
        self._task = ray.remote(max_retries=0)(run_on_node)
        self._submitted: dict[Any, Stage] = {}
        self._at_work: set[str] = set()
        self._stopping = False
        self._last_work: float | None = time.monotonic()  # None once the note was given

    @property
    def slots(self) -> int:
        return self.cluster.workers or QUEUED + self.cluster.room(self.ray.cluster_resources())

    def submit(self, stage: Stage) -> None:
        held = [self.ray.put(stage)]  # in a list, so that the node loads the plug-ins before it reads the stage
        task = self._task.options(name=stage.title, **self.cluster.options(stage))
        self._submitted[task.remote(held, self.work, self._mailbox)] = stage

    def cancel(self, *, force: bool) -> None:
        """Asks what was submitted to stop, or ends it at once."""
        for task in self._submitted:
            self.ray.cancel(task, force=force)

    def wait(self) -> list[StageResult | StageFailure]:
        """How stages have ended, as soon as one has. Passes a request to stop on to the nodes."""
        done: list[Any] = []
        while not done:
            if stopping.requested() and not self._stopping:
                self._stopping = True
                self.cancel(force=False)
            done, _ = self.ray.wait(list(self._submitted), timeout=POLL)
            self._read_mail()
            self._note_lack_of_room()
        return [self._end(task) for task in done]

    def _read_mail(self) -> None:
        for fingerprint, rate in self.ray.get(self._mailbox.take.remote()):
            if rate is None:
                self._at_work.add(fingerprint)
                self.listener.started(fingerprint)
            else:
                self.listener.update(fingerprint, rate)

    def _note_lack_of_room(self) -> None:
        if self._at_work:
            self._last_work = time.monotonic()
        elif self._last_work is not None and time.monotonic() - self._last_work > PATIENCE:
            self._last_work = None
            stage = next(iter(self._submitted.values()))
            resources = {
                name: n for name, n in self.ray.cluster_resources().items() if name in ("CPU", "GPU", "memory")
            }
            needed = self.cluster.options(stage)
            print(f"waiting for a node with room: {stage.title} needs {needed}, all have {resources}", file=sys.stderr)

    def _end(self, task: Any) -> StageResult | StageFailure:
        stage = self._submitted.pop(task)
        self._at_work.discard(stage.fingerprint)
        try:
            end: StageResult | StageFailure = self.ray.get(task)
        except self.ray.exceptions.RayTaskError as error:  # before our own code could report it
            known = explain(error.cause) if isinstance(error.cause, Exception) else None
            return StageFailure(stage.fingerprint, f"{stage.title}: {known or error}", fixable=known is not None)
        except self.ray.exceptions.RayError as error:
            lost = UserError("a node or its worker process was lost", found=quote(error).partition(". ")[0])
            return StageFailure(stage.fingerprint, f"{stage.title}: {lost}", fixable=True, again=True)
        return end


def run_on_node(held: list[Any], work: ClusterWork, mailbox: Any) -> StageResult | StageFailure:
    """The task: runs the stage that `held` refers to, in a process of a node."""
    import ray

    os.environ.update({name: value for name, value in work.environment.items() if name not in os.environ})
    for plugin in map(Path, work.settings.plugins):
        if plugin not in loaded_plugins():
            load_plugin(plugin)
    stage: Stage = ray.get(held[0])
    try:
        check_node(stage, work)
    except UserError as error:
        return StageFailure(stage.fingerprint, f"{stage.title}: {error}", fixable=True)
    device = work.settings.device if stage.on_device else "cpu"
    threads = work.settings.threads * (work.settings.ranks if stage.by_ranks else 1)
    artifacts = work.settings.artifacts.on_node()
    settings = work.settings._replace(artifacts=artifacts, device=device, threads=threads, all_threads=threads)
    kept = lease(artifacts, [stage.fingerprint, *stage.inputs.values()])
    with stopping.stop_on_signals(), own_ranks(settings.ranks) as ranks, kept:
        mailbox.put.remote(stage.fingerprint, None)
        return attempt(stage, settings, _Post(mailbox, stage.fingerprint), ranks)


def check_node(stage: Stage, work: ClusterWork) -> None:
    """Raises UserError where this node does not see the folder of artifacts, or has another version of the code."""
    host, artifacts = provenance.host(), work.settings.artifacts
    if not artifacts.is_seen(work.lease):
        raise UserError(
            f"the node {host} does not see the folder of artifacts",
            file=artifacts.root,
            expected="the same folder under the same path on every node, such as one of NFS",
            remedy="mount it there, set ALIGNBOARD_HOME to a folder that all nodes share, or ALIGNBOARD_ARTIFACTS to "
            "the URL of a bucket",
        )
    if replace(stage).fingerprint != stage.fingerprint:
        raise UserError(
            f"the node {host} has another version of Alignboard, or of a plug-in",
            remedy="install the same version on every node, and restart Ray there",
        )


def _environment() -> dict[str, str]:
    return {name: os.environ[name] for name in THREADS if name in os.environ}


class _Post(NamedTuple):
    """Sends the progress of a stage to the mailbox."""

    mailbox: Any
    fingerprint: str

    def update(self, rate: Rate) -> None:
        self.mailbox.put.remote(self.fingerprint, rate)
