"""The training corpora: parallel and running text, dictionary, word links, inference pairs, entities, images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, lru_cache
from typing import NamedTuple

from harness.records import (
    AlignedPair,
    CaptionedImage,
    Corpus,
    CorpusRecord,
    DictionaryEntry,
    Entity,
    MonoSentence,
    ParallelPair,
    Relation,
    TextPair,
)
from harness.sources.babel import edits
from harness.sources.babel.concepts import RELATIONS, concepts, members
from harness.sources.babel.dice import Dice
from harness.sources.babel.grammar import Word, extent, links, named, realise, text
from harness.sources.babel.languages import PIVOT
from harness.sources.babel.lexicon import CASES, Lexicon, lexicon
from harness.sources.babel.meaning import denotation
from harness.sources.babel.pairs import nli_items, paraphrase_items
from harness.sources.babel.sentences import ALL_FRAMES, NER_PROFILE, POOL_PROFILE, Statement, statements, stream
from harness.sources.babel.settings import Settings
from harness.sources.babel.world import FRAMES, NAME_TYPES, Event, Name, Phrase, Profile, split_of

PIVOT_TEXT = 3  # the pivot has so many times the running text of another language
FREE = 25  # in a hundred of the translations: expressed in a style of their own
RESTATED = 90  # in a hundred of the running texts: an event and what follows from it
FEATURES = 64
FACTS = 2  # drawn for each entity
MONO_PROFILE = Profile(
    frames=(*ALL_FRAMES, "act", "act", "give"), names=12, adjective=30, place=30, adverb_place=15, time=25, manner=12,
    speech=4, pronoun=6, demonstrative=6, article=8, number=10,
)  # fmt: skip


def parallel(settings: Settings, code: str) -> Iterator[ParallelPair]:
    """Sentences of the pivot and their translations, a quarter of which are free. Each language has its own."""
    pivot, words = _lexicons(settings, code)
    dice = Dice("translation", settings.seed, code)
    drawn = _statements(settings, f"parallel/{code}", settings.sizes.parallel, POOL_PROFILE)
    for i, (event, style) in enumerate(drawn):
        own = edits.style(dice) if dice.chance(FREE) else style
        target = text(realise(event, words, own))
        yield ParallelPair(f"parallel-{code}-{i:06}", code, text(realise(event, pivot, style)), target)


def mono(settings: Settings, code: str) -> Iterator[MonoSentence]:
    """Running text of one or two sentences; where there are two, the second follows from the first."""
    words = lexicon(settings.seed, settings.languages[code])
    dice = Dice("restatement", settings.seed, code)
    drawn = _statements(settings, f"mono/{code}", count(settings, Corpus.MONO, code), MONO_PROFILE)
    for i, (event, style) in enumerate(drawn):
        line = text(realise(event, words, style))
        if dice.chance(RESTATED):
            again = _restated(settings.seed, dice, event)
            line = f"{line} {text(realise(again, words, edits.style(dice, passive=45)))}"
        yield MonoSentence(f"mono-{code}-{i:06}", code, line)


def _restated(seed: int, dice: Dice, event: Event) -> Event:
    result = event
    for _ in range(0 if event.negated else dice.below(3)):
        changes = edits.general(result) if dice.chance(60) else edits.shorter(result)
        choices = [e for e in changes if split_of(seed, e) == "corpus"]
        result = dice.pick(choices or [result])
    bare = edits.agentless(result)
    return bare if not event.negated and dice.chance(12) and split_of(seed, bare) == "corpus" else result


def dictionary(settings: Settings, code: str) -> Iterator[DictionaryEntry]:
    """Every word of the pivot with each translation of each of its senses, inflected forms included."""
    pivot, words = _lexicons(settings, code)
    seen = set()
    for concept in concepts().values():
        for source in pivot.forms[concept.gloss]:
            for target in _inflected(words, concept.gloss, concept.tag):
                if (source, target) not in seen:
                    seen.add((source, target))
                    yield DictionaryEntry(code, source, target)


def _inflected(words: Lexicon, gloss: str, tag: str) -> list[str]:
    forms = words.forms[gloss]
    if words.language.agreement and tag == "VERB":
        return [form + words.suffixes[ending] for form in forms for ending in ("PERS", "OTHER")]
    if words.language.case and tag in ("NOUN", "ADJ"):
        return [form + ending for form in forms for ending in ("", *(words.suffixes[case] for case in CASES))]
    return list(forms)


def alignment(settings: Settings, code: str) -> Iterator[AlignedPair]:
    """Translations with gold word links; a quarter of them are free."""
    pivot, words = _lexicons(settings, code)
    dice = Dice("alignment", settings.seed, code)
    for i, (event, style) in enumerate(_statements(settings, f"links/{code}", settings.sizes.alignment, POOL_PROFILE)):
        source = realise(event, pivot, style)
        target = realise(event, words, edits.style(dice) if dice.chance(FREE) else style)
        sure, possible = links(source, target)
        forms = tuple(w.form for w in source), tuple(w.form for w in target)
        yield AlignedPair(f"alignment-{code}-{i:06}", code, *forms, sure, possible)


def inference(settings: Settings, code: str) -> Iterator[TextPair]:
    """Labelled premises and hypotheses, parallel across languages, apart from those of the task."""
    yield from _pairs(settings, code, "nli", "corpus", settings.sizes.inference)


def translated_train(settings: Settings, code: str) -> Iterator[TextPair]:
    """The training sets of the two pair tasks in another language; `cluster` is that of the pivot's item."""
    yield from _pairs(settings, code, "nli", "train", settings.sizes.nli)
    yield from _pairs(settings, code, "paraphrase", "train", settings.sizes.paraphrase)


