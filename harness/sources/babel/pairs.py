"""The two tasks on pairs of sentences: entailment, and paraphrase against exchanged words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

from harness.sources.babel import edits
from harness.sources.babel.dice import Dice
from harness.sources.babel.grammar import Style
from harness.sources.babel.meaning import CONTRADICTION, ENTAILMENT, NEUTRAL, relation, same_meaning
from harness.sources.babel.world import Event, Profile, World, key, split_of


class Pair(NamedTuple):
    """Two statements, how each is expressed, and the label: the meaning of an item before any language."""

    first: Event
    second: Event
    styles: tuple[Style, Style]
    label: str


NLI_LABELS = (ENTAILMENT, NEUTRAL, CONTRADICTION)
NLI_PROFILE = Profile(
    frames=("act", "act", "give", "state", "travel"),
    names=12, place_name=8, adverb_place=5, adjective=40, number=15, place=50, time=35, manner=20, title=0,
    indefinite=0, negated=0,
)  # fmt: skip
# Whether premise and hypothesis are negated, for each label. The marginal of each side hardly tells the label.
NEGATION: dict[str, tuple[tuple[bool, bool], ...]] = {
    ENTAILMENT: ((False, False),) * 6 + ((False, True),) * 2 + ((True, True),) * 2,
    NEUTRAL: ((False, False),) * 6 + ((False, True),) * 2 + ((True, False), (True, True)),
    CONTRADICTION: ((False, False),) * 6 + ((False, True),) * 2 + ((True, False),) * 2,
}
TRIES = 6


@lru_cache(maxsize=4)
def nli_items(seed: int, split: str, count: int) -> tuple[Pair, ...]:
    """`count` pairs whose sentences all belong to the split. Labels are balanced."""
    dice = Dice("nli", seed, split)
    world = World(seed, split, dice)
    found: list[Pair] = []
    seen: set[str] = set()
    while len(found) < count:
        premise = world.event(NLI_PROFILE)
        if split_of(seed, premise) != split or key(premise) in seen:
            continue
        label = NLI_LABELS[len(found) % 3]
        pair = next((p for p in _hypotheses(world, premise, label) if split_of(seed, p.second) == split), None)
        if pair is not None:
            seen.add(key(premise))
            found.append(pair)
    return tuple(dice.shuffled(found))


def _hypotheses(world: World, premise: Event, label: str) -> Iterator[Pair]:
    """Attempts at a hypothesis of that label; those of another label are left out."""
    dice = world.dice
    for _ in range(TRIES):
        negated = dice.pick(NEGATION[label])
        first = replace(premise, negated=negated[0])
        second = replace(_edited(world, premise, label, negated), negated=negated[1])
        if relation(first, second) == label:
            yield Pair(first, second, (edits.style(dice), edits.style(dice)), label)


def _edited(world: World, premise: Event, label: str, negated: tuple[bool, bool]) -> Event:
    dice = world.dice
    event = premise
    essential = _essential(dice, label, negated)
    for _ in range(dice.pick((1, 1, 2, 2, 3) if essential == "weaker" else (0, 0, 1, 1, 2))):
        event = dice.pick([event] if essential == "stronger" and negated[0] else edits.weaker(event) or [event])
    if essential == "stronger":
        return dice.pick(edits.stronger(event, world, NLI_PROFILE) or [event])
    if essential == "conflict":
        exchanged = edits.exchanges(event)
        return dice.pick(exchanged) if exchanged and dice.chance(40) else dice.pick(edits.conflicting(event, dice))
    return event


def _essential(dice: Dice, label: str, negated: tuple[bool, bool]) -> str:
    """Which kind of change brings the label about under this pattern of negation."""
    if label == NEUTRAL:
        return dice.pick(("weaker", "conflict")) if negated[0] else "stronger"
    if negated[0]:
        return "stronger"
    return "weaker" if (label == ENTAILMENT) != negated[1] else "conflict"


PARAPHRASE_PROFILE = Profile(
    frames=("act", "act", "give"),
    names=25, place_name=20, adverb_place=5, adjective=45, number=10, place=45, time=35, manner=0,
    title=0, indefinite=0, group=5, negated=8,
)  # fmt: skip
EXCHANGED = 85  # in a hundred of the non-paraphrases; the others have one word replaced


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
        styles = edits.style(dice, passive=40), edits.style(dice, passive=40)
        label = str(len(found) % 2)
        other = event if label == "1" else _other(dice, event, exchanged)
        if (label == "1") != same_meaning(event, other) or split_of(seed, other) != split:
            continue
        seen.add(key(event))
        found.append(Pair(event, other, styles, label))
    return tuple(dice.shuffled(found))


def _other(dice: Dice, event: Event, exchanged: list[Event]) -> Event:
    return dice.pick(exchanged if dice.chance(EXCHANGED) else edits.conflicting(event, dice))
