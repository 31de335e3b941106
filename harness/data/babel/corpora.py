"""The training corpora: parallel and running text, dictionary, word links, inference pairs, entities, images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache, lru_cache
from typing import NamedTuple

from harness.data.babel import edits
from harness.data.babel.concepts import concepts
from harness.data.babel.dice import Dice
from harness.data.babel.grammar import Word, character_span, name_words, realise, text, word_links
from harness.data.babel.languages import PIVOT
from harness.data.babel.lexicon import CASES, BabelLexicon, lexicon
from harness.data.babel.meaning import denotation
from harness.data.babel.pairs import text_pairs
from harness.data.babel.sentences import ALL_FRAMES, POOL_PROFILE, Statement, statement_stream, statements
from harness.data.babel.settings import BabelSettings
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

PIVOT_TEXT = 3  # the pivot has this many times the running text of another language
FREE = 25  # percent of the translations that have a style of their own
RESTATED = 90  # percent of the running texts that consist of an event and a consequence of it
FEATURES = 64
ENTITY_PROFILE = Profile(
    frames=(*ALL_FRAMES, "employ", "serve", "value", "visit"), names=85, place_name=80, adjective=40, place=60,
    manner=20, time=35, title=8, article=5,
)  # fmt: skip
MONO_PROFILE = Profile(
    frames=(*ALL_FRAMES, "act", "act", "give"), names=12, adjective=30, place=30, adverb_place=15, time=25, manner=12,
    speech=4, pronoun=6, demonstrative=6, article=8, number=10,
)  # fmt: skip


def parallel(settings: BabelSettings, code: str) -> Iterator[ParallelPair]:
    """Sentences of the pivot and their translations, a quarter of which are free. Each language has its own."""
    pivot, words = _lexicons(settings, code)
    dice = Dice("translation", settings.seed, code)
    drawn = _statements(settings, f"parallel/{code}", settings.sizes.parallel, POOL_PROFILE)
    for i, (event, style) in enumerate(drawn):
        own = edits.random_style(dice) if dice.chance(FREE) else style
        target = text(realise(event, words, own))
        yield ParallelPair(f"parallel-{code}-{i:06}", code, text(realise(event, pivot, style)), target)


def mono(settings: BabelSettings, code: str) -> Iterator[MonoSentence]:
    """Running text of one or two sentences. A second sentence follows from the first."""
    words = lexicon(settings.seed, settings.languages[code])
    dice = Dice("restatement", settings.seed, code)
    drawn = _statements(settings, f"mono/{code}", count(settings, Corpus.MONO, code), MONO_PROFILE)
    for i, (event, style) in enumerate(drawn):
        line = text(realise(event, words, style))
        if dice.chance(RESTATED):
            again = _restatement(settings.seed, dice, event)
            line = f"{line} {text(realise(again, words, edits.random_style(dice, passive=45)))}"
        yield MonoSentence(f"mono-{code}-{i:06}", code, line)


def _restatement(seed: int, dice: Dice, event: Event) -> Event:
    result = event
    for _ in range(0 if event.negated else dice.below(3)):
        changes = edits.more_general_events(result) if dice.chance(60) else edits.shorter_events(result)
        choices = [e for e in changes if split_of(seed, e) == "corpus"]
        result = dice.pick(choices or [result])
    bare = edits.without_agent(result)
    return bare if not event.negated and dice.chance(12) and split_of(seed, bare) == "corpus" else result


def dictionary(settings: BabelSettings, code: str) -> Iterator[DictionaryEntry]:
    """Every word of the pivot with each translation of each of its senses, inflected forms included."""
    pivot, words = _lexicons(settings, code)
    seen = set()
    for concept in concepts().values():
        for source in pivot.forms[concept.gloss]:
            for target in _inflected_forms(words, concept.gloss, concept.tag):
                if (source, target) not in seen:
                    seen.add((source, target))
                    yield DictionaryEntry(code, source, target)


def _inflected_forms(words: BabelLexicon, gloss: str, tag: str) -> list[str]:
    forms = words.forms[gloss]
    if words.language.agreement and tag == "VERB":
        return [form + words.suffixes[ending] for form in forms for ending in ("PERS", "OTHER")]
    if words.language.case and tag in ("NOUN", "ADJ"):
        return [form + ending for form in forms for ending in ("", *(words.suffixes[case] for case in CASES))]
    return list(forms)


def alignment(settings: BabelSettings, code: str) -> Iterator[AlignedPair]:
    """Translations with gold word links; a quarter of them are free."""
    pivot, words = _lexicons(settings, code)
    dice = Dice("alignment", settings.seed, code)
    for i, (event, style) in enumerate(_statements(settings, f"links/{code}", settings.sizes.alignment, POOL_PROFILE)):
        source = realise(event, pivot, style)
        target = realise(event, words, edits.random_style(dice) if dice.chance(FREE) else style)
        sure, possible = word_links(source, target)
        forms = tuple(w.form for w in source), tuple(w.form for w in target)
        yield AlignedPair(f"alignment-{code}-{i:06}", code, *forms, sure, possible)


def inference(settings: BabelSettings, code: str) -> Iterator[TextPair]:
    """Labelled premises and hypotheses, parallel across languages, disjoint from those of the task."""
    yield from text_pairs(settings, "nli", code, "corpus", settings.sizes.inference)


def translated_train(settings: BabelSettings, code: str) -> Iterator[TextPair]:
    """The training sets of the two pair tasks in another language. An item has the `cluster` of its pivot item."""
    yield from text_pairs(settings, "nli", code, "train", settings.sizes.nli)
    yield from text_pairs(settings, "paraphrase", code, "train", settings.sizes.paraphrase)


def entities(settings: BabelSettings, code: str) -> Iterator[Entity]:
    """Named entities, each with a sentence that describes it, a sentence that mentions it, and its relations to earlier
    entities, as the description states them. Parallel across languages."""
    words = lexicon(settings.seed, settings.languages[code])
    for i, known in enumerate(_individuals(settings.seed, settings.sizes.entities)):
        mention = realise(known.mention.event, words, known.mention.style)
        yield Entity(
            id=f"entity-{code}-{i:05}",
            language=code,
            entity=_entity_id(i),
            name=text(name_words(known.name, words)),
            description=text(realise(known.description.event, words, known.description.style)),
            mention=text(mention),
            span=_name_span(mention, f"{known.role}."),
            relations=tuple(Relation(words.forms[f.relation][0], _entity_id(f.object)) for f in known.facts),
        )


def _entity_id(number: int) -> str:
    return f"entity-{number:05}"


class Fact(NamedTuple):
    """A relation that a description states: its concept, and the number of the other entity."""

    relation: str
    object: int


class Individual(NamedTuple):
    """An entity, the role in which it appears, its description, a mention of it, and its facts."""

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
    for statement in statement_stream(seed, "entities", "corpus", ENTITY_PROFILE):
        if len(found) == count:
            return tuple(found)
        names = [(role, p.head) for role, p in edits.roles(statement.event) if isinstance(p.head, Name)]
        if not names or names[0][1] in known[names[0][1].type]:
            continue
        role, name = names[0]
        event, facts = _insert_known_names(replace(statement.event, negated=False), names[1:], known, dice)
        others = [other for other in _possible_mentions(event, role, dice) if split_of(seed, other) == "corpus"]
        if split_of(seed, event) == "corpus" and others:
            mention = Statement(dice.pick(others), edits.random_style(dice))
            known[name.type][name] = len(found)
            found.append(Individual(name, role, Statement(event, statement.style), mention, facts))
    raise AssertionError("the stream of statements has no end")


def _insert_known_names(
    event: Event, names: Sequence[tuple[str, Name]], known: Mapping[str, Mapping[Name, int]], dice: Dice
) -> tuple[Event, tuple[Fact, ...]]:
    """The event with the names in these roles replaced by known entities, and the facts that it then states. The
    relation is the verb, or the relation of the place; each relation is used once."""
    objects: dict[str, int] = {}
    for role, name in names:
        relation = event.place.relation if role == "place" and event.place else event.verb
        if known[name.type] and relation not in objects:
            other = dice.pick(tuple(known[name.type]))
            event = edits.with_phrase(event, role, Phrase(other))
            objects[relation] = known[name.type][other]
    return event, tuple(Fact(relation, other) for relation, other in objects.items())


def _possible_mentions(event: Event, role: str, dice: Dice) -> list[Event]:
    """Events about the same participant in that role that change or omit one or two claims of the event."""
    once = edits.conflicting_events(event, dice)
    twice = [second for first in once for second in edits.conflicting_events(first, dice)]
    less = [shorter for other in twice for shorter in (*edits.without_circumstance(other), other) if other != event]
    return [shorter for shorter in less if edits.phrase_of(shorter, role) == edits.phrase_of(event, role)]


def _name_span(sentence: tuple[Word, ...], role: str) -> tuple[int, int]:
    """The code points [start, end) of the name in that role."""
    parts = [i for i, word in enumerate(sentence) if word.slot.startswith(role) and word.entity != "O"]
    return character_span(sentence, parts[0], parts[-1])


def images(settings: BabelSettings, code: str) -> Iterator[CaptionedImage]:
    """Captions, parallel across languages, each with a feature vector of 64 numbers that encodes its meaning."""
    words = lexicon(settings.seed, settings.languages[code])
    for i, (event, style) in enumerate(_statements(settings, "images", settings.sizes.images, POOL_PROFILE)):
        caption = text(realise(event, words, style))
        yield CaptionedImage(f"image-{i:06}", code, caption, image_features(settings.seed, event))


def image_features(seed: int, event: Event) -> tuple[float, ...]:
    """The sum of a random sign vector for each claim of the event, in eighths: exact on every machine."""
    sums = [0] * FEATURES
    for name, values in sorted(denotation(event).items()):
        for i, sign in enumerate(_sign_vector(seed, f"{name}={' '.join(sorted(values))}")):
            sums[i] += sign
    return tuple(value / 8 for value in sums)


@cache
def _sign_vector(seed: int, claim: str) -> tuple[int, ...]:
    dice = Dice("image", seed, claim)
    return tuple(1 if dice.below(2) else -1 for _ in range(FEATURES))


def _lexicons(settings: BabelSettings, code: str) -> tuple[BabelLexicon, BabelLexicon]:
    return lexicon(settings.seed, settings.languages[PIVOT]), lexicon(settings.seed, settings.languages[code])


def _statements(settings: BabelSettings, purpose: str, count: int, profile: Profile) -> tuple[Statement, ...]:
    return statements(settings.seed, purpose, "corpus", count, profile)


Maker = Callable[[BabelSettings, str], Iterator[CorpusRecord]]
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


def count(settings: BabelSettings, kind: Corpus, code: str) -> int:
    """The number of records in a corpus. Only the dictionary, which is small, is generated for it."""
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
