"""The sample: the one fixed list of training pairs that every method of a comparison trains on.

A sample pair is a sentence pair with at most one word pair placed in it, found with a dictionary: the English word and
its translation each stand exactly once in their sentence. A sentence pair comes back once per matched word. The draw
goes through a seeded permutation of each language's pairs until its quota is met, so it reads no more than it needs.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from harness.data.matching import Lexicon, Matching
from harness.errors import UsageError, UserError
from harness.method import SamplePair, Span
from harness.records import DictionaryEntry, ParallelPair

_WORD = re.compile(r"\w+")
COMMON = 0.05  # of the pivot's sentences: what stands in more of them is a function word
_COUNTED = 20_000  # sentences in which function words are counted
_FEW = 100  # a word in no more sentences than this is never called common
PAIRS_FILE, CARD_FILE = "pairs.parquet", "sample.json"


class SampleSettings(BaseModel):
    """How the sample is drawn; part of the recipe, so frozen and strict.

    `size` counts sample pairs over all languages. `balance` gives each language the same quota, or one proportional to
    its sentence pairs; what a language cannot fill goes to the others. `unmatched` decides about sentence pairs
    without a word match: dropped for all methods, or kept with the sentence alone. `max_chars` bounds either side. A
    pivot word that stands in more than `max_word_share` of the pivot sentences is a function word and is never placed,
    as the word list of the ML-CTL paper has none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int = Field(gt=0)
    unmatched: Literal["drop", "sentence-only"] = "drop"
    seed: int = Field(default=0, ge=0)
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

    pairs: tuple[SamplePair, ...]
    coverage: tuple[Coverage, ...]
    notes: tuple[str, ...] = ()


def draw_sample(
    parallel: Sequence[ParallelPair], dictionary: Sequence[DictionaryEntry], settings: SampleSettings
) -> Sample:
    """Draws the sample: the same input and settings give the same sample on any machine.

    `sentence` of a sample pair is its place in `parallel`. A language's draw does not depend on which others there are,
    save through its quota. Raises UserError where there is no parallel text, or where no word of the dictionary matches
    although matches are asked for, and UsageError where `size` is too small to cover every language.
    """
    draws = _draws(parallel, dictionary, settings)
    if settings.size < len(draws):
        raise UsageError(
            "the sample is too small to cover every language",
            found=f"size {settings.size} for {len(draws)} languages",
            expected="at least one pair for each language",
            remedy="raise --set sample.size=N, or name fewer languages",
        )
    pairs = _fill(draws, settings)
    coverage = tuple(draw.coverage() for draw in draws)
    if not pairs:
        raise _nothing(coverage, settings)
    order = np.random.default_rng(settings.seed).permutation(len(pairs))
    return Sample(tuple(pairs[place] for place in order), coverage, tuple(_notes(coverage, settings, len(pairs))))


