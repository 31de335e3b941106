"""Passages that questions are asked about: the meaning of a reading-comprehension item before any language.

The sentences of a passage are one event and others made from it: the same words with two participants or two of their
properties exchanged, the event denied, moved to another time, or with one word changed. Each has a filler of its own in
the place that is asked for. The words of a question therefore stand in several sentences beside a phrase of the right
kind, and only what the sentences mean tells which of them answers.
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
from harness.data.babel.meaning import denotation, within
from harness.data.babel.sentences import Statement
from harness.data.babel.world import Event, Name, Phrase, Profile, World, key, phrases, split_of


class Asked(NamedTuple):
    """A question: the event with a question word in the role that is asked for, how it is expressed, and the number of
    the statement that answers it by what stands there in the same role. The role may be "time"."""

    event: Event
    style: Style
    statement: int
    role: str


class Passage(NamedTuple):
    """Statements in their order, and questions on them, each of which one statement answers."""

    statements: tuple[Statement, ...]
    questions: tuple[Asked, ...]


class Told(NamedTuple):
    """An event of a passage, and the role whose filler is its own."""

    event: Event
    role: str


PROFILE = Profile(
    frames=("act", "act", "act", "give", "give", "travel"),
    names=25, place_name=20, adverb_place=0, adjective=50, number=8, place=75, time=45, manner=15, future=30, title=5,
    group=0, negated=0, article=10,
)  # fmt: skip
SENTENCES = 5
REARRANGED = 2  # sentences at most that have the same words in other roles, before others are taken
DECOYS = 2  # sentences at least that have every word of a test question and do not answer it
UNRELATED = 50  # in a hundred of the training passages: sentences that have little in common
SHORTENED, GENERALISED = 25, 25  # in a hundred of the questions: they leave something out, or say it less exactly
PASSIVE = 40  # in a hundred of the sentences and questions
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
    """Passages of the split with so many questions in all, at most `each` of them on one."""
    found: list[Passage] = []
    left = questions
    stream = _stream(seed, purpose, split, each)
    while left > 0:
        passage = next(stream)
        found.append(passage._replace(questions=passage.questions[:left]))
        left -= len(passage.questions)
    return tuple(found)


def _stream(seed: int, purpose: str, split: str, each: int) -> Iterator[Passage]:
    """Passages without end, made of different events. All that they state or ask belongs to the split."""
    world = World(seed, split, Dice(purpose, seed, split))
    seen: set[str] = set()
    while True:
        told = world.dice.shuffled(_scene(world, seed, split, seen))
        questions = tuple(islice(_questions(world.dice, seed, split, told), each))
        if questions:
            yield Passage(tuple(Statement(event, _style(world.dice)) for event, _ in told), questions)


def _scene(world: World, seed: int, split: str, seen: set[str]) -> list[Told]:
    """A new event of the split and others made from it; none where what was drawn cannot be used."""
    base = world.event(PROFILE)
    role = world.dice.pick(roles_of(base))
    heads = [phrase.head for phrase in phrases(base)]
    new = len(set(heads)) == len(heads) and key(base) not in seen
    if not new or any(split_of(seed, event) != split for event in (base, edits.without(base, role))):
        return []
    seen.add(key(base))
    found, taken = [Told(base, role)], {*heads, filler(base, role)}
    unrelated = split == "train" and world.dice.chance(UNRELATED)
    for variant in _others(world, base, role) if unrelated else _variants(world.dice, base, role):
        other = _refilled(world, seed, split, variant, taken)
        if other is not None:
            taken.add(filler(*other))
            found.append(other)
        if len(found) == SENTENCES:
            return found
    return []


def _variants(dice: Dice, base: Event, role: str) -> list[Told]:
    """Events made from the base whose fillers are the base's yet: those of the same words, others, and the rest."""
    same = dice.shuffled(_rearranged(base, role))
    first, second = dice.shuffled([replace(base, negated=True), replace(base, future=not base.future)])
    rest = edits.without(base, role)
    other = dice.shuffled([event for event in edits.conflicting(rest, dice) if event != rest])
    changed = [_put(event, role, filler(base, role)) for event in other]
    return [*same[:REARRANGED], *(Told(event, role) for event in (first, *changed, second)), *same[REARRANGED:]]


