"""Files of artifacts that the board reads. Nothing here writes; an artifact may be missing on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.files import LOG, TRACE, read_json
from harness.storage.artifacts import work_folder
from harness.storage.home import artifacts_root
from harness.storage.shared import open_artifacts


def find_file(fingerprint: str, name: str) -> Path | None:
    """A file in the artifact of a stage; None if it is not on this machine or is damaged."""
    if not fingerprint.isalnum():
        return None
    return open_artifacts().find_file(fingerprint, name)


def find_log(fingerprint: str) -> Path | None:
    """The log of a stage: in its artifact, or in its work folder while it runs or if it failed; None without either."""
    path = find_file(fingerprint, LOG)
    if path is None and fingerprint.isalnum():
        work = artifacts_root() / work_folder(fingerprint) / LOG
        path = work if work.is_file() else None
    return path


def load_trace(fingerprint: str) -> dict[str, Any]:
    """The loss curves of a training stage; {} if they are not on this machine."""
    path = find_file(fingerprint, TRACE)
    trace: dict[str, Any] = {} if path is None else read_json(path)
    return trace
