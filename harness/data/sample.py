"""The sample: the one fixed list of training pairs that every method of a comparison trains on.

A sample pair is a sentence pair with at most one word pair placed in it, found with a dictionary: the English word and
its translation each occur exactly once in their sentence. A sentence pair occurs once per matched word. The draw
goes through a seeded permutation of each language's pairs until its quota is met, so it reads no more than it needs.
"""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain, islice
from operator import attrgetter
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from harness.data.matching import Lexicon, Matching, lexicons
from harness.data.record_table import ComputedRows, RecordTable, TableLayout, write_table
from harness.errors import UsageError, UserError
from harness.files import read_json, short_digest, write_json
from harness.modeling.array_cache import Arrays, Progress, cached_part
from harness.records import DictionaryEntry, ParallelPair, SamplePair, Span

_WORD = re.compile(r"\w+")
COMMON = 0.05  # of the pivot's sentences: what occurs in more of them is a function word
_COUNTED = 20_000  # sentences in which function words are counted
_FEW = 100  # a word in no more sentences than this is never called common
PAIRS, CARD = "pairs", "sample.json"
MATCHED, FEW_MATCHED = 8192, 64  # sentence pairs that are matched at once, with and without a cache
NO_WORDS = (-1, -1, -1, -1)  # the spans of a sample pair without a word pair

IntArray = NDArray[np.int32]


