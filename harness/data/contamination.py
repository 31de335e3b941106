"""The contamination guard: which test items occur, exactly or nearly, in the text that a method is aligned on.

Texts are compared language by language in a normal form: NFKC, case folded, and of that only letters, marks and
numbers, so that case, punctuation, symbols, spaces and tokenisation do not tell texts apart. Two texts are exact
duplicates where their normal forms are equal, and near duplicates where the Jaccard similarity of their sets of
three-character shingles is at least 0.8; characters serve scripts without spaces as well as others.

Candidates come from MinHash (Broder, "On the resemblance and containment of documents", 1997): 80 minima of hashed
shingles, in 16 bands of 5. Texts that share one band are candidates, and each is then measured exactly, so that nothing
is flagged by chance. Texts of similarity s share a band with probability 1 - (1 - s^5)^16: 0.998 at s = 0.8.

Memory holds the distinct test texts, for those of one language at a time an index of 192 bytes each, and one batch of
the alignment text, whose length therefore does not matter. Time is linear in both.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.records import Record
from harness.task import Task

SHINGLE = 3  # characters
BANDS, ROWS = 16, 5
SIMILAR = 0.8  # Jaccard similarity from which texts are near duplicates
BATCH = 4096  # texts hashed at once: about 30 MB for sentences
BUCKET = 100  # of the test texts that share a band, at most so many are measured against one text

_Keys = NDArray[np.uint64]
_SEED = np.random.default_rng(1997)
_FACTORS = _SEED.integers(0, 2**63, BANDS * ROWS, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
_OFFSETS = _SEED.integers(0, 2**63, BANDS * ROWS, dtype=np.uint64)
_PLACES = _SEED.integers(0, 2**63, SHINGLE, dtype=np.uint64) * np.uint64(2) + np.uint64(1)


class Overlap(NamedTuple):
    """Of `items` test items of a task and view, `exact` have a text that occurs in the alignment text, and `near` more
    have one with a near duplicate there."""

    task: str
    view: str
    items: int
    exact: int
    near: int

    @property
    def share(self) -> float:
        return (self.exact + self.near) / self.items if self.items else 0.0


@dataclass
class _Cell:
    """Test items of one task and view that were found in the alignment text: exactly, and nearly."""

    items: int
    exact: set[int] = field(default_factory=set)
    near: set[int] = field(default_factory=set)


class Match(NamedTuple):
    """Numbers of the test texts that a text duplicates."""

    exact: tuple[int, ...]
    near: tuple[int, ...]


NOTHING = Match((), ())


def normal(text: str) -> str:
    """The form in which texts are compared: NFKC, case folded, letters, marks and numbers alone."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    kept = (char for char in folded if char.isalnum() or unicodedata.category(char)[0] == "M")
    return unicodedata.normalize("NFKC", "".join(kept))


def similarity(first: str, second: str) -> float:
    """Jaccard similarity of the shingles of two normal forms; a text shorter than a shingle is one itself."""
    one, other = _shingles(first), _shingles(second)
    return len(one & other) / len(one | other)


class Index:
    """Finds the duplicates of a text among distinct normal forms."""

    def __init__(self, texts: Sequence[str]) -> None:
        assert len(set(texts)) == len(texts)
        self._texts = texts
        self._numbers = {text: number for number, text in enumerate(texts)}
        keys = np.concatenate([_bands(batch) for batch in _batches(texts)] or [np.empty((0, BANDS), np.uint64)])
        self._order = np.argsort(keys, axis=0, kind="stable").astype(np.uint32)
        self._keys = np.take_along_axis(keys, self._order, axis=0)

    def matches(self, texts: Sequence[str]) -> list[Match]:
        """The duplicates of each of some normal forms; empty forms have none."""
        if not self._texts:
            return [NOTHING] * len(texts)
        return [match for batch in _batches(texts) for match in self._batch(batch)]

    def _batch(self, texts: Sequence[str]) -> Iterator[Match]:
        keys = _bands(texts)
        low = [np.searchsorted(self._keys[:, band], keys[:, band]) for band in range(BANDS)]
        high = [np.searchsorted(self._keys[:, band], keys[:, band], side="right") for band in range(BANDS)]
        hit = np.any(np.stack(high) > np.stack(low), axis=0)
        for place, text in enumerate(texts):
            if not text or not hit[place]:
                yield NOTHING
                continue
            near: set[int] = set()
            for band in range(BANDS):
                start = low[band][place]
                near.update(self._order[start : min(high[band][place], start + BUCKET), band].tolist())
            own = self._numbers.get(text)
            others = sorted(near - {own})
            found = tuple(number for number in others if similarity(text, self._texts[number]) >= SIMILAR)
            yield Match(() if own is None else (own,), found)


