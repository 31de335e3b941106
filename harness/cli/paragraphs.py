"""Reflows docstrings to another line width."""

from __future__ import annotations

import re
from collections.abc import Sequence
from textwrap import fill

MIN_WIDTH = 72  # shorter lines end where their author wanted them to
SLACK = 4  # columns that an author may leave free at the end of a full line
SECTION, ITEM = re.compile(r"[A-Z]\w*: "), re.compile(r"[-*] ")  # the start of a paragraph


def reflow(text: str, width: int) -> str:
    """A docstring in lines of at most `width`. Indentation stays, and so do deliberate line breaks: before a section
    or an item, and after a line that has space for the next word, such as a formula."""
    lines = text.splitlines()
    line_width = max([MIN_WIDTH, *map(len, lines)])
    paragraphs: list[list[str]] = []
    for line in lines:
        if paragraphs and _continues(paragraphs[-1], line, line_width):
            paragraphs[-1].append(line)
        else:
            paragraphs.append([line])
    return "\n".join(_reflow_paragraph(paragraph, width) for paragraph in paragraphs)


def fill_paragraph(text: str, width: int, first: str = "", others: str = "") -> str:
    """One paragraph in lines of `width` without broken words; `first` and `others` are the indents of the lines."""
    return fill(
        text, width, initial_indent=first, subsequent_indent=others, break_long_words=False, break_on_hyphens=False
    )


def _continues(paragraph: Sequence[str], line: str, line_width: int) -> bool:
    last, words = paragraph[-1], line.split()
    if not last.strip() or not words or SECTION.match(line) or ITEM.match(line.strip()):
        return False
    hanging = len(paragraph) == 1 and _indent(line) >= _indent(last)
    full = len(last) + 1 + len(words[0]) + SLACK > line_width
    return full and (hanging or _indent(line) == _indent(last))


def _reflow_paragraph(paragraph: Sequence[str], width: int) -> str:
    first, last = _indent(paragraph[0]), _indent(paragraph[-1])
    text = " ".join(map(str.strip, paragraph))
    if SECTION.match(paragraph[0]):
        return fill_paragraph(text, width, first, last or "    ")
    hanging = ITEM.match(text) or (first and len(paragraph) == 1)  # an item or a formula
    return fill_paragraph(text, width, first, f"{first}  " if hanging else last)


def _indent(line: str) -> str:
    return " " * (len(line) - len(line.lstrip()))
