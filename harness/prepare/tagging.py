"""What PAN-X and the part-of-speech data share: rows of token and tag, and the second official step, into pieces."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

from harness.prepare.text import write_lines


class Row(NamedTuple):
    """A token and its tag."""

    token: str
    tag: str


Rows = Iterable[Row | None]  # None ends a sentence


class Tokenizer(Protocol):
    """What cutting into pieces needs of a subword tokenizer."""

    unk_token: str

    def tokenize(self, text: str) -> list[str]:
        """The subwords of a word."""


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


class Readable:
    """Rows without what no reader takes: tokens of blanks only, and blank lines that end no sentence.

    Of data without such rows nothing changes. `tokens` and `breaks` count what was left out.
    """

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self.tokens = self.breaks = 0

    def __iter__(self) -> Iterator[Row | None]:
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
            yield row
        if waiting:
            yield None

    def note(self) -> str:
        """What was left out, in words; empty where nothing was."""
        counts = {"tokens of blanks only": self.tokens, "blank lines that end no sentence": self.breaks}
        return " and ".join(f"{count:,} {what}" for what, count in counts.items() if count)


def write_pieces(source: Path, target: Path, index: Path, tokenizer: Tokenizer, *, room: int, unlabelled: str) -> None:
    """The official second step: sentences of at most `room` subwords, longer ones split between two words.

    Lines are split at any blank, so of a token with a blank inside only the first part is kept, and what has not just
    two parts gets the tag `unlabelled`. A word without subwords, or with more than `room`, becomes the unknown token.
    `index` gets the number of the original sentence for each word; both files have the same blank lines.
    """
    with (
        source.open(encoding="utf-8") as lines,
        target.open("w", encoding="utf-8", newline="\n") as words,
        index.open("w", encoding="utf-8", newline="\n") as numbers,
    ):
        sentence = used = 0
        for line in lines:
            parts = line.split()
            if not parts:
                words.write("\n")
                numbers.write("\n")
                sentence, used = sentence + 1, 0
                continue
            word, tag = parts[0], parts[1] if len(parts) == 2 else unlabelled
            size = len(tokenizer.tokenize(word))
            if not 0 < size <= room:
                word, size = tokenizer.unk_token, 1
            cut = "\n" if used + size > room else ""
            used = size if cut else used + size
            words.write(f"{cut}{word}\t{tag}\n")
            numbers.write(f"{cut}{sentence}\n")
