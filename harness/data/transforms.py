"""Controlled changes of one property of the data, on any source, under the names that recipes use.

`shuffled-pairs` permutes the partners of the sample, as a control for everything except the pairing. The others
change the text of one language: `script:xx`, `inversion:xx`, `permutation:xx` (word order), `shared-words:xx` (half of
its word types keep their form, the rest change script).
"""

from __future__ import annotations

import re
import unicodedata
from abc import ABC
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np

from harness.data.record_table import ComputedRows
from harness.data.source import CorpusCell, Manifest, Source, TaskCell, absolute_uri, open_source
from harness.errors import UsageError, UserError, unknown
from harness.files import short_digest, text_digest
from harness.records import (
    AlignedPair,
    Answer,
    CaptionedImage,
    Corpus,
    CorpusRecord,
    DictionaryEntry,
    Entity,
    MonoSentence,
    ParallelPair,
    PoolSentence,
    Question,
    Record,
    SamplePair,
    TaggedSentence,
    TextPair,
)
from harness.task import TaskSpec

# Letters up to U+17F7 (every alphabet in use below it) move into the Tangut block, which holds exactly as many letters
# and which no task's language is written in. The private use area would not do: BERT tokenizers delete its characters.
_SCRIPT, _MOVED = 0x17000, 0x17F8
_UNSPACED = frozenset({"zh", "ja", "th", "lo", "km", "my", "bo"})
_IDEOGRAPHIC = frozenset({"zh", "ja", "ko"})

Rewrite = Callable[[str], str]
Order = Callable[[Sequence[str]], list[int]]
R = TypeVar("R", bound=Record | CorpusRecord)
C = TypeVar("C", TaskCell, CorpusCell)


def shuffled_pairs(pairs: Sequence[SamplePair], seed: int) -> Sequence[SamplePair]:
    """The sample with the partners permuted within each language: no pair keeps its target text.

    Word spans go with their own side. All pairs of one target text move together, onto a target text with equally many
    pairs as far as there are such, so that repeated sentences and marked words stay as frequent as they were; a pair
    one of whose sides has no word loses the other's. Raises UserError for a language with a single target text.
    """
    units: dict[str, dict[bytes, list[int]]] = {}  # the places of each target text
    for place, pair in enumerate(pairs):
        units.setdefault(pair.language, {}).setdefault(short_digest(pair.target), []).append(place)
    partners = np.empty(len(pairs), np.int32)
    for language, own in sorted(units.items()):
        if len(own) == 1:
            raise UserError(
                f"{language}: one sentence cannot be shuffled",
                found=f"a sample with one target text in {language}",
                expected="at least two",
                remedy="draw a larger sample, or leave the language out",
            )
        rng = np.random.default_rng((seed, int.from_bytes(language.encode())))
        texts = list(own.values())
        order = [texts[number] for number in rng.permutation(len(texts))]
        order.sort(key=lambda unit: (pairs[unit[0]].target_span is None, len(unit)))
        for unit, partner in zip(order, [*order[1:], order[0]], strict=True):
            for turn, place in enumerate(unit):
                partners[place] = partner[turn % len(partner)]

    def with_partner(place: int) -> SamplePair:
        own, partner = pairs[place], pairs[int(partners[place])]
        has_words = own.source_span is not None and partner.target_span is not None
        return replace(
            own,
            target=partner.target,
            source_span=own.source_span if has_words else None,
            target_span=partner.target_span if has_words else None,
        )

    return ComputedRows(len(pairs), with_partner)


def change_script(text: str) -> str:
    """`text` in another script: each letter and mark of an alphabet is replaced by one new letter; the rest stays.

    One-to-one and of equal length, so spans and answers stay where they are. Chinese, Japanese and Korean characters,
    digits and punctuation are kept.
    """
    return "".join(map(_move_character, text))


def invert(words: Sequence[str]) -> list[int]:
    """The positions of the words in inverted order."""
    return list(range(len(words)))[::-1]


def permute(words: Sequence[str]) -> list[int]:
    """The positions of the words in a pseudo-random order that depends on the words alone."""
    return [int(place) for place in np.random.default_rng(_hash(" ".join(words))).permutation(len(words))]


def share_words(text: str, share: float = 0.5) -> str:
    """`text` with this share of its word types kept and the others in another script.

    Whether a word is kept depends on its lower-case letters alone, so it is the same at every occurrence.
    """
    return re.sub(r"\S+", lambda match: match[0] if _word_hash(match[0]) < share else change_script(match[0]), text)


def retag(tags: Sequence[str], order: Sequence[int]) -> list[str]:
    """Tags in a new order; in BIO tags, each contiguous part of a span begins with B-."""
    previous = ["O", *tags]
    starts = [not (tag[:2] == "I-" and before[2:] == tag[2:]) for before, tag in zip(previous, tags, strict=False)]
    spans = list(accumulate(starts))
    moved = []
    for place, old in enumerate(order):
        inside = place > 0 and spans[order[place - 1]] == spans[old]
        prefix, dash, kind = tags[old].partition("-")
        moved.append(f"{'I' if inside else 'B'}-{kind}" if dash and prefix in "BI" else tags[old])
    return moved


