"""Changes of an event: weaker (fewer claims), stronger (more claims), conflicting, and exchanges of two parts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import permutations
from typing import Any, TypeVar

from harness.data.babel.concepts import (
    ADJECTIVES,
    MANNERS,
    NUMBERS,
    PATHS,
    RELATIONS,
    TIMES,
    children,
    concepts,
    members,
)
from harness.data.babel.dice import Dice
from harness.data.babel.grammar import ROLES, SYNONYM_SLOTS, Style
from harness.data.babel.world import Event, Name, Phrase, Place, Profile, World, frame_of

Record = TypeVar("Record", Event, Phrase)


def phrase_of(event: Event, role: str) -> Phrase | None:
    if role == "place":
        return event.place.ground if event.place else None
    found: Phrase | None = getattr(event, role)
    return found


def with_phrase(event: Event, role: str, phrase: Phrase) -> Event:
    if role == "place":
        assert event.place is not None
        return replace(event, place=replace(event.place, ground=phrase))
    return _set(event, role, phrase)


def without(event: Event, role: str) -> Event:
    """The event with nothing in this role, which may be "time"; of a place its relation stays."""
    if role == "place":
        assert event.place is not None
        return replace(event, place=replace(event.place, ground=None))
    return _set(event, role, None)


def _set(record: Record, name: str, value: object) -> Record:
    change: dict[str, Any] = {name: value}
    return replace(record, **change)


def roles(event: Event) -> Iterator[tuple[str, Phrase]]:
    """The noun phrases of the clause by role."""
    for role in ROLES:
        phrase = phrase_of(event, role)
        if phrase is not None:
            yield role, phrase


def circumstances(event: Event) -> list[Event]:
    """Every event that leaves out time, manner or place: a consequence of it."""
    found = [_set(event, name, None) for name in ("time", "manner") if getattr(event, name)]
    bare = event.place is not None and frame_of(event) != "travel"
    return [*found, replace(event, place=None)] if bare else found


def shorter(event: Event) -> list[Event]:
    """Every event that leaves out one part: a consequence of it."""
    found = circumstances(event)
    for role, phrase in roles(event):
        parts = [part for part in ("adjective", "number") if getattr(phrase, part)]
        found += [with_phrase(event, role, _set(phrase, part, None)) for part in parts]
    return found


def agentless(event: Event) -> Event:
    """The event without its agent, where it can be told in the passive: a consequence of it."""
    return replace(event, agent=None) if event.patient is not None and frame_of(event) in ("act", "give") else event


def general(event: Event) -> list[Event]:
    """Every event with one noun, name or verb replaced by what stands right above it: a consequence of it."""
    found = []
    for role, phrase in roles(event):
        head = phrase.head
        above = ("person" if head.type == "PER" else None) if isinstance(head, Name) else concepts()[head].parent
        if above:
            found.append(with_phrase(event, role, replace(phrase, head=above, title=None)))
    parent = concepts()[event.verb].parent
    return [*found, replace(event, verb=parent)] if parent else found


def weaker(event: Event, dice: Dice) -> Event:
    """The event with one claim less, or the event itself where there is none to give up."""
    changes = shorter(event), general(event)
    return dice.pick(changes[dice.below(2)] or changes[0] or changes[1] or [event])


def longer(event: Event, world: World, profile: Profile) -> list[Event]:
    """Some events that add one part: the event is a consequence of each."""
    dice = world.dice
    found = []
    if event.time is None:
        found.append(replace(event, time=dice.pick(TIMES)))
    if event.manner is None:
        found.append(replace(event, manner=dice.pick(MANNERS)))
    if event.place is None and frame_of(event) not in ("travel", "visit"):
        found.append(replace(event, place=world.place(event.verb, profile)))
    for role, phrase in roles(event):
        if phrase.adjective is None and not isinstance(phrase.head, Name):
            adjective = dice.pick(ADJECTIVES[dice.pick(tuple(ADJECTIVES))].split())
            found.append(with_phrase(event, role, replace(phrase, adjective=adjective)))
    return found


def special(event: Event, dice: Dice) -> list[Event]:
    """Some events with a noun or the verb replaced by one right below it: the event is a consequence of each."""
    found = []
    for role, phrase in roles(event):
        if not isinstance(phrase.head, Name) and children(phrase.head):
            found.append(with_phrase(event, role, replace(phrase, head=dice.pick(children(phrase.head)))))
    below = children(event.verb)
    return [*found, replace(event, verb=dice.pick(below))] if below else found


def stronger(event: Event, world: World, profile: Profile) -> Event:
    """An event with one claim more, or the event itself where there is none to add."""
    changes = special(event, world.dice), longer(event, world, profile)
    return world.dice.pick(changes[world.dice.below(2)] or changes[0] or changes[1] or [event])


def conflicting(event: Event, dice: Dice) -> list[Event]:
    """Some events that differ in one claim, so that most of them cannot both be true."""
    return [*other_heads(event, dice), *other_properties(event, dice)]


def other_heads(event: Event, dice: Dice) -> list[Event]:
    """Some events with another verb, or another noun of the same kind."""
    verb = concepts()[event.verb]
    found = [replace(event, verb=dice.pick(members(verb.kind, "VERB", verb.leaf)))]
    for role, phrase in roles(event):
        head = None if isinstance(phrase.head, Name) else concepts()[phrase.head]
        if head and head.parent:
            other = dice.pick(members(head.kind, "NOUN", head.leaf))
            found.append(with_phrase(event, role, replace(phrase, head=other)))
    return found


def other_properties(event: Event, dice: Dice) -> list[Event]:
    """Some events with another time, manner, relation of place, adjective or number."""
    found = []
    for name, choices in (("time", TIMES), ("manner", MANNERS)):
        if getattr(event, name):
            found.append(_set(event, name, dice.pick(choices)))
    if event.place is not None:
        relations = PATHS if event.place.relation in PATHS else tuple(RELATIONS)
        found.append(replace(event, place=Place(dice.pick(relations), event.place.ground)))
    for role, phrase in roles(event):
        if phrase.adjective is not None:
            adjective = dice.pick(ADJECTIVES[concepts()[phrase.adjective].kind].split())
            found.append(with_phrase(event, role, replace(phrase, adjective=adjective)))
        if phrase.number is not None:
            found.append(with_phrase(event, role, replace(phrase, number=dice.pick(NUMBERS))))
    return found


def exchanges(event: Event) -> list[Event]:
    """Every event made of the same words with two participants, or two of their properties, exchanged."""
    found = []
    pairs = [("agent", "patient"), ("agent", "recipient"), ("agent", "place"), ("patient", "place")]
    for left, right in pairs:
        one, other = phrase_of(event, left), phrase_of(event, right)
        if one is None or other is None:
            continue
        if _animate(one) and _animate(other) and one.head != other.head:
            found.append(with_phrase(with_phrase(event, left, other), right, one))
            if not isinstance(one.head, Name) and not isinstance(other.head, Name):
                heads = replace(one, head=other.head), replace(other, head=one.head)
                found.append(with_phrase(with_phrase(event, left, heads[0]), right, heads[1]))
        if one.adjective and other.adjective and one.adjective != other.adjective:
            adjectives = replace(one, adjective=other.adjective), replace(other, adjective=one.adjective)
            found.append(with_phrase(with_phrase(event, left, adjectives[0]), right, adjectives[1]))
    return found


def moves(event: Event) -> list[Event]:
    """Every event in which an adjective or a number has gone over from one noun to another that had none."""
    found = []
    for left, right in permutations([role for role, phrase in roles(event) if not isinstance(phrase.head, Name)], 2):
        one, other = phrase_of(event, left), phrase_of(event, right)
        assert one is not None
        assert other is not None
        for part in ("adjective", "number") if right != "place" else ("adjective",):
            if getattr(one, part) and not getattr(other, part):
                taken = _set(one, part, None), _set(other, part, getattr(one, part))
                found.append(with_phrase(with_phrase(event, left, taken[0]), right, taken[1]))
    return found


def _animate(phrase: Phrase) -> bool:
    if isinstance(phrase.head, Name):
        return phrase.head.type == "PER"
    return concepts()[phrase.head].kind in ("person", "animal")


def style(dice: Dice, *, passive: int = 25, front: int = 30, dative: int = 40, synonyms: int = 40) -> Style:
    """A style at random; each choice is made in so many of a hundred."""
    return Style(
        passive=dice.chance(passive),
        front=dice.pick(("time", "place")) if dice.chance(front) else "",
        dative=dice.chance(dative),
        synonyms=frozenset(slot for slot in SYNONYM_SLOTS if dice.chance(synonyms)),
    )
