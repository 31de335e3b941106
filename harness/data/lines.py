"""Reads text files strictly: UTF-8, one record per line. Every error names its file and line."""

from __future__ import annotations

import hashlib
import mmap
import re
from collections.abc import Callable, Iterator
from functools import lru_cache, wraps
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from harness.errors import UserError
from harness.files import is_lfs_pointer, lfs_pointer_error, open_binary

T = TypeVar("T")
MAX_LINE = 1 << 20  # bytes; a longer line is no sentence but a file of another kind
SURROGATE = re.compile("[\ud800-\udfff]")  # half of a character beyond U+FFFF: JSON can hold it, UTF-8 cannot
_CHUNK = 1 << 20
_BOM = b"\xef\xbb\xbf"
_BLANK = re.compile(
    rb"[ \x0b\x0c\x1c-\x1f]|\xc2[\x85\xa0]|\xe1\x9a\x80|\xe2\x80[\x80-\x8a\xa8\xa9\xaf]|\xe2\x81\x9f|\xe3\x80\x80"
)


class FileScan(NamedTuple):
    """Facts from one pass over the bytes of a file. `fields` counts the tab-separated fields of the first line."""

    digest: str
    lines: int
    blank: int
    ends_blank: bool
    fields: int
    quoted: bool
    bom: bool


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a file with their 1-based numbers, without line ends (LF or CRLF) and byte order mark.

    Raises UserError on an empty file, a line over 1 MiB, NUL bytes, bytes that are not UTF-8 and a lone carriage
    return, which some readers take for a line end and others do not.
    """
    offset = 0
    with open_binary(path) as file:
        for number, raw in enumerate(iter(lambda: file.readline(MAX_LINE + 1), b""), start=1):
            yield number, _decode(path, number, offset, raw)
            offset += len(raw)
    if offset == 0:
        raise empty_file_error(path)


def once_per_file(read: Callable[[Path], T]) -> Callable[[Path], T]:
    """Calls the function once per path, time and size of the file."""
    cached = lru_cache(maxsize=4096)(lambda path, _time, _size: read(path))

    @wraps(read)
    def call(path: Path) -> T:
        stat = path.stat()
        return cached(path, stat.st_mtime_ns, stat.st_size)

    return call


def fields_of(path: Path, number: int, text: str, count: int, names: str) -> list[str]:
    """The `count` tab-separated fields of a line, called `names` in the error. Raises UserError for another number."""
    fields = text.split("\t")
    if len(fields) != count:
        raise UserError(
            "wrong number of fields",
            file=path,
            line=number,
            found=f"{len(fields)} tab-separated field{'s' * (len(fields) != 1)}: {shorten(text)}",
            expected=f"{count}: {names}",
            remedy="repair this line; fields are separated by one tab, and a field holds no tab itself",
        )
    return fields


def empty_file_error(path: Path) -> UserError:
    """The error for a file without content."""
    return UserError(
        "the file is empty",
        file=path,
        found="0 bytes",
        expected="one record a line",
        remedy="fetch the file again, or remove it so that it counts as missing",
    )


def shorten(text: str, limit: int = 80) -> str:
    """`text` quoted for an error, cut to `limit` characters."""
    return repr(text if len(text) <= limit else text[: limit - 1] + "…")


def _decode(path: Path, number: int, offset: int, raw: bytes) -> str:
    if len(raw) > MAX_LINE:
        raise UserError(
            "the line is too long",
            file=path,
            line=number,
            found=f"more than {MAX_LINE:,} bytes without a line end",
            expected="one sentence or record a line",
            remedy="split the file into lines",
        )
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise UserError(
            "bytes that are not UTF-8",
            file=path,
            line=number,
            found=f"byte 0x{raw[error.start]:02x} at byte offset {offset + error.start} of the file",
            expected="UTF-8 text",
            remedy="convert the file to UTF-8, for example with iconv",
        ) from error
    text = text.removesuffix("\n").removesuffix("\r")
    if "\0" in text or "\r" in text:
        name = "NUL byte" if "\0" in text else "carriage return inside the line"
        place = offset + len(text[: text.index("\0" if "\0" in text else "\r")].encode())
        raise UserError(
            "a control character that no text holds",
            file=path,
            line=number,
            found=f"a {name} at byte offset {place}",
            expected="text whose lines end in LF or CRLF",
            remedy="remove it, or convert the file (UTF-16, old Mac)",
        )
    return text.removeprefix("\ufeff") if number == 1 else text


@once_per_file
def scan(path: Path) -> FileScan:
    """Digest and counts of a file. Raises UserError for an empty file and for a pointer of Git LFS."""
    if is_lfs_pointer(path):
        raise lfs_pointer_error(path)
    digest, lines, blank, quoted = hashlib.sha256(), 0, 0, False
    previous, held, tail = b"\n", b"", b""
    with open_binary(path) as file:
        first = file.readline(MAX_LINE)
        file.seek(0)
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            text = (held + chunk).replace(b"\r\n", b"\n")
            held = b"\r" if text.endswith(b"\r") else b""
            text = text.removesuffix(held)
            ends = np.frombuffer(previous + text, dtype=np.uint8) == ord("\n")
            lines += int(ends[1:].sum())
            blank += int((ends[1:] & ends[:-1]).sum())
            quoted = quoted or b'""' in text
            previous = text[-1:] or previous
            tail = (tail + chunk)[-4:]
    if not tail:
        raise empty_file_error(path)
    tail = tail.replace(b"\r\n", b"\n")
    return FileScan(
        digest=digest.hexdigest(),
        lines=lines + (not tail.endswith(b"\n")),
        blank=blank,
        ends_blank=tail.endswith(b"\n\n"),
        fields=first.count(b"\t") + 1,
        quoted=quoted,
        bom=first.startswith(_BOM),
    )


@once_per_file
def blank_inside(path: Path) -> bool:
    """Whether a file has a blank character (ASCII or Unicode) other than tab and line end."""
    if path.suffix == ".gz":
        with open_binary(path) as file:
            return _BLANK.search(file.read()) is not None
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return _BLANK.search(data) is not None
