"""Runs a tiny suite in forked processes that may be killed: `python -m tests.support.fault_runs`.

Reads one job a line, as JSON, and answers with one line each. The server imports, plans and runs the suite once; each
job is a fork of it, since a new interpreter would take longer than the run. Every training step saves a checkpoint.
"""

from __future__ import annotations

import json
import mmap
import os
import signal
import sys
import tempfile
import time
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import torch

from harness import barriers, stopping
from harness.experiments.plan import RunPlan, plan_runs
from harness.experiments.recipe import make_recipe
from harness.faults import explain
from harness.protocols import Suite
from harness.registry import SUITES
from harness.storage.store import schema
from harness.training import loop as training
from tests.support.failing_calls import call_error, fail_calls
from tests.support.tiny_runs import TINY, run_plans

SMALLER = ("align.steps=3", "pretrain.steps=2", "sample.size=40", "tasks.pawsx.max_train=24")


@dataclass(frozen=True)
class Job:
    """One run in `home`: `kill_at` and `fail_at` are barriers, `calls` the kind of system call that fails from there on
    with the number `error`, `after` the seconds until `signal` is sent (0: never), `clock_back` the seconds by which
    the clock is set back in the middle."""

    home: str
    kill_at: str = ""
    fail_at: str = ""
    calls: str = ""
    error: int = 0
    after: float = 0.0
    signal: int = signal.SIGKILL
    clock_back: float = 0.0


@dataclass(frozen=True)
class Ended:
    """How a job ended: its exit code, negative for a signal; what it reports; how long it took; titles of stages; and
    the number of the error with which its calls failed."""

    code: int
    seconds: float
    errors: tuple[str, ...] = ()
    computed: tuple[str, ...] = ()
    finished: int = 0
    error: int = 0


def plans() -> list[RunPlan]:
    """One run of two tasks: one fine-tuned, one embedded."""
    SUITES._local["two"] = (Suite("two", "Two", ("pawsx", "tatoeba"), "For these tests."), None)  # type: ignore[assignment]
    tiny = [change for change in TINY if not change.startswith("tasks.") or change.startswith("tasks.pawsx.")]
    world = "babel:size=small,test=100,parallel=60,mono=60"
    where = {"base": "init:1x32", "source": world, "suite": "two", "protocol": "mini"}
    return plan_runs([make_recipe(method="ml-ctl", changes=(*tiny, *SMALLER), **where)], [0])


def run_job(job: Job, work: list[RunPlan], report: mmap.mmap) -> None:
    """What a fork does."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where tests run in the background
    ended: dict[str, Any] = {"errors": (), "computed": (), "finished": 0, "error": 0}

    def break_disk() -> None:
        fail_calls(job.calls, job.error)
        ended["error"] = call_error(job.calls, Path(job.home))

    if job.kill_at:
        barriers.set_barrier(job.kill_at, partial(os.kill, os.getpid(), signal.SIGKILL))
    if job.fail_at:
        barriers.set_barrier(job.fail_at, break_disk)
    training.CHECKPOINT_SECONDS = 0.0
    stopping.GRACE = 2.0
    if job.clock_back:
        set_clock_back(job.clock_back, calls=20)
    try:
        done, display = run_plans(Path(job.home), work)
        ended |= {"errors": [failure.message for failure in done.failures], "finished": done.finished}
        ended["computed"] = display.made
    except Exception as error:
        ended["errors"] = [str(explain(error) or f"not explained: {error!r}")]
    text = json.dumps(ended).encode()
    report[: len(text)] = text


def set_clock_back(seconds: float, calls: int) -> None:
    """Sets the clock back after a number of looks at it."""
    looks, real, real_ns, now = [0], time.time, time.time_ns, schema.now

    def jump() -> float:
        looks[0] += 1
        return seconds if looks[0] > calls else 0.0

    time.time = lambda: real() - jump()
    time.time_ns = lambda: real_ns() - int(jump() * 1e9)
    schema.now = lambda: now() - timedelta(seconds=jump())


def serve() -> None:
    torch.set_num_threads(1)
    work = plans()
    with tempfile.TemporaryDirectory() as home, redirect_stdout(sys.stderr):
        run_plans(Path(home), work)  # imports what the stages import, which takes longer than they do
    print("ready", flush=True)
    answer(work)


def answer(work: list[RunPlan]) -> None:
    """Forks a run for each job that comes in, and says how it ended."""
    for line in sys.stdin:
        job = Job(**json.loads(line))
        report = mmap.mmap(-1, 2**20)  # memory that the child shares, since no disk may be left to it
        began = time.monotonic()
        child = os.fork()
        if child == 0:
            null = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1, 2):
                os.dup2(null, stream)
            code = 1
            try:
                run_job(job, work, report)
                code = 0
            except SystemExit as stop:
                code = int(stop.code or 0)
            finally:
                os._exit(code)
        code = wait_for(child, job)
        said = json.loads(report[:].rstrip(b"\0") or b"{}")
        print(json.dumps(asdict(Ended(code, time.monotonic() - began, **said))), flush=True)


def wait_for(child: int, job: Job) -> int:
    deadline = time.monotonic() + job.after
    while job.after and time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    if job.after:
        os.kill(child, job.signal)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    serve()