class SampleSettings(BaseModel):
    """How the sample is drawn; part of the recipe, so frozen and strict.

    `size` counts sample pairs over all languages. `balance` gives each language the same quota, or one proportional to
    its sentence pairs; what a language cannot fill goes to the others. `unmatched` decides about sentence pairs
    without a word match: dropped for all methods, or kept with the sentence alone. `max_chars` bounds either side. A
    pivot word that occurs in more than `max_word_share` of the pivot sentences is a function word and is not matched,
    since the word list of the ML-CTL paper has none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    size: int = Field(gt=0, le=10**10)
    unmatched: Literal["drop", "sentence-only"] = "drop"
    seed: int = Field(default=0, ge=0, lt=2**32)
    balance: Literal["equal", "proportional"] = "equal"
    max_words_per_pair: int = Field(default=3, gt=0)
    max_chars: int = Field(default=400, gt=0)
    max_word_share: float = Field(default=COMMON, gt=0, le=1)
    matching: Matching = "word"


@dataclass(frozen=True)
class Coverage:
    """What the draw read and took of one language.

    `available` sentence pairs and `entries` of the dictionary were there; of the `seen` sentence pairs, `too_long` were
    passed over and `matched` had at least one word pair. `sentences` of them gave `taken` sample pairs.
    """

    language: str
    available: int
    entries: int
    seen: int
    too_long: int
    matched: int
    sentences: int
    taken: int


@dataclass(frozen=True)
class Sample:
    """The drawn pairs in a fixed random order, the coverage of each language, and notes for the user."""

    pairs: Sequence[SamplePair]
    coverage: tuple[Coverage, ...]
    notes: tuple[str, ...] = ()


def draw_sample(
    pool: Sequence[ParallelPair],
    dictionary: Sequence[DictionaryEntry],
    settings: SampleSettings,
    *,
    cache: Path | None = None,
) -> Sample:
    """Draws the sample: the same input and settings give the same sample on any machine.

    `sentence` of a sample pair is its place in `pool`, which the sample keeps and reads texts from. A language's draw
    does not depend on which others there are, save through its quota. Word matches are kept in `cache` where one is
    given: drawing the same sample again, after a kill, resumes there. Raises UserError where there is no parallel text,
    or where no word of the dictionary matches although matches are asked for, and UsageError where `size` is too small
    to cover every language.
    """
    draws = _draws(pool, dictionary, settings, cache)
    if settings.size < len(draws):
        raise UsageError(
            "the sample is too small to cover every language",
            found=f"size {settings.size} for {len(draws)} languages",
            expected="at least one pair for each language",
            remedy="raise --set sample.size=N, or name fewer languages",
        )
    picks = _fill_quotas(draws, settings)
    coverage = tuple(draw.coverage() for draw in draws)
    if not len(picks):
        raise _empty_sample(coverage, settings)
    picks = picks[np.random.default_rng(settings.seed).permutation(len(picks))]

    def read_pair(number: int) -> SamplePair:
        place, *spans = picks[number].tolist()
        pair = pool[place]
        return _sample_pair(place, pair.language, pair.source, pair.target, *spans)

    pairs = ComputedRows(len(picks), read_pair)
    return Sample(pairs, coverage, tuple(_notes(coverage, settings, len(picks))))


def save_sample(sample: Sample, folder: Path) -> None:
    """Writes the sample to an existing folder: the pairs as Arrow files, coverage and notes as JSON."""
    write_table(sample.pairs, folder / PAIRS, PAIR_LAYOUT, "writing the sample")
    card = {"coverage": [asdict(part) for part in sample.coverage], "notes": list(sample.notes)}
    write_json(folder / CARD, card, indent=1)


def load_sample(folder: Path) -> Sample:
    """The sample that `save_sample` wrote to a folder; the pairs are memory-mapped."""
    card = read_json(folder / CARD)
    pairs = RecordTable(folder / PAIRS, PAIR_LAYOUT)
    return Sample(pairs, tuple(Coverage(**part) for part in card["coverage"]), tuple(card["notes"]))


def _sample_pair(
    sentence: int,
    language: str,
    source: str,
    target: str,
    source_start: int,
    source_end: int,
    target_start: int,
    target_end: int,
) -> SamplePair:
    spans = (Span(source_start, source_end), Span(target_start, target_end)) if source_start >= 0 else (None, None)
    return SamplePair(sentence, language, source, target, *spans)


def _pair_values(pair: SamplePair) -> tuple[int | str, ...]:
    spans = (*pair.source_span, *pair.target_span) if pair.source_span and pair.target_span else NO_WORDS
    return pair.sentence, pair.language, pair.source, pair.target, *spans


POOL_LAYOUT: TableLayout[ParallelPair] = TableLayout(
    dict.fromkeys(("id", "language", "source", "target"), "string"),
    attrgetter("id", "language", "source", "target"),
    ParallelPair,
)
PAIR_LAYOUT: TableLayout[SamplePair] = TableLayout(
    {
        "sentence": "int32",
        **dict.fromkeys(("language", "source", "target"), "string"),
        **dict.fromkeys(("source_start", "source_end", "target_start", "target_end"), "int32"),
    },
    _pair_values,
    _sample_pair,
)


class _Draw:
    """The supply of one language's sample pairs in a seeded order, and the count of what was taken from it."""

    def __init__(
        self,
        language: str,
        pool: Sequence[ParallelPair],
        rows: IntArray,
        lexicon: Lexicon,
        settings: SampleSettings,
        cache: Path | None,
    ) -> None:
        self.language, self.rows, self.exhausted = language, rows, False
        self._pool, self._lexicon, self._settings, self._cache = pool, lexicon, settings, cache
        self._rng = np.random.default_rng((settings.seed, int.from_bytes(language.encode())))
        self._counts: Counter[str] = Counter()
        self._supply = self._sample_pairs()

    def take(self, count: int) -> IntArray:
        """The next `count` sample pairs (n, 5), fewer where the supply ends: row of the pool and both spans."""
        numbers = chain.from_iterable(islice(self._supply, count))
        taken = np.fromiter(numbers, np.int32).reshape(-1, 5)
        self.exhausted = len(taken) < count
        self._counts["taken"] += len(taken)
        return taken

    def coverage(self) -> Coverage:
        names = ("seen", "too_long", "matched", "sentences", "taken")
        counts = {name: self._counts[name] for name in names}
        return Coverage(self.language, len(self.rows), len(self._lexicon), **counts)

    def _sample_pairs(self) -> Iterator[tuple[int, ...]]:
        known: set[bytes] = set()
        for row, pair, matches in self._matched_rows():
            self._counts["seen"] += 1
            if self._is_too_long(pair):
                self._counts["too_long"] += 1
                continue
            digest = short_digest(f"{pair.source}\0{pair.target}")
            if digest in known:
                continue
            known.add(digest)
            words = [NO_WORDS] if self._settings.unmatched == "sentence-only" else []
            if len(matches):
                self._counts["matched"] += 1
                words = matches[self._rng.permutation(len(matches))[: self._settings.max_words_per_pair]].tolist()
            self._counts["sentences"] += bool(words)
            yield from ((row, *spans) for spans in words)

    def _matched_rows(self) -> Iterator[tuple[int, ParallelPair, IntArray]]:
        """The rows of the pool in the order of the draw, each with the spans (n, 4) of its word pairs."""
        order = self.rows[self._rng.permutation(len(self.rows))]
        size = MATCHED if self._cache else FEW_MATCHED
        progress = Progress(f"matching words ({self.language})", "sentence pairs", len(order))
        for start in range(0, len(order), size):
            rows = order[start : start + size].tolist()
            pairs = [self._pool[row] for row in rows]
            found: Arrays
            if self._cache is None:
                found = self._match(pairs)
            else:
                found = cached_part(self._cache / f"{self.language}-{start}.npz", partial(self._match, pairs))
            ends = np.cumsum(found["counts"])
            yield from zip(rows, pairs, np.split(found["spans"], ends[:-1]), strict=True)
            progress.advance(len(rows), start + len(rows))

    def _match(self, pairs: Sequence[ParallelPair]) -> Arrays:
        """How many word pairs each sentence pair has, and the spans (n, 4) of all of them."""
        found = [[] if self._is_too_long(p) else self._lexicon.matches(p.source, p.target) for p in pairs]
        spans = [(*word.source, *word.target) for words in found for word in words]
        return {"counts": np.array(list(map(len, found))), "spans": np.array(spans, np.int32).reshape(-1, 4)}

    def _is_too_long(self, pair: ParallelPair) -> bool:
        return max(len(pair.source), len(pair.target)) > self._settings.max_chars


