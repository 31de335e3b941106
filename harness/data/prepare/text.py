"""Reading and writing text as the official scripts do: UTF-8, LF, CRLF and CR as line ends, csv with tabs."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from harness.data.lines import MAX_LINE, empty, shorten
from harness.errors import UserError

MAX_JSON = 1 << 30  # bytes; the largest set, TyDiQA's training data, has 58 MB


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a file with their 1-based numbers, line ends removed. Raises UserError where it is empty, where a
    line is longer than 1 MiB, and on bytes that are not UTF-8."""
    number = 0
    with path.open(encoding="utf-8") as file:
        try:
            for number, text in enumerate(iter(lambda: file.readline(MAX_LINE + 1), ""), start=1):
                if len(text) > MAX_LINE:
                    raise wrong(path, number, "the line is too long", f"over {MAX_LINE:,} characters", "one record")
                yield number, text.removesuffix("\n")
        except UnicodeDecodeError as error:
            found = f"byte 0x{error.object[error.start]:02x} in or after this line"
            raise wrong(path, number + 1, "bytes that are not UTF-8", found, "UTF-8 text") from error
    if number == 0:
        raise empty(path)


def fields(path: Path, number: int, text: str, needed: int) -> list[str]:
    """The tab-separated fields of a line whose ends are stripped, as the official scripts split it.

    Raises UserError where fewer than `needed` are left, on which the official script fails; an empty last field is lost
    by the stripping.
    """
    found = text.strip().split("\t")
    if len(found) < needed:
        what = "too few fields (the official script fails here)"
        raise wrong(path, number, what, shorten(text), f"at least {needed} fields between tabs, the last not empty")
    return found


def write_rows(path: Path, rows: Iterable[Sequence[str]]) -> int:
    """Writes rows with the csv module's tab dialect: CRLF, and quotes around fields that hold a quote. Their number."""
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
    """The content of a JSON file. Raises UserError where it is not UTF-8 or not JSON, or larger than 1 GiB."""
    if path.stat().st_size > MAX_JSON:
        raise wrong(path, None, "the file is too large", f"{path.stat().st_size:,} bytes", f"at most {MAX_JSON:,}")
    try:
        return json.loads(path.read_bytes().decode())
    except UnicodeDecodeError as error:
        found = f"byte 0x{error.object[error.start]:02x} at byte offset {error.start}"
        raise wrong(path, None, "bytes that are not UTF-8", found, "UTF-8 text") from error
    except json.JSONDecodeError as error:
        raise wrong(path, error.lineno, "this is not JSON", f"{error.msg}, column {error.colno}", "JSON") from error
    except RecursionError as error:
        raise wrong(path, None, "this JSON cannot be read", "lists nested too deeply", "SQuAD's layout") from error


def write_json(path: Path, value: Any) -> None:
    """Writes JSON as the official scripts do: on one line, in ASCII, without a line end."""
    with path.open("w", encoding="utf-8") as file:
        json.dump(value, file)


def wrong(path: Path, line: int | None, what: str, found: str, expected: str) -> UserError:
    """The error for content that is not what its name promises."""
    return UserError(
        what,
        file=path,
        line=line,
        found=found,
        expected=expected,
        remedy="this is not the published file: download it again",
    )
