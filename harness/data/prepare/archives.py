"""Reads untrusted archives: zip, and tar or single files compressed with gzip, bzip2 or xz.

Members are streamed, one after the other, and only the selected ones are written, under names that the caller chooses:
no name, link or permission of an archive ever reaches the disk. The whole archive is refused if a member would leave
its folder, if a selected member is a link or a device, or if it expands beyond the limits.
"""

from __future__ import annotations

import errno
import hashlib
import io
import lzma
import re
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, Self

from harness.data.lines import shorten
from harness.data.prepare.streams import (
    CHUNK,
    DECOMPRESSORS,
    BoundedHeader,
    CountingStream,
    ProgressFile,
    Stream,
    TailStream,
    ignore_progress,
    is_tar,
    peek,
)
from harness.errors import UserError
from harness.storage.manifest import File

_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_NOT_PLAIN = "a selected member is not a plain file"
_DAMAGE = (  # what the libraries raise on damaged bytes
    zipfile.BadZipFile,
    tarfile.TarError,
    EOFError,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    NotImplementedError,
    UnicodeDecodeError,
)


@dataclass(frozen=True)
class Limits:
    """Limits of one archive: bytes per file, bytes in total, members, and bytes for each compressed byte.

    The ratio counts from `slack` bytes on, since small files of repeated text compress very well.
    """

    file: int = 4 << 30
    total: int = 40 << 30
    members: int = 500_000
    ratio: int = 200
    slack: int = 64 << 20


@dataclass(frozen=True)
class Selection:
    """The members to extract. `pick` maps a member's path, which begins with the archive's name, to its output name, or
    to None; `nested` says which members are archives to open: `outer.zip/inner.tar.gz/member`."""

    pick: Callable[[str], str | None]
    nested: Callable[[str], bool] = lambda _: False

    @classmethod
    def by_pattern(cls, pattern: re.Pattern[str], separator: str = "", nested: re.Pattern[str] | None = None) -> Self:
        """Members whose path ends in the pattern, under the groups that match, joined; `nested` is likewise."""

        def pick(path: str) -> str | None:
            match = re.fullmatch(rf"(?:.*/)?(?:{pattern.pattern})", path)
            return separator.join(filter(None, match.groups())) if match else None

        return cls(pick, lambda path: nested is not None and nested.search(path) is not None)

    @classmethod
    def by_name(cls, *names: str) -> Self:
        """Members of these file names, in any folder."""
        return cls(lambda path: name if (name := PurePosixPath(path).name) in names else None)

    def wants(self, path: str) -> bool:
        return self.pick(path) is not None or self.nested(path)


class Member(NamedTuple):
    """A selected member: its path in the archive and its bytes, to be read before the next member."""

    path: str
    stream: Stream


def extract(
    archive: Path,
    selection: Selection,
    into: Path,
    limits: Limits | None = None,
    advance: Callable[[int], None] = ignore_progress,
) -> dict[str, File]:
    """Writes the selected members into the folder `into` and returns them by name.

    `advance` receives the number of bytes read, which is below the archive's size where members can be skipped.

    Raises UserError on a damaged or hostile archive, and on two different members for one name.
    """
    found: dict[str, File] = {}
    with archive_errors(archive):
        for member in members(archive, selection, limits or Limits(), advance):
            name = selection.pick(member.path)
            assert name is not None
            assert not {"..", "/"} & set(PurePosixPath(name).parts), name
            part = into / "part"
            file = _write(member.stream, part)
            if found.setdefault(name, file) != file:
                raise _refusal(archive, "two different members for one file", shorten(member.path), f"{name} once")
            target = into / name
            target.parent.mkdir(parents=True, exist_ok=True)
            part.replace(target)
    return found


def members(
    archive: Path, selection: Selection, limits: Limits, advance: Callable[[int], None] = ignore_progress
) -> Iterator[Member]:
    """The selected members of an archive, in its order. Format errors are raised as they are: see `archive_errors`."""
    with io.BufferedReader(ProgressFile(archive, advance), CHUNK) as file:
        head = file.read(512)
        file.seek(0)
        context = _Context(archive, limits, selection, f"{archive.name}/")
        if head.startswith(_ZIP):
            yield from _zip_members(file, context)
        elif head.startswith(tuple(DECOMPRESSORS)) or is_tar(head):
            yield from _stream_members(file, archive.name, context)
        else:
            raise _not_an_archive(archive, head)


def zip_holds(archive: Path, selection: Selection) -> bool:
    """Whether a zip file lists a selected member; False if it cannot be read."""
    try:
        with zipfile.ZipFile(archive) as listed:
            return any(selection.wants(name) for name in listed.namelist())
    except (*_DAMAGE, OSError):
        return False


@contextmanager
def archive_errors(archive: Path) -> Iterator[None]:
    """Converts the libraries' errors on damaged archives into a UserError."""
    try:
        yield
    except _DAMAGE as error:
        raise _damage(archive, error) from error
    except OSError as error:
        if error.errno not in (None, errno.EINVAL):  # an error of the system; EINVAL is an offset before the start
            raise
        raise _damage(archive, error) from error


@dataclass(frozen=True)
class _Context:
    """The archive on disk, its limits, the selection, and the path prefix of the (nested) archive being read."""

    archive: Path
    limits: Limits
    selection: Selection
    prefix: str = ""

    def refuse(self, what: str, found: str, expected: str) -> UserError:
        return _refusal(self.archive, what, found, expected)

    def path(self, name: str) -> str:
        """The path of a member. Raises UserError if the name would leave the folder."""
        parts = re.split(r"[/\\]", name)
        if not name or "\0" in name or ".." in parts or parts[0] == "" or re.match(r"[A-Za-z]:", name):
            what = "a member that would be written outside its folder"
            raise self.refuse(what, shorten(name), "paths inside the archive")
        return self.prefix + name.removeprefix("./")


