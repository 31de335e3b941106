"""Passages and questions on them: the meaning of reading-comprehension items, independent of any language.

The sentences of a passage are one event and variants of it: the same words with two participants or two of their
properties exchanged, the event negated, in another tense, or with one word changed. Each has its own filler in the role
that is asked for. So the words of a question occur in several sentences next to a phrase of the right kind, and only
the meaning of the sentences decides which one is the answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import islice
from typing import NamedTuple

from harness.data.babel import edits
from harness.data.babel.concepts import TIMES, concepts, leaves
from harness.data.babel.dice import Dice
from harness.data.babel.grammar import Style
from harness.data.babel.meaning import denotation, entails
from harness.data.babel.sentences import Statement
from harness.data.babel.world import Event, Name, Phrase, Profile, World, key, phrases, split_of


class PassageQuestion(NamedTuple):
    """A question: the event with a question word in the role that is asked for, its style, and the index of the
    statement that answers it with its phrase in the same role. The role may be "time"."""

    event: Event
    style: Style
    statement: int
    role: str


class Passage(NamedTuple):
    """Statements in order, and questions on them. Each question is answered by one statement."""

    statements: tuple[Statement, ...]
    questions: tuple[PassageQuestion, ...]


class PassageEvent(NamedTuple):
    """An event of a passage, and the role whose filler no other event of the passage has."""

    event: Event
    role: str


PROFILE = Profile(
    frames=("act", "act", "act", "give", "give", "travel"),
    names=25, place_name=20, adverb_place=0, adjective=50, number=8, place=75, time=45, manner=15, future=30, title=5,
    group=0, negated=0, article=10,
)  # fmt: skip
SENTENCES = 5
REARRANGED = 2  # at most this many sentences with the same words in other roles, before other variants
DECOYS = 2  # at least this many sentences contain every word of a test question and do not answer it
UNRELATED = 50  # percent of the training passages whose sentences have little in common
SHORTENED, GENERALISED = 25, 25  # percent of the questions that omit something, or use a more general word
PASSIVE = 40  # percent of the sentences and questions
TRIES = 12
FILLERS = {"person": ("person", "PER"), "animal": ("animal",), "thing": ("thing",), "place": ("place", "LOC")}
WORDS = {"person": "who", "animal": "what", "thing": "what", "place": "where", "time": "when"}
ANSWERS = {
    "who": leaves("person") | {"organisation"},
    "what": leaves("animal") | leaves("thing"),
    "where": leaves("place"),
    "when": frozenset(TIMES),
}


@lru_cache(maxsize=12)
def passages(seed: int, purpose: str, split: str, questions: int, each: int) -> tuple[Passage, ...]:
    """Passages of the split with this many questions in total, at most `each` per passage."""
    found: list[Passage] = []
    left = questions
    stream = _stream(seed, purpose, split, each)
    while left > 0:
        passage = next(stream)
        found.append(passage._replace(questions=passage.questions[:left]))
        left -= len(passage.questions)
    return tuple(found)


def _stream(seed: int, purpose: str, split: str, each: int) -> Iterator[Passage]:
    """An endless stream of passages on different events. Every statement and question belongs to the split."""
    world = World(seed, split, Dice(purpose, seed, split))
    seen: set[str] = set()
    while True:
        scene = world.dice.shuffled(_scene(world, seed, split, seen))
        questions = tuple(islice(_questions(world.dice, seed, split, scene), each))
        if questions:
            yield Passage(tuple(Statement(event, _style(world.dice)) for event, _ in scene), questions)


def _scene(world: World, seed: int, split: str, seen: set[str]) -> list[PassageEvent]:
    """A new event of the split and variants of it, or an empty list if the random event cannot be used."""
    base = world.event(PROFILE)
    role = world.dice.pick(roles_of(base))
    heads = [phrase.head for phrase in phrases(base)]
    new = len(set(heads)) == len(heads) and key(base) not in seen
    if not new or any(split_of(seed, event) != split for event in (base, edits.without(base, role))):
        return []
    seen.add(key(base))
    found, taken = [PassageEvent(base, role)], {*heads, filler(base, role)}
    unrelated = split == "train" and world.dice.chance(UNRELATED)
    for variant in _unrelated_events(world, base, role) if unrelated else _variants(world.dice, base, role):
        other = _refill(world, seed, split, variant, taken)
        if other is not None:
            taken.add(filler(*other))
            found.append(other)
        if len(found) == SENTENCES:
            return found
    return []


def _variants(dice: Dice, base: Event, role: str) -> list[PassageEvent]:
    """Variants of the base with its filler: rearrangements of its words first, then other changes."""
    same = dice.shuffled(_rearrangements(base, role))
    first, second = dice.shuffled([replace(base, negated=True), replace(base, future=not base.future)])
    rest = edits.without(base, role)
    other = dice.shuffled([event for event in edits.conflicting_events(rest, dice) if event != rest])
    changed = [_with_head(event, role, filler(base, role)) for event in other]
    return [*same[:REARRANGED], *(PassageEvent(event, role) for event in (first, *changed, second)), *same[REARRANGED:]]


def _unrelated_events(world: World, base: Event, role: str) -> Iterator[PassageEvent]:
    """Unrelated events that have a phrase of the kind that is asked for."""
    kind = _kind(filler(base, role))
    for _ in range(TRIES * SENTENCES):
        event = world.event(PROFILE)
        places = [place for place in roles_of(event) if _kind(filler(event, place)) == kind]
        if places:
            yield PassageEvent(event, world.dice.pick(places))


def _rearrangements(base: Event, role: str) -> list[PassageEvent]:
    """The words of the base in other roles. The filler loses its properties and may be in another role."""
    bare = _with_head(base, role, filler(base, role))
    events = [*edits.exchanges(bare), *edits.moves(bare)]
    if role == "time":
        return [PassageEvent(event, role) for event in events]
    found = [(event, place, phrase) for event in events for place, phrase in edits.roles(event)]
    return [PassageEvent(event, place) for event, place, phrase in found if phrase == Phrase(filler(base, role))]


def _refill(world: World, seed: int, split: str, base: PassageEvent, taken: set[str | Name]) -> PassageEvent | None:
    """The event with another filler of the same kind that is not in `taken`, or None if the split has none."""
    event, role = base
    kind = _kind(filler(event, role))
    for _ in range(TRIES):
        if kind == "time":
            other = replace(event, time=world.dice.pick(TIMES))
        else:
            other = edits.with_phrase(event, role, world.phrase(FILLERS[kind], PROFILE, event.verb))
        if filler(other, role) not in taken and split_of(seed, other) == split:
            return PassageEvent(other, role)
    return None


def _questions(dice: Dice, seed: int, split: str, scene: Sequence[PassageEvent]) -> Iterator[PassageQuestion]:
    """A question on each statement that has decoys, in random order."""
    events = [event for event, _ in scene]
    for number in dice.shuffled(range(len(scene))):
        event, role = scene[number]
        word, rest = question_word(event, role), edits.without(event, role)
        wanted = set(key(rest).split())
        decoys = sum(wanted <= set(key(event).split()) for event in events)  # the statement itself counts as one
        if split != "train" and decoys <= DECOYS:
            continue
        for asked in (_make_vaguer(dice, rest, role), rest):
            if split_of(seed, asked) == split and answering_events(asked, role, word, events) == [number]:
                yield PassageQuestion(_with_head(asked, role, word), _style(dice), number, role)
                break


def answering_events(asked: Event, role: str, word: str, events: Sequence[Event]) -> list[int]:
    """The indices of the events that answer a question (`asked`, without its question word)."""
    name = role if role == "time" else f"{role}.kind"
    demanded = {**denotation(asked), name: ANSWERS[word]}
    return [i for i, event in enumerate(events) if not event.negated and entails(denotation(event), demanded)]


def _make_vaguer(dice: Dice, asked: Event, role: str) -> Event:
    """The question, sometimes without a circumstance, sometimes with a more general word."""
    if dice.chance(SHORTENED):
        kept = [event for event in edits.without_circumstance(asked) if event.place or role != "place"]
        asked = dice.pick(kept or [asked])
    return dice.pick(edits.more_general_events(asked) or [asked]) if dice.chance(GENERALISED) else asked


def roles_of(event: Event) -> list[str]:
    """The roles that a question can ask for."""
    return [*(role for role, _ in edits.roles(event)), *(("time",) if event.time else ())]


def question_word(event: Event, role: str) -> str:
    """The gloss of the question word that asks for this role."""
    return WORDS[_kind(filler(event, role))]


def filler(event: Event, role: str) -> str | Name:
    """The head of the phrase in this role, or the time."""
    phrase = None if role == "time" else edits.phrase_of(event, role)
    head = phrase.head if phrase else event.time
    assert head is not None
    return head


def _kind(head: str | Name) -> str:
    if isinstance(head, Name):
        return {"PER": "person", "ORG": "person", "LOC": "place"}[head.type]
    return concepts()[head].kind


def _with_head(event: Event, role: str, head: str | Name) -> Event:
    """The event with this time, or with a bare phrase with this head."""
    if role == "time":
        assert isinstance(head, str)
        return replace(event, time=head)
    return edits.with_phrase(event, role, Phrase(head))


def _style(dice: Dice) -> Style:
    return edits.random_style(dice, passive=PASSIVE)
