"""Makes the folders: looks for downloads, checks their sums, extracts what is wanted, converts, and puts in place.

A folder appears whole or not at all. What is under way lies in `.prepare` beside the results: archives that were read
to the end are not read again after an interruption, and finished folders are left as they are.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from harness.data.prepare import record
from harness.data.prepare.archives import Limits, extract
from harness.data.prepare.find import Downloads, Source, few, looked_for
from harness.data.prepare.package import Download, Package
from harness.data.prepare.record import Found, Record
from harness.errors import UsageError, UserError
from harness.files import DiskError, disk_errors, replace_folder, restore_folder, write_json
from harness.storage.artifacts import File

WORK = ".prepare"


class Watch(Protocol):
    """Who is told what is being done: a phase with its number of bytes, where known, and the bytes done since."""

    def phase(self, title: str, total: int | None = None) -> None: ...

    def advance(self, count: int) -> None: ...


@dataclass(frozen=True)
class Options:
    """`official` gives the very files of the official scripts, test labels removed; `any_release` takes downloads whose
    SHA-256 is not the one on record."""

    official: bool = False
    any_release: bool = False
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True)
class Result:
    """What became of a package: prepared, unchanged (it was there already), absent (no download found) or failed."""

    name: str
    state: str
    record: Record | None = None
    absent: tuple[Download, ...] = ()
    error: UserError | None = None


def prepare(
    packages: Iterable[Package], downloads: Path, folder: Path, options: Options, watch: Watch
) -> Iterator[Result]:
    """Prepares packages one after the other. A mistake in the data of one is told in its result and stops no other.

    Raises UserError where a folder cannot be used, where the disk is full, and where another process is at work here.
    """
    if not downloads.is_dir():
        raise UserError(
            "the folder of downloads is missing" if not downloads.exists() else "this is no folder",
            file=downloads,
            expected="a folder with what was downloaded",
            remedy="`alignboard prepare --list` tells what to download, and from where",
        )
    if downloads.resolve() == folder.resolve():
        raise UsageError("--from and --to name the same folder", found=str(folder), remedy="choose another for --to")
    if folder.exists() and not folder.is_dir():
        raise UsageError("this is no folder", file=folder, remedy="choose another for --to")
    with disk_errors(folder), _alone(folder):
        found = Downloads(downloads, folder.resolve())
        for package in packages:
            try:
                yield _prepare(package, found, folder, options, watch)
            except DiskError:  # no other package can succeed either
                raise
            except UserError as error:
                yield Result(package.name, "failed", error=error)
        if (folder / WORK).is_dir() and not any((folder / WORK).iterdir()):
            (folder / WORK).rmdir()


def _prepare(package: Package, downloads: Downloads, folder: Path, options: Options, watch: Watch) -> Result:
    final, work = folder / package.name, folder / WORK / package.name
    restore_folder(final)
    before = _before(final)
    sources, absent = downloads.of(package)
    found = [_checked(path, source.download, downloads, options, watch) for source in sources for path in source.paths]
    wanted = found if sources or before is None else before.sources  # downloads may be gone once they are prepared
    if before is not None and before.made_from(options.official, wanted) and not record.damaged(final, before):
        shutil.rmtree(work, ignore_errors=True)
        return Result(package.name, "unchanged", before)
    if not sources:
        return Result(package.name, "absent", absent=tuple(absent))
    raw, missing = _raw(sources, found, work, options, watch)
    made = Record(package.name, options.official, found, missing=missing + [_wanted(d) for d in absent])
    watch.phase(f"converting {package.name}")
    _convert(package, raw, made, work / "new")
    replace_folder(work / "new", final)
    shutil.rmtree(work)
    return Result(package.name, "prepared", made)


def _before(final: Path) -> Record | None:
    """The record of what is there. Raises UserError where it is not our own."""
    before = record.read(final)
    if final.exists() and (strange := record.strangers(final, before) if final.is_dir() else [final.name]):
        raise UserError(
            "this folder holds files that `prepare` did not write",
            file=final,
            found=few(strange),
            expected="no such folder, or one that `prepare` made",
            remedy="move it away, or choose another folder with --to",
        )
    return before


def _checked(path: Path, download: Download, downloads: Downloads, options: Options, watch: Watch) -> Found:
    """Takes the sum of a download. Raises UserError where it is not the one on record, unless any release will do."""
    watch.phase(f"checking {path.name}", path.stat().st_size)
    file = record.file_of(path, watch.advance)
    known = download.sums.get(path.name)
    state = "unverified" if known is None else "known" if known == file.sha256 else "other"
    if state == "other" and not options.any_release:
        raise UserError(
            "the file is not the published one",
            file=path,
            found=f"SHA-256 {file.sha256}, {file.size:,} bytes",
            expected=f"SHA-256 {known}",
            remedy=f"download it again from {download.url}; --any-release takes it as it is",
        )
    return Found(path.relative_to(downloads.root).as_posix(), file.size, file.sha256, state)


def _raw(
    sources: list[Source], found: list[Found], work: Path, options: Options, watch: Watch
) -> tuple[dict[str, Path], list[str]]:
    """The published files by name, those of archives extracted, and the names of those that are missing."""
    raw: dict[str, Path] = {}
    missing: list[str] = []
    sums = iter(found)
    keep = {entry.sha256 for entry in found}
    for stale in (work / "raw").glob("*"):
        if stale.name.removesuffix(".json") not in keep:
            shutil.rmtree(stale) if stale.is_dir() else stale.unlink()
    for source in sources:
        names: dict[str, Path] = {}
        for path in source.paths:
            digest = next(sums).sha256
            if path in source.archives:
                names |= _extracted(path, source.download, work / "raw" / digest, options, watch)
        names |= source.loose
        missing += [name for name in source.download.holds if name not in names]
        raw |= names
    return raw, missing


def _extracted(archive: Path, download: Download, into: Path, options: Options, watch: Watch) -> dict[str, Path]:
    """The wanted members of an archive, from an earlier time where they are still there as they were written."""
    note = into.with_name(f"{into.name}.json")
    files = _noted(note, into)
    if files is None:
        shutil.rmtree(into, ignore_errors=True)
        into.mkdir(parents=True)
        watch.phase(f"extracting {archive.name}", archive.stat().st_size)
        files = extract(archive, download.selection, into, options.limits, watch.advance)
        write_json(note, {name: file._asdict() for name, file in files.items()})
    if not files:
        raise UserError(
            "the archive holds nothing that is wanted of it",
            file=archive,
            expected=few(download.holds) or "other files",
            remedy=f"it seems to be another one: download it from {download.url}",
        )
    return {name: into / name for name in files}


def _noted(note: Path, into: Path) -> dict[str, File] | None:
    try:
        files = {name: File(**entry) for name, entry in json.loads(note.read_text(encoding="utf-8")).items()}
        return files if all(record.file_of(into / name) == file for name, file in files.items()) else None
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def _convert(package: Package, raw: dict[str, Path], made: Record, new: Path) -> None:
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    done = package.convert(raw, new, made.official)
    if not done.items:
        raise UserError(
            f"nothing of {package.name} is complete enough to be used",
            found=few(sorted(raw)),
            expected=looked_for(package, []),
            remedy="`alignboard prepare --list` tells what to download",
        )
    made.items = done.items
    made.notes = [*done.notes, *_counts(package, done.items)]
    record.write(new, made)


def _counts(package: Package, items: dict[str, int]) -> Iterator[str]:
    """How the numbers of items differ from the published ones."""
    known = [(path, count, package.published[path]) for path, count in items.items() if path in package.published]
    other = [f"{path} {count:,} ({published:,})" for path, count, published in known if count != published]
    if other:
        yield f"other numbers of items than published (in brackets): {few(other)}"


def _wanted(download: Download) -> str:
    return f"{' or '.join(download.names)} ({download.url})"


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Makes the folder and holds it for this process."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(
                "another `alignboard prepare` is at work here",
                file=folder,
                remedy="wait for it, or choose another folder",
            ) from error
        yield
    finally:
        os.close(handle)
