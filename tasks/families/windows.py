"""Windows over long contexts, and the best answer in one: pure functions of arrays, after BERT's code for SQuAD."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np


class Window(NamedTuple):
    """A stretch of a question's context: its first subword, how many, and where they begin in the sequence."""

    question: int
    first: int
    size: int
    offset: int


class AnswerSpan(NamedTuple):
    """An answer as subwords of the context, both inclusive, with the sum of its two logits."""

    score: float
    first: int
    last: int


def windows(length: int, room: int, stride: int) -> Iterator[tuple[int, int]]:
    """(first subword, number of subwords) of the windows over a context, each `stride` on from the one before.

    A stride longer than a window would leave subwords out. Half a window is taken in its place, so that what is no
    longer than that stands whole in one of them.
    """
    first, stride = 0, stride if stride <= room else max(room // 2, 1)
    while True:
        count = min(room, length - first)
        yield first, count
        if first + count >= length:
            return
        first += stride


def best_span(logits: np.ndarray, window: Window, mine: np.ndarray, best: int, longest: int) -> AnswerSpan | None:
    """The best answer inside a window, by the `best` highest starts and ends among all of its tokens; or none.

    logits (L, 2); mine (count,) bool: the subwords of the context that count in this window as a start.
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
    """For each question, per subword of its context, the number of the window where it has most context.

    Context is that on its shorter side, plus a hundredth of the window's length; the first window wins a tie.
    """
    groups: dict[int, list[int]] = {}
    for number, window in enumerate(rows):
        groups.setdefault(window.question, []).append(number)
    return {question: np.array(numbers)[_context(rows, numbers).argmax(0)] for question, numbers in groups.items()}


def _context(rows: Sequence[Window], numbers: Sequence[int]) -> np.ndarray:
    """(windows, subwords) how much context each subword has in each of a question's windows; -inf outside of it."""
    last = rows[numbers[-1]]
    found = np.full((len(numbers), last.first + last.size), -np.inf)
    for row, number in enumerate(numbers):
        _, first, size, _ = rows[number]
        inside = np.arange(size)
        found[row, first : first + size] = np.minimum(inside, size - 1 - inside) + 0.01 * size
    return found
