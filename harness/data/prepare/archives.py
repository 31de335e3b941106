"""Reading archives that nobody vouches for: zip, and tar or single files under gzip, bzip2 or xz.

Members are streamed, one after the other, and only those that are asked for are written, under names that the caller
chooses: no name, link or permission of an archive ever reaches the disk. An archive is refused as a whole where a
member would leave its folder, where something that is asked for is a link or a device, and where more comes out of it
than the limits allow for what went in.
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
from typing import Any, NamedTuple

from harness.data.lines import shorten
from harness.data.prepare.streams import (
    CHUNK,
    DECOMPRESSORS,
    Counted,
    Header,
    Stream,
    Tail,
    Watched,
    is_tar,
    peek,
    unwatched,
)
from harness.errors import UserError
from harness.storage.artifacts import File

_ZIP = (b"PK\x03\x04", b"PK\x05\x06")


_DAMAGE = (  # what the libraries raise on bytes that make no sense to them
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
    """What may come out of one archive: bytes of a file, bytes in all, members, and bytes for each byte read.

    The ratio counts from `slack` bytes on, since small files of repeated text compress very well.
    """

    file: int = 4 << 30
    total: int = 40 << 30
    members: int = 500_000
    ratio: int = 200
    slack: int = 64 << 20


@dataclass(frozen=True)
class Selection:
    """What is wanted: `pick` maps a member's path, which begins with the archive's name, to the name that it is written
    under, or None; `nested` says which members are archives to look into: `outer.zip/inner.tar.gz/member`."""

    pick: Callable[[str], str | None]
    nested: Callable[[str], bool] = lambda _: False

    def wants(self, path: str) -> bool:
        return self.pick(path) is not None or self.nested(path)


class Member(NamedTuple):
    """A wanted member: its path inside the archive and its bytes, to be read before the next one is asked for."""

    path: str
    stream: Stream


def extract(
    archive: Path,
    selection: Selection,
    into: Path,
    limits: Limits | None = None,
    advance: Callable[[int], None] = unwatched,
) -> dict[str, File]:
    """Writes the wanted members into the folder `into` and returns them by name.

    `advance` is told the bytes read of the archive, which are less than its size where unwanted members can be skipped.

    Raises UserError on a damaged or hostile archive, and on two different members for one name.
    """
    found: dict[str, File] = {}
    with told(archive):
        for member in members(archive, selection, limits or Limits(), advance):
            name = selection.pick(member.path)
            assert name is not None
            part = into / "part"
            file = _write(member.stream, part)
            if found.setdefault(name, file) != file:
                raise _refusal(archive, "two different members for one file", shorten(member.path), f"{name} once")
            target = into / _inside(name)
            target.parent.mkdir(parents=True, exist_ok=True)
            part.replace(target)
    return found


def members(
    archive: Path, selection: Selection, limits: Limits, advance: Callable[[int], None] = unwatched
) -> Iterator[Member]:
    """The wanted members of an archive in its order. Errors of the formats come as they are: see `told`."""
    with io.BufferedReader(Watched(archive, advance), CHUNK) as file:
        head = file.read(512)
        file.seek(0)
        place = _Place(archive, limits, selection, f"{archive.name}/")
        if head.startswith(_ZIP):
            yield from _of_zip(file, place)
        elif head.startswith(tuple(DECOMPRESSORS)) or is_tar(head):
            yield from _of_stream(file, archive.name, place)
        else:
            raise _no_archive(archive, head)


def zip_holds(archive: Path, selection: Selection) -> bool:
    """Whether a zip file lists something that is wanted; no if it cannot be read."""
    try:
        with zipfile.ZipFile(archive) as listed:
            return any(selection.wants(name) for name in listed.namelist())
    except (*_DAMAGE, OSError):
        return False


@contextmanager
def told(archive: Path) -> Iterator[None]:
    """Turns what the libraries say of damaged archives into a UserError."""
    try:
        yield
    except _DAMAGE as error:
        raise _damaged(archive, error) from error
    except OSError as error:
        if error.errno not in (None, errno.EINVAL):  # the system's own trouble; EINVAL is an offset before the start
            raise
        raise _damaged(archive, error) from error


@dataclass(frozen=True)
class _Place:
    """Where we are: the archive on disk, its limits, what is wanted, and the path of the archive that we are inside."""

    archive: Path
    limits: Limits
    selection: Selection
    prefix: str = ""

    def refuse(self, what: str, found: str, expected: str) -> UserError:
        return _refusal(self.archive, what, found, expected)

    def path(self, name: str) -> str:
        """The checked path of a member. Raises UserError where the name would lead out of a folder."""
        parts = re.split(r"[/\\]", name)
        if not name or "\0" in name or ".." in parts or parts[0] == "" or re.match(r"[A-Za-z]:", name):
            what = "a member that would be written outside its folder"
            raise self.refuse(what, shorten(name), "paths inside the archive")
        return self.prefix + name.removeprefix("./")


def _of_stream(stream: Stream, name: str, place: _Place) -> Iterator[Member]:
    """Members of a tar, compressed or not, or the one file that a compressed stream holds."""
    head, stream = peek(Counted(stream))
    opener = next((opener for magic, opener in DECOMPRESSORS.items() if head.startswith(magic)), None)
    if opener is not None:
        head, stream = peek(_decompressed(opener, stream, place))
    if is_tar(head):
        yield from _of_tar(stream, place)
    elif opener is None:
        raise place.refuse("a member that is no archive", shorten(name), "an archive")
    else:
        path = place.path(Path(name).stem)
        if place.selection.pick(path) is not None:
            yield Member(path, stream)
    while stream.read(CHUNK):  # to the end, where the check sums are
        pass


def _of_tar(stream: Stream, place: _Place) -> Iterator[Member]:
    last = Tail(stream)
    source: Any = last
    with tarfile.open(fileobj=source, mode="r|", tarinfo=Header) as tar:
        for number, info in enumerate(tar, start=1):
            if number > place.limits.members:
                raise place.refuse("too many members", f"more than {place.limits.members:,}", "a data set's archive")
            path = place.path(info.name)
            if info.isdir() or not place.selection.wants(path):
                continue
            if not info.isreg() or info.issparse():
                raise place.refuse(
                    "a wanted member that is no plain file", f"{shorten(path)}: {_nature(info)}", "a plain file"
                )
            content = tar.extractfile(info)
            assert content is not None
            yield from _wanted(path, content, info.size, place)
    while last.read(CHUNK):
        pass
    if last.tail.strip(b"\0"):
        raise tarfile.ReadError("the end of the archive is missing")


def _of_zip(file: Stream, place: _Place) -> Iterator[Member]:
    source: Any = file
    with zipfile.ZipFile(source) as archive:
        infos = archive.infolist()
        if len(infos) > place.limits.members:
            raise place.refuse("too many members", f"{len(infos):,}", f"at most {place.limits.members:,}")
        paths = [place.path(info.orig_filename) for info in infos]
        total = 0
        for path, info in zip(paths, infos, strict=True):
            if info.is_dir() or not place.selection.wants(path):
                continue
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG):
                found = "a symbolic link" if kind == stat.S_IFLNK else "a device or pipe"
                raise place.refuse("a wanted member that is no plain file", f"{shorten(path)}: {found}", "a plain file")
            total += info.file_size
            _check_size(place, total, info.compress_size, info.file_size)
            _check_size(place, total, place.archive.stat().st_size, total)  # members may share their bytes
            try:
                content = archive.open(info)
            except (NotImplementedError, RuntimeError) as error:  # a strange method, or a password
                raise place.refuse(
                    "a member that cannot be opened", f"{shorten(path)}: {error}", "a plain zip"
                ) from error
            with content:
                yield from _wanted(path, content, info.file_size, place)


def _wanted(path: str, content: Stream, size: int, place: _Place) -> Iterator[Member]:
    if size > place.limits.file:
        raise place.refuse(
            "a member that is too large", f"{shorten(path)}: {size:,} bytes", f"at most {place.limits.file:,}"
        )
    if place.selection.nested(path):
        yield from _of_stream(content, path, replace(place, prefix=f"{path}/"))
    else:
        yield Member(path, content)


def _decompressed(opener: Callable[[Any], Stream], stream: Stream, place: _Place) -> Counted:
    source = Counted(stream)
    return Counted(
        opener(io.BufferedReader(source, 1 << 16)), lambda given: _check_size(place, given, source.count, given)
    )


def _check_size(place: _Place, total: int, read: int, given: int) -> None:
    """Raises UserError where `given` bytes from `read` compressed ones, or `total` in all, are beyond the limits."""
    limits = place.limits
    if given > limits.slack + limits.ratio * read:
        found = f"{given:,} bytes out of {read:,}"
        raise place.refuse(
            "a decompression bomb", found, f"at most {limits.ratio} times as many, after {limits.slack:,}"
        )
    if total > limits.total:
        raise place.refuse("too much comes out of the archive", f"over {limits.total:,} bytes", "a data set's archive")


def _no_archive(archive: Path, head: bytes) -> UserError:
    text = head.lstrip().lower()
    page = text.startswith((b"<!doctype", b"<html", b"<?xml"))
    return UserError(
        "this is no archive",
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


def _inside(name: str) -> str:
    path = PurePosixPath(name)
    assert not path.is_absolute(), name
    assert ".." not in path.parts, name
    return name


def _nature(info: tarfile.TarInfo) -> str:
    if info.issym() or info.islnk():
        return f"a link to {shorten(info.linkname)}"
    return "a sparse file" if info.issparse() else "a device or pipe"


def _refusal(archive: Path, what: str, found: str, expected: str) -> UserError:
    return UserError(
        f"the archive is refused: {what}",
        file=archive,
        found=found,
        expected=expected,
        remedy="nothing of it was used; download it again from the place that `alignboard prepare --list` names",
    )


def _damaged(archive: Path, error: Exception) -> UserError:
    return UserError(
        "the archive is truncated or damaged",
        file=archive,
        found=ascii(str(error))[1:-1] or type(error).__name__,
        expected="a complete archive",
        remedy="download it again; nothing of it was used",
    )
