"""The logs of a run's stages on the page Runs: which exist, how each stage ended, the last lines."""

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
from leaderboard.analysis.runs import stage_title
from leaderboard.artifacts import find_log

SHOWN = 200  # lines
LONGEST = 2000  # characters of a line
MOST = 2 * LIMIT  # bytes that are read; a log that was written here is shorter
STATES = {END: "done", FAIL: "failed", STOP: "interrupted"}


class LogFile(NamedTuple):
    """The log of a stage on this machine: the stage's title, whether the store has it as done, time of writing."""

    stage: str
    path: Path
    done: bool
    written: float


class LogText(NamedTuple):
    """The state of a stage, and the lines of its log as written. `last` and `whole` are escaped."""

    state: str
    lines: list[str]

    @property
    def extent(self) -> str:
        """How much of the log is shown, in words."""
        count = len(self.lines)
        return f"the last {SHOWN} of {count:,} lines" if count > SHOWN else counted(count, "line")

    @property
    def last(self) -> str:
        return "\n".join(_escape_lines(self.lines[-SHOWN:]))

    def whole(self) -> str:
        return "\n".join((*_escape_lines(self.lines), ""))


def _escape_lines(lines: Iterable[str]) -> Iterator[str]:
    return (escape(line, most=LONGEST) for line in lines)


def find_logs(run: Mapping[str, Any], links: pd.DataFrame) -> list[LogFile]:
    """The logs of a run's stages in their order: those its card plans, then those it used. Stages with the same title
    get the start of their fingerprint."""
    planned = (run["card"] or {}).get("stages") or ()
    titles = {str(part[0]): stage_title(str(part[1]), part[2]) for part in planned if len(part) == 3}
    columns = zip(links["fingerprint"], links["kind"], links["task"], strict=True)
    titles |= {name: stage_title(kind, task) for name, kind, task in columns}
    paths = {name: path for name in titles if (path := find_log(name)) is not None}
    count, done = Counter(titles[name] for name in paths), set(links["fingerprint"])
    logs = []
    for name, path in paths.items():
        title = titles[name] if count[titles[name]] == 1 else f"{titles[name]} {name[:6]}"
        with suppress(FileNotFoundError):  # it may just have moved into its artifact
            logs.append(LogFile(escape(title, most=60), path, name in done, path.stat().st_mtime))
    return logs


def newest_log(logs: list[LogFile]) -> LogFile:
    """The log to show first: the last written, of a stage that is not done if there is one."""
    return max(logs, key=lambda log: (not log.done, log.written))


def read_log(log: LogFile, running: bool) -> LogText:
    """The state and the lines of a log. `running`: whether the run is open."""
    try:
        with log.path.open("rb") as file:
            file.seek(max(0, file.seek(0, SEEK_END) - MOST))
            lines = file.read(MOST).decode("utf-8", "replace").splitlines()
    except FileNotFoundError:
        return LogText("just ended", [])
    state = STATES.get(kind_of(lines[-1]) if lines else "")
    if state is None and running:
        state = f"running, last line {duration(max(0.0, time.time() - log.written))} ago"
    return LogText(state or "stopped without a final line", lines)
