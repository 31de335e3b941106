"""Which of a package's downloads lie in a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from harness.data.prepare.archives import zip_holds
from harness.data.prepare.package import Download, Package
from harness.errors import UserError

ANYBODYS = ("main.zip", "master.zip")


@dataclass
class Source:
    """What was found of a download: archives to open, and files that lie there unpacked, by their package's name."""

    download: Download
    archives: list[Path]
    loose: dict[str, Path]

    @property
    def paths(self) -> list[Path]:
        """All files of it, in a fixed order."""
        return [*self.archives, *(self.loose[name] for name in sorted(self.loose))]


class Downloads:
    """The files below a folder, hidden ones left out, with the shallowest first."""

    def __init__(self, root: Path, leave_out: Path) -> None:
        self.root = root
        self.paths = sorted(self._walk(leave_out), key=lambda path: (len(path.parts), path.as_posix()))

    def of(self, package: Package) -> tuple[list[Source], list[Download]]:
        """What is there of a package, and the downloads of which nothing is."""
        sources = [self._source(download) for download in package.downloads]
        found = [source for source in sources if source.paths]
        return found, [source.download for source in sources if not source.paths]

    def _source(self, download: Download) -> Source:
        for pattern in download.names:
            for path in self.paths:
                if fnmatchcase(path.name, pattern) and self._meant(path, download):
                    return Source(download, [self.root / path], {})
        parts = {path.name: self.root / path for path in reversed(self.paths) if path.name in download.parts}
        if parts:
            return Source(download, [parts[name] for name in sorted(parts)], {})
        return Source(download, [], self._loose(download))

    def _meant(self, path: Path, download: Download) -> bool:
        """Whether an archive under a name that any project's may have is the one that is looked for."""
        return path.name not in ANYBODYS or zip_holds(self.root / path, download.selection)

    def _loose(self, download: Download) -> dict[str, Path]:
        found: dict[str, Path] = {}
        for path in self.paths:
            if (name := download.selection.pick(path.as_posix())) is None:
                continue
            if name in found:
                raise UserError(
                    "the same file lies in two places, and one of them has to be chosen",
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


def looked_for(package: Package, downloads: list[Download]) -> str:
    """The file names that would have served, in words."""
    names = [" or ".join((*d.names, *_some(d.parts), *_some(d.holds))) for d in downloads or package.downloads]
    return "; ".join(names)


def _some(names: tuple[str, ...], limit: int = 3) -> tuple[str, ...]:
    return names if len(names) <= limit else (*names[:2], "...")


def few(names: Sequence[str], limit: int = 6) -> str:
    """Names as a list of which only the first are told."""
    more = len(names) - limit
    return ", ".join(names[:limit]) + (f" and {more:,} more" if more > 0 else "")
