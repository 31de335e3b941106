"""What the page Runs shows of the logs of a run's stages: which there are, how one ended, its last lines."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from os import SEEK_END
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from harness.errors import counted
from harness.experiments.logs import END, FAIL, LIMIT, STOP, duration, kind_of
from harness.results.rendering import escape
from leaderboard.analysis import item_errors
from leaderboard.analysis.runs import stage_name

SHOWN = 200  # lines
LONGEST = 2000  # characters of a line
MOST = 2 * LIMIT  # bytes that are read of a log, which is shorter if it was written here
STATES = {END: "done", FAIL: "failed", STOP: "interrupted"}


class Log(NamedTuple):
    """The log of a stage on this machine: the stage's name, whether the store has it as done, when it was written."""

    stage: str
    path: Path
    done: bool
    written: float


class Read(NamedTuple):
    """How a stage stands, and the lines of its log as they were written; `last` and `whole` are harmless."""

    state: str
    lines: list[str]

    @property
    def extent(self) -> str:
        """How much of the log is shown, in words."""
        count = len(self.lines)
        return f"the last {SHOWN} of {count:,} lines" if count > SHOWN else counted(count, "line")

    @property
    def last(self) -> str:
        return "\n".join(_inert(self.lines[-SHOWN:]))

    def whole(self) -> str:
        return "\n".join((*_inert(self.lines), ""))


def planned(run: Mapping[str, Any]) -> dict[str, str]:
    """The stages that a run consists of: names by fingerprint; {} where its card does not tell."""
    listed = (run["card"] or {}).get("stages") or ()
    return {str(part[0]): stage_name(str(part[1]), part[2]) for part in listed if len(part) == 3}


def listed(run: Mapping[str, Any], links: pd.DataFrame) -> list[Log]:
    """The logs of a run's stages in their order; stages of one name are told apart by their fingerprints."""
    columns = zip(links["fingerprint"], links["kind"], links["task"], strict=True)
    names = planned(run) | {name: stage_name(kind, task) for name, kind, task in columns}
    found = [(name, path) for name in names if (path := item_errors.log(name)) is not None]
    often = Counter(names[name] for name, _ in found)
    return list(_logs(names, found, often, set(links["fingerprint"])))


def _logs(
    names: Mapping[str, str], found: list[tuple[str, Path]], often: Mapping[str, int], done: set[str]
) -> Iterator[Log]:
    for name, path in found:
        title = names[name] if often[names[name]] == 1 else f"{names[name]} {name[:6]}"
        with suppress(FileNotFoundError):  # gone into its artifact at this moment
            yield Log(escape(title, most=60), path, name in done, path.stat().st_mtime)


def newest(logs: list[Log]) -> Log:
    """The log to look at first: of a stage that is not done, if there is one, the one that was written last."""
    return max(logs, key=lambda log: (not log.done, log.written))


def read(log: Log, running: bool) -> Read:
    """What a log says. `running`: whether the run is under way."""
    try:
        with log.path.open("rb") as file:
            file.seek(max(0, file.seek(0, SEEK_END) - MOST))
            lines = file.read(MOST).decode("utf-8", "replace").splitlines()
    except FileNotFoundError:
        return Read("just ended", [])
    return Read(_state(log, lines, running), lines)


def _inert(lines: Iterable[str]) -> Iterator[str]:
    return (escape(line, most=LONGEST) for line in lines)


def _state(log: Log, lines: list[str], running: bool) -> str:
    ended = STATES.get(kind_of(lines[-1]) if lines else "")
    if ended is not None:
        return ended
    silent = duration(max(0.0, time.time() - log.written))
    return f"at work, last heard of {silent} ago" if running else "stopped unheard"
