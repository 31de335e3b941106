"""Streams that count: what is read of an archive, what comes out of it, and how it ends."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

CHUNK = 1 << 20
_HEADER_LIMIT = 1 << 20  # bytes of an extended tar header, which is read in one piece
_HEADERS = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)


class Stream(Protocol):
    """Bytes that are read once, from the front."""

    def read(self, size: int, /) -> bytes: ...


def unwatched(count: int) -> None:
    """For those who do not want to know how many bytes are done."""


DECOMPRESSORS: dict[bytes, Callable[[Any], Stream]] = {
    b"\x1f\x8b": lambda stream: gzip.GzipFile(fileobj=stream),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\x00": lzma.LZMAFile,
}


class Watched(io.FileIO):
    """A file that tells `advance` how many bytes are read of it."""

    def __init__(self, path: Path, advance: Callable[[int], None]) -> None:
        super().__init__(path)
        self.advance = advance

    def readinto(self, buffer: Any, /) -> int:
        count = super().readinto(buffer) or 0
        self.advance(count)
        return count


class Counted(io.RawIOBase):
    """A stream that counts what is read through it, fills every buffer that it is given, and calls `check` after."""

    def __init__(self, inner: Stream, check: Callable[[int], None] = unwatched) -> None:
        self.inner, self.check, self.count = inner, check, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view, filled = memoryview(buffer).cast("B"), 0
        while filled < len(view) and (data := self.inner.read(len(view) - filled)):
            view[filled : filled + len(data)] = data
            filled += len(data)
        self.count += filled
        self.check(self.count)
        return filled


class Tail:
    """A stream that remembers the last bytes read: a tar that is whole ends in zeros."""

    def __init__(self, inner: Stream) -> None:
        self.inner, self.tail = inner, b""

    def read(self, size: int) -> bytes:
        data = self.inner.read(size)
        self.tail = (self.tail + data[-1024:])[-1024:]
        return data


class Header(tarfile.TarInfo):
    """A tar header whose extensions (long names, pax records) are bounded, since tarfile holds them in memory."""

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type in _HEADERS and self.size > _HEADER_LIMIT:
            raise tarfile.ReadError(f"an extended header of {self.size:,} bytes")
        return super()._proc_member(archive)  # type: ignore[misc,no-any-return]


def peek(raw: Counted) -> tuple[bytes, Stream]:
    """The first bytes of a stream, as many as tell its format, and the stream with them still to come."""
    buffered = io.BufferedReader(raw, 1 << 16)
    return buffered.peek(512)[:512], buffered


def is_tar(head: bytes) -> bool:
    """Whether these 512 bytes are the header of a tar."""
    try:
        tarfile.TarInfo.frombuf(head[:512], "utf-8", "surrogateescape")
    except tarfile.TarError:
        return False
    return True
