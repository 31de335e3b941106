"""Reads and writes text as the official scripts do: UTF-8; LF, CRLF and CR as line ends; csv with tabs."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from harness import files
from harness.data.lines import MAX_LINE, empty_file_error, shorten
from harness.errors import UserError

DOWNLOAD_AGAIN = "this is not the published file: download it again"
MAX_JSON = 1 << 30  # bytes; the largest set, TyDiQA's training data, has 58 MB


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a file with their 1-based numbers, without line ends. Raises UserError for an empty file, a line
    over 1 MiB, and bytes that are not UTF-8."""
    number = 0
    with path.open(encoding="utf-8") as file:
        try:
            for number, text in enumerate(iter(lambda: file.readline(MAX_LINE + 1), ""), start=1):
                if len(text) > MAX_LINE:
                    found = f"over {MAX_LINE:,} characters"
                    raise content_error(path, number, "the line is too long", found, "one record")
                yield number, text.removesuffix("\n")
        except UnicodeDecodeError as error:
            found = f"byte 0x{error.object[error.start]:02x} in or after this line"
            raise content_error(path, number + 1, "bytes that are not UTF-8", found, "UTF-8 text") from error
    if number == 0:
        raise empty_file_error(path)


def split_fields(path: Path, number: int, text: str, needed: int) -> list[str]:
    """The tab-separated fields of a stripped line, as the official scripts split it.

    Raises UserError for fewer than `needed` fields, where the official script fails. Stripping loses an empty last
    field.
    """
    found = text.strip().split("\t")
    if len(found) < needed:
        expected = f"at least {needed} fields between tabs, the last not empty"
        what = "too few fields (the official script fails here)"
        raise content_error(path, number, what, shorten(text), expected)
    return found


def write_rows(path: Path, rows: Iterable[Sequence[str]]) -> int:
    """Writes rows like the csv module: tabs, CRLF, and quotes around fields with a quote. Returns their number."""
    count = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t")
        for row in rows:
            writer.writerow(row)
            count += 1
    return count


def write_lines(path: Path, texts: Iterable[str]) -> int:
    """Writes one text a line. Returns their number."""
    count = 0
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for text in texts:
            file.write(f"{text}\n")
            count += 1
    return count


def read_json(path: Path) -> Any:
    """The content of a JSON file. Raises UserError if it is not UTF-8, not JSON, or larger than 1 GiB."""
    if path.stat().st_size > MAX_JSON:
        found = f"{path.stat().st_size:,} bytes"
        raise content_error(path, None, "the file is too large", found, f"at most {MAX_JSON:,}")
    try:
        return files.read_json(path, expected="JSON in SQuAD's layout")
    except UserError as error:
        error.remedy = DOWNLOAD_AGAIN
        raise


def write_json(path: Path, value: Any) -> None:
    """Writes JSON as the official scripts do: on one line, in ASCII, without a line end."""
    with path.open("w", encoding="utf-8") as file:
        json.dump(value, file)


def content_error(path: Path, line: int | None, what: str, found: str, expected: str) -> UserError:
    """The error for content that does not match the file's name."""
    return UserError(what, file=path, line=line, found=found, expected=expected, remedy=DOWNLOAD_AGAIN)
