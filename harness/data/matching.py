"""Dictionary words in a sentence pair: which English word and which translation of it occur exactly once.

Positions are code points of the original text. Letter case is ignored, and so is whether a letter and its mark are one
character or two. A word ends at a word boundary, except next to characters of scripts written without spaces (Chinese,
Japanese, Thai, ...), where any position may be one; a combining mark always belongs to the character before it.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import pairwise
from typing import Literal, NamedTuple

from harness.modeling.graphemes import boundaries
from harness.records import DictionaryEntry, Span

Matching = Literal["word", "substring"]
_TOKEN = re.compile(r"\w+")
_PREFIX = 4  # headwords are looked up by their first characters; longer prefixes gain nothing on real dictionaries
_JOINERS = "\u200c\u200d"  # zero-width, inside words of Persian and Indic scripts
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u2e80-\u2fdf\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U0001b000-\U0001b16f\U00020000-\U0003ffff]"
)


class WordPair(NamedTuple):
    """The spans of one dictionary word and of its translation."""

    source: Span
    target: Span


class Folded(NamedTuple):
    """Lower-cased text in NFC. `places[i]` is the original span of its i-th character's grapheme; None where every
    character is at its own place."""

    text: str
    places: list[Span] | None

    def span(self, start: int, end: int) -> Span | None:
        """The original span of [start, end), or None where it would cut a grapheme."""
        places = self.places
        if places is None:
            return Span(start, end)
        cuts = (start and places[start] == places[start - 1]) or (end < len(places) and places[end] == places[end - 1])
        return None if cuts else Span(places[start].start, places[end - 1].end)


def fold(text: str) -> Folded:
    """Lower case in NFC with positions kept: some characters become two (U+0130), some become one with their marks."""
    lowered = text.lower()
    if len(lowered) == len(text) and unicodedata.is_normalized("NFC", lowered):
        return Folded(lowered, None)
    spans = [Span(*bounds) for bounds in pairwise(boundaries(text))]
    parts = [unicodedata.normalize("NFC", text[slice(*span)].lower()) for span in spans]
    return Folded("".join(parts), [span for span, part in zip(spans, parts, strict=True) for _ in part])


def occurrences(folded: Folded, word: str, matching: Matching = "word") -> list[Span]:
    """The first two places of a lower-cased word: two are enough to know that it is not unique.

    Overlapping places count for "word"; "substring" counts as str.count does.
    """
    found: list[Span] = []
    text, start = folded.text, folded.text.find(word)
    stride = 1 if matching == "word" else len(word)
    while start >= 0 and len(found) < 2:
        end = start + len(word)
        if matching == "substring" or (_boundary(text, start) and _boundary(text, end)):
            span = folded.span(start, end)
            if span is not None:
                found.append(span)
        start = text.find(word, start + stride)
    return found


class Lexicon:
    """A language's dictionary, indexed for matching.

    `matching`: "word" asks for word boundaries; "substring" is the rule of the released ML-CTL script, a lower-cased
    substring that occurs once, anywhere.
    """

    def __init__(self, entries: Iterable[DictionaryEntry], matching: Matching = "word") -> None:
        self.matching: Matching = matching
        self._targets: dict[str, list[str]] = {}
        for entry in entries:
            source, target = (fold(word.strip()).text for word in (entry.source, entry.target))
            known = self._targets.setdefault(source, [])
            if _is_word(source) and _is_word(target) and target not in known:
                known.append(target)
        self._index: dict[str, list[str]] = {}
        for source, targets in self._targets.items():
            targets.sort(key=len, reverse=True)
            if targets:
                self._index.setdefault(self._key(source), []).append(source)

    def __len__(self) -> int:
        return sum(map(len, self._targets.values()))

    def matches(self, source: str, target: str) -> list[WordPair]:
        """One word pair for each English word that occurs once in `source` while a translation occurs once in `target`.

        Where several translations do, the longest is taken (the first of the dictionary among equals). Ordered by the
        English word's position.
        """
        english, foreign = fold(source), fold(target)
        found = (self._pair(english, foreign, word) for word in self._candidates(english.text))
        pairs = sorted(pair for pair in found if pair is not None)
        if self.matching == "substring":
            return pairs
        # Not the end of an English contraction: the s of "God's", the t of "don't".
        starts = ((pair, pair.source.start) for pair in pairs)
        return [pair for pair, at in starts if not (at > 1 and source[at - 1] in "'’" and source[at - 2].isalnum())]

    def _pair(self, english: Folded, foreign: Folded, word: str) -> WordPair | None:
        here: list[Span] | None = None
        for translation in self._targets[word]:
            if translation not in foreign.text:
                continue
            here = occurrences(english, word, self.matching) if here is None else here
            if len(here) != 1:
                return None
            there = occurrences(foreign, translation, self.matching)
            if len(there) == 1:
                return WordPair(here[0], there[0])
        return None

    def _key(self, word: str) -> str:
        token = _TOKEN.search(word)
        assert token is not None
        return word[:_PREFIX] if self.matching == "substring" else token[0]

    def _candidates(self, text: str) -> Iterator[str]:
        """Headwords that may occur in `text`: those whose first token does, or whose first characters do."""
        if self.matching == "word":
            keys = set(_TOKEN.findall(text))
        else:
            keys = {text[at : at + size] for size in range(1, _PREFIX + 1) for at in range(len(text))}
        for key in keys:
            yield from self._index.get(key, ())


def lexicons(
    dictionary: Iterable[DictionaryEntry], matching: Matching = "word", *, leave_out: Collection[str] = ()
) -> Mapping[str, Lexicon]:
    """The dictionary of each language without the lower-cased pivot words to `leave_out`; empty for other languages."""
    entries: dict[str, list[DictionaryEntry]] = defaultdict(list)
    for entry in dictionary:
        if entry.source.strip().lower() not in leave_out:
            entries[entry.language].append(entry)
    return defaultdict(lambda: Lexicon(()), {code: Lexicon(own, matching) for code, own in entries.items()})


def _is_word(text: str) -> bool:
    """Whether a dictionary's word can occur in a sentence: some letter or digit, and no affix ("self-", "-ness")."""
    return _TOKEN.search(text) is not None and text == text.strip("-")


def _boundary(text: str, at: int) -> bool:
    if at == 0 or at == len(text):
        return True
    before, after = character_kind(text[at - 1]), character_kind(text[at])
    if after == "mark":
        return False
    return before == "other" or after == "other" or "unspaced" in (before, after)


@lru_cache(maxsize=65536)
def character_kind(character: str) -> str:
    """What a character is for the words around it: part of a "word", a "mark" of the character before it, "unspaced"
    where a script has no spaces, or "other"."""
    if unicodedata.category(character).startswith("M") or character in _JOINERS:
        return "mark"
    if _UNSPACED.match(character):
        return "unspaced"
    return "word" if character.isalnum() or character == "_" else "other"
