"""The training corpora: parallel and running text, dictionary, word links, inference pairs, entities, images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache, lru_cache
from typing import NamedTuple

from harness.data.babel import edits
from harness.data.babel.concepts import concepts
from harness.data.babel.dice import Dice
from harness.data.babel.grammar import Word, extent, links, named, realise, text
from harness.data.babel.languages import PIVOT
from harness.data.babel.lexicon import CASES, Lexicon, lexicon
from harness.data.babel.meaning import denotation
from harness.data.babel.pairs import nli_items, paraphrase_items
from harness.data.babel.sentences import ALL_FRAMES, POOL_PROFILE, Statement, statements, stream
from harness.data.babel.settings import Settings
from harness.data.babel.world import NAME_TYPES, Event, Name, Phrase, Profile, split_of
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

PIVOT_TEXT = 3  # the pivot has so many times the running text of another language
FREE = 25  # in a hundred of the translations: expressed in a style of their own
RESTATED = 90  # in a hundred of the running texts: an event and what follows from it
FEATURES = 64
ENTITY_PROFILE = Profile(
    frames=(*ALL_FRAMES, "employ", "serve", "value", "visit"), names=85, place_name=80, adjective=40, place=60,
    manner=20, time=35, title=8, article=5,
)  # fmt: skip
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
    """Named individuals: a sentence that describes each, another that mentions it, and how it is related to some before
    it, as the description tells. Parallel across languages."""
    words = lexicon(settings.seed, settings.languages[code])
    for i, known in enumerate(_individuals(settings.seed, settings.sizes.entities)):
        mention = realise(known.mention.event, words, known.mention.style)
        yield Entity(
            id=f"entity-{code}-{i:05}",
            language=code,
            entity=_entity(i),
            name=text(named(known.name, words)),
            description=text(realise(known.description.event, words, known.description.style)),
            mention=text(mention),
            span=_span(mention, f"{known.role}."),
            relations=tuple(Relation(words.forms[f.relation][0], _entity(f.object)) for f in known.facts),
        )


def _entity(number: int) -> str:
    return f"entity-{number:05}"


class Fact(NamedTuple):
    """What a description tells of its entity: the concept of a relation, and the number of the other entity."""

    relation: str
    object: int


class Individual(NamedTuple):
    """An entity, the role in which it appears, what describes it, what mentions it, and its facts."""

    name: Name
    role: str
    description: Statement
    mention: Statement
    facts: tuple[Fact, ...]


@lru_cache(maxsize=4)
def _individuals(seed: int, count: int) -> tuple[Individual, ...]:
    """A longer list begins with the shorter one."""
    dice = Dice("individuals", seed)
    found: list[Individual] = []
    known: dict[str, dict[Name, int]] = {kind: {} for kind in NAME_TYPES}
    for statement in stream(seed, "entities", "corpus", ENTITY_PROFILE):
        if len(found) == count:
            return tuple(found)
        names = [(role, p.head) for role, p in edits.roles(statement.event) if isinstance(p.head, Name)]
        if not names or names[0][1] in known[names[0][1].type]:
            continue
        role, name = names[0]
        event, facts = _told(replace(statement.event, negated=False), names[1:], known, dice)
        others = [other for other in _retold(event, role, dice) if split_of(seed, other) == "corpus"]
        if split_of(seed, event) == "corpus" and others:
            mention = Statement(dice.pick(others), edits.style(dice))
            known[name.type][name] = len(found)
            found.append(Individual(name, role, Statement(event, statement.style), mention, facts))
    raise AssertionError("the stream of statements has no end")


def _told(
    event: Event, names: Sequence[tuple[str, Name]], known: Mapping[str, Mapping[Name, int]], dice: Dice
) -> tuple[Event, tuple[Fact, ...]]:
    """The event with these names, each in its role, replaced by others that are known: the facts of its entity. What
    somebody does is told of the first of them that it is done to, where it is done of the place."""
    told: dict[str, int] = {}
    for role, name in names:
        relation = event.place.relation if role == "place" and event.place else event.verb
        if known[name.type] and relation not in told:
            other = dice.pick(tuple(known[name.type]))
            event = edits.with_phrase(event, role, Phrase(other))
            told[relation] = known[name.type][other]
    return event, tuple(Fact(relation, other) for relation, other in told.items())


def _retold(event: Event, role: str, dice: Dice) -> list[Event]:
    """Events that say what the event says of who is in that role, but for one or two claims, changed or left out."""
    changed = [again for other in edits.conflicting(event, dice) for again in edits.conflicting(other, dice)]
    less = [again for other in changed for again in (*edits.circumstances(other), other) if other != event]
    return [again for again in less if edits.phrase_of(again, role) == edits.phrase_of(event, role)]


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
