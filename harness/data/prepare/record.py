"""`prepared.json` in every prepared folder: its downloads, options, and the checksums of all its files."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from harness.data.prepare.streams import ignore_progress
from harness.files import file_digest, read_json, sync_folder
from harness.storage.manifest import File

NAME = "prepared.json"
FORMAT = 1  # increased whenever the same downloads give other files


@dataclass(frozen=True)
class DownloadRecord:
    """A download. `sum` compares its SHA-256 with the recorded one: known, other, or unverified (none recorded)."""

    name: str
    size: int
    sha256: str
    sum: str


@dataclass
class PreparedRecord:
    """A prepared folder: downloads, numbers of items and checksums of files by relative path, missing files."""

    name: str
    official: bool
    sources: list[DownloadRecord]
    files: dict[str, File] = field(default_factory=dict)
    items: dict[str, int] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """The record as JSON values."""
        return {**asdict(self), "files": {name: file._asdict() for name, file in self.files.items()}}


def write(folder: Path, record: PreparedRecord) -> None:
    """Completes a folder: computes the checksums of its files, writes `prepared.json` and syncs everything to disk."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    record.files = {path.relative_to(folder).as_posix(): measure(path) for path in paths}
    text = json.dumps({"format": FORMAT, **record.as_json()}, indent=1, ensure_ascii=False)
    (folder / NAME).write_text(f"{text}\n", encoding="utf-8")
    sync_folder(folder)


def read(folder: Path) -> PreparedRecord | None:
    """The record of a folder, or None if this version cannot read one there."""
    try:
        content: dict[str, Any] = read_json(folder / NAME)
        if content.pop("format") != FORMAT:
            return None
        content["sources"] = [DownloadRecord(**entry) for entry in content["sources"]]
        content["files"] = {name: File(**entry) for name, entry in content["files"].items()}
        return PreparedRecord(**content)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def damaged_files(folder: Path, record: PreparedRecord) -> list[str]:
    """The files that are missing or changed."""

    def is_intact(path: Path, file: File) -> bool:
        return path.is_file() and path.stat().st_size == file.size and measure(path) == file

    return [name for name, file in record.files.items() if not is_intact(folder / name, file)]


def unlisted_files(folder: Path, record: PreparedRecord | None) -> list[str]:
    """The files in a folder that its record does not list."""
    known = {NAME, *record.files} if record else set()
    paths = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())
    return sorted(path for path in paths if path not in known)


def measure(path: Path, advance: Callable[[int], None] = ignore_progress) -> File:
    """Size and SHA-256 of a file; `advance` receives the bytes read."""
    return File(path.stat().st_size, file_digest(path, advance))
