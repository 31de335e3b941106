"""Finds the downloads of a package in a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from harness.data.prepare.archives import zip_holds
from harness.data.prepare.package import Download, Package
from harness.errors import UserError

AMBIGUOUS_NAMES = ("main.zip", "master.zip")  # of many projects: their content decides


@dataclass
class FoundDownload:
    """The files of a download: archives to open, and unpacked files by the name that the package gives them."""

    download: Download
    archives: list[Path]
    loose: dict[str, Path]

    @property
    def paths(self) -> list[Path]:
        """All files, in a fixed order."""
        return [*self.archives, *(self.loose[name] for name in sorted(self.loose))]


class Downloads:
    """The files below a folder, without hidden ones, the shallowest first."""

    def __init__(self, root: Path, leave_out: Path) -> None:
        self.root = root
        self.paths = sorted(self._walk(leave_out), key=lambda path: (len(path.parts), path.as_posix()))

    def find(self, package: Package) -> tuple[list[FoundDownload], list[Download]]:
        """The downloads of a package that have files here, and those that have none."""
        sources = [self._source(download) for download in package.downloads]
        found = [source for source in sources if source.paths]
        return found, [source.download for source in sources if not source.paths]

    def _source(self, download: Download) -> FoundDownload:
        for pattern in download.names:
            for path in self.paths:
                if fnmatchcase(path.name, pattern) and (
                    path.name not in AMBIGUOUS_NAMES or zip_holds(self.root / path, download.selection)
                ):
                    return FoundDownload(download, [self.root / path], {})
        parts = {path.name: self.root / path for path in reversed(self.paths) if path.name in download.parts}
        if parts:
            return FoundDownload(download, [parts[name] for name in sorted(parts)], {})
        return FoundDownload(download, [], self._loose(download))

    def _loose(self, download: Download) -> dict[str, Path]:
        found: dict[str, Path] = {}
        for path in self.paths:
            if (name := download.selection.pick(path.as_posix())) is None:
                continue
            if name in found:
                raise UserError(
                    "the same file is in two places",
                    file=self.root / path,
                    found=f"also {found[name]}",
                    expected=f"{name} once",
                    remedy="remove one of them, or name a folder below with --from",
                )
            found[name] = self.root / path
        return found

    def _walk(self, leave_out: Path) -> Iterator[Path]:
        for folder, names, files in os.walk(self.root):
            here = Path(folder)
            names[:] = [n for n in names if not n.startswith(".") and (here / n).resolve() != leave_out]
            plain = (here / name for name in files if not name.startswith("."))
            yield from (path.relative_to(self.root) for path in plain if path.is_file())


def expected_files(package: Package, downloads: list[Download]) -> str:
    """The file names that would be accepted, in words."""

    def first(names: tuple[str, ...]) -> tuple[str, ...]:
        return names if len(names) <= 3 else (*names[:2], "...")

    wanted = downloads or package.downloads
    return "; ".join(" or ".join((*d.names, *first(d.parts), *first(d.holds))) for d in wanted)