def _pairs(settings: Settings, code: str, task: str, split: str, count: int) -> Iterator[TextPair]:
    items = (nli_items if task == "nli" else paraphrase_items)(settings.seed, split, count)
    words = lexicon(settings.seed, settings.languages[code])
    for i, (first, second, styles, label) in enumerate(items):
        one, other = text(realise(first, words, styles[0])), text(realise(second, words, styles[1]))
        yield TextPair(f"{task}-{split}-{code}-{i:06}", one, other, label, f"{task}-{split}-{i:06}")


def entities(settings: Settings, code: str) -> Iterator[Entity]:
    """Named individuals: a sentence that introduces each, another that mentions it, and how it is related to others.
    Parallel across languages."""
    words = lexicon(settings.seed, settings.languages[code])
    introductions = _introductions(settings.seed, settings.sizes.entities)
    facts = _facts(settings.seed, tuple(known.name.type for known in introductions))
    for i, known in enumerate(introductions):
        mention = realise(known.second.event, words, known.second.style)
        yield Entity(
            id=_entity_id(code, i),
            language=code,
            name=text(named(known.name, words)),
            description=text(realise(known.first.event, words, known.first.style)),
            mention=text(mention),
            span=_span(mention, f"{known.role}."),
            relations=tuple(Relation(words.forms[f.relation][0], _entity_id(code, f.object)) for f in facts[i]),
        )


def _entity_id(code: str, number: int) -> str:
    return f"entity-{code}-{number:05}"


class Introduction(NamedTuple):
    """An entity, the role in which it appears, and two statements about it."""

    name: Name
    role: str
    first: Statement
    second: Statement


@lru_cache(maxsize=4)
def _introductions(seed: int, count: int) -> tuple[Introduction, ...]:
    waiting: dict[tuple[str, str], tuple[Name, Statement]] = {}
    found: list[Introduction] = []
    known: set[Name] = set()
    for statement in stream(seed, "entities", "corpus", NER_PROFILE):
        role, phrase = next(((r, p) for r, p in edits.roles(statement.event) if isinstance(p.head, Name)), ("", None))
        if len(found) == count:
            return tuple(found)
        if phrase is None or not isinstance(phrase.head, Name):
            continue
        place = role, phrase.head.type
        if place not in waiting:
            if phrase.head not in known:
                known.add(phrase.head)
                waiting[place] = phrase.head, statement
            continue
        name, first = waiting[place]
        event = edits.with_phrase(statement.event, role, Phrase(name))
        if split_of(seed, event) == "corpus" and event != first.event:
            del waiting[place]
            found.append(Introduction(name, role, first, Statement(event, statement.style)))
    raise AssertionError("the stream of statements has no end")


class Fact(NamedTuple):
    """What is told of an entity: the concept of the relation, and the number of the other entity."""

    relation: str
    object: int


