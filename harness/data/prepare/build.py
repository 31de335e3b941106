"""Builds the folders: finds downloads, verifies checksums, extracts, converts, and moves the result into place.

A folder appears complete or not at all. Work in progress is kept in `.prepare` beside the results: completely extracted
archives are not read again after an interruption, and finished folders are reused.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from harness.data.prepare import record
from harness.data.prepare.archives import Limits, extract
from harness.data.prepare.find import Downloads, FoundDownload, expected_files
from harness.data.prepare.package import Download, Package
from harness.data.prepare.record import DownloadRecord, PreparedRecord
from harness.errors import UsageError, UserError, list_first
from harness.faults import DiskError, disk_errors
from harness.files import read_json, replace_folder, restore_folder, write_json
from harness.storage.manifest import File

WORK = ".prepare"


class PrepareProgress(Protocol):
    """Receives progress: phases with their number of bytes, if known, and the bytes done in a phase."""

    def phase(self, title: str, total: int | None = None) -> None: ...

    def advance(self, count: int) -> None: ...


@dataclass(frozen=True)
class Options:
    """`official` writes the exact files of the official scripts, without test labels; `any_release` accepts downloads
    whose SHA-256 is not the recorded one."""

    official: bool = False
    any_release: bool = False
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True)
class Result:
    """The state of a package: prepared, unchanged (already there), absent (no download found) or failed."""

    name: str
    state: str
    record: PreparedRecord | None = None
    absent: tuple[Download, ...] = ()
    error: UserError | None = None


def prepare(
    packages: Iterable[Package], downloads: Path, folder: Path, options: Options, watch: PrepareProgress
) -> Iterator[Result]:
    """Prepares packages one after the other. An error in the data of one is part of its result and stops no other.

    Raises UserError if a folder cannot be used, if the disk is full, and if another process prepares the same folder.
    """
    if not downloads.is_dir():
        raise UserError(
            "the folder of downloads is missing" if not downloads.exists() else "this is not a folder",
            file=downloads,
            expected="a folder with what was downloaded",
            remedy="`alignboard prepare --list` shows what to download, and from where",
        )
    if downloads.resolve() == folder.resolve():
        raise UsageError("--from and --to name the same folder", found=str(folder), remedy="choose another for --to")
    if folder.exists() and not folder.is_dir():
        raise UsageError("this is not a folder", file=folder, remedy="choose another for --to")
    with disk_errors(folder), _lock_folder(folder):
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


def _prepare(package: Package, downloads: Downloads, folder: Path, options: Options, watch: PrepareProgress) -> Result:
    final, work = folder / package.name, folder / WORK / package.name
    restore_folder(final)
    before = record.read(final)
    if final.exists() and (strange := record.unlisted_files(final, before) if final.is_dir() else [final.name]):
        raise UserError(
            "this folder holds files that `prepare` did not write",
            file=final,
            found=list_first(strange, 6),
            expected="no such folder, or one that `prepare` made",
            remedy="move it away, or choose another folder with --to",
        )
    sources, absent = downloads.find(package)
    checks = ((path, source.download) for source in sources for path in source.paths)
    found = [_check_download(path, download, downloads, options, watch) for path, download in checks]
    wanted = found if sources or before is None else before.sources  # downloads may be gone once they are prepared
    same = before is not None and (before.official, before.sources) == (options.official, wanted)
    if before is not None and same and not record.damaged_files(final, before):
        shutil.rmtree(work, ignore_errors=True)
        return Result(package.name, "unchanged", before)
    if not sources:
        return Result(package.name, "absent", absent=tuple(absent))
    raw, missing = _collect_files(sources, found, work, options, watch)
    missing += [f"{' or '.join(download.names)} ({download.url})" for download in absent]
    made = PreparedRecord(package.name, options.official, found, missing=missing)
    watch.phase(f"converting {package.name}")
    _convert(package, raw, made, work / "new")
    replace_folder(work / "new", final)
    shutil.rmtree(work)
    return Result(package.name, "prepared", made)


def _check_download(
    path: Path, download: Download, downloads: Downloads, options: Options, watch: PrepareProgress
) -> DownloadRecord:
    """Computes the SHA-256 of a download. Raises UserError if it is not the recorded one, unless `any_release`."""
    watch.phase(f"checking {path.name}", path.stat().st_size)
    file = record.measure(path, watch.advance)
    known = download.sums.get(path.name)
    state = "unverified" if known is None else "known" if known == file.sha256 else "other"
    if state == "other" and not options.any_release:
        raise UserError(
            "the file is not the published one",
            file=path,
            found=f"SHA-256 {file.sha256}, {file.size:,} bytes",
            expected=f"SHA-256 {known}",
            remedy=f"download it again from {download.url}, or accept it with --any-release",
        )
    return DownloadRecord(path.relative_to(downloads.root).as_posix(), file.size, file.sha256, state)


def _collect_files(
    sources: list[FoundDownload], found: list[DownloadRecord], work: Path, options: Options, watch: PrepareProgress
) -> tuple[dict[str, Path], list[str]]:
    """The published files by name, extracted where needed, and the names of missing ones."""
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
                names |= _extract_archive(path, source.download, work / "raw" / digest, options, watch)
        names |= source.loose
        missing += [name for name in source.download.holds if name not in names]
        raw |= names
    return raw, missing


def _extract_archive(
    archive: Path, download: Download, into: Path, options: Options, watch: PrepareProgress
) -> dict[str, Path]:
    """The selected members of an archive. Members of an earlier extraction are reused if they are unchanged."""
    note = into.with_name(f"{into.name}.json")
    try:
        files = {name: File(**entry) for name, entry in read_json(note).items()}
        intact = all(record.measure(into / name) == file for name, file in files.items())
    except (OSError, ValueError, TypeError, AttributeError):
        intact = False
    if not intact:
        shutil.rmtree(into, ignore_errors=True)
        into.mkdir(parents=True)
        watch.phase(f"extracting {archive.name}", archive.stat().st_size)
        files = extract(archive, download.selection, into, options.limits, watch.advance)
        write_json(note, {name: file._asdict() for name, file in files.items()})
    if not files:
        raise UserError(
            "the archive has none of the expected files",
            file=archive,
            expected=list_first(download.holds, 6) or "other files",
            remedy=f"it seems to be another archive: download it from {download.url}",
        )
    return {name: into / name for name in files}


def _convert(package: Package, raw: dict[str, Path], made: PreparedRecord, new: Path) -> None:
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    done = package.convert(raw, new, made.official)
    if not done.items:
        raise UserError(
            f"no part of {package.name} is complete",
            found=list_first(sorted(raw), 6),
            expected=expected_files(package, []),
            remedy="`alignboard prepare --list` shows what to download",
        )
    made.items = done.items
    made.notes = done.notes
    known = ((path, count, package.published.get(path, count)) for path, count in done.items.items())
    if other := [f"{path} {count:,} ({published:,})" for path, count, published in known if count != published]:
        made.notes.append(f"other numbers of items than published (in brackets): {list_first(other, 6)}")
    record.write(new, made)


@contextmanager
def _lock_folder(folder: Path) -> Iterator[None]:
    """Creates the folder and locks it for this process."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(
                "another `alignboard prepare` is using this folder",
                file=folder,
                remedy="wait for it, or choose another folder",
            ) from error
        yield
    finally:
        os.close(handle)
