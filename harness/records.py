"""One typed record per family of tasks and per kind of corpus. Text is Unicode, never normalised here.

`cluster` joins items that are not independent: parallel items across languages, questions of one paragraph. Empty means
that the item stands alone and its id is its cluster.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple


class Corpus(StrEnum):
    """What a method may need beside the base encoder. A source's manifest says which of them it offers."""

    PARALLEL = "parallel"
    MONO = "mono"
    DICTIONARY = "dictionary"
    ALIGNMENT = "alignment"
    NLI = "nli"
    ENTITIES = "entities"
    IMAGES = "images"
    TRANSLATED_TRAIN = "translated-train"


@dataclass(frozen=True, slots=True)
class TextPair:
    """One item of a classification task; `label` is None where the labels are withheld."""

    id: str
    first: str
    second: str
    label: str | None
    cluster: str = ""


@dataclass(frozen=True, slots=True)
class TaggedSentence:
    """One item of a tagging task: words and, unless withheld, one tag per word."""

    id: str
    words: tuple[str, ...]
    tags: tuple[str, ...] | None
    cluster: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """`start` is the answer's place in the context in code points; -1 where its text is not there."""

    text: str
    start: int


@dataclass(frozen=True, slots=True)
class Question:
    """One item of a question-answering task; `answers` is empty where withheld. `language` is that of the context, and
    so of the answer; the question may be in another one."""

    id: str
    question: str
    context: str
    answers: tuple[Answer, ...]
    cluster: str = ""
    language: str = ""


@dataclass(frozen=True, slots=True)
class PoolSentence:
    """One sentence of a retrieval pool. Source sentences are foreign, target sentences are in the pivot language.

    `partners` are the ids of its translations on the other side: empty for a distractor, None where gold is withheld.
    """

    id: str
    side: str  # "source" | "target"
    text: str
    partners: tuple[str, ...] | None
    cluster: str = ""


@dataclass(frozen=True, slots=True)
class ParallelPair:
    """A sentence in the pivot language (`source`) and its translation (`target`) in `language`."""

    id: str
    language: str
    source: str
    target: str


@dataclass(frozen=True, slots=True)
class MonoSentence:
    id: str
    language: str
    text: str


@dataclass(frozen=True, slots=True)
class DictionaryEntry:
    """A pivot word (`source`) and one translation of it in `language`; an entry may have several words."""

    language: str
    source: str
    target: str


@dataclass(frozen=True, slots=True)
class AlignedPair:
    """A tokenised sentence pair with gold word links: 0-based (source, target) word positions, sure within possible."""

    id: str
    language: str
    source: tuple[str, ...]
    target: tuple[str, ...]
    sure: frozenset[tuple[int, int]]
    possible: frozenset[tuple[int, int]]
    cluster: str = ""


Record = TextPair | TaggedSentence | Question | PoolSentence | AlignedPair


class Relation(NamedTuple):
    """How an entity is related to another: in the words of its language, and which `entity` the other is."""

    name: str
    object: str


@dataclass(frozen=True, slots=True)
class Entity:
    """An entity's name and description in one language, and a sentence that mentions it at `span` (code points).

    `entity` identifies it in every language (`Q64`); an entity may have several records in a language.
    """

    id: str
    language: str
    entity: str
    name: str
    description: str
    mention: str
    span: tuple[int, int]
    relations: tuple[Relation, ...] = ()


@dataclass(frozen=True, slots=True)
class CaptionedImage:
    """A caption in one language and the feature vector of its image."""

    id: str
    language: str
    caption: str
    features: tuple[float, ...]


CorpusRecord = ParallelPair | MonoSentence | DictionaryEntry | AlignedPair | TextPair | Entity | CaptionedImage


class Span(NamedTuple):
    """Code points [start, end) of a word in its sentence."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class SamplePair:
    """One training pair of the sample: the pivot side, the foreign side, and the word pair matched in them, if any.

    `sentence` is the id of the sentence pair, which is repeated once per matched word.
    """

    sentence: int
    language: str
    source: str
    target: str
    source_span: Span | None
    target_span: Span | None

    def lowercase(self) -> SamplePair:
        """The pair in lower case, character by character, so that the spans stay valid."""
        return replace(self, source=_lowercase(self.source), target=_lowercase(self.target))


def _lowercase(text: str) -> str:
    if len(text.lower()) == len(text):
        return text.lower()  # knows the sigma that ends a Greek word
    return "".join(low if len(low := c.lower()) == 1 else c for c in text)