def _stream_members(stream: Stream, name: str, context: _Context) -> Iterator[Member]:
    """The members of a tar, compressed or not, or the single file in a compressed stream."""
    head, stream = peek(CountingStream(stream))
    opener = next((opener for magic, opener in DECOMPRESSORS.items() if head.startswith(magic)), None)
    if opener is not None:
        source = CountingStream(stream)
        plain = opener(io.BufferedReader(source, 1 << 16))
        head, stream = peek(CountingStream(plain, lambda given: _check_size(context, given, source.count, given)))
    if is_tar(head):
        yield from _tar_members(stream, context)
    elif opener is None:
        raise context.refuse("a nested member is not an archive", shorten(name), "an archive")
    else:
        path = context.path(Path(name).stem)
        if context.selection.pick(path) is not None:
            yield Member(path, stream)
    while stream.read(CHUNK):  # up to the end, which has the checksums
        pass


def _tar_members(stream: Stream, context: _Context) -> Iterator[Member]:
    last = TailStream(stream)
    source: Any = last
    with tarfile.open(fileobj=source, mode="r|", tarinfo=BoundedHeader) as tar:
        for number, info in enumerate(tar, start=1):
            if number > context.limits.members:
                raise context.refuse("too many members", f"over {context.limits.members:,}", "a data set's archive")
            path = context.path(info.name)
            if info.isdir() or not context.selection.wants(path):
                continue
            if not info.isreg() or info.issparse():
                link = f"a link to {shorten(info.linkname)}" if info.issym() or info.islnk() else ""
                kind = link or ("a sparse file" if info.issparse() else "a device or pipe")
                raise context.refuse(_NOT_PLAIN, f"{shorten(path)}: {kind}", "a plain file")
            content = tar.extractfile(info)
            assert content is not None
            yield from _wanted_members(path, content, info.size, context)
    while last.read(CHUNK):
        pass
    if last.tail.strip(b"\0"):
        raise tarfile.ReadError("the end of the archive is missing")


def _zip_members(file: Stream, context: _Context) -> Iterator[Member]:
    source: Any = file
    with zipfile.ZipFile(source) as archive:
        infos = archive.infolist()
        if len(infos) > context.limits.members:
            raise context.refuse("too many members", f"{len(infos):,}", f"at most {context.limits.members:,}")
        paths = [context.path(info.orig_filename) for info in infos]
        total = 0
        for path, info in zip(paths, infos, strict=True):
            if info.is_dir() or not context.selection.wants(path):
                continue
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG):
                found = "a symbolic link" if kind == stat.S_IFLNK else "a device or pipe"
                raise context.refuse(_NOT_PLAIN, f"{shorten(path)}: {found}", "a plain file")
            total += info.file_size
            _check_size(context, total, info.compress_size, info.file_size)
            _check_size(context, total, context.archive.stat().st_size, total)  # members may share their bytes
            try:
                content = archive.open(info)
            except (NotImplementedError, RuntimeError) as error:  # an unknown compression method, or a password
                found = f"{shorten(path)}: {error}"
                raise context.refuse("a member that cannot be opened", found, "a plain zip") from error
            with content:
                yield from _wanted_members(path, content, info.file_size, context)


def _wanted_members(path: str, content: Stream, size: int, context: _Context) -> Iterator[Member]:
    if size > context.limits.file:
        found = f"{shorten(path)}: {size:,} bytes"
        raise context.refuse("a member that is too large", found, f"at most {context.limits.file:,}")
    if context.selection.nested(path):
        yield from _stream_members(content, path, replace(context, prefix=f"{path}/"))
    else:
        yield Member(path, content)


def _check_size(context: _Context, total: int, read: int, given: int) -> None:
    """Raises UserError if `given` bytes from `read` compressed ones, or `total` bytes, exceed the limits."""
    limits = context.limits
    if given > limits.slack + limits.ratio * read:
        expected = f"at most {limits.ratio} times as many, after {limits.slack:,}"
        raise context.refuse("a decompression bomb", f"{given:,} bytes out of {read:,}", expected)
    if total > limits.total:
        raise context.refuse("the archive expands too much", f"over {limits.total:,} bytes", "a data set's archive")


def _not_an_archive(archive: Path, head: bytes) -> UserError:
    text = head.lstrip().lower()
    page = text.startswith((b"<!doctype", b"<html", b"<?xml"))
    return UserError(
        "this is not an archive",
        file=archive,
        found="a web page" if page else f"a file that begins with {head[:8]!r}" if head else "an empty file",
        expected="a zip or tar archive",
        remedy="download it again; a page in its place is mostly an error message or a login",
    )


def _write(stream: Stream, path: Path) -> File:
    digest, size = hashlib.sha256(), 0
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as out:
        while chunk := stream.read(CHUNK):
            out.write(chunk)
            digest.update(chunk)
            size += len(chunk)
    return File(size, digest.hexdigest())


def _refusal(archive: Path, what: str, found: str, expected: str) -> UserError:
    return UserError(
        f"the archive is refused: {what}",
        file=archive,
        found=found,
        expected=expected,
        remedy="nothing of it was used; download it again from the place that `alignboard prepare --list` names",
    )


def _damage(archive: Path, error: Exception) -> UserError:
    return UserError(
        "the archive is truncated or damaged",
        file=archive,
        found=ascii(str(error))[1:-1] or type(error).__name__,
        expected="a complete archive",
        remedy="download it again; nothing of it was used",
    )
