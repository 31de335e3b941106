"""The order in which the stages of a plan run, whoever runs them: each after its inputs, again where one was lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from harness import stopping
from harness.experiments.executors.workers import Listener
from harness.experiments.stage import Stage, StageFailure, StageResult
from harness.storage.artifacts import Artifacts
from harness.storage.usage import lease

TRIES = 3  # of a stage whose worker is lost, or whose input is found damaged

Ends = Generator[StageResult | StageFailure, None, None]


class Executor(Protocol):
    """Runs the stages of plans, and stores what they make in `artifacts`."""

    @property
    def artifacts(self) -> Artifacts: ...
    def run(self, stages: Sequence[Stage], listener: Listener) -> Ends: ...


class WorkerPool(Protocol):
    """Runs stages, at most `slots` at once. `takes_turns`: methods get the same number of them."""

    takes_turns: bool

    @property
    def slots(self) -> int: ...
    def submit(self, stage: Stage) -> None: ...
    def wait(self) -> list[StageResult | StageFailure]: ...


def run_stages(
    artifacts: Artifacts,
    stages: Sequence[Stage],
    open_pool: Callable[[tuple[str, ...], Path], AbstractContextManager[WorkerPool]],
) -> Ends:
    """Runs the stages, each after its inputs, and yields how each ended. Those behind a failure are not started.

    `open_pool` gets the plug-in files and the lease of this command. A stage is reused where its artifact is whole and
    made from the inputs that are here; so it waits for inputs that have to be computed. Raises StopRequest where a
    signal has asked for a stop.
    """
    with lease(artifacts, (stage.fingerprint for stage in stages)) as held:
        artifacts.sweep()
        artifacts.prefetch(stage.fingerprint for stage in stages)
        found = {stage.fingerprint: stage.find(artifacts) for stage in stages}
        left = _with_dependents(stages, {name for name, known in found.items() if known is None})
        for name, known in found.items():
            if known is not None and name not in left:
                yield known
        if left:
            plugins = tuple(dict.fromkeys(plugin for stage in stages for plugin in stage.place.plugins))
            with open_pool(plugins, held) as pool:
                yield from _schedule(pool, stages, left)
    if stopping.requested():
        stopping.leave()


def _schedule(pool: WorkerPool, stages: Sequence[Stage], left: set[str]) -> Ends:
    """Runs the stages that are `left`. A free worker gets the first stage of the plan whose inputs are there, so that
    early runs are complete early, unless methods take turns.

    A stage whose worker was lost is tried again, and so is one that finds an input missing or damaged, after the input
    and all else that may come from it.
    """
    by_name = {stage.fingerprint: stage for stage in stages}
    method = methods_of(stages) if pool.takes_turns else {}
    waiting = dict.fromkeys(stage.fingerprint for stage in stages if stage.fingerprint in left)
    running: set[str] = set()
    tries: Counter[str] = Counter()
    while waiting or running:
        pending = waiting.keys() | running
        ready = [name for name in waiting if pending.isdisjoint(by_name[name].inputs.values())]
        if pool.takes_turns:
            ready = take_turns(ready, running, method)
        for name in ready[: 0 if stopping.requested() else max(0, pool.slots - len(running))]:
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


def methods_of(stages: Sequence[Stage]) -> dict[str, str]:
    """The method that each stage works for: its own, or that of what it reads; empty where several share the stage."""
    found: dict[str, str] = {}
    for stage in stages:
        inherited = (method for name in stage.inputs.values() if (method := found.get(name)))
        found[stage.fingerprint] = getattr(stage, "method", "") or next(inherited, "")
    return found


def take_turns(ready: Iterable[str], running: Iterable[str], method: dict[str, str]) -> list[str]:
    """The stages that are ready, those of the methods with the fewest stages at work first."""
    taken = Counter(method[name] for name in running)
    turns: list[tuple[int, str]] = []
    for name in ready:
        turns.append((taken[method[name]], name))
        taken[method[name]] += 1
    return [name for _, name in sorted(turns, key=lambda turn: turn[0])]


def _with_dependents(stages: Sequence[Stage], names: set[str]) -> set[str]:
    """The stages of these fingerprints and all that depend on them; inputs come before what reads them."""
    found = set(names)
    for stage in stages:
        if not found.isdisjoint(stage.inputs.values()):
            found.add(stage.fingerprint)
    return found
