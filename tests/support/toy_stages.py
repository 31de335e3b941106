"""Stages that write a line, to try executors on: what a stage writes tells what it has read."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from harness.experiments.stage import Stage, StagePlace, Workbench

PLACE = StagePlace("babel")


@dataclass(frozen=True, kw_only=True)
class Note(Stage):
    """Writes its text after those of its inputs. `journal` gets a line for each attempt; the first `deaths` attempts
    kill their process, and `seconds` is how long one takes."""

    kind: ClassVar[str] = "note"
    text: str
    journal: str = ""
    deaths: int = 0
    seconds: float = 0.0
    random: bool = False

    @property
    def title(self) -> str:
        return self.text

    def run(self, bench: Workbench, folder: Path) -> None:
        parts = [(bench.input(name) / "note.txt").read_text() for name in self.inputs.values()]
        if self.journal:
            with Path(self.journal).open("a") as file:
                file.write(f"{self.text} {os.getpid()}\n")
            if Path(self.journal).read_text().count(f"{self.text} ") <= self.deaths:
                os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(self.seconds)
        own = f"{self.text}{os.urandom(4).hex()}" if self.random else self.text
        (folder / "note.txt").write_text(" ".join([*parts, own]))


def note(text: str, *inputs: Stage, **more: object) -> Note:
    """A note that reads other stages."""
    names: Mapping[str, str] = {stage.title: stage.fingerprint for stage in inputs}
    return Note(text=text, inputs=names, place=PLACE, **more)  # type: ignore[arg-type]
