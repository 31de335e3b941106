"""Runs stages on this machine: in this process with one worker, else in a pool of processes, one per GPU or per share
of the cores."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Empty
from typing import TYPE_CHECKING, Any, Protocol

from harness import provenance
from harness.errors import UserError, unknown
from harness.experiments.stage import Stage, StageResult, Workbench
from harness.faults import explain
from harness.registry import load_plugin
from harness.storage.artifacts import Artifacts
from harness.storage.usage import lease

if TYPE_CHECKING:
    from harness.training.loop import Rate

DEVICES = ("auto", "cpu", "cuda")


class Listener(Protocol):
    """Receives the progress of stages, by fingerprint."""

    def started(self, fingerprint: str) -> None: ...
    def update(self, fingerprint: str, rate: Rate) -> None: ...


@dataclass(frozen=True)
class StageFailure:
    """A stage that failed: the reason in words, and whether it is the user's to fix."""

    fingerprint: str
    message: str
    fixable: bool


class WorkerPool(Protocol):
    """Runs one stage a worker."""

    def submit(self, stage: Stage) -> Future[StageResult | StageFailure]: ...


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

    def run(self, stages: Sequence[Stage], listener: Listener) -> Generator[StageResult | StageFailure, None, None]:
        """Runs the stages, each after its inputs, and yields how each ended. Those behind a failure are not started."""
        with lease(self.artifacts, (stage.fingerprint for stage in stages)):
            left = []
            for stage in stages:
                known = stage.find(self.artifacts)
                if known is None:
                    left.append(stage)
                else:
                    yield known
            if left:
                plugins = tuple(dict.fromkeys(plugin for stage in left for plugin in stage.place.plugins))
                with self._pool(listener, plugins) as pool:
                    yield from _schedule(pool, left, self.workers)

    @contextmanager
    def _pool(self, listener: Listener, plugins: Sequence[str]) -> Iterator[WorkerPool]:
        threads = (self.threads, self.all_threads)
        if self.workers == 1:
            yield _ThisProcess(self.artifacts.root, self.device, threads, listener)
            return
        context = multiprocessing.get_context("spawn")
        messages: Any = context.Manager().Queue()
        counter = context.Value("i", 0)
        settings = (str(self.artifacts.root), self.device, threads, plugins, os.getpid(), messages, counter)
        stop = threading.Event()
        threading.Thread(target=_relay, args=(messages, listener, stop), daemon=True).start()
        pool = ProcessPoolExecutor(self.workers, mp_context=context, initializer=_start_worker, initargs=settings)
        try:
            yield _Processes(pool)
        except BaseException:
            for process in list((pool._processes or {}).values()):
                process.terminate()
            raise
        finally:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)


def _schedule(pool: WorkerPool, stages: Sequence[Stage], workers: int) -> Iterator[StageResult | StageFailure]:
    """Gives a free worker the first stage of the plan whose inputs exist, so that early runs are complete early."""
    mine = {stage.fingerprint for stage in stages}
    waiting = {stage.fingerprint: {f for f in stage.inputs.values() if f in mine} for stage in stages}
    by_fingerprint = {stage.fingerprint: stage for stage in stages}
    running: dict[Future[StageResult | StageFailure], str] = {}
    while waiting or running:
        ready = [name for name, inputs in waiting.items() if not inputs]
        for name in ready[: workers - len(running)]:
            del waiting[name]
            running[pool.submit(by_fingerprint[name])] = name
        if not running:
            return
        finished, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in finished:
            name = running.pop(future)
            end = future.result()
            if isinstance(end, StageResult):
                for inputs in waiting.values():
                    inputs.discard(name)
            yield end


@dataclass(frozen=True)
class _ThisProcess:
    """A pool of one worker, this process: `submit` returns when the stage has ended."""

    root: Path
    device: str
    threads: tuple[int, int]
    listener: Listener

    def submit(self, stage: Stage) -> Future[StageResult | StageFailure]:
        self.listener.started(stage.fingerprint)
        future: Future[StageResult | StageFailure] = Future()
        watch = _Direct(stage.fingerprint, self.listener)
        future.set_result(_attempt(stage, self.root, self.device, self.threads, watch))
        return future


@dataclass(frozen=True)
class _Processes:
    pool: ProcessPoolExecutor

    def submit(self, stage: Stage) -> Future[StageResult | StageFailure]:
        return self.pool.submit(_attempt_in_worker, stage)


_worker: dict[str, Any] = {}


def _start_worker(
    root: str,
    device: str,
    threads: tuple[int, int],
    plugins: Sequence[str],
    parent: int,
    messages: Any,
    counter: Any,
) -> None:
    """Sets up a worker process: its number decides its GPU. Plug-ins are loaded before any stage is unpickled."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is handled by the parent
    signal.signal(signal.SIGTERM, _exit_worker)
    with counter.get_lock():
        number = counter.value
        counter.value += 1
    if device == "cuda":
        device = f"cuda:{number % len(provenance.gpus())}"
    for plugin in plugins:
        load_plugin(Path(plugin))
    _worker.update(root=Path(root), device=device, threads=threads, messages=messages)
    threading.Thread(target=_exit_with_parent, args=(parent,), daemon=True).start()


def _exit_worker(*_: Any) -> None:
    raise SystemExit(130)


def _exit_with_parent(parent: int) -> None:
    """Ends this worker when the process that started it is gone, so that no orphan keeps running."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _attempt_in_worker(stage: Stage) -> StageResult | StageFailure:
    messages = _worker["messages"]
    messages.put((stage.fingerprint, None))
    watch = _Sender(stage.fingerprint, messages)
    return _attempt(stage, _worker["root"], _worker["device"], _worker["threads"], watch)


def _attempt(stage: Stage, root: Path, device: str, threads: tuple[int, int], watch: Any) -> StageResult | StageFailure:
    """Runs a stage. Its result may depend on the number of threads, so that depends on the kind of stage alone."""
    import torch

    share, every = threads
    torch.set_num_threads(every if stage.all_threads else share)
    try:
        return stage.execute(Workbench(Artifacts(root), torch.device(device), watch))
    except Exception as error:
        known = explain(error, root)
        return StageFailure(
            stage.fingerprint, f"{stage.title}: {known or traceback.format_exc()}", fixable=known is not None
        )


def _relay(messages: Any, listener: Listener, stop: threading.Event) -> None:
    while not stop.is_set():
        try:
            fingerprint, rate = messages.get(timeout=0.2)
        except Empty:
            continue
        except (EOFError, OSError):
            return
        if rate is None:
            listener.started(fingerprint)
        else:
            listener.update(fingerprint, rate)


@dataclass(frozen=True)
class _Direct:
    fingerprint: str
    listener: Listener

    def update(self, rate: Rate) -> None:
        self.listener.update(self.fingerprint, rate)


@dataclass(frozen=True)
class _Sender:
    fingerprint: str
    messages: Any

    def update(self, rate: Rate) -> None:
        self.messages.put((self.fingerprint, rate))
