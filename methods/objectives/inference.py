"""Triplets of an inference corpus: a premise, an entailed and a contradicting hypothesis."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from harness.records import TextPair


class Triplet(NamedTuple):
    """A premise, an entailed and a contradicting hypothesis, as token ids with special tokens."""

    premise: np.ndarray
    entailed: np.ndarray
    contradicting: np.ndarray


def triplets(pairs: Iterable[TextPair]) -> list[tuple[str, str, str]]:
    """(premise, entailed, contradicting) texts in the order of the premises: the k-th of each label go together."""
    hypotheses: dict[str, dict[str | None, list[str]]] = defaultdict(lambda: defaultdict(list))
    for pair in pairs:
        hypotheses[pair.first][pair.label].append(pair.second)
    return [
        (premise, entailed, contradicting)
        for premise, by_label in hypotheses.items()
        for entailed, contradicting in zip(by_label["entailment"], by_label["contradiction"], strict=False)
    ]