def _draws(
    pool: Sequence[ParallelPair], dictionary: Sequence[DictionaryEntry], settings: SampleSettings, cache: Path | None
) -> list[_Draw]:
    rows: dict[str, array[int]] = {}
    for number, pair in enumerate(pool):
        rows.setdefault(pair.language, array("i")).append(number)
    if not rows:
        raise UserError(
            "there is no parallel text to sample from",
            expected="sentence pairs in at least one language",
            remedy="name languages that the source has parallel text for (`alignboard sources` lists them)",
        )
    known = lexicons(dictionary, settings.matching, leave_out=common_words(pool, settings.max_word_share))
    return [
        _Draw(code, pool, np.frombuffer(own, np.int32), known[code], settings, cache)
        for code, own in sorted(rows.items())
    ]


def common_words(pairs: Sequence[ParallelPair] | Sequence[SamplePair], share: float = COMMON) -> set[str]:
    """Lower-cased words that occur in more than this share of the pivot's sentences (of every n-th of many)."""
    chosen = pairs[:: 1 + len(pairs) // _COUNTED]
    counts = Counter(word for pair in chosen for word in set(_WORD.findall(pair.source.lower())))
    return {word for word, count in counts.items() if count > max(share * len(chosen), _FEW)}


def _fill_quotas(draws: Sequence[_Draw], settings: SampleSettings) -> IntArray:
    """Takes each language's quota (n, 5). What one language lacks is taken from the others, while they have any."""
    taken: list[IntArray] = []
    active, missing = list(draws), settings.size
    while active and missing:
        weights = [len(draw.rows) if settings.balance == "proportional" else 1 for draw in active]
        for draw, quota in zip(active, quotas(missing, weights), strict=True):
            taken.append(draw.take(quota))
        active = [draw for draw in active if not draw.exhausted]
        missing = settings.size - sum(map(len, taken))
    return np.concatenate(taken)


def quotas(total: int, weights: Sequence[int]) -> list[int]:
    """Shares of `total` in proportion to positive weights (largest remainders), where possible at least 1 each."""
    floor = int(total >= len(weights))
    rest, whole = total - floor * len(weights), sum(weights)
    shares = [rest * weight // whole for weight in weights]
    order = sorted(range(len(weights)), key=lambda place: (-(rest * weights[place] % whole), place))
    for place in order[: rest - sum(shares)]:
        shares[place] += 1
    return [floor + share for share in shares]


def _empty_sample(coverage: Sequence[Coverage], settings: SampleSettings) -> UserError:
    seen, entries = sum(part.seen for part in coverage), sum(part.entries for part in coverage)
    if sum(part.too_long for part in coverage) == seen:
        return UserError(
            "every sentence pair is too long for the sample",
            found=f"{seen:,} sentence pairs over {settings.max_chars} characters",
            expected="at least one sentence pair within max_chars",
            remedy="raise the limit: --set sample.max_chars=N",
        )
    return UserError(
        "the dictionary matches no sentence" if entries else "there is no dictionary to match words with",
        found=f"{entries:,} dictionary entries, {seen:,} sentence pairs in {', '.join(p.language for p in coverage)}",
        expected="sentence pairs in which an English word and its translation each occur exactly once",
        remedy="use another dictionary, or keep sentences without words: --set sample.unmatched=sentence-only",
    )


def _notes(coverage: Sequence[Coverage], settings: SampleSettings, total: int) -> Iterator[str]:
    for part in coverage:
        if part.entries == 0:
            fate = "dropped from the sample" if settings.unmatched == "drop" else "sentences without word pairs"
            yield f"{part.language}: no dictionary, {fate}"
        elif part.matched == 0:
            fate = "dropped from the sample" if part.taken == 0 else "sentences without word pairs"
            yield f"{part.language}: no word of its dictionary matches ({part.seen:,} sentence pairs), {fate}"
        elif part.seen == part.available:
            yield f"{part.language}: all of its sentence pairs were read and gave {part.taken:,} sample pairs"
    if total < settings.size:
        yield f"the sample holds {total:,} of the {settings.size:,} pairs asked for"
