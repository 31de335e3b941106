"""Worker processes of one machine, each connected to this process by a pipe.

A worker that dies takes only its own stage with it, and another one takes its place. A worker ends with the process
that started it, whatever ends that.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection as connections
import os
import signal
import traceback
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from harness import provenance, stopping
from harness.errors import UserError
from harness.experiments.executors.parents import end_with_parent
from harness.experiments.executors.ranks import own_ranks
from harness.experiments.stage import (
    LostInputError,
    LostRankError,
    RankGroup,
    Stage,
    StageFailure,
    StageResult,
    Workbench,
)
from harness.faults import explain
from harness.registry import load_plugin
from harness.storage.artifacts import Artifacts
from harness.storage.locks import LostClaimError

if TYPE_CHECKING:
    from harness.training.loop import Rate, Watch

DEVICES = ("auto", "cpu", "cuda")
POLL = 0.5  # seconds between two looks at whether a stop was requested


class Listener(Protocol):
    """Receives the progress of stages, by fingerprint."""

    def started(self, fingerprint: str) -> None: ...
    def update(self, fingerprint: str, rate: Rate) -> None: ...


class WorkSettings(NamedTuple):
    """How stages are run: where artifacts are, the device, the threads of a stage and of one that all others wait
    for, plug-in files, and how many processes share a stage that can be shared."""

    artifacts: Artifacts
    device: str
    threads: int
    all_threads: int
    plugins: tuple[str, ...]
    ranks: int = 1


def attempt(
    stage: Stage, settings: WorkSettings, watch: Watch, ranks: RankGroup | None = None
) -> StageResult | StageFailure:
    """Runs a stage. Its result may depend on the number of threads, so that depends on the kind of stage alone."""
    import torch

    threads = settings.all_threads if stage.all_threads else settings.threads
    torch.set_num_threads(max(1, threads // ranks.local) if ranks and stage.by_ranks else threads)
    try:
        bench = Workbench(settings.artifacts, torch.device(settings.device), watch, ranks=ranks)
        return stage.execute(bench)
    except (stopping.StopRequest, LostClaimError) as error:
        return StageFailure(stage.fingerprint, f"{stage.title}: {type(error).__name__}", fixable=True, again=True)
    except LostRankError as error:
        return StageFailure(stage.fingerprint, f"{stage.title}: {error}", fixable=True, again=True)
    except Exception as error:
        known = explain(error, settings.artifacts.root)
        message = f"{stage.title}: {known or traceback.format_exc()}"
        lost = error.fingerprint if isinstance(error, LostInputError) else ""
        return StageFailure(stage.fingerprint, message, fixable=known is not None, lost_input=lost)


@dataclass
class _Worker:
    number: int
    process: Any
    pipe: Connection
    stage: Stage


class Workers:
    """At most `count` worker processes, each started when it is first needed. Use as a context manager."""

    takes_turns = False

    def __init__(self, count: int, settings: WorkSettings, listener: Listener) -> None:
        self.settings, self.listener, self.slots = settings, listener, count
        self._free: list[int | _Worker] = list(range(count))
        self._busy: list[_Worker] = []
        self._stopping = False

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        """Ends all workers at once."""
        for worker in [*self._busy, *(free for free in self._free if isinstance(free, _Worker))]:
            worker.process.kill()
            worker.process.join()

    def submit(self, stage: Stage) -> None:
        """Starts a stage; no more than `count` at a time."""
        free = self._free.pop(0)
        worker = self._start(free, stage) if isinstance(free, int) else free
        worker.stage = stage
        self._busy.append(worker)
        self.listener.started(stage.fingerprint)
        with suppress(OSError):  # it has died, which `wait` notices
            worker.pipe.send(stage)

    def wait(self) -> list[StageResult | StageFailure]:
        """How stages have ended, as soon as one has. Passes a request to stop on to the workers."""
        ends: list[StageResult | StageFailure] = []
        while not ends:
            if stopping.requested() and not self._stopping:
                self._stopping = True
                for worker in self._busy:
                    worker.process.terminate()
            connections.wait([part for w in self._busy for part in (w.pipe, w.process.sentinel)], POLL)
            for worker in list(self._busy):
                end = self._read(worker)
                if end is not None:
                    self._busy.remove(worker)
                    ends.append(end)
        return ends

    def _read(self, worker: _Worker) -> StageResult | StageFailure | None:
        """Passes on the progress of a worker; the end of its stage, or None while it works."""
        dead = not worker.process.is_alive()  # asked first, since a last message may still be in the pipe
        try:
            while worker.pipe.poll():
                message = worker.pipe.recv()
                if isinstance(message, StageResult | StageFailure):
                    self._free.insert(0, worker.number if getattr(message, "again", False) else worker)
                    return message
                self.listener.update(worker.stage.fingerprint, message)
        except (EOFError, OSError):
            worker.process.join()
            dead = True
        if not dead:
            return None
        self._free.insert(0, worker.number)
        return _lost_worker(worker)

    def _start(self, number: int, stage: Stage) -> _Worker:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        gpus = len(provenance.gpus()) if self.settings.device == "cuda" else 0
        device = f"cuda:{number * self.settings.ranks % gpus}" if gpus else self.settings.device
        settings = self.settings._replace(device=device)
        process = context.Process(target=_serve, args=(theirs, settings, os.getpid()), daemon=True)
        process.start()
        theirs.close()
        return _Worker(number, process, ours, stage)


def _lost_worker(worker: _Worker) -> StageFailure:
    code = worker.process.exitcode or 0
    error = UserError(
        "a worker process was killed",
        found=f"signal {-code}" if code < 0 else f"exit code {code}",
        remedy="often the memory is not enough: use fewer --workers, then give the same command again",
    )
    return StageFailure(worker.stage.fingerprint, f"{worker.stage.title}: {error}", fixable=True, again=True)


def _serve(pipe: Connection, settings: WorkSettings, parent: int) -> None:
    """The main function of a worker: runs the stages that it is sent, one after the other."""
    end_with_parent(parent)
    for plugin in settings.plugins:  # before any stage is unpickled
        load_plugin(Path(plugin))
    with stopping.stop_on_signals(), own_ranks(settings.ranks) as ranks:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is passed on by the parent
        for stage in _received(pipe):
            end = attempt(stage, settings, _Sender(pipe), ranks)
            pipe.send(end)
            if isinstance(end, StageFailure) and end.again:
                return


def _received(pipe: Connection) -> Iterator[Stage]:
    with suppress(EOFError, OSError):
        while True:
            yield pipe.recv()


@dataclass(frozen=True)
class _Sender:
    """Sends the progress of a stage to the parent."""

    pipe: Connection

    def update(self, rate: Rate) -> None:
        self.pipe.send(rate)
