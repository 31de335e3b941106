"""`prepared.json`, which stands in every prepared folder: what it was made from, how, and the sums of all its files."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from harness.data.prepare.streams import unwatched
from harness.files import file_digest, sync_folder
from harness.storage.artifacts import File

NAME = "prepared.json"
FORMAT = 1  # raised whenever the same downloads give other files


@dataclass(frozen=True)
class Found:
    """A download as it was found. `sum` tells how its SHA-256 stands to the one on record: known, other, unverified."""

    name: str
    size: int
    sha256: str
    sum: str


@dataclass
class Record:
    """A prepared folder: downloads, the number of items and the sums of files by relative path, what is missing."""

    name: str
    official: bool
    sources: list[Found]
    files: dict[str, File] = field(default_factory=dict)
    items: dict[str, int] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def made_from(self, official: bool, sources: list[Found]) -> bool:
        """Whether the same downloads were prepared in the same way."""
        return (self.official, self.sources) == (official, sources)

    def plain(self) -> dict[str, Any]:
        """The record as JSON values."""
        return {**asdict(self), "files": {name: file._asdict() for name, file in self.files.items()}}


def write(folder: Path, record: Record) -> None:
    """Completes a folder: takes the sums of its files, writes `prepared.json` and flushes all to disk."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    record.files = {path.relative_to(folder).as_posix(): file_of(path) for path in paths}
    text = json.dumps({"format": FORMAT, **record.plain()}, indent=1, ensure_ascii=False)
    (folder / NAME).write_text(f"{text}\n", encoding="utf-8")
    sync_folder(folder)


def read(folder: Path) -> Record | None:
    """The record of a folder, or None where it has none that this version can read."""
    try:
        content: dict[str, Any] = json.loads((folder / NAME).read_text(encoding="utf-8"))
        if content.pop("format") != FORMAT:
            return None
        content["sources"] = [Found(**entry) for entry in content["sources"]]
        content["files"] = {name: File(**entry) for name, entry in content["files"].items()}
        return Record(**content)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def damaged(folder: Path, record: Record) -> list[str]:
    """The files that are missing or have changed since they were written."""
    return [
        name
        for name, file in record.files.items()
        if not (folder / name).is_file()
        or (folder / name).stat().st_size != file.size
        or file_of(folder / name) != file
    ]


def strangers(folder: Path, record: Record | None) -> list[str]:
    """The files in a folder that its record does not list."""
    known = {NAME, *record.files} if record else set()
    paths = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())
    return sorted(path for path in paths if path not in known)


def file_of(path: Path, advance: Callable[[int], None] = unwatched) -> File:
    """Size and SHA-256 of a file; `advance` is told the bytes read."""
    return File(path.stat().st_size, file_digest(path, advance))