class Transform(ABC):
    """A named change of the data: of a source's records, of the drawn sample, or of both."""

    name: str

    def source(self, source: Source) -> Source:
        return source

    def sample(self, pairs: Sequence[SamplePair], seed: int) -> Sequence[SamplePair]:
        return pairs


class ShuffledPairs(Transform):
    name = "shuffled-pairs"

    def sample(self, pairs: Sequence[SamplePair], seed: int) -> Sequence[SamplePair]:
        return shuffled_pairs(pairs, seed)


@dataclass(frozen=True)
class LanguageTransform(Transform):
    """A change of one language's text: `rewrite` changes words and keeps lengths, `order` moves words."""

    name: str
    language: str
    rewrite: Rewrite = str
    order: Order | None = None

    def source(self, source: Source) -> Source:
        return TransformedSource(source, self)

    def text(self, text: str) -> str:
        if self.order is None:
            return self.rewrite(text)
        words = text.split()
        return " ".join(words[place] for place in self.order(words))

    def places(self, words: Sequence[str]) -> list[int]:
        return list(range(len(words))) if self.order is None else self.order(words)


_KINDS: dict[str, Callable[[str, str], LanguageTransform]] = {
    "script": lambda name, language: LanguageTransform(name, language, rewrite=change_script),
    "shared-words": lambda name, language: LanguageTransform(name, language, rewrite=share_words),
    "inversion": lambda name, language: LanguageTransform(name, language, order=invert),
    "permutation": lambda name, language: LanguageTransform(name, language, order=permute),
}


def transform_of(name: str) -> Transform:
    """The transform of a name: `shuffled-pairs`, or KIND:LANGUAGE. Raises UsageError for any other name."""
    if name == ShuffledPairs.name:
        return ShuffledPairs()
    kind, _, language = name.partition(":")
    if kind not in _KINDS or not language:
        known = (ShuffledPairs.name, *(f"{kind}:LANGUAGE" for kind in _KINDS))
        raise unknown("transform", name, known, remedy="name the language after a colon, such as inversion:de")
    blocked = _IDEOGRAPHIC if kind in ("script", "shared-words") else _UNSPACED
    if language in blocked:
        reason = "has more characters than the new script" if blocked is _IDEOGRAPHIC else "is written without spaces"
        raise UsageError(f"{name}: {language} {reason}", remedy="choose another language or another transform")
    return _KINDS[kind](name, language)


class TransformedSource(Source):
    """A source with one language's text changed. Only the cells of that language get a new fingerprint."""

    kind: ClassVar[str] = "transformed"
    name: str = kind

    def __init__(self, inner: Source, transform: LanguageTransform) -> None:
        if transform.language == inner.pivot:
            raise UsageError(
                f"{transform.name} would change the pivot", expected="another language", remedy="name another language"
            )
        self.inner, self.transform, self.pivot = inner, transform, inner.pivot
        self.own_languages, self.generated = inner.own_languages, inner.generated
        self.name = f"{inner.name}+{transform.name}"

    @classmethod
    def open(cls, location: str) -> Source:
        """`transformed:NAME,URI`, such as `transformed:inversion:de,folder:PATH`."""
        name, _, uri = location.partition(",")
        if not name or not uri:
            raise UsageError("a transformed source is written transformed:NAME,SOURCE", found=repr(location))
        return transform_of(name).source(open_source(uri))

    @classmethod
    def absolute(cls, location: str) -> str:
        name, comma, uri = location.partition(",")
        return f"{name}{comma}{absolute_uri(uri) if uri else ''}"

    def manifest(self, specs: Sequence[TaskSpec]) -> Manifest:
        """The inner manifest with new fingerprints. Raises UserError if the source lacks the language."""
        inner, language = self.inner.manifest(specs), self.transform.language
        tasks = tuple(self._marked(cell) if language in cell.view.split(".") else cell for cell in inner.tasks)
        corpora = tuple(self._marked(cell) if cell.language == language else cell for cell in inner.corpora)
        if (tasks, corpora) == (inner.tasks, inner.corpora):
            held = {cell.language for cell in inner.corpora} | {cell.view for cell in inner.tasks}
            what = f"{self.transform.name} has no effect: the source holds nothing in {language}"
            raise UserError(what, found=", ".join(sorted(held)), remedy="name one of its languages")
        note = f"{language}: the text is changed by {self.transform.name}"
        return replace(inner, tasks=tasks, corpora=corpora, notes=(*inner.notes, note))

    def task(self, spec: TaskSpec, view: str, split: str) -> Sequence[Record]:
        return list(self.items(spec, view, split))

    def items(self, spec: TaskSpec, view: str, split: str) -> Iterator[Record]:
        language, (context, _, asked) = self.transform.language, view.partition(".")
        for record in self.inner.items(spec, view, split):
            if language not in (context, asked):
                yield record
                continue
            new = apply_transform(record, self.transform)
            if asked and isinstance(record, Question) and isinstance(new, Question):  # one side is in another language
                wording, text = (new, record) if asked == language else (record, new)
                yield replace(text, question=wording.question)
            else:
                yield new

    def place(self, spec: TaskSpec, view: str, split: str, item: Record | None) -> tuple[str | Path, int | None]:
        return self.inner.place(spec, view, split, item)

    def corpus(self, kind: Corpus, languages: Sequence[str]) -> Sequence[CorpusRecord]:
        return list(self.stream(kind, languages))

    def stream(self, kind: Corpus, languages: Sequence[str]) -> Iterator[CorpusRecord]:
        for language in languages:  # which some records, such as a `TextPair`, do not say
            changed = language == self.transform.language
            for record in self.inner.stream(kind, [language]):
                yield apply_transform(record, self.transform) if changed else record

    def _marked(self, cell: C) -> C:
        return replace(cell, fingerprint=text_digest(f"{self.transform.name} {cell.fingerprint}"))


