"""Runs stages on this machine: in this process with one worker, else in several processes, one per GPU or per share of
the cores."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness import provenance
from harness.errors import UserError, unknown
from harness.experiments.executors.schedule import Ends, WorkerPool, run_stages
from harness.experiments.executors.workers import DEVICES, Listener, Workers, WorkSettings, attempt
from harness.experiments.stage import Stage, StageFailure, StageResult
from harness.storage.artifacts import Artifacts

if TYPE_CHECKING:
    from harness.training.loop import Rate


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
        """Runs the stages as `run_stages` says."""

        def open_pool(plugins: tuple[str, ...], _: Path) -> AbstractContextManager[WorkerPool]:
            settings = WorkSettings(self.artifacts.root, self.device, self.threads, self.all_threads, plugins)
            return (
                Workers(self.workers, settings, listener)
                if self.workers > 1
                else nullcontext(_ThisProcess(settings, listener))
            )

        return run_stages(self.artifacts, stages, open_pool)


class _ThisProcess:
    """A pool of one worker, this process: `submit` returns when the stage has ended."""

    slots, takes_turns = 1, False

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
