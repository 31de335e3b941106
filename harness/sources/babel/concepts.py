"""The concepts of the made-up world: a taxonomy of nouns and verbs, properties that exclude each other, function words.

A concept is named by its English gloss. Each group is the hypernym of its members, each kind that of its groups, and
different members of one kind exclude each other: a baker is a worker and a person, and no smith.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

NOUNS: dict[str, dict[str, str]] = {
    "person": {
        "worker": "baker smith farmer weaver miller tailor mason potter",
        "fighter": "guard archer soldier knight captain spy",
        "scholar": "doctor teacher judge priest poet scribe",
        "relative": "aunt uncle cousin sister brother",
    },
    "animal": {
        "beast": "dog cat horse goat wolf bear fox cow",
        "bird": "crow hen goose eagle owl duck",
        "fish": "trout eel carp pike salmon",
        "insect": "bee ant moth wasp",
    },
    "thing": {
        "tool": "hammer knife saw spade needle rake",
        "vessel": "cup jar bucket barrel pot",
        "food": "bread cheese apple honey soup",
        "garment": "coat hat glove boot scarf",
        "instrument": "drum flute harp bell horn",
    },
    "place": {
        "building": "mill tower barn inn temple school",
        "landscape": "river hill forest field shore valley",
        "yard": "garden bridge gate well market",
    },
}

# The frame of a verb says who may stand beside it: see world.FRAMES.
VERBS: dict[str, dict[str, str]] = {
    "act": {
        "strike": "kick punch slap whip",
        "take": "steal borrow grab hide",
        "move": "push drag lift carry",
        "observe": "watch study inspect spot",
        "seek": "find chase follow lose",
    },
    "give": {"transfer": "sell lend show send"},
    "travel": {"go": "walk run crawl swim"},
    "state": {"rest": "sleep sit wait kneel", "sound": "sing shout weep laugh"},
    "employ": {"manage": "hire dismiss train pay"},
    "serve": {"engage": "join quit lead found"},
    "visit": {"cover": "tour cross reach map"},
    "value": {"judge-of": "honour mock thank fear"},
    "speech": {"say": "tell report claim swear"},
}

ADJECTIVES: dict[str, str] = {
    "colour": "red blue green white black yellow",
    "size": "big small tall tiny",
    "age": "old young ancient new",
    "mood": "happy sad angry calm",
    "state": "dirty clean wet dry",
}

TIMES = ("dawn", "noon", "dusk", "midnight", "spring", "summer", "autumn", "winter")
MANNERS = ("slowly", "quickly", "quietly", "loudly", "gladly", "badly")
NUMBERS = ("two", "three", "four", "five", "six", "seven", "eight", "nine")
RELATIONS: dict[str, str] = {  # an adposition, and the adverb that has the same form
    "in": "inside",
    "near": "nearby",
    "behind": "back",
    "under": "below",
    "above": "overhead",
    "beside": "alongside",
}
PATHS = ("to", "from")
PRONOUNS = ("he", "she", "they")
MARKERS: dict[str, str] = {"ORG": "guild bank club school-of", "LOC": "mount lake cape isle"}
TITLES = ("master", "lady")

FUNCTION: dict[str, str] = {
    "the": "DET",
    "a": "DET",
    "this": "DET",
    "that": "DET",
    "one": "NUM",
    "this-one": "PRON",
    "that-clause": "SCONJ",
    "will": "AUX",
    "was": "AUX",
    "not": "PART",
    "by": "ADP",
    "for": "ADP",
    "and": "CCONJ",
}

# Pairs of concepts of different classes that have one form in every language.
ALWAYS_ALIKE: tuple[tuple[str, str], ...] = (
    ("a", "one"),
    ("this", "this-one"),
    ("that", "that-clause"),
    ("was", "wait"),
    *RELATIONS.items(),
)


@dataclass(frozen=True, slots=True)
class Concept:
    """`kind` is the root of a noun, the frame of a verb, the dimension of an adjective; leaves have no members."""

    gloss: str
    tag: str
    kind: str
    parent: str | None = None
    leaf: bool = True


@cache
def concepts() -> dict[str, Concept]:
    """Every concept by its gloss, in a fixed order."""
    found = [*_tree(NOUNS, "NOUN"), *_tree(VERBS, "VERB")]
    found += [Concept(word, "ADJ", kind) for kind, words in ADJECTIVES.items() for word in words.split()]
    found += [Concept(word, "ADV", "time") for word in TIMES] + [Concept(word, "ADV", "manner") for word in MANNERS]
    found += [Concept(word, "NUM", "number") for word in NUMBERS]
    for adposition, adverb in RELATIONS.items():
        found += [Concept(adposition, "ADP", "relation"), Concept(adverb, "ADV", "relation")]
    found += [Concept(word, "ADP", "path") for word in PATHS] + [Concept(word, "PRON", "pronoun") for word in PRONOUNS]
    found += [Concept(word, "PROPN", kind) for kind, words in MARKERS.items() for word in words.split()]
    found += [Concept(word, "NOUN", "title") for word in TITLES]
    found += [Concept(word, tag, "function") for word, tag in FUNCTION.items()]
    result = {concept.gloss: concept for concept in found}
    assert len(result) == len(found), "two concepts have one gloss"
    return result


def _tree(table: dict[str, dict[str, str]], tag: str) -> list[Concept]:
    found = []
    for kind, groups in table.items():
        if tag == "NOUN":
            found.append(Concept(kind, tag, kind, leaf=False))
        for group, members in groups.items():
            found.append(Concept(group, tag, kind, kind if tag == "NOUN" else None, leaf=False))
            found += [Concept(member, tag, kind, group) for member in members.split()]
    return found


@cache
def leaves(gloss: str) -> frozenset[str]:
    """The most specific concepts that a concept covers."""
    concept = concepts()[gloss]
    if concept.leaf:
        return frozenset((gloss,))
    below = [c.gloss for c in concepts().values() if c.parent == gloss]
    return frozenset().union(*(leaves(child) for child in below))


@cache
def members(kind: str, tag: str, leaf: bool = True) -> tuple[str, ...]:
    """The leaves (or the groups) of a kind, in a fixed order."""
    return tuple(
        c.gloss for c in concepts().values() if c.kind == kind and c.tag == tag and c.leaf == leaf and c.gloss != kind
    )


@cache
def children(gloss: str) -> tuple[str, ...]:
    """The concepts right below one, in a fixed order."""
    return tuple(c.gloss for c in concepts().values() if c.parent == gloss)
