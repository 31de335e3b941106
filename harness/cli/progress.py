"""Progress bars on a terminal; elsewhere lines on what has ended and on what is running. Both go to stderr."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

from harness.experiments.logs import duration, format_rate

if TYPE_CHECKING:
    from harness.experiments.stage import Stage, StageFailure, StageResult
    from harness.training.loop import Rate

QUIET = 30.0  # seconds between two lines on what is running, where there is no terminal


class StageProgress:
    """The progress of a plan: a bar per running stage and one for the whole plan; without a terminal, lines.

    Use as a context manager around the work. `titles` maps the fingerprint of each stage to its title. `console` must
    hold the stream itself: the standard streams are copied into the log of a running stage, where bars do not belong.
    """

    def __init__(self, titles: Mapping[str, str], console: Console) -> None:
        self.console, self.titles = console, titles
        self.live = console.is_terminal
        self.bars: dict[str, TaskID] = {}
        self.running: dict[str, Rate | None] = {}  # how far each running stage is, as far as it tells
        self.ending = threading.Event()
        self.done = 0
        self.began = time.monotonic()
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TextColumn("{task.fields[note]}"),
            console=console,
            transient=True,
        )
        self.whole = self.progress.add_task("all stages", total=len(self.titles), note="")

    @property
    def elapsed(self) -> float:
        """Seconds since the object was made."""
        return time.monotonic() - self.began

    def __enter__(self) -> StageProgress:
        if self.live:
            self.progress.start()
        else:
            threading.Thread(target=self._report_running, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ending.set()
        if self.live:
            self.progress.stop()

    def started(self, fingerprint: str) -> None:
        self.running[fingerprint] = None
        if self.live and fingerprint not in self.bars:
            self.bars[fingerprint] = self.progress.add_task(self.titles[fingerprint], total=None, note="")

    def update(self, fingerprint: str, rate: Rate) -> None:
        self.running[fingerprint] = rate
        if self.live and fingerprint in self.bars:
            self.progress.update(self.bars[fingerprint], total=rate.total, completed=rate.step, note=format_rate(rate))

    def note(self, text: str) -> None:
        self.console.print(Text.assemble(("note: ", "yellow"), text))

    def ended(self, stage: Stage, result: StageResult) -> None:
        cost = duration(float(result.cost["device_seconds"]))
        self._close(stage, None if result.reused else Text.assemble((f"{cost:>12}", "dim"), "  ", stage.title))

    def failed(self, stage: Stage, failure: StageFailure) -> None:
        self._close(stage, Text.assemble(("      failed", "bold red"), "  ", failure.message))

    def _close(self, stage: Stage, line: Text | None) -> None:
        self.done += 1
        self.running.pop(stage.fingerprint, None)
        bar = self.bars.pop(stage.fingerprint, None)
        if bar is not None:
            self.progress.remove_task(bar)
        note = f"{self.done}/{len(self.titles)}  {duration(self.elapsed)}"
        self.progress.update(self.whole, completed=self.done, note=note)
        if line is not None:
            self.console.print(line)

    def _report_running(self) -> None:
        """A line on every running stage, again and again: stages of many minutes are not silent."""
        while not self.ending.wait(QUIET):
            for fingerprint, rate in list(self.running.items()):
                far = f"  {rate.step:,}/{rate.total:,}  {format_rate(rate)}" if rate is not None else ""
                self.console.print(f"{'running':>12}  {self.titles[fingerprint]}{far}", soft_wrap=True, highlight=False)


class ByteProgress:
    """The progress of phases that read bytes: a bar with rate and time left."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False, soft_wrap=True)
        columns = (BarColumn(bar_width=30), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
        self.progress = Progress(TextColumn("{task.description}"), *columns, console=self.console, transient=True)
        self.bar = self.progress.add_task("", total=None)

    def __enter__(self) -> ByteProgress:
        if self.console.is_terminal:
            self.progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.progress.stop()

    def phase(self, title: str, total: int | None = None) -> None:
        """Starts a phase of `total` bytes, where that is known."""
        self.progress.remove_task(self.bar)
        self.bar = self.progress.add_task(title, total=total)
        if not self.console.is_terminal:
            self.console.print(title)

    def advance(self, count: int) -> None:
        """Adds `count` bytes to the phase."""
        self.progress.advance(self.bar, count)
