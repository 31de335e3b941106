"""Random choices that are the same on every machine and Python version."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from random import Random
from typing import TypeVar

T = TypeVar("T")


class Dice:
    """A stream of choices seeded by a path of names.

    Everything is derived from `Random.random()`, the one method whose sequence Python promises to keep.
    """

    def __init__(self, *path: object) -> None:
        self._random = Random("/".join(map(str, path))).random

    def below(self, bound: int) -> int:
        """A whole number in [0, bound)."""
        return int(self._random() * bound)

    def chance(self, percent: int) -> bool:
        return self._random() * 100 < percent

    def pick(self, choices: Sequence[T]) -> T:
        return choices[int(self._random() * len(choices))]

    def shuffled(self, choices: Sequence[T]) -> list[T]:
        """A permutation by Fisher and Yates."""
        result = list(choices)
        for last in range(len(result) - 1, 0, -1):
            other = self.below(last + 1)
            result[last], result[other] = result[other], result[last]
        return result


def bucket(key: str, buckets: int) -> int:
    """Which of `buckets` classes a key falls in: a property of the key alone."""
    return zlib.crc32(key.encode()) % buckets
