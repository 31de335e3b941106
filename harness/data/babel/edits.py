"""Edits of an event: fewer claims, more claims, conflicting claims, and exchanges of two parts."""

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
    return _with_field(event, role, phrase)


def without(event: Event, role: str) -> Event:
    """The event with this role empty. The role may be "time"; a place keeps its relation."""
    if role == "place":
        assert event.place is not None
        return replace(event, place=replace(event.place, ground=None))
    return _with_field(event, role, None)


def _with_field(record: Record, name: str, value: object) -> Record:
    change: dict[str, Any] = {name: value}
    return replace(record, **change)


def roles(event: Event) -> Iterator[tuple[str, Phrase]]:
    """The noun phrases of the clause by role."""
    for role in ROLES:
        phrase = phrase_of(event, role)
        if phrase is not None:
            yield role, phrase


def without_circumstance(event: Event) -> list[Event]:
    """Every event that omits time, manner or place. Each follows from the event."""
    found = [_with_field(event, name, None) for name in ("time", "manner") if getattr(event, name)]
    bare = event.place is not None and frame_of(event) != "travel"
    return [*found, replace(event, place=None)] if bare else found


def shorter_events(event: Event) -> list[Event]:
    """Every event that omits one part. Each follows from the event."""
    found = without_circumstance(event)
    for role, phrase in roles(event):
        parts = [part for part in ("adjective", "number") if getattr(phrase, part)]
        found += [with_phrase(event, role, _with_field(phrase, part, None)) for part in parts]
    return found


def without_agent(event: Event) -> Event:
    """The event without its agent, if a passive can express it. It follows from the event."""
    return replace(event, agent=None) if event.patient is not None and frame_of(event) in ("act", "give") else event


def more_general_events(event: Event) -> list[Event]:
    """Every event with one noun, name or verb replaced by its hypernym. Each follows from the event."""
    found = []
    for role, phrase in roles(event):
        head = phrase.head
        above = ("person" if head.type == "PER" else None) if isinstance(head, Name) else concepts()[head].parent
        if above:
            found.append(with_phrase(event, role, replace(phrase, head=above, title=None)))
    parent = concepts()[event.verb].parent
    return [*found, replace(event, verb=parent)] if parent else found


def weaker_event(event: Event, dice: Dice) -> Event:
    """The event with one claim fewer, or the event itself if no claim can be removed."""
    changes = shorter_events(event), more_general_events(event)
    return dice.pick(changes[dice.below(2)] or changes[0] or changes[1] or [event])


def longer_events(event: Event, world: World, profile: Profile) -> list[Event]:
    """Some events that add one part. The event follows from each."""
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


def more_specific_events(event: Event, dice: Dice) -> list[Event]:
    """Some events with a noun or the verb replaced by a direct hyponym. The event follows from each."""
    found = []
    for role, phrase in roles(event):
        if not isinstance(phrase.head, Name) and children(phrase.head):
            found.append(with_phrase(event, role, replace(phrase, head=dice.pick(children(phrase.head)))))
    below = children(event.verb)
    return [*found, replace(event, verb=dice.pick(below))] if below else found


def stronger_event(event: Event, world: World, profile: Profile) -> Event:
    """An event with one claim more, or the event itself if none can be added."""
    changes = more_specific_events(event, world.dice), longer_events(event, world, profile)
    return world.dice.pick(changes[world.dice.below(2)] or changes[0] or changes[1] or [event])


def conflicting_events(event: Event, dice: Dice) -> list[Event]:
    """Some events that differ from it in one claim. Most of them contradict it."""
    return [*with_other_heads(event, dice), *with_other_properties(event, dice)]


def with_other_heads(event: Event, dice: Dice) -> list[Event]:
    """Some events with another verb, or another noun of the same kind."""
    verb = concepts()[event.verb]
    found = [replace(event, verb=dice.pick(members(verb.kind, "VERB", verb.leaf)))]
    for role, phrase in roles(event):
        head = None if isinstance(phrase.head, Name) else concepts()[phrase.head]
        if head and head.parent:
            other = dice.pick(members(head.kind, "NOUN", head.leaf))
            found.append(with_phrase(event, role, replace(phrase, head=other)))
    return found


def with_other_properties(event: Event, dice: Dice) -> list[Event]:
    """Some events with another time, manner, relation of place, adjective or number."""
    found = []
    for name, choices in (("time", TIMES), ("manner", MANNERS)):
        if getattr(event, name):
            found.append(_with_field(event, name, dice.pick(choices)))
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
    """Every event with the same words in which two participants, or two of their properties, are exchanged."""
    found = []
    pairs = [("agent", "patient"), ("agent", "recipient"), ("agent", "place"), ("patient", "place")]
    for left, right in pairs:
        one, other = phrase_of(event, left), phrase_of(event, right)
        if one is None or other is None:
            continue
        if _is_animate(one) and _is_animate(other) and one.head != other.head:
            found.append(with_phrase(with_phrase(event, left, other), right, one))
            if not isinstance(one.head, Name) and not isinstance(other.head, Name):
                heads = replace(one, head=other.head), replace(other, head=one.head)
                found.append(with_phrase(with_phrase(event, left, heads[0]), right, heads[1]))
        if one.adjective and other.adjective and one.adjective != other.adjective:
            adjectives = replace(one, adjective=other.adjective), replace(other, adjective=one.adjective)
            found.append(with_phrase(with_phrase(event, left, adjectives[0]), right, adjectives[1]))
    return found


def moves(event: Event) -> list[Event]:
    """Every event in which an adjective or a number moves from one noun to another that has none."""
    found = []
    for left, right in permutations([role for role, phrase in roles(event) if not isinstance(phrase.head, Name)], 2):
        one, other = phrase_of(event, left), phrase_of(event, right)
        assert one is not None
        assert other is not None
        for part in ("adjective", "number") if right != "place" else ("adjective",):
            if getattr(one, part) and not getattr(other, part):
                taken = _with_field(one, part, None), _with_field(other, part, getattr(one, part))
                found.append(with_phrase(with_phrase(event, left, taken[0]), right, taken[1]))
    return found


def _is_animate(phrase: Phrase) -> bool:
    if isinstance(phrase.head, Name):
        return phrase.head.type == "PER"
    return concepts()[phrase.head].kind in ("person", "animal")


def random_style(dice: Dice, *, passive: int = 25, front: int = 30, dative: int = 40, synonyms: int = 40) -> Style:
    """A random style. The arguments are probabilities in percent."""
    return Style(
        passive=dice.chance(passive),
        front=dice.pick(("time", "place")) if dice.chance(front) else "",
        dative=dice.chance(dative),
        synonyms=frozenset(slot for slot in SYNONYM_SLOTS if dice.chance(synonyms)),
    )