class Guard:
    """The test sets of a suite, as a judge of alignment text."""

    def __init__(self, tests: Iterable[tuple[Task, str, Sequence[Record]]], pivot: str) -> None:
        """`tests` are task, view and records of each test set. Reads them all."""
        self._cells: dict[tuple[str, str], _Cell] = {}
        self._owners: dict[str, dict[str, list[tuple[_Cell, int]]]] = {}  # language -> normal form -> items
        for task, view, records in tests:
            cell = self._cells[task.spec.name, view] = _Cell(len({task.item_id(record) for record in records}))
            numbers: dict[Hashable, int] = {}
            for record in records:
                number = numbers.setdefault(task.item_id(record), len(numbers))
                for language, text in task.texts(record, view, pivot):
                    if form := normal(text):
                        self._owners.setdefault(language, {}).setdefault(form, []).append((cell, number))

    def judge(self, texts: Mapping[str, Iterable[str]]) -> dict[str, set[str]]:
        """The texts of each language that duplicate a test text; what they touch is counted for `overlaps`."""
        return {language: self._flagged(language, given) for language, given in texts.items()}

    def _flagged(self, language: str, texts: Iterable[str]) -> set[str]:
        owners = self._owners.get(language, {})
        forms = list(owners)
        index = Index(forms)
        flagged = set()
        for batch in _batches(texts):
            for text, match in zip(batch, index.matches([normal(text) for text in batch]), strict=True):
                for numbers, name in ((match.exact, "exact"), (match.near, "near")):
                    for cell, item in (owner for number in numbers for owner in owners[forms[number]]):
                        getattr(cell, name).add(item)
                if match != NOTHING:
                    flagged.add(text)
        return flagged

    def overlaps(self) -> list[Overlap]:
        """What the texts judged so far touch, for every test set in the order given."""
        return [
            Overlap(task, view, cell.items, len(cell.exact), len(cell.near - cell.exact))
            for (task, view), cell in self._cells.items()
        ]


def _batches(texts: Iterable[str]) -> Iterator[tuple[str, ...]]:
    rest = iter(texts)
    while batch := tuple(islice(rest, BATCH)):
        yield batch


def _padded(text: str) -> str:
    return text.ljust(SHINGLE, "\0")


def _shingles(text: str) -> set[str]:
    text = _padded(text)
    return {text[start : start + SHINGLE] for start in range(len(text) - SHINGLE + 1)}


def _bands(texts: Sequence[str]) -> _Keys:
    """One key for each band of each text, `(T, BANDS)`: hashes of the minima in the band."""
    padded = [_padded(text) for text in texts]
    counts = np.array([len(text) - SHINGLE + 1 for text in padded])
    codes = np.frombuffer("".join(padded).encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
    starts = np.cumsum(counts) - counts
    inside = np.arange(counts.sum()) + np.repeat(np.arange(len(counts)) * (SHINGLE - 1), counts)
    places = np.arange(SHINGLE)[:, None]
    hashed = _mixed((codes[inside + places] * _PLACES[:, None]).sum(axis=0))
    keys = np.zeros((len(texts), BANDS), np.uint64)
    for number, (factor, offset) in enumerate(zip(_FACTORS, _OFFSETS, strict=True)):
        band = number // ROWS
        keys[:, band] = _mixed(keys[:, band] ^ np.minimum.reduceat(hashed * factor + offset, starts))
    return keys


def _mixed(values: _Keys) -> _Keys:
    """The finaliser of SplitMix64: every bit of the result depends on every bit of the value."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