@lru_cache(maxsize=4)
def _facts(seed: int, types: tuple[str, ...]) -> tuple[tuple[Fact, ...], ...]:
    """Up to two facts of each entity, of different relations, with entities before it: a longer list of entities leaves
    the facts of the shorter one as they are."""
    dice, facts = Dice("facts", seed), []
    earlier: dict[str, list[int]] = {kind: [] for kind in NAME_TYPES}
    for i, kind in enumerate(types):
        told: dict[str, int] = {}
        for _ in range(FACTS):
            relation, wanted = _relation(dice, kind)
            if earlier[wanted] and relation not in told:
                told[relation] = dice.pick(earlier[wanted])
        facts.append(tuple(Fact(relation, other) for relation, other in told.items()))
        earlier[kind].append(i)
    return tuple(facts)


def _relation(dice: Dice, kind: str) -> tuple[str, str]:
    """A relation that an entity of that type may have to another, and the type of the other: places lie somewhere,
    persons and organisations do something."""
    if kind == "LOC":
        return dice.pick(tuple(RELATIONS)), "LOC"
    frame, wanted = dice.pick(
        [(f, p) for f, (agents, patients, _) in FRAMES.items() if kind in agents for p in patients if p in NAME_TYPES]
    )
    return dice.pick(members(frame, "VERB")), wanted


def _span(sentence: tuple[Word, ...], role: str) -> tuple[int, int]:
    """The code points of the name in that role."""
    parts = [i for i, word in enumerate(sentence) if word.slot.startswith(role) and word.entity != "O"]
    return extent(sentence, parts[0], parts[-1])


def images(settings: Settings, code: str) -> Iterator[CaptionedImage]:
    """Captions, parallel across languages, with a feature vector of 64 numbers made of what the caption says."""
    words = lexicon(settings.seed, settings.languages[code])
    for i, (event, style) in enumerate(_statements(settings, "images", settings.sizes.images, POOL_PROFILE)):
        yield CaptionedImage(f"image-{i:06}", code, text(realise(event, words, style)), features(settings.seed, event))


def features(seed: int, event: Event) -> tuple[float, ...]:
    """The sum of a random sign vector for each claim of the event, in eighths: exact on every machine."""
    sums = [0] * FEATURES
    for name, values in sorted(denotation(event).items()):
        for i, sign in enumerate(_signs(seed, f"{name}={' '.join(sorted(values))}")):
            sums[i] += sign
    return tuple(value / 8 for value in sums)


@cache
def _signs(seed: int, claim: str) -> tuple[int, ...]:
    dice = Dice("image", seed, claim)
    return tuple(1 if dice.below(2) else -1 for _ in range(FEATURES))


def _lexicons(settings: Settings, code: str) -> tuple[Lexicon, Lexicon]:
    return lexicon(settings.seed, settings.languages[PIVOT]), lexicon(settings.seed, settings.languages[code])


def _statements(settings: Settings, purpose: str, count: int, profile: Profile) -> tuple[Statement, ...]:
    return statements(settings.seed, purpose, "corpus", count, profile)


Maker = Callable[[Settings, str], Iterator[CorpusRecord]]
MAKERS: dict[Corpus, Maker] = {
    Corpus.PARALLEL: parallel,
    Corpus.MONO: mono,
    Corpus.DICTIONARY: dictionary,
    Corpus.ALIGNMENT: alignment,
    Corpus.NLI: inference,
    Corpus.ENTITIES: entities,
    Corpus.IMAGES: images,
    Corpus.TRANSLATED_TRAIN: translated_train,
}
TWO_SIDED = (Corpus.PARALLEL, Corpus.DICTIONARY, Corpus.ALIGNMENT, Corpus.TRANSLATED_TRAIN)


def count(settings: Settings, kind: Corpus, code: str) -> int:
    """How many records a corpus holds, without making them (the dictionary alone is made, being small)."""
    sizes = settings.sizes
    if kind is Corpus.DICTIONARY:
        return sum(1 for _ in dictionary(settings, code))
    return {
        Corpus.PARALLEL: sizes.parallel,
        Corpus.MONO: sizes.mono * (PIVOT_TEXT if code == PIVOT else 1),
        Corpus.ALIGNMENT: sizes.alignment,
        Corpus.NLI: sizes.inference,
        Corpus.ENTITIES: sizes.entities,
        Corpus.IMAGES: sizes.images,
        Corpus.TRANSLATED_TRAIN: sizes.nli + sizes.paraphrase,
    }[kind]
