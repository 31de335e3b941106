"""Rows of token and tag, for PAN-X and the part-of-speech data."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from harness.data.prepare.text import write_lines


class TaggedToken(NamedTuple):
    """A token and its tag."""

    token: str
    tag: str


Rows = Iterable[TaggedToken | None]  # None ends a sentence


def write_rows(path: Path, rows: Rows, *, tags: bool) -> int:
    """Writes `token TAB tag` or the token alone, a blank line for None. Returns the number of sentences."""
    sentences, inside = 0, False

    def texts() -> Iterator[str]:
        nonlocal sentences, inside
        for row in rows:
            sentences += row is not None and not inside
            inside = row is not None
            yield "" if row is None else f"{row.token}\t{row.tag}" if tags else row.token

    write_lines(path, texts())
    return sentences


class ReadableRows:
    """Rows that every reader accepts: without tokens of blanks only, and without blank lines that end no sentence.

    With `tags`, a tag outside the set becomes `otherwise`. Changes are counted; other rows stay as they are.
    """

    def __init__(self, rows: Rows, tags: Collection[str] | None = None, otherwise: str = "") -> None:
        self.rows, self.allowed, self.otherwise = rows, tags, otherwise
        self.tokens = self.breaks = self.tags = 0

    def __iter__(self) -> Iterator[TaggedToken | None]:
        waiting = inside = False  # a break is written once a token follows it
        for row in self.rows:
            if row is None:
                self.breaks += waiting or not inside
                waiting = inside
                continue
            if not row.token.strip():
                self.tokens += 1
                continue
            if waiting:
                yield None
            waiting, inside = False, True
            foreign = self.allowed is not None and row.tag not in self.allowed
            self.tags += foreign
            yield row._replace(tag=self.otherwise) if foreign else row
        if waiting:
            yield None

    def note(self) -> str:
        """The changes in words, or an empty text."""
        counts = {
            "tokens of blanks only left out": self.tokens,
            "blank lines that end no sentence left out": self.breaks,
            f"tags outside the tag set given as {self.otherwise}": self.tags,
        }
        return ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
