"""Reading a file of predictions or gold that may be damaged: every fault is reported with its line, none is raised.

A line over 1 MiB and a JSON file over 256 MiB are refused unread. What a file means is the task's affair; see
`Task.read_predictions` and `Task.read_gold`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from harness.data.lines import MAX_LINE, SURROGATE, shorten

MAX_JSON = 256 << 20  # bytes; the predictions of MLQA's largest language are a hundredth of it
MAX_PROBLEMS = 20  # problems of one file that are reported one by one
_BOM = b"\xef\xbb\xbf"


class Problem(NamedTuple):
    """A fault in one file; `line` is 0 where it concerns the whole file."""

    file: Path
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.file}{f':{self.line}' if self.line else ''}: {self.what}"


class CheckedFile:
    """A file with the problems found in it: reported one by one up to a limit, then counted. Notices are no faults."""

    def __init__(self, path: Path) -> None:
        self.path, self.problems, self.notices, self._more = path, list[Problem](), list[str](), 0

    def exists(self) -> bool:
        """Whether the file is there; reports where it is not."""
        if not self.path.is_file():
            self.report(0, "the file is missing")
        return self.path.is_file()

    def report(self, line: int, what: str) -> None:
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(Problem(self.path, line, what))
        else:
            self._more += 1

    def all_problems(self) -> list[Problem]:
        """The problems, and how many more there are."""
        more = [Problem(self.path, 0, f"{self._more:,} more problems")] if self._more else []
        return [*self.problems, *more]

    def lines(self) -> Iterator[tuple[int, str]]:
        """The lines with their numbers, from 1. Reports bytes that are not UTF-8, and ends at a line too long."""
        first_return = number = 0
        with self.path.open("rb") as file:
            for number, raw in enumerate(iter(lambda: file.readline(MAX_LINE + 1), b""), start=1):
                if len(raw) > MAX_LINE:
                    self.report(number, f"a line of more than {MAX_LINE:,} bytes; nothing after it was read")
                    return
                if number == 1 and raw.startswith(_BOM):
                    self.report(1, "a byte order mark at the start")
                    raw = raw.removeprefix(_BOM)
                if raw.endswith(b"\r\n"):
                    first_return = first_return or number
                try:
                    yield number, raw.decode().rstrip("\r\n")
                except UnicodeDecodeError:
                    self.report(number, "bytes that are not UTF-8")
        if first_return:
            self.report(first_return, "lines end in CR LF, and should in LF")
        if not number:
            self.report(0, "the file is empty")

    def column(self, accepts: Callable[[str], bool], expected: str) -> list[str]:
        """One stripped value a line; reports those that are not accepted."""
        values = []
        for number, text in self.lines():
            values.append(text.strip())
            if not accepts(values[-1]):
                self.report(number, f"{shorten(values[-1])} is not {expected}")
        return values

    def check_length(self, ours: int, gold: int, what: str) -> None:
        """Reports another number of `what` ("lines", "sentences") than the gold has, unless the file has faults."""
        if ours != gold and not self.problems:
            line = min(ours, gold) + 1 if what == "lines" else 0
            self.report(line, f"{ours:,} {what}, the labels have {gold:,}")

    def json_fits(self) -> bool:
        """Whether the file is neither empty nor larger than the JSON that is read; reports where it is."""
        size = self.path.stat().st_size
        if not size:
            self.report(0, "the file is empty")
        if size > MAX_JSON:
            self.report(0, f"{size:,} bytes of JSON, more than the {MAX_JSON:,} that are read")
        return 0 < size <= MAX_JSON

    def json_texts(self, what: str) -> dict[str, str]:
        """A JSON object of texts by id; `what` names the texts, such as "answers"."""
        if not self.json_fits():
            return {}
        raw = self.path.read_bytes()
        if raw.startswith(_BOM):
            self.report(1, "a byte order mark at the start")
        try:
            content = json.loads(raw.decode("utf-8-sig"), object_pairs_hook=self._unique)
        except UnicodeDecodeError as error:
            self.report(raw.count(b"\n", 0, error.start) + 1, "bytes that are not UTF-8")
            return {}
        except json.JSONDecodeError as error:
            self.report(error.lineno, f"not JSON: {error.msg}")
            return {}
        except RecursionError:
            self.report(0, f"not an object of {what} by id, but nested too deeply")
            return {}
        except ValueError as error:  # a number of thousands of digits
            self.report(0, f"not an object of {what} by id: {error}")
            return {}
        if not isinstance(content, dict):
            self.report(1, f"not an object of {what} by id")
            return {}
        for name, text in content.items():
            if not isinstance(text, str):
                self.report(0, f"the value of {shorten(name)} is not a text")
            elif SURROGATE.search(text):
                self.notices.append(f"{self.path}: half of a character in {shorten(name)} is read as U+FFFD")
                content[name] = SURROGATE.sub("\ufffd", text)
        return content

    def _unique(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        content: dict[str, Any] = {}
        for name, value in pairs:
            if name in content:
                self.report(0, f"an id that occurs twice: {shorten(name)}")
            content[name] = value
        return content
