"""Stages on this machine: in this process with one worker, else in a pool of processes, one per GPU or per share of
the cores."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from harness.errors import UserError
from harness.experiments.plan import Stage
from harness.experiments.stages import Done, Workbench, found, work
from harness.storage.artifacts import Artifacts
from harness.training.loop import Rate


class Listener(Protocol):
    """Who is told of the progress of stages, by fingerprint."""

    def started(self, fingerprint: str) -> None: ...
    def update(self, fingerprint: str, rate: Rate) -> None: ...


@dataclass(frozen=True)
class Failed:
    """A stage that could not be done: whose fault, in words, and whether the user can mend it."""

    fingerprint: str
    message: str
    mendable: bool


@dataclass(frozen=True)
class Local:
    """The executor of one machine: `workers` processes of so many `threads`; with GPUs each takes one of them.

    A stage that all others wait for gets the threads of all workers `together`.
    """

    artifacts: Artifacts
    workers: int
    device: str
    threads: int
    together: int

    @classmethod
    def on(cls, artifacts: Artifacts, workers: int | None = None, device: str = "auto") -> Local:
        """The machine as it is: CUDA where there is one. Raises UserError for a device that is not there."""
        gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if device == "cuda" and not gpus:
            raise UserError("there is no CUDA device", remedy="leave --device out, or give --device cpu")
        chosen = ("cuda" if gpus else "cpu") if device == "auto" else device
        count = workers or (gpus if chosen == "cuda" else min(2, _cores()))
        return cls(artifacts, count, chosen, max(1, _cores() // count), _cores())

    def run(self, stages: Sequence[Stage], listener: Listener) -> Iterator[Done | Failed]:
        """Does the stages, each after its inputs, and yields how each ended. Those behind a failure are not begun."""
        left = []
        for stage in stages:
            known = found(stage, self.artifacts)
            if known is None:
                left.append(stage)
            else:
                yield known
        if left:
            yield from (self._here if self.workers == 1 else self._pool)(left, listener)

    def _here(self, stages: Sequence[Stage], listener: Listener) -> Iterator[Done | Failed]:
        broken: set[str] = set()
        for stage in stages:
            if broken & set(stage.inputs.values()):
                broken.add(stage.fingerprint)
                continue
            listener.started(stage.fingerprint)
            _take_threads(stage, self.threads, self.together)
            end = _attempt(stage, self.artifacts.root, self.device, _Direct(stage.fingerprint, listener))
            if isinstance(end, Failed):
                broken.add(stage.fingerprint)
            yield end

    def _pool(self, stages: Sequence[Stage], listener: Listener) -> Iterator[Done | Failed]:
        context = multiprocessing.get_context("spawn")
        messages: Any = context.Manager().Queue()
        threads = (self.threads, self.together)
        setting = (str(self.artifacts.root), self.device, threads, os.getpid(), messages, context.Value("i", 0))
        stop = threading.Event()
        relay = threading.Thread(target=_relay, args=(messages, listener, stop), daemon=True)
        relay.start()
        pool = ProcessPoolExecutor(self.workers, mp_context=context, initializer=_enter, initargs=setting)
        try:
            yield from _scheduled(pool, stages, self.workers)
        except BaseException:
            for process in list((pool._processes or {}).values()):
                process.terminate()
            raise
        finally:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)


def _scheduled(pool: ProcessPoolExecutor, stages: Sequence[Stage], workers: int) -> Iterator[Done | Failed]:
    """Hands a free worker the first stage of the plan whose inputs are done, so that early runs are complete early."""
    mine = {stage.fingerprint for stage in stages}
    waiting = {stage.fingerprint: {f for f in stage.inputs.values() if f in mine} for stage in stages}
    by_name = {stage.fingerprint: stage for stage in stages}
    running: dict[Future[Done | Failed], str] = {}
    while waiting or running:
        ready = [name for name, inputs in waiting.items() if not inputs]
        for name in ready[: workers - len(running)]:
            del waiting[name]
            running[pool.submit(_remote, by_name[name])] = name
        if not running:
            return
        finished, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in finished:
            name = running.pop(future)
            end = future.result()
            if isinstance(end, Done):
                for inputs in waiting.values():
                    inputs.discard(name)
            yield end


_worker: dict[str, Any] = {}


def _enter(root: str, device: str, threads: tuple[int, int], parent: int, messages: Any, counter: Any) -> None:
    """Sets up a worker process: its number decides its GPU."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    signal.signal(signal.SIGTERM, _leave)
    with counter.get_lock():
        number = counter.value
        counter.value += 1
    if device == "cuda":
        device = f"cuda:{number % torch.cuda.device_count()}"
    _worker.update(root=Path(root), device=device, threads=threads, messages=messages)
    threading.Thread(target=_follow, args=(parent,), daemon=True).start()


def _leave(*_: Any) -> None:
    raise SystemExit(130)


def _follow(parent: int) -> None:
    """Ends this worker when the process that started it is gone, so that no orphan goes on."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _remote(stage: Stage) -> Done | Failed:
    _worker["messages"].put((stage.fingerprint, None))
    _take_threads(stage, *_worker["threads"])
    watch = _Sent(stage.fingerprint, _worker["messages"])
    return _attempt(stage, _worker["root"], _worker["device"], watch)


def _take_threads(stage: Stage, share: int, together: int) -> None:
    """The result of a stage may depend on its number of threads, so that depends on its kind alone."""
    torch.set_num_threads(together if stage.kind == "pretrain" else share)


def _attempt(stage: Stage, root: Path, device: str, watch: Any) -> Done | Failed:
    try:
        return work(stage, Workbench(Artifacts(root), torch.device(device), watch))
    except UserError as error:
        return Failed(stage.fingerprint, f"{stage.title}: {error}", mendable=True)
    except Exception:
        import traceback

        return Failed(stage.fingerprint, f"{stage.title}: {traceback.format_exc()}", mendable=False)


def _relay(messages: Any, listener: Listener, stop: threading.Event) -> None:
    from queue import Empty

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
class _Sent:
    fingerprint: str
    messages: Any

    def update(self, rate: Rate) -> None:
        self.messages.put((self.fingerprint, rate))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
