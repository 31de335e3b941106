"""Runs a tiny suite in forked processes that may be killed: `python -m tests.support.fault_runs`.

Reads one job a line, as JSON, and answers with one line each. The server imports, plans and runs the suite once; each
job is a fork of it, since a new interpreter would take longer than the run. Every training step saves a checkpoint.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from datetime import timedelta
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
from tests.support.tiny_runs import TINY, run_plans

SMALLER = ("align.steps=3", "pretrain.steps=2", "sample.size=40", "tasks.pawsx.max_train=24")


@dataclass(frozen=True)
class Job:
    """One run in `home`: `kill_at` is a barrier, `after` the seconds until `signal` is sent (0: never), `clock_back`
    the seconds by which the clock is set back in the middle."""

    home: str
    kill_at: str = ""
    after: float = 0.0
    signal: int = signal.SIGKILL
    clock_back: float = 0.0


@dataclass(frozen=True)
class Ended:
    """How a job ended: its exit code, negative for a signal; what it reports; how long it took; titles of stages."""

    code: int
    seconds: float
    errors: tuple[str, ...] = ()
    computed: tuple[str, ...] = ()
    finished: int = 0


def plans() -> list[RunPlan]:
    """One run of two tasks: one fine-tuned, one embedded."""
    SUITES._local["two"] = (Suite("two", "Two", ("pawsx", "tatoeba"), "For these tests."), None)  # type: ignore[assignment]
    tiny = [change for change in TINY if not change.startswith("tasks.") or change.startswith("tasks.pawsx.")]
    world = "babel:size=small,test=100,parallel=60,mono=60"
    where = {"base": "init:1x32", "source": world, "suite": "two", "protocol": "mini"}
    return plan_runs([make_recipe(method="ml-ctl", changes=(*tiny, *SMALLER), **where)], [0])


def run_job(job: Job, work: list[RunPlan], report: Path) -> None:
    """What a fork does."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where tests run in the background
    barriers.kill_at(job.kill_at)
    training.CHECKPOINT_SECONDS = 0.0
    stopping.GRACE = 2.0
    if job.clock_back:
        set_clock_back(job.clock_back, calls=20)
    ended: dict[str, Any] = {"errors": (), "computed": (), "finished": 0}
    try:
        done, display = run_plans(Path(job.home), work)
        ended |= {"errors": [failure.message for failure in done.failures], "finished": done.finished}
        ended["computed"] = display.made
    except Exception as error:
        ended["errors"] = [str(explain(error) or f"not explained: {error!r}")]
    report.write_text(json.dumps(ended))


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
    with tempfile.TemporaryDirectory() as reports:  # not beside the home, whose disk may be full
        answer(work, Path(reports, "report.json"))


def answer(work: list[RunPlan], report: Path) -> None:
    """Forks a run for each job that comes in, and says how it ended."""
    for line in sys.stdin:
        job = Job(**json.loads(line))
        report.unlink(missing_ok=True)
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
        said = json.loads(report.read_text()) if report.exists() else {}
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
