"""Runs stages on this machine: in this process with one worker, else in several processes, one per GPU or per share of
the cores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from harness import provenance, stopping
from harness.errors import UserError, unknown
from harness.experiments.executors.workers import Listener, Workers, WorkSettings, attempt
from harness.experiments.stage import Stage, StageFailure, StageResult
from harness.storage.artifacts import Artifacts
from harness.storage.usage import lease

if TYPE_CHECKING:
    from harness.training.loop import Rate

DEVICES = ("auto", "cpu", "cuda")
TRIES = 3  # of a stage whose worker is lost, or whose input is found damaged

Ends = Generator[StageResult | StageFailure, None, None]


class WorkerPool(Protocol):
    """Runs one stage a worker."""

    def submit(self, stage: Stage) -> None: ...
    def wait(self) -> list[StageResult | StageFailure]: ...


@dataclass(frozen=True)
class Local:
    """The executor of one machine: `workers` processes of so many `threads`; with GPUs each worker takes one of them.

    A stage that all others wait for gets `all_threads`, those of all workers.
    """

    artifacts: Artifacts
    workers: int
    device: str
    threads: int
    all_threads: int

    @classmethod
    def on(cls, artifacts: Artifacts, workers: int | None = None, device: str = "auto") -> Local:
        """The machine as it is: CUDA where there is one. Raises UserError for a device that is not there."""
        if device not in DEVICES:
            raise unknown("device", device, DEVICES)
        gpus, cores = len(provenance.gpus()), provenance.cores()
        if device == "cuda" and not gpus:
            raise UserError("there is no CUDA device", remedy="leave --device out, or give --device cpu")
        chosen = ("cuda" if gpus else "cpu") if device == "auto" else device
        count = workers or (gpus if chosen == "cuda" else min(2, cores))
        return cls(artifacts, count, chosen, max(1, cores // count), cores)

    def run(self, stages: Sequence[Stage], listener: Listener) -> Ends:
        """Runs the stages, each after its inputs, and yields how each ended. Those behind a failure are not started.

        A stage is reused where its artifact is whole and made from the inputs that are here; so it waits for inputs
        that have to be computed. Raises StopRequest where a signal has asked for a stop.
        """
        with lease(self.artifacts, (stage.fingerprint for stage in stages)):
            self.artifacts.sweep()
            found = {stage.fingerprint: stage.find(self.artifacts) for stage in stages}
            left = _with_dependents(stages, {name for name, known in found.items() if known is None})
            for name, known in found.items():
                if known is not None and name not in left:
                    yield known
            if left:
                plugins = tuple(dict.fromkeys(plugin for stage in stages for plugin in stage.place.plugins))
                settings = WorkSettings(self.artifacts.root, self.device, self.threads, self.all_threads, plugins)
                pool = Workers(self.workers, settings, listener) if self.workers > 1 else None
                with pool or nullcontext(_ThisProcess(settings, listener)) as running:
                    yield from _schedule(running, stages, left, self.workers)
        if stopping.requested():
            stopping.leave()


def _schedule(pool: WorkerPool, stages: Sequence[Stage], left: set[str], workers: int) -> Ends:
    """Runs the stages that are `left`. A free worker gets the first stage of the plan whose inputs are there, so that
    early runs are complete early.

    A stage whose worker was lost is tried again, and so is one that finds an input missing or damaged, after the input
    and all else that may come from it.
    """
    by_name = {stage.fingerprint: stage for stage in stages}
    waiting = dict.fromkeys(stage.fingerprint for stage in stages if stage.fingerprint in left)
    running: set[str] = set()
    tries: Counter[str] = Counter()
    while waiting or running:
        pending = waiting.keys() | running
        ready = [name for name in waiting if pending.isdisjoint(by_name[name].inputs.values())]
        for name in ready[: 0 if stopping.requested() else workers - len(running)]:
            del waiting[name]
            running.add(name)
            pool.submit(by_name[name])
        if not running:
            return
        for end in pool.wait():
            running.discard(end.fingerprint)
            tries[end.fingerprint] += 1
            if isinstance(end, StageResult):
                yield end
            elif stopping.requested() and end.again:
                waiting[end.fingerprint] = None
            elif tries[end.fingerprint] < TRIES and (end.again or end.lost_input in by_name):
                again = _with_dependents(stages, {end.lost_input} & by_name.keys()) | {end.fingerprint} | waiting.keys()
                waiting = {name: None for name in by_name if name in again - running}
            else:
                for name in _with_dependents(stages, {end.fingerprint}):
                    waiting.pop(name, None)
                yield end


def _with_dependents(stages: Sequence[Stage], names: set[str]) -> set[str]:
    """The stages of these fingerprints and all that depend on them; inputs come before what reads them."""
    found = set(names)
    for stage in stages:
        if not found.isdisjoint(stage.inputs.values()):
            found.add(stage.fingerprint)
    return found


class _ThisProcess:
    """A pool of one worker, this process: `submit` returns when the stage has ended."""

    def __init__(self, settings: WorkSettings, listener: Listener) -> None:
        self.settings, self.listener = settings, listener
        self._ends: list[StageResult | StageFailure] = []

    def submit(self, stage: Stage) -> None:
        self.listener.started(stage.fingerprint)
        self._ends.append(attempt(stage, self.settings, _Direct(stage.fingerprint, self.listener)))

    def wait(self) -> list[StageResult | StageFailure]:
        ends, self._ends = self._ends, []
        return ends


@dataclass(frozen=True)
class _Direct:
    fingerprint: str
    listener: Listener

    def update(self, rate: Rate) -> None:
        self.listener.update(self.fingerprint, rate)
