"""What commands cost on a large store, beside reading all of its scores with Python's SQLite module.

    python -m benchmarks.store [--runs 2000] [--scores 600000] [--keep FOLDER]

Makes the store of `benchmarks.board`, runs each command in a process of its own, and prints its CPU seconds, without
those of a command that reads nothing (`--version`), and their ratio to the peer's.
"""

from __future__ import annotations

import argparse
import os
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from benchmarks.board import made

COMMANDS = (
    ("show",),
    ("show", "--format", "json"),
    ("show", "--by", "language", "--task", "xnli"),
    ("show", "--group", "family"),
    ("compare", "method-02", "method-03"),
    ("resume",),
    ("gc", "--dry-run"),
    ("db", "check"),
    ("db", "backup"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--scores", type=int, default=600_000)
    parser.add_argument("--keep", type=Path, help="folder for the store, used again where it is there")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = chosen.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        store = made(folder / f"board-{chosen.runs}.db", chosen.runs, max(1, chosen.scores // chosen.runs))
        peer = read_seconds(store)
        print(f"sqlite3: every column of every score: {peer:.2f} s of CPU")
        start = command_seconds(("--version",), Path(scratch))
        for command in COMMANDS:
            target = (str(Path(scratch) / "copy.db"),) if command[-1] == "backup" else ()
            seconds = command_seconds((*command, *target, "--db", str(store)), Path(scratch)) - start
            print(f"{' '.join(command):32} {seconds:6.2f} s of CPU, {seconds / peer:5.1f} times the peer", flush=True)


def read_seconds(store: Path) -> float:
    with closing(sqlite3.connect(store)) as connection:
        start = time.process_time()
        connection.execute("SELECT * FROM score").fetchall()
        return time.process_time() - start


def command_seconds(arguments: tuple[str, ...], home: Path) -> float:
    """CPU seconds of a command and its processes; problems of the synthetic store (exit code 1) are no failure."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "ALIGNBOARD_HOME": str(home)}
    command = [sys.executable, "-m", "harness.cli", *arguments]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    ended = subprocess.run(command, env=environment, text=True, check=False, **quiet)  # type: ignore[call-overload]
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if ended.returncode not in (0, 1):
        raise SystemExit(ended.stderr)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
