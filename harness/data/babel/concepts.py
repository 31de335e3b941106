"""The concepts of the made-up world: a taxonomy of nouns and verbs, properties that exclude each other, function words.

A concept is named by its English gloss. Each group is the hypernym of its members, each kind that of its groups, and
different members of one kind exclude each other: a baker is a worker and a person, and no smith.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

NOUNS: dict[str, dict[str, str]] = {
    "person": {
        "worker": "baker smith farmer weaver",
        "fighter": "guard archer knight spy",
        "scholar": "doctor teacher judge poet",
        "relative": "aunt uncle cousin sister",
    },
    "animal": {
        "beast": "dog cat horse bear",
        "bird": "crow hen goose owl",
        "fish": "trout eel carp pike",
    },
    "thing": {
        "tool": "hammer knife saw spade",
        "vessel": "cup jar bucket pot",
        "food": "bread cheese apple honey",
        "garment": "coat hat glove boot",
    },
    "place": {
        "building": "mill tower barn temple",
        "landscape": "river hill forest field",
        "yard": "garden bridge market well",
    },
}

# The frame of a verb decides its possible participants: see world.FRAMES.
VERBS: dict[str, dict[str, str]] = {
    "act": {
        "strike": "kick punch whip",
        "take": "steal borrow grab",
        "move": "push drag lift",
        "seek": "find chase follow",
    },
    "give": {"transfer": "sell lend send"},
    "travel": {"go": "walk run swim"},
    "state": {"rest": "sleep sit wait", "sound": "sing shout weep"},
    "employ": {"manage": "hire dismiss train"},
    "serve": {"engage": "join quit lead"},
    "visit": {"cover": "tour cross reach"},
    "value": {"rate": "honour mock thank"},
    "speech": {"say": "tell report claim"},
}

ADJECTIVES: dict[str, str] = {
    "colour": "red blue green white",
    "size": "big small tall",
    "mood": "happy sad angry",
    "state": "dirty clean wet",
}

TIMES = ("dawn", "noon", "dusk", "midnight", "summer", "winter")
MANNERS = ("slowly", "quickly", "quietly", "loudly")
NUMBERS = ("two", "three", "four", "five", "six")
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
MARKERS: dict[str, str] = {"ORG": "guild bank club", "LOC": "mount lake cape"}
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
}

# Question words, with the kind that each asks for. No corpus sentence contains them, so the lexicon that the languages
# draw from does not have them.
QUESTION_WORDS = {"who": "person", "what": "thing", "where": "place", "when": "time"}

# Pairs of concepts of different word classes that share one form in every language.
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


@cache
def question_words() -> dict[str, Concept]:
    """The question words by their gloss."""
    return {word: Concept(word, "ADV" if kind == "time" else "PRON", kind) for word, kind in QUESTION_WORDS.items()}


def concept(gloss: str) -> Concept:
    """A concept of the lexicon, or a question word."""
    return question_words().get(gloss) or concepts()[gloss]


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
    """The direct hyponyms of a concept, in a fixed order."""
    return tuple(c.gloss for c in concepts().values() if c.parent == gloss)
