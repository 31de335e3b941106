"""Runs stages on this machine: in this process with one worker, else in several processes, one per GPU or per share of
the cores."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness import provenance
from harness.errors import UsageError, UserError, unknown
from harness.experiments.executors.parents import torchrun_rank
from harness.experiments.executors.ranks import Ranks, torchrun_ranks
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
    ranks: int = 1  # processes that share a training stage, each with a GPU of its own
    group: Ranks | None = None  # those of torchrun

    @classmethod
    def on(cls, artifacts: Artifacts, workers: int | None = None, device: str = "auto", ranks: int = 1) -> Local:
        """The machine as it is: CUDA where there is one. Raises UserError for devices that are not there."""
        if device not in DEVICES:
            raise unknown("device", device, DEVICES)
        gpus, cores = len(provenance.gpus()), provenance.cores()
        if device == "cuda" and not gpus:
            raise UserError("there is no CUDA device", remedy="leave --device out, or give --device cpu")
        chosen = ("cuda" if gpus else "cpu") if device == "auto" else device
        if chosen == "cuda" and ranks > gpus:
            raise UserError("too many GPUs per stage", found=str(ranks), expected=f"at most {gpus}, as there are here")
        if torchrun_rank() is not None:
            return cls._on_torchrun(artifacts, workers, chosen, ranks)
        count = workers or max(1, (gpus if chosen == "cuda" else min(2, cores)) // ranks)
        return cls(artifacts, count, chosen, max(1, cores // count), cores, ranks)

    @classmethod
    def _on_torchrun(cls, artifacts: Artifacts, workers: int | None, device: str, ranks: int) -> Local:
        for option, value in {"--workers": workers or 1, "--gpus-per-stage": ranks}.items():
            if value > 1:
                raise UsageError(
                    f"{option} has no effect under torchrun",
                    found=str(value),
                    remedy="leave it out: the processes of torchrun share one stage after the other",
                )
        cores = provenance.cores()
        return cls(artifacts, 1, device, cores, cores, 1, torchrun_ranks())

    def run(self, stages: Sequence[Stage], listener: Listener) -> Ends:
        """Runs the stages as `run_stages` says."""

        def open_pool(plugins: tuple[str, ...], _: Path) -> AbstractContextManager[WorkerPool]:
            settings = WorkSettings(self.artifacts, self.device, self.threads, self.all_threads, plugins, self.ranks)
            if self.workers > 1 or self.ranks > 1:  # a process that shares stages can be replaced
                return Workers(self.workers, settings, listener)
            return nullcontext(_ThisProcess(settings, listener, self.group))

        return run_stages(self.artifacts, stages, open_pool)


class _ThisProcess:
    """A pool of one worker, this process: `submit` returns when the stage has ended."""

    slots, takes_turns = 1, False

    def __init__(self, settings: WorkSettings, listener: Listener, group: Ranks | None) -> None:
        self.settings, self.listener, self.group = settings, listener, group
        self._ends: list[StageResult | StageFailure] = []

    def submit(self, stage: Stage) -> None:
        self.listener.started(stage.fingerprint)
        self._ends.append(attempt(stage, self.settings, _Direct(stage.fingerprint, self.listener), self.group))

    def wait(self) -> list[StageResult | StageFailure]:
        ends, self._ends = self._ends, []
        return ends


@dataclass(frozen=True)
class _Direct:
    fingerprint: str
    listener: Listener

    def update(self, rate: Rate) -> None:
        self.listener.update(self.fingerprint, rate)
