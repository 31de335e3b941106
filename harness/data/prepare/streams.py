"""Streams that count the bytes of an archive, before and after decompression, and that keep its end."""

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
    """Bytes that are read once, in order."""

    def read(self, size: int, /) -> bytes: ...


def ignore_progress(count: int) -> None:
    """Reports no progress."""


DECOMPRESSORS: dict[bytes, Callable[[Any], Stream]] = {
    b"\x1f\x8b": lambda stream: gzip.GzipFile(fileobj=stream),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\x00": lzma.LZMAFile,
}


class ProgressFile(io.FileIO):
    """A file that reports the bytes read to `advance`."""

    def __init__(self, path: Path, advance: Callable[[int], None]) -> None:
        super().__init__(path)
        self.advance = advance

    def readinto(self, buffer: Any, /) -> int:
        count = super().readinto(buffer) or 0
        self.advance(count)
        return count


class CountingStream(io.RawIOBase):
    """A stream that counts the bytes read through it, fills every buffer, and then calls `check`."""

    def __init__(self, inner: Stream, check: Callable[[int], None] = ignore_progress) -> None:
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


class TailStream:
    """A stream that keeps the last bytes read: a complete tar ends in zeros."""

    def __init__(self, inner: Stream) -> None:
        self.inner, self.tail = inner, b""

    def read(self, size: int) -> bytes:
        data = self.inner.read(size)
        self.tail = (self.tail + data[-1024:])[-1024:]
        return data


class BoundedHeader(tarfile.TarInfo):
    """A tar header whose extensions (long names, pax records) are bounded, since tarfile holds them in memory."""

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type in _HEADERS and self.size > _HEADER_LIMIT:
            raise tarfile.ReadError(f"an extended header of {self.size:,} bytes")
        return super()._proc_member(archive)  # type: ignore[misc,no-any-return]


def peek(raw: CountingStream) -> tuple[bytes, Stream]:
    """The first 512 bytes of a stream, which show its format, and the stream from its start."""
    buffered = io.BufferedReader(raw, 1 << 16)
    return buffered.peek(512)[:512], buffered


def is_tar(head: bytes) -> bool:
    """Whether these 512 bytes are the header of a tar."""
    try:
        tarfile.TarInfo.frombuf(head[:512], "utf-8", "surrogateescape")
    except tarfile.TarError:
        return False
    return True
