"""How a running plan looks: a bar per stage at work and one for the whole on a terminal, a line per stage elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.text import Text

from harness.experiments.executors.local import Failed
from harness.experiments.logs import duration, told
from harness.experiments.plan import Stage
from harness.experiments.stages import Done
from harness.training.loop import Rate


class Show:
    """Use as a context manager around the work; `titles` names every stage by its fingerprint.

    `console` holds the stream itself and does not look it up: while a stage is at work, what goes to the standard
    streams goes to its log too, and bars do not belong there.
    """

    def __init__(self, titles: Mapping[str, str], console: Console) -> None:
        self.console, self.titles = console, titles
        self.live = console.is_terminal
        self.bars: dict[str, TaskID] = {}
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
        """Seconds since the display was made."""
        return time.monotonic() - self.began

    def __enter__(self) -> Show:
        if self.live:
            self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.live:
            self.progress.stop()

    def started(self, fingerprint: str) -> None:
        if self.live and fingerprint not in self.bars:
            self.bars[fingerprint] = self.progress.add_task(self.titles[fingerprint], total=None, note="")

    def update(self, fingerprint: str, rate: Rate) -> None:
        if self.live and fingerprint in self.bars:
            note = told(rate)
            self.progress.update(self.bars[fingerprint], total=rate.total, completed=rate.step, note=note)

    def ended(self, stage: Stage, done: Done) -> None:
        cost = duration(float(done.cost["device_seconds"]))
        self._close(stage, None if done.hit else Text.assemble((f"{cost:>12}", "dim"), "  ", stage.title))

    def failed(self, stage: Stage, failure: Failed) -> None:
        self._close(stage, Text.assemble(("      failed", "bold red"), "  ", failure.message))

    def _close(self, stage: Stage, line: Text | None) -> None:
        self.done += 1
        bar = self.bars.pop(stage.fingerprint, None)
        if bar is not None:
            self.progress.remove_task(bar)
        elapsed = duration(self.elapsed)
        self.progress.update(self.whole, completed=self.done, note=f"{self.done}/{len(self.titles)}  {elapsed}")
        if line is not None:
            self.console.print(line)
