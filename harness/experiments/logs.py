"""The log of a stage: its start, progress, output and end.

The log is written to the stage's work folder, where the next attempt continues it after a failure or a kill, and is
copied into the artifact of a finished stage. No result depends on it: where it cannot be written, the stage runs
without it. Output of compiled code that bypasses Python's streams is not logged.
"""

from __future__ import annotations

import logging
import math
import re
import shutil
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from harness.experiments.sinks import StageSink
from harness.faults import DiskError, explain
from harness.files import LOG, read_json, write_atomically

if TYPE_CHECKING:
    from harness.training.loop import Rate, Watch

LIMIT = 1 << 20  # bytes of a log; the beginning and the end of a longer one are kept
KEPT = 1 << 18  # bytes of either
WIDTH = 2000  # characters of a line
PAUSE = 2.0  # seconds between two lines of progress at least; they grow rarer, to a sixtieth of the time so far
STAMP = "%Y-%m-%d %H:%M:%SZ"
START, STEP, DEV, OUT, ERR, END, FAIL, STOP = "start", "step", "dev", "out", "err", "end", "fail", "stop"
CURVE: Final = "state-*/curve.json"  # where a fine-tuning in progress keeps its evaluations
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class StageLog:
    """An open log, one line per event: time (UTC), kind, text. Also the watch of a training loop, which passes
    updates on to `watch` and to the chosen sink."""

    def __init__(self, folder: Path, title: str, watch: Watch) -> None:
        self.path, self.watch = folder / LOG, watch
        self.sink = StageSink(title.partition(":")[0], folder.name)
        self.began = time.monotonic()
        self.left_out = self._beginning = 0
        self._lock = threading.RLock()
        self._last: float | None = None  # when the last line of progress was written
        self._evaluated = _evaluations(folder)
        self._file: Any = None
        self._open()

    def write(self, kind: str, text: str) -> None:
        """Writes one or more lines of a kind."""
        stamp = datetime.now(UTC).strftime(STAMP)
        lines = (_COLOURS.sub("", line.rstrip()).expandtabs()[:WIDTH] for line in text.splitlines())
        self._write("".join(f"{stamp} {kind:<5} {line}\n" for line in lines).encode("utf-8", "replace"))

    def update(self, rate: Rate) -> None:
        self.watch.update(rate)
        self.sink.update(rate)
        self._write_evaluations()
        now = time.monotonic()
        if self._last is None and rate.step:
            self.write(STEP, f"resumes from the checkpoint of step {rate.step:,}")
        rare = max(PAUSE, (now - self.began) / 60)
        if rate.step == rate.total or self._last is None or now - self._last >= rare:
            self._last = now
            self.write(STEP, f"{rate.step:,}/{rate.total:,}  {format_rate(rate) if rate.losses else ''}".rstrip())

    def _write_evaluations(self) -> None:
        """A line for each new evaluation: the loop does not report evaluations to its watch."""
        for step, views in _evaluations(self.path.parent).items():
            if step not in self._evaluated:
                self._evaluated[step] = views
                self.write(DEV, f"step {step:,}: {views}")

    def finish(self, folder: Path) -> None:
        """Ends the log of a finished stage and copies it into the folder that becomes its artifact."""
        self._write_evaluations()
        self.write(END, f"done in {duration(time.monotonic() - self.began)}")
        if self._file is not None:
            shutil.copyfile(self.path, folder / LOG)

    def close(self) -> None:
        with self._lock:
            if self._file is not None:
                self._file.close()
            self._file = None

    def _open(self) -> None:
        try:
            self._file = self.path.open("ab", buffering=0)
        except OSError:
            self._file = None  # the stage itself reports a failure of the disk, if it matters

    def _write(self, data: bytes) -> None:
        with self._lock:
            if self._file is None:
                return
            try:
                self._file.write(data)
                if self._file.tell() > LIMIT:
                    self._shorten()
            except (OSError, DiskError):
                self.close()

    def _shorten(self) -> None:
        """Replaces the middle of the log with a line that says how many lines it held."""
        whole = self.path.read_bytes()
        first = self._beginning or whole.rindex(b"\n", 0, KEPT) + 1
        last = whole.index(b"\n", len(whole) - KEPT) + 1
        self.left_out += whole.count(b"\n", first, last) - bool(self.left_out)
        self._beginning = first  # a former note is there, and is replaced
        note = f"... {self.left_out:,} lines left out ...\n".encode()
        self._file.close()
        write_atomically(self.path, lambda part: part.write_bytes(whole[:first] + note + whole[last:]))
        self._open()


