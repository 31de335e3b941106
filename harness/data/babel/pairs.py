"""The two tasks on pairs of sentences: entailment, and paraphrase against exchanged words."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

from harness.data.babel import edits
from harness.data.babel.dice import Dice
from harness.data.babel.grammar import Style, realise, text
from harness.data.babel.languages import LANGUAGES, PIVOT
from harness.data.babel.lexicon import lexicon
from harness.data.babel.meaning import CONTRADICTION, ENTAILMENT, NEUTRAL, relation, same_meaning
from harness.data.babel.world import Event, Profile, World, key, split_of


class Pair(NamedTuple):
    """Two statements, how each is expressed, and the label: the meaning of an item before any language."""

    first: Event
    second: Event
    styles: tuple[Style, Style]
    label: str


NLI_LABELS = (ENTAILMENT, NEUTRAL, CONTRADICTION)
NLI_PROFILE = Profile(
    frames=("act", "act", "act", "give", "travel"),
    names=8, place_name=5, adverb_place=0, adjective=45, number=10, place=35, time=25, manner=15, title=0,
    group=25, negated=0,
)  # fmt: skip
NEGATED = 10  # in a hundred of the hypotheses
OMITTED, GENERALISED = 60, 50  # in a hundred of the premises: what their hypotheses leave out or tell less exactly
SAME_WORDS = 85  # in a hundred of the premises: hypotheses differ by who does what, and by whose properties are told
CHANGE = (  # which change of the premise brings a label about, in a positive and in a negated hypothesis
    {ENTAILMENT: "weaker", NEUTRAL: "stronger", CONTRADICTION: "conflict"},
    {ENTAILMENT: "conflict", NEUTRAL: "stronger", CONTRADICTION: "weaker"},
)
TRIES = 8


@lru_cache(maxsize=4)
def nli_items(seed: int, split: str, count: int) -> tuple[Pair, ...]:
    """`count` pairs whose sentences all belong to the split.

    Training premises come with a hypothesis of each label, all else being equal between them; those of dev and test
    come once, so that items are independent, with balanced labels.
    """
    dice = Dice("nli", seed, split)
    world = World(seed, split, dice)
    found: list[Pair] = []
    seen: set[str] = set()
    while len(found) < count:
        premise = world.event(NLI_PROFILE)
        if split_of(seed, premise) != split or key(premise) in seen:
            continue
        labels = NLI_LABELS if split in ("train", "corpus") else (NLI_LABELS[len(found) % 3],)
        pairs = _hypotheses(world, seed, premise, labels)
        if pairs:
            seen.add(key(premise))
            found += pairs
    return tuple(dice.shuffled(found[:count]))


def _hypotheses(world: World, seed: int, premise: Event, labels: tuple[str, ...]) -> list[Pair]:
    """A hypothesis of each label in the premise's split, or none at all. They share their style and what they omit."""
    dice, base = world.dice, premise
    for changes, share in ((edits.circumstances, OMITTED), (edits.general, GENERALISED)):
        base = dice.pick(changes(base) or [base]) if dice.chance(share) else base
    rearranged, negated = dice.chance(SAME_WORDS), int(dice.chance(NEGATED))
    if rearranged and not (edits.exchanges(base) and edits.moves(base)):
        return []
    styles = tuple(edits.style(dice, passive=20, front=20, synonyms=30) for _ in range(2))
    found = []
    for label in labels:
        attempts = (
            replace(_changed(world, base, CHANGE[negated][label], rearranged), negated=bool(negated))
            for _ in range(TRIES)
        )
        fitting = (
            e for e in attempts if relation(premise, e) == label and split_of(seed, e) == split_of(seed, premise)
        )
        second = next(fitting, None)
        if second is None:
            return []
        found.append(Pair(premise, second, (styles[0], styles[1]), label))
    return found


def _changed(world: World, base: Event, change: str, rearranged: bool) -> Event:
    """The base after a change in its words; or, where it is to be rearranged, after one that keeps all of them."""
    dice = world.dice
    if change == "stronger":
        return dice.pick(edits.moves(base)) if rearranged else edits.stronger(base, world, NLI_PROFILE)
    if change == "weaker":
        return base if rearranged else edits.weaker(base, dice)
    if rearranged:
        return dice.pick(edits.exchanges(base))
    return dice.pick(edits.other_properties(base, dice) or edits.other_heads(base, dice))


PARAPHRASE_PROFILE = Profile(
    frames=("act", "act", "give"),
    names=20, place_name=10, adverb_place=0, adjective=45, number=8, place=35, time=25, manner=0,
    title=0, group=5, negated=8, affinity=1,
)  # fmt: skip
EXCHANGED = 80  # in a hundred of the non-paraphrases; the others have one word replaced
PASSIVE = 25  # in a hundred of the sentences: a change of voice misleads where roles are told by place or by case


@lru_cache(maxsize=4)
def paraphrase_items(seed: int, split: str, count: int) -> tuple[Pair, ...]:
    """`count` pairs of the split, half of them paraphrases ("1"). Both halves vary their expression in the same way."""
    dice = Dice("paraphrase", seed, split)
    world = World(seed, split, dice)
    found: list[Pair] = []
    seen: set[str] = set()
    while len(found) < count:
        event = world.event(PARAPHRASE_PROFILE)
        exchanged = edits.exchanges(event)
        if not exchanged or split_of(seed, event) != split or key(event) in seen:
            continue
        styles = _apart(seed, event, (edits.style(dice, passive=PASSIVE), edits.style(dice, passive=PASSIVE)))
        number, label = len(found) // 2, str(len(found) % 2)
        others = [event] if label == "1" else exchanged if _exchanges(number) else edits.conflicting(event, dice)
        fitting = [e for e in others if (label == "1") == same_meaning(event, e) and split_of(seed, e) == split]
        if fitting:
            seen.add(key(event))
            found.append(Pair(event, dice.pick(fitting), styles, label))
    return tuple(dice.shuffled(found))


def _exchanges(number: int) -> bool:
    """Whether the non-paraphrase of this number is made by an exchange: exactly EXCHANGED of every hundred are."""
    return number * EXCHANGED % 100 < EXCHANGED


def _apart(seed: int, event: Event, styles: tuple[Style, Style]) -> tuple[Style, Style]:
    """The styles, with the second's order changed (or, where that is no change, its voice) where both would say the
    event in the same words of the pivot."""
    words = lexicon(seed, LANGUAGES[PIVOT])
    first, second = styles
    told = text(realise(event, words, first))
    orders = [replace(second, front=front) for front in ("place", "time", "")]
    choices = [second, *orders, replace(second, dative=not second.dative), replace(second, passive=not second.passive)]
    return first, next((s for s in choices if text(realise(event, words, s)) != told), choices[-1])