def save_sample(sample: Sample, folder: Path) -> None:
    """Writes the sample into an existing folder: the pairs as Parquet, coverage and notes as JSON."""
    import pyarrow as pa  # here and below: drawing a sample must work on a machine without it
    import pyarrow.parquet as pq

    spans = {
        f"{side}_{end}": pa.array([_end(pair, side, place) for pair in sample.pairs], pa.int32())
        for side in ("source", "target")
        for place, end in enumerate(("start", "end"))
    }
    texts = {name: [getattr(pair, name) for pair in sample.pairs] for name in ("language", "source", "target")}
    numbers = pa.array([pair.sentence for pair in sample.pairs], pa.int64())
    pq.write_table(pa.table({"sentence": numbers, **texts, **spans}), folder / PAIRS_FILE)
    card = {"coverage": [asdict(part) for part in sample.coverage], "notes": list(sample.notes)}
    (folder / CARD_FILE).write_text(json.dumps(card, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def load_sample(folder: Path) -> Sample:
    """The sample that `save_sample` wrote into a folder."""
    import pyarrow.parquet as pq

    columns: dict[str, list[Any]] = pq.read_table(folder / PAIRS_FILE).to_pydict()
    card = json.loads((folder / CARD_FILE).read_text(encoding="utf-8"))
    names = ("sentence", "language", "source", "target", "source_start", "source_end", "target_start", "target_end")
    pairs = tuple(
        SamplePair(sentence, language, source, target, _span(a, b), _span(c, d))
        for sentence, language, source, target, a, b, c, d in zip(*(columns[name] for name in names), strict=True)
    )
    return Sample(pairs, tuple(Coverage(**part) for part in card["coverage"]), tuple(card["notes"]))


class _Draw:
    """The supply of one language's sample pairs in a seeded order, and the count of what was taken from it."""

    def __init__(self, rows: list[tuple[int, ParallelPair]], lexicon: Lexicon, settings: SampleSettings) -> None:
        self.rows, self.language, self.exhausted = rows, rows[0][1].language, False
        self._lexicon, self._settings = lexicon, settings
        self._rng = np.random.default_rng((settings.seed, int.from_bytes(self.language.encode())))
        self._counts: Counter[str] = Counter()
        self._supply = self._sample_pairs()

    def take(self, count: int) -> list[SamplePair]:
        taken = list(islice(self._supply, count))
        self.exhausted = len(taken) < count
        self._counts["taken"] += len(taken)
        return taken

    def coverage(self) -> Coverage:
        names = ("seen", "too_long", "matched", "sentences", "taken")
        counts = {name: self._counts[name] for name in names}
        return Coverage(self.language, len(self.rows), len(self._lexicon), **counts)

    def _sample_pairs(self) -> Iterator[SamplePair]:
        known: set[tuple[str, str]] = set()
        for place in self._rng.permutation(len(self.rows)):
            number, pair = self.rows[place]
            self._counts["seen"] += 1
            too_long = max(len(pair.source), len(pair.target)) > self._settings.max_chars
            self._counts["too_long"] += too_long
            if too_long or (pair.source, pair.target) in known:
                continue
            known.add((pair.source, pair.target))
            for count, (source, target) in enumerate(self._word_pairs(pair)):
                self._counts["sentences"] += count == 0
                yield SamplePair(number, pair.language, pair.source, pair.target, source, target)

    def _word_pairs(self, pair: ParallelPair) -> Sequence[tuple[Span | None, Span | None]]:
        """The word pairs to place in a sentence pair: at most so many, chosen at random; (None, None) for none."""
        found = self._lexicon.matches(pair.source, pair.target)
        self._counts["matched"] += bool(found)
        if not found:
            return [(None, None)] if self._settings.unmatched == "sentence-only" else []
        chosen = self._rng.permutation(len(found))[: self._settings.max_words_per_pair]
        return [found[place] for place in chosen]


def _draws(
    parallel: Sequence[ParallelPair], dictionary: Sequence[DictionaryEntry], settings: SampleSettings
) -> list[_Draw]:
    rows: dict[str, list[tuple[int, ParallelPair]]] = {}
    for number, pair in enumerate(parallel):
        rows.setdefault(pair.language, []).append((number, pair))
    if not rows:
        raise UserError(
            "there is no parallel text to sample from",
            expected="sentence pairs in at least one language",
            remedy="name languages that the source has parallel text for (`alignboard sources` lists them)",
        )
    common = common_words(parallel, settings.max_word_share)
    entries: dict[str, list[DictionaryEntry]] = {}
    for entry in dictionary:
        if entry.source.strip().lower() not in common:
            entries.setdefault(entry.language, []).append(entry)
    lexicons = {language: Lexicon(entries.get(language, ()), settings.matching) for language in rows}
    return [_Draw(rows[language], lexicons[language], settings) for language in sorted(rows)]


def common_words(pairs: Sequence[ParallelPair] | Sequence[SamplePair], share: float = COMMON) -> set[str]:
    """Lower-cased words that stand in more than this share of the pivot's sentences (of an even choice of them)."""
    chosen = pairs[:: 1 + len(pairs) // _COUNTED]
    counts = Counter(word for pair in chosen for word in set(_WORD.findall(pair.source.lower())))
    return {word for word, count in counts.items() if count > max(share * len(chosen), _FEW)}


def _fill(draws: Sequence[_Draw], settings: SampleSettings) -> list[SamplePair]:
    """Takes each language's quota; what one language cannot give is asked of the others, as long as they have any."""
    pairs: list[SamplePair] = []
    active = list(draws)
    while active and len(pairs) < settings.size:
        weights = [len(draw.rows) if settings.balance == "proportional" else 1 for draw in active]
        for draw, quota in zip(active, quotas(settings.size - len(pairs), weights), strict=True):
            pairs.extend(draw.take(quota))
        active = [draw for draw in active if not draw.exhausted]
    return pairs


def quotas(total: int, weights: Sequence[int]) -> list[int]:
    """Shares of `total` in proportion to positive weights (largest remainders), where possible at least 1 each."""
    floor = int(total >= len(weights))
    rest, whole = total - floor * len(weights), sum(weights)
    shares = [rest * weight // whole for weight in weights]
    order = sorted(range(len(weights)), key=lambda place: (-(rest * weights[place] % whole), place))
    for place in order[: rest - sum(shares)]:
        shares[place] += 1
    return [floor + share for share in shares]


def _nothing(coverage: Sequence[Coverage], settings: SampleSettings) -> UserError:
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
        expected="sentence pairs in which an English word and its translation each stand exactly once",
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


def _end(pair: SamplePair, side: str, place: int) -> int | None:
    span: Span | None = getattr(pair, f"{side}_span")
    return None if span is None else span[place]


def _span(start: int | None, end: int | None) -> Span | None:
    return None if start is None or end is None else Span(start, end)
