"""The two tasks on pairs of sentences: entailment, and paraphrase against exchanged words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

from harness.sources.babel import edits
from harness.sources.babel.dice import Dice
from harness.sources.babel.grammar import Style, realise, text
from harness.sources.babel.languages import LANGUAGES, PIVOT
from harness.sources.babel.lexicon import lexicon
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
    names=8, place_name=5, adverb_place=0, adjective=30, number=10, place=40, time=30, manner=15, title=0,
    group=25, negated=0,
)  # fmt: skip
# Whether premise and hypothesis are negated, for each label. The marginal of each side hardly tells the label.
NEGATION: dict[str, tuple[tuple[bool, bool], ...]] = {
    ENTAILMENT: ((False, False),) * 7 + ((False, True),) * 2 + ((True, True),),
    NEUTRAL: ((False, False),) * 6 + ((False, True),) * 2 + ((True, False), (True, True)),
    CONTRADICTION: ((False, False),) * 7 + ((False, True),) * 2 + ((True, False),),
}
EXCHANGED_CLAIMS = 20  # in a hundred of the conflicts: two participants have changed places
OTHER_PROPERTIES = 60  # in a hundred of the remaining conflicts, where there is a property to change
TRIES = 6


def _nli_style(dice: Dice) -> Style:
    return edits.style(dice, passive=20, front=20, synonyms=30)


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
            yield Pair(first, second, (_nli_style(dice), _nli_style(dice)), label)


def _edited(world: World, premise: Event, label: str, negated: tuple[bool, bool]) -> Event:
    dice = world.dice
    event = premise
    essential = _essential(dice, label, negated)
    for _ in range(dice.pick((1, 1, 2, 2, 3) if essential == "weaker" else (0, 0, 1, 1, 2))):
        event = event if essential == "stronger" and negated[0] else edits.weaker(event, dice)
    if essential == "stronger":
        return edits.stronger(event, world, NLI_PROFILE)
    return _conflicting(dice, event) if essential == "conflict" else event


def _conflicting(dice: Dice, event: Event) -> Event:
    exchanged = edits.exchanges(event) if dice.chance(EXCHANGED_CLAIMS) else []
    properties = edits.other_properties(event, dice) if dice.chance(OTHER_PROPERTIES) else []
    return dice.pick(exchanged or properties or edits.other_heads(event, dice))


def _essential(dice: Dice, label: str, negated: tuple[bool, bool]) -> str:
    """Which kind of change brings the label about under this pattern of negation."""
    if label == NEUTRAL:
        return dice.pick(("weaker", "conflict")) if negated[0] else "stronger"
    if negated[0]:
        return "stronger"
    return "weaker" if (label == ENTAILMENT) != negated[1] else "conflict"


PARAPHRASE_PROFILE = Profile(
    frames=("act", "act", "give"),
    names=10, place_name=10, adverb_place=0, adjective=35, number=8, place=25, time=25, manner=0,
    title=0, group=5, negated=8, affinity=1,
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
        styles = _apart(seed, event, (edits.style(dice, passive=40), edits.style(dice, passive=40)))
        label = str(len(found) % 2)
        other = event if label == "1" else _other(dice, event, exchanged)
        if (label == "1") != same_meaning(event, other) or split_of(seed, other) != split:
            continue
        seen.add(key(event))
        found.append(Pair(event, other, styles, label))
    return tuple(dice.shuffled(found))


def _apart(seed: int, event: Event, styles: tuple[Style, Style]) -> tuple[Style, Style]:
    """The styles, with the second's voice changed where both would say the event in the same words of the pivot."""
    words = lexicon(seed, LANGUAGES[PIVOT])
    one, other = (text(realise(event, words, style)) for style in styles)
    return styles if one != other else (styles[0], replace(styles[1], passive=not styles[1].passive))


def _other(dice: Dice, event: Event, exchanged: list[Event]) -> Event:
    return dice.pick(exchanged if dice.chance(EXCHANGED) else edits.conflicting(event, dice))
