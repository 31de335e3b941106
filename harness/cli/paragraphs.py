"""Docstrings in lines of another width."""

from __future__ import annotations

import re
from collections.abc import Sequence
from textwrap import fill

SHORT = 72  # no text is set in lines shorter than this: below it, each break is on purpose
SLACK = 4  # columns that an author leaves free without meaning it
SECTION, ITEM = re.compile(r"[A-Z]\w*: "), re.compile(r"[-*] ")  # how a paragraph begins


def reflowed(text: str, width: int) -> str:
    """A docstring in lines of another width. Indentation stays, and so does a break that was made on purpose: before a
    section or an item, and after a line that had room for the next word, such as a formula's."""
    lines = text.splitlines()
    measure = max([SHORT, *map(len, lines)])
    paragraphs: list[list[str]] = []
    for line in lines:
        if paragraphs and _goes_on(paragraphs[-1], line, measure):
            paragraphs[-1].append(line)
        else:
            paragraphs.append([line])
    return "\n".join(_filled(paragraph, width) for paragraph in paragraphs)


def filled(text: str, width: int, first: str = "", others: str = "") -> str:
    """One paragraph in lines of `width`, words whole; `first` and `others` begin the lines."""
    return fill(
        text, width, initial_indent=first, subsequent_indent=others, break_long_words=False, break_on_hyphens=False
    )


def _goes_on(paragraph: Sequence[str], line: str, measure: int) -> bool:
    last, words = paragraph[-1], line.split()
    if not last.strip() or not words or SECTION.match(line) or ITEM.match(line.strip()):
        return False
    hangs = len(paragraph) == 1 and _indent(line) >= _indent(last)
    full = len(last) + 1 + len(words[0]) + SLACK > measure
    return full and (hangs or _indent(line) == _indent(last))


def _filled(paragraph: Sequence[str], width: int) -> str:
    first, last = _indent(paragraph[0]), _indent(paragraph[-1])
    text = " ".join(map(str.strip, paragraph))
    if SECTION.match(paragraph[0]):
        return filled(text, width, first, last or "    ")
    hangs = ITEM.match(text) or (first and len(paragraph) == 1)  # an item, a formula
    return filled(text, width, first, f"{first}  " if hangs else last)


def _indent(line: str) -> str:
    return " " * (len(line) - len(line.lstrip()))