def _others(world: World, base: Event, role: str) -> Iterator[Told]:
    """Events of their own that have something of the kind that is asked for, as many as it may take."""
    kind = _kind(filler(base, role))
    for _ in range(TRIES * SENTENCES):
        event = world.event(PROFILE)
        places = [place for place in roles_of(event) if _kind(filler(event, place)) == kind]
        if places:
            yield Told(event, world.dice.pick(places))


def _rearranged(base: Event, role: str) -> list[Told]:
    """The words of the base in other places. The filler, which loses its properties, may be in another role."""
    bare = _put(base, role, filler(base, role))
    events = [*edits.exchanges(bare), *edits.moves(bare)]
    if role == "time":
        return [Told(event, role) for event in events]
    found = [(event, place, phrase) for event in events for place, phrase in edits.roles(event)]
    return [Told(event, place) for event, place, phrase in found if phrase == Phrase(filler(base, role))]


def _refilled(world: World, seed: int, split: str, told: Told, taken: set[str | Name]) -> Told | None:
    """The event with a filler of the same kind that is not taken yet; none where the split has no such event."""
    event, role = told
    kind = _kind(filler(event, role))
    for _ in range(TRIES):
        if kind == "time":
            other = replace(event, time=world.dice.pick(TIMES))
        else:
            other = edits.with_phrase(event, role, world.phrase(FILLERS[kind], PROFILE, event.verb))
        if filler(other, role) not in taken and split_of(seed, other) == split:
            return Told(other, role)
    return None


def _questions(dice: Dice, seed: int, split: str, told: Sequence[Told]) -> Iterator[Asked]:
    """A question on each statement that others could be mistaken for, in an order at random."""
    events = [event for event, _ in told]
    for number in dice.shuffled(range(len(told))):
        event, role = told[number]
        word, rest = question_word(event, role), edits.without(event, role)
        if split != "train" and _decoys(rest, events) <= DECOYS:  # the statement itself is one of them
            continue
        for asked in (_vaguer(dice, rest, role), rest):
            if split_of(seed, asked) == split and answering(asked, role, word, events) == [number]:
                yield Asked(_put(asked, role, word), _style(dice), number, role)
                break


def answering(asked: Event, role: str, word: str, events: Sequence[Event]) -> list[int]:
    """The numbers of the events from which it follows what is asked, told without its question word."""
    name = role if role == "time" else f"{role}.kind"
    demanded = {**denotation(asked), name: ANSWERS[word]}
    return [i for i, event in enumerate(events) if not event.negated and within(denotation(event), demanded)]


def _decoys(asked: Event, events: Sequence[Event]) -> int:
    """How many events have every word of what is asked."""
    wanted = set(key(asked).split())
    return sum(wanted <= set(key(event).split()) for event in events)


def _vaguer(dice: Dice, asked: Event, role: str) -> Event:
    """What is asked, perhaps without a circumstance, perhaps with a word for more than what was told."""
    if dice.chance(SHORTENED):
        kept = [event for event in edits.circumstances(asked) if event.place or role != "place"]
        asked = dice.pick(kept or [asked])
    return dice.pick(edits.general(asked) or [asked]) if dice.chance(GENERALISED) else asked


def roles_of(event: Event) -> list[str]:
    """What may be asked for."""
    return [*(role for role, _ in edits.roles(event)), *(("time",) if event.time else ())]


def question_word(event: Event, role: str) -> str:
    """The gloss of the question word for what stands in this role."""
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


def _put(event: Event, role: str, head: str | Name) -> Event:
    """The event with a time, or with a phrase that has this head and nothing else."""
    if role == "time":
        assert isinstance(head, str)
        return replace(event, time=head)
    return edits.with_phrase(event, role, Phrase(head))


def _style(dice: Dice) -> Style:
    return edits.style(dice, passive=PASSIVE)
