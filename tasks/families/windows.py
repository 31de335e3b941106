"""Windows over long contexts, and the best answer in a window, as in BERT's code for SQuAD."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np


class Window(NamedTuple):
    """A part of a question's context: its first subword, its size in subwords, and its offset in the input sequence."""

    question: int
    first: int
    size: int
    offset: int


class AnswerSpan(NamedTuple):
    """An answer as subwords of the context, both inclusive, with the sum of its two logits."""

    score: float
    first: int
    last: int


def windows(length: int, size: int, stride: int) -> Iterator[tuple[int, int]]:
    """(first subword, number of subwords) of the windows over a context of `length` subwords, `stride` apart.

    A stride longer than a window would skip subwords. Half a window is used instead, so that an answer of up to that
    length is inside at least one window.
    """
    first, stride = 0, stride if stride <= size else max(size // 2, 1)
    while True:
        count = min(size, length - first)
        yield first, count
        if first + count >= length:
            return
        first += stride


def best_span(logits: np.ndarray, window: Window, mine: np.ndarray, best: int, longest: int) -> AnswerSpan | None:
    """The best answer inside a window, or None. Combines the `best` highest starts and ends among all of its tokens.

    logits (L, 2); mine (size,) bool: the subwords of the context that may start an answer in this window.
    """
    starts, ends = (np.argsort(-logits[:, side], kind="stable")[:best] - window.offset for side in (0, 1))
    starts = starts[(starts >= 0) & (starts < window.size)]
    starts = starts[mine[starts]]
    ends = ends[(ends >= 0) & (ends < window.size)]
    lengths = ends[None, :] - starts[:, None] + 1
    sums = logits[starts + window.offset, 0][:, None] + logits[ends + window.offset, 1][None, :]
    sums = np.where((lengths >= 1) & (lengths <= longest), sums, -np.inf)
    if not sums.size or sums.max() == -np.inf:
        return None
    i, j = np.unravel_index(int(sums.argmax()), sums.shape)
    return AnswerSpan(float(sums[i, j]), window.first + int(starts[i]), window.first + int(ends[j]))


def window_of_subwords(rows: Sequence[Window]) -> dict[int, np.ndarray]:
    """For each question, and each subword of its context, the number of the window that has the most context around it.

    That is the context on the shorter side, plus a hundredth of the window's length. The first window wins a tie.
    """
    groups: dict[int, list[int]] = {}
    for number, window in enumerate(rows):
        groups.setdefault(window.question, []).append(number)
    return {question: np.array(numbers)[_context(rows, numbers).argmax(0)] for question, numbers in groups.items()}


def _context(rows: Sequence[Window], numbers: Sequence[int]) -> np.ndarray:
    """(windows, subwords) context of each subword in each of a question's windows; -inf where it is not inside."""
    last = rows[numbers[-1]]
    found = np.full((len(numbers), last.first + last.size), -np.inf)
    for row, number in enumerate(numbers):
        _, first, size, _ = rows[number]
        inside = np.arange(size)
        found[row, first : first + size] = np.minimum(inside, size - 1 - inside) + 0.01 * size
    return found
