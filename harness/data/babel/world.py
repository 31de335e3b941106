"""Events of the made-up world, and their random generation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from harness.data.babel.concepts import (
    ADJECTIVES,
    MANNERS,
    MARKERS,
    NUMBERS,
    PATHS,
    PRONOUNS,
    RELATIONS,
    TIMES,
    TITLES,
    VERBS,
    concepts,
    members,
)
from harness.data.babel.dice import Dice, bucket
from harness.data.babel.lexicon import name_stems

SPLITS = ("test", "dev", "train", "corpus")
NAME_TYPES = ("PER", "LOC", "ORG")


class Name(NamedTuple):
    """A named entity. A person has one or two stems (given and family name); `marker` is a part of the name."""

    type: str
    stems: tuple[str, ...]
    marker: str | None = None


@dataclass(frozen=True, slots=True)
class Phrase:
    """A participant or a place: a noun with its properties, a name (perhaps with a title), or a pronoun."""

    head: str | Name
    adjective: str | None = None
    number: str | None = None
    determiner: str | None = None
    title: str | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """A location: a relation (in, near, ...) to a ground, or an adverb alone if `ground` is None."""

    relation: str
    ground: Phrase | None


@dataclass(frozen=True, slots=True)
class Event:
    verb: str
    agent: Phrase | None
    patient: Phrase | None = None
    recipient: Phrase | None = None
    place: Place | None = None
    time: str | None = None
    manner: str | None = None
    future: bool = False
    negated: bool = False
    speaker: Phrase | None = None
    speech: str | None = None


# Possible agents, patients and recipients of a verb's frame: kinds of nouns, or types of names.
FRAMES: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    "act": (("person", "animal", "PER"), ("person", "animal", "thing", "PER"), ()),
    "give": (("person", "PER", "ORG"), ("thing", "animal"), ("person", "PER", "ORG")),
    "travel": (("person", "animal", "PER"), (), ()),
    "state": (("person", "animal", "PER"), (), ()),
    "employ": (("ORG",), ("person", "PER"), ()),
    "serve": (("person", "PER"), ("ORG",), ()),
    "visit": (("person", "PER", "animal"), ("place", "LOC"), ()),
    "value": (("person", "PER"), ("PER", "ORG", "LOC", "person"), ()),
}


@dataclass(frozen=True)
class Profile:
    """The probability, in percent, of each ingredient of an event. `frames` are drawn uniformly."""

    frames: tuple[str, ...]
    names: int = 30
    group: int = 12
    adjective: int = 35
    number: int = 10
    place: int = 45
    place_name: int = 20
    adverb_place: int = 10
    time: int = 30
    manner: int = 15
    future: int = 20
    negated: int = 12
    speech: int = 0
    pronoun: int = 0
    article: int = 0
    demonstrative: int = 0
    title: int = 10
    affinity: int = 4  # this many words are drawn; the one with the highest affinity to its neighbour is used


@cache
def _stem_pools(seed: int) -> dict[str, dict[str, tuple[str, ...]]]:
    """The stems by split and type of name. Dev and test have stems that occur in no other split."""
    pools: dict[str, dict[str, list[str]]] = {s: {t: [] for t in NAME_TYPES} for s in ("seen", "dev", "test")}
    for stem in name_stems(seed):
        where = ("seen", "seen", "seen", "dev", "test", "test")[bucket(f"stem/{seed}/{stem}", 6)]
        for kind in _name_types(seed, stem):
            pools[where][kind].append(stem)
    return {split: {t: tuple(stems) for t, stems in by.items()} for split, by in pools.items()}


def _name_types(seed: int, stem: str) -> tuple[str, ...]:
    draw = bucket(f"type/{seed}/{stem}", 100)
    if draw < 40:
        return (NAME_TYPES[draw % 3],)
    return tuple(t for i, t in enumerate(NAME_TYPES) if i != draw % 3 or draw >= 85)


class World:
    """Generates random events for one split. Half of the names in dev and test have stems of that split alone."""

    def __init__(self, seed: int, split: str, dice: Dice) -> None:
        self.dice, self._split = dice, split
        pools = _stem_pools(seed)
        self._pools = [pools["seen"]] if split in ("train", "corpus") else [pools["seen"], pools[split]]

    def name(self, kind: str) -> Name:
        dice = self.dice
        stems = dice.pick(self._pools)[kind]
        if kind == "PER":
            return Name(kind, tuple(dice.pick(stems) for _ in range(2 if dice.chance(35) else 1)))
        marker = dice.pick(MARKERS[kind].split()) if dice.chance(35) else None
        return Name(kind, (dice.pick(stems),), marker)

    def noun(self, kind: str, profile: Profile, beside: str) -> Phrase:
        """A noun phrase. The noun has a high affinity to the word `beside` it, the adjective to the noun."""
        dice = self.dice
        nouns = members(kind, "NOUN", leaf=not dice.chance(profile.group))
        head = self._suited(nouns, beside, profile)
        adjective = self._suited(_adjectives(), head, profile) if dice.chance(profile.adjective) else None
        number = dice.pick(NUMBERS) if kind != "place" and dice.chance(profile.number) else None
        return Phrase(head, adjective, number, None if number else self._determiner(profile))

    def _suited(self, choices: Sequence[str], beside: str, profile: Profile) -> str:
        drawn = [self.dice.pick(choices) for _ in range(profile.affinity)]
        return max(drawn, key=lambda word: affinity(_group_of(word), _group_of(beside)))

    def phrase(self, kinds: tuple[str, ...], profile: Profile, beside: str) -> Phrase:
        dice = self.dice
        nouns = [kind for kind in kinds if kind not in NAME_TYPES]
        names = [kind for kind in kinds if kind in NAME_TYPES]
        if not nouns or (names and dice.chance(profile.names)):
            name = self.name(dice.pick(names))
            titled = name.type == "PER" and dice.chance(profile.title)
            return Phrase(name, title=dice.pick(TITLES) if titled else None)
        return self.noun(dice.pick(nouns), profile, beside)

    def event(self, profile: Profile) -> Event:
        dice = self.dice
        frame = dice.pick(profile.frames)
        agents, patients, recipients = FRAMES[frame]
        pronoun = "person" in agents and dice.chance(profile.pronoun)
        verb = dice.pick(members(frame, "VERB", leaf=not dice.chance(profile.group)))
        return Event(
            verb=verb,
            agent=Phrase(dice.pick(PRONOUNS)) if pronoun else self.phrase(agents, profile, verb),
            patient=self.phrase(patients, profile, f"{_group_of(verb)} whom") if patients else None,
            recipient=self.phrase(recipients, profile, f"{_group_of(verb)} for") if recipients else None,
            place=self._place(verb, profile),
            time=self._suited(TIMES, verb, profile) if dice.chance(profile.time) else None,
            manner=self._suited(MANNERS, verb, profile) if dice.chance(profile.manner) else None,
            future=dice.chance(profile.future),
            negated=dice.chance(profile.negated),
            speaker=(speaker := self._speaker(profile)),
            speech=dice.pick(members("speech", "VERB")) if speaker else None,
        )

    def place(self, verb: str, profile: Profile) -> Place:
        """A place other than the goal of a journey."""
        relation = self.dice.pick(tuple(RELATIONS))
        return Place(relation, None if self.dice.chance(profile.adverb_place) else self._ground(verb, profile))

    def _ground(self, verb: str, profile: Profile) -> Phrase:
        if self.dice.chance(profile.place_name):
            return Phrase(self.name("LOC"))
        return self.noun("place", profile, f"{_group_of(verb)} where")

    def _place(self, verb: str, profile: Profile) -> Place | None:
        frame = concepts()[verb].kind
        if frame == "travel":
            return Place(self.dice.pick(PATHS), self._ground(verb, profile))
        return self.place(verb, profile) if frame != "visit" and self.dice.chance(profile.place) else None

    def _determiner(self, profile: Profile) -> str | None:
        if self.dice.chance(profile.demonstrative):
            return self.dice.pick(("this", "that"))
        return self.dice.pick(("the", "a")) if self.dice.chance(profile.article) else None

    def _speaker(self, profile: Profile) -> Phrase | None:
        return self.phrase(("person", "PER", "ORG"), profile, "say") if self.dice.chance(profile.speech) else None


def _group_of(gloss: str) -> str:
    """The group of a word, which decides its affinities: bakers and smiths occur in the same contexts."""
    concept = concepts().get(gloss)
    return concept.parent if concept and concept.leaf and concept.parent else gloss


@cache
def affinity(one: str, other: str) -> int:
    """The affinity of two groups, 0 to 999. It does not depend on the seed."""
    return bucket(f"{one}~{other}", 1000)


@cache
def _adjectives() -> tuple[str, ...]:
    return tuple(word for words in ADJECTIVES.values() for word in words.split())


def phrases(event: Event) -> list[Phrase]:
    """Every noun phrase of an event."""
    ground = event.place.ground if event.place else None
    found = (event.agent, event.patient, event.recipient, ground, event.speaker)
    return [phrase for phrase in found if phrase is not None]


def key(event: Event) -> str:
    """The content words of an event in sorted order. Sentences of two splits never share a key."""
    atoms = [event.verb, event.time, event.manner, event.speech, event.place.relation if event.place else None]
    for phrase in phrases(event):
        stems = phrase.head.stems if isinstance(phrase.head, Name) else (phrase.head,)
        atoms += [*stems, phrase.adjective, phrase.number]
    return " ".join(sorted(atom for atom in atoms if atom))


def split_of(seed: int, event: Event) -> str:
    """The one split in which an event may appear."""
    return SPLITS[(0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3)[bucket(f"{seed} {key(event)}", 16)]]


def frame_of(event: Event) -> str:
    return concepts()[event.verb].kind


assert set(FRAMES) | {"speech"} == set(VERBS), "each frame has its participants"
