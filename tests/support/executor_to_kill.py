"""A process to be killed, as `python -m tests.support.executor_to_kill ROOT`: two notes of a minute in two workers."""

from __future__ import annotations

import sys
from pathlib import Path

from harness.experiments.executors.local import Local
from harness.experiments.runner import execute_stages
from harness.storage.artifacts import Artifacts
from tests.support.tiny_runs import RecordingDisplay
from tests.support.toy_stages import note


def main() -> None:
    root = Path(sys.argv[1])
    stages = [note(text, journal=str(root / "journal"), seconds=60.0) for text in "ab"]
    executor = Local(Artifacts(root / "artifacts"), 2, "cpu", threads=1, all_threads=1)
    execute_stages({stage.fingerprint: stage for stage in stages}, executor, RecordingDisplay())


if __name__ == "__main__":
    main()
