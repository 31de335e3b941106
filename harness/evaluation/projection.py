"""The `project` stage: a map of the sentences of a run's retrieval task, and measures of their alignment.

It runs after a run and changes none of its results; the board reads its file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from harness.evaluation import intrinsic
from harness.records import PoolSentence

PAIRS_MEASURED, PAIRS_SHOWN = 500, 30  # pairs of each language


def project(encode: Callable[[Sequence[str]], Tensor], pools: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """Measures on the first pairs of every language, and a map of some of these pairs.

    `encode` turns n texts into (n, H) vectors. The result has `measures` (language, measure, value, n) and `points`
    (language, pair, side, text, and the x and y of each map); a pair has two points, its sentence and its translation.
    """
    pairs = {view: _pairs(records)[:PAIRS_MEASURED] for view, records in pools.items()}
    texts = list(dict.fromkeys(text for found in pairs.values() for pair in found for text in pair))
    rows = {text: row for row, text in enumerate(texts)}
    vectors = encode(texts)
    measured = [
        {"language": view, "measure": name, "value": value, "n": len(found)}
        for view, found in pairs.items()
        if len(found) > 1
        for name, value in intrinsic.measures(*_sides(vectors, rows, found)).items()
    ]
    return {"measures": measured, "points": _points(vectors, rows, pairs)}


def _pairs(records: Sequence[PoolSentence]) -> list[tuple[str, str]]:
    """The texts of each pivot sentence and its first translation, in the order of the pool."""
    foreign = {record.id: record.text for record in records if record.side == "source"}
    pivot = (record for record in records if record.side == "target" and record.partners)
    return [(foreign[record.partners[0]], record.text) for record in pivot if record.partners]


def _sides(vectors: Tensor, rows: Mapping[str, int], pairs: Iterable[tuple[str, str]]) -> list[Tensor]:
    return [vectors[torch.tensor([rows[text] for text in side])] for side in zip(*pairs, strict=True)]


def _points(
    vectors: Tensor, rows: Mapping[str, int], pairs: Mapping[str, Sequence[tuple[str, str]]]
) -> list[dict[str, Any]]:
    """One point for each side of the first pairs of every language, on one map."""
    shown: list[dict[str, Any]] = [
        {"language": view, "pair": number, "side": side, "text": text}
        for view, found in pairs.items()
        for number, pair in enumerate(found[:PAIRS_SHOWN])
        for side, text in zip(("source", "target"), pair, strict=True)
    ]
    if not shown:
        return []
    texts = list(dict.fromkeys(point["text"] for point in shown))
    chosen = vectors[torch.tensor([rows[text] for text in texts])]
    maps = {"pca": intrinsic.pca(chosen), "tsne": intrinsic.tsne(chosen)}
    place = {text: row for row, text in enumerate(texts)}
    for point in shown:
        for name, found in maps.items():
            x, y = found[place[point["text"]]]
            point |= {f"{name}_x": round(float(x), 4), f"{name}_y": round(float(y), 4)}
    return shown
