"""The order of the training examples: a function of the seed alone, so that a run can be resumed at any step."""

from __future__ import annotations

import numpy as np


class Order:
    """An endless sequence of example numbers: one permutation per epoch, which depends on (seed, epoch) alone."""

    def __init__(self, size: int, seed: int) -> None:
        assert size > 0, "no examples to train on"
        self.size, self.seed, self._epoch, self._permutation = size, seed, -1, np.empty(0, dtype=np.int64)

    def at(self, cursor: int) -> int:
        epoch, place = divmod(cursor, self.size)
        if epoch != self._epoch:
            self._permutation = np.random.default_rng([self.seed, epoch]).permutation(self.size)
            self._epoch = epoch
        return int(self._permutation[place])

    def take(self, cursor: int, size: int) -> tuple[list[int], int]:
        """The `size` numbers from `cursor` on, and the cursor after them."""
        return [self.at(c) for c in range(cursor, cursor + size)], cursor + size

    def take_tokens(self, cursor: int, budget: int, lengths: np.ndarray) -> tuple[list[int], int]:
        """The next numbers, at least one, whose `lengths` sum to at most `budget`, and the cursor after them."""
        numbers, tokens = [self.at(cursor)], int(lengths[self.at(cursor)])
        cursor += 1
        while tokens + int(lengths[self.at(cursor)]) <= budget:
            numbers.append(self.at(cursor))
            tokens += int(lengths[numbers[-1]])
            cursor += 1
        return numbers, cursor
