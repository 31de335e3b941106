"""Premises with what follows from them and what contradicts them, of an inference corpus."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from harness.records import TextPair


class Triplet(NamedTuple):
    """A premise with a hypothesis that follows from it and one that contradicts it, as token ids with specials."""

    premise: np.ndarray
    entailed: np.ndarray
    contradicted: np.ndarray


def triplets(pairs: Iterable[TextPair]) -> list[tuple[str, str, str]]:
    """(premise, entailed, contradicted), in the order of the premises."""
    hypotheses: dict[str, dict[str | None, list[str]]] = defaultdict(lambda: defaultdict(list))
    for pair in pairs:
        hypotheses[pair.first][pair.label].append(pair.second)
    return [
        (premise, entailed, contradicted)
        for premise, by_label in hypotheses.items()
        for entailed, contradicted in zip(by_label["entailment"], by_label["contradiction"], strict=False)
    ]
