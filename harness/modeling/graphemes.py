"""Graphemes: what a reader sees as one character, such as a letter with its combining marks."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from functools import lru_cache

import numpy as np
import regex

_GRAPHEME = regex.compile(r"\X")


@lru_cache(maxsize=16)
def boundaries(text: str) -> tuple[int, ...]:
    """Where graphemes begin and end, from 0 to the length of the text."""
    return (0, *(grapheme.end() for grapheme in _GRAPHEME.finditer(text)))


def whole_graphemes(text: str, start: int, end: int) -> slice:
    """The span [start, end) of a text, widened so that it cuts no grapheme."""
    if start >= end:
        return slice(start, start)
    bounds = boundaries(text)
    return slice(bounds[bisect_right(bounds, start) - 1], bounds[bisect_left(bounds, end)])


def cover_graphemes(text: str, starts: np.ndarray, ends: np.ndarray) -> None:
    """Moves the ends of tokens, in place, over what no token covers of their last grapheme.

    The tokenizer's normalisation composed it with the characters before it, or dropped it.
    """
    if text.isascii():
        return
    size = len(text) + 1
    covered = np.cumsum(np.bincount(starts, minlength=size) - np.bincount(ends, minlength=size)) > 0
    for end in {int(end) for end in ends[~covered[ends]] if 0 < end < len(text) and not text[end].isspace()}:
        bounds = boundaries(text)
        last = end
        while last < bounds[bisect_left(bounds, end)] and not covered[last]:
            last += 1
        ends[ends == end] = last