@contextmanager
def log_stage(folder: Path, title: str, watch: Watch) -> Iterator[StageLog]:
    """Logs a running stage in its work folder: this process's standard streams, and the error that ends the stage."""
    log = StageLog(folder, title, watch)
    log.write(START, title)
    try:
        with _copy_streams(log):
            yield log
    except Exception as error:
        known = explain(error, folder)
        log.write(FAIL, "".join(traceback.format_exception(error)) if known is None else str(known))
        raise
    except BaseException as error:
        log.write(STOP, f"interrupted after {duration(time.monotonic() - log.began)}: {type(error).__name__}")
        raise
    finally:
        log.sink.close()
        log.close()


class _CopiedStream:
    """A standard stream whose lines are also written to a log; other attributes are those of the stream."""

    def __init__(self, stream: Any, log: StageLog, kind: str) -> None:
        self._stream, self._log, self._kind = stream, log, kind
        self._begun = ""

    def write(self, text: str) -> int:
        *lines, self._begun = (self._begun + text).split("\n")
        for line in lines:
            self._log.write(self._kind, _last_overwrite(line))
        self._begun = _last_overwrite(self._begun)[-WIDTH:]
        self._stream.write(text)
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def end(self) -> None:
        """Writes a last line without a line end."""
        if self._begun:
            self._log.write(self._kind, self._begun)

    def __getattr__(self, name: str) -> Any:
        if name == "rich_proxied_file":  # where rich writes past a stream that stands for a terminal
            raise AttributeError(name)
        return getattr(self._stream, name)


def _last_overwrite(line: str) -> str:
    """The last version of a line that was overwritten with carriage returns, as progress bars do."""
    return line.rstrip("\r").rpartition("\r")[2]


@contextmanager
def _copy_streams(log: StageLog) -> Iterator[None]:
    """Copies this process's standard streams, and what loggers write to them, into a log."""
    kinds = {"stdout": OUT, "stderr": ERR}
    streams = {name: stream for name in kinds if (stream := getattr(sys, name)) is not None}  # a service may have none
    heard = {name: _CopiedStream(stream, log, kinds[name]) for name, stream in streams.items()}
    handlers = [
        (handler, handler.stream, heard[name])
        for handler in _handlers()
        for name in heard
        if handler.stream in (streams[name], getattr(sys, f"__{name}__"))
    ]
    for name, stream in heard.items():
        setattr(sys, name, stream)
    for handler, _, stream in handlers:
        handler.setStream(stream)
    try:
        yield
    finally:
        for handler, stream, _ in handlers:
            handler.setStream(stream)
        for name, stream in heard.items():
            stream.end()
            if getattr(sys, name) is stream:
                setattr(sys, name, streams[name])


def _handlers() -> list[Any]:
    """Every handler of a logger that writes to a stream."""
    known = [logging.getLogger(), *logging.root.manager.loggerDict.values()]
    handlers = (handler for logger in known if isinstance(logger, logging.Logger) for handler in logger.handlers)
    return [handler for handler in handlers if type(handler) is logging.StreamHandler]


def _evaluations(folder: Path) -> dict[int, str]:
    """What a fine-tuning has evaluated so far: by step, the dev metrics of each view."""
    try:
        points = read_json(max(folder.glob(CURVE), key=lambda file: file.stat().st_mtime))
        found: dict[int, list[str]] = {}
        for step, view, metrics in points:
            values = " ".join(f"{name} {value:.1f}" for name, value in metrics.items())
            found.setdefault(int(step), []).append(f"{view} {values}")
    except (OSError, ValueError, TypeError, AttributeError):  # there is none, or it is damaged
        return {}
    return {step: ", ".join(views) for step, views in found.items()}


def kind_of(line: str) -> str:
    """The kind of a line of a log; some other text where it is none."""
    return line[21:26].strip()


def format_rate(rate: Rate) -> str:
    """Steps per second, time left and losses, on one line."""
    losses = " ".join(f"{name} {value:.3g}" for name, value in rate.losses.items())
    left = "" if math.isinf(rate.seconds_left) else f"{duration(rate.seconds_left)} left"
    return "  ".join(filter(None, (f"{rate.steps_per_second:.1f} steps/s", left, losses)))


def duration(seconds: float) -> str:
    """A duration in words: 0.4 s, 12 s, 3 min 20 s, 2 h 05 min."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