def apply_transform(record: R, transform: LanguageTransform) -> R:
    """The record with the text of the transform's language changed; pivot text, ids and labels stay."""
    new: R = _CHANGES[type(record)](record, transform)
    return new


def _tagged(record: TaggedSentence, transform: LanguageTransform) -> TaggedSentence:
    places = transform.places(record.words)
    words = tuple(transform.rewrite(record.words[place]) for place in places)
    tags = None if record.tags is None else tuple(retag(record.tags, places))
    return replace(record, words=words, tags=tags)


def _require_order(transform: LanguageTransform, what: str, record: Question | Entity) -> None:
    """Raises UserError for a transform that moves the words of a text with a span in it."""
    if transform.order is not None:
        raise UserError(
            f"{transform.name}: {what}, which another word order would tear apart",
            found=f"the item {record.id}",
            expected="a task or a method without such spans",
            remedy="leave it out, or change the script instead",
        )


def _entity(record: Entity, transform: LanguageTransform) -> Entity:
    _require_order(transform, "mentions are spans of their sentence", record)
    relations = tuple(one._replace(name=transform.text(one.name)) for one in record.relations)
    name, description, mention = map(transform.text, (record.name, record.description, record.mention))
    return replace(record, name=name, description=description, mention=mention, relations=relations)


def _question(record: Question, transform: LanguageTransform) -> Question:
    _require_order(transform, "answers are spans of the context", record)
    context = transform.text(record.context)
    answers = tuple(
        Answer(context[a.start :][: len(a.text)] if a.start >= 0 else transform.text(a.text), a.start)
        for a in record.answers
    )
    return replace(record, question=transform.text(record.question), context=context, answers=answers)


def _target(record: Any, transform: LanguageTransform) -> Any:
    return replace(record, target=transform.text(record.target))


def _aligned(record: AlignedPair, transform: LanguageTransform) -> AlignedPair:
    places = transform.places(record.target)
    new = {old: place for place, old in enumerate(places)}
    return replace(
        record,
        target=tuple(transform.rewrite(record.target[place]) for place in places),
        sure=frozenset((source, new[target]) for source, target in record.sure),
        possible=frozenset((source, new[target]) for source, target in record.possible),
    )


_CHANGES: dict[type, Callable[[Any, LanguageTransform], Any]] = {
    TextPair: lambda pair, change: replace(pair, first=change.text(pair.first), second=change.text(pair.second)),
    TaggedSentence: _tagged,
    PoolSentence: lambda one, change: replace(one, text=change.text(one.text)) if one.side == "source" else one,
    Question: _question,
    ParallelPair: _target,
    DictionaryEntry: _target,
    MonoSentence: lambda sentence, change: replace(sentence, text=change.text(sentence.text)),
    AlignedPair: _aligned,
    Entity: _entity,
    CaptionedImage: lambda image, change: replace(image, caption=change.text(image.caption)),
}


@lru_cache(maxsize=16384)
def _move_character(character: str) -> str:
    movable = ord(character) < _MOVED and unicodedata.category(character)[0] in "LM"
    return chr(_SCRIPT + ord(character)) if movable else character


@lru_cache(maxsize=65536)
def _word_hash(word: str) -> float:
    """A number in [0, 1) that depends on the letters of a word alone."""
    letters = "".join(c for c in word.lower() if unicodedata.category(c)[0] in "LMN")
    return _hash(letters) / 2**64


def _hash(text: str) -> int:
    return int(text_digest(text)[:16], 16)
