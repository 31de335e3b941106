"""The two tasks on sentence pairs: entailment, and paraphrases versus exchanged words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

from harness.data.babel import edits
from harness.data.babel.dice import Dice
from harness.data.babel.grammar import Style, realise, text
from harness.data.babel.languages import LANGUAGES, PIVOT
from harness.data.babel.lexicon import lexicon
from harness.data.babel.meaning import CONTRADICTION, ENTAILMENT, NEUTRAL, inference_label, same_meaning
from harness.data.babel.settings import BabelSettings
from harness.data.babel.world import Event, Profile, World, key, split_of
from harness.records import TextPair


class Pair(NamedTuple):
    """Two statements, their styles, and the label: the meaning of an item, independent of any language."""

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
NEGATED = 10  # percent of the hypotheses
OMITTED, GENERALISED = 60, 50  # percent of the premises whose hypotheses omit a circumstance, or use a hypernym
SAME_WORDS = 85  # percent of the premises whose hypotheses use the same words in other roles
CHANGE = (  # the change of the premise that produces each label, for a positive and for a negated hypothesis
    {ENTAILMENT: "weaker", NEUTRAL: "stronger", CONTRADICTION: "conflict"},
    {ENTAILMENT: "conflict", NEUTRAL: "stronger", CONTRADICTION: "weaker"},
)
TRIES = 8


@lru_cache(maxsize=4)
def nli_items(seed: int, split: str, count: int) -> tuple[Pair, ...]:
    """`count` pairs whose sentences all belong to the split.

    A training premise has one hypothesis for each label, which differ in nothing else. A premise of dev or test occurs
    once, so that items are independent; labels are balanced.
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


def text_pairs(settings: BabelSettings, task: str, code: str, split: str, count: int) -> Iterator[TextPair]:
    """The items of `nli` or `paraphrase` in a language, parallel across languages."""
    items = (nli_items if task == "nli" else paraphrase_items)(settings.seed, split, count)
    words = lexicon(settings.seed, settings.languages[code])
    for i, (first, second, styles, label) in enumerate(items):
        one, other = text(realise(first, words, styles[0])), text(realise(second, words, styles[1]))
        yield TextPair(f"{task}-{split}-{code}-{i:06}", one, other, label, f"{task}-{split}-{i:06}")


def _hypotheses(world: World, seed: int, premise: Event, labels: tuple[str, ...]) -> list[Pair]:
    """A hypothesis for each label in the premise's split, with one style and the same omissions; or an empty list."""
    dice, base = world.dice, premise
    for changes, share in ((edits.without_circumstance, OMITTED), (edits.more_general_events, GENERALISED)):
        base = dice.pick(changes(base) or [base]) if dice.chance(share) else base
    rearranged, negated = dice.chance(SAME_WORDS), int(dice.chance(NEGATED))
    if rearranged and not (edits.exchanges(base) and edits.moves(base)):
        return []
    styles = tuple(edits.random_style(dice, passive=20, front=20, synonyms=30) for _ in range(2))
    found = []
    for label in labels:
        attempts = (
            replace(_change(world, base, CHANGE[negated][label], rearranged), negated=bool(negated))
            for _ in range(TRIES)
        )
        fitting = (
            e for e in attempts if inference_label(premise, e) == label and split_of(seed, e) == split_of(seed, premise)
        )
        second = next(fitting, None)
        if second is None:
            return []
        found.append(Pair(premise, second, (styles[0], styles[1]), label))
    return found


def _change(world: World, base: Event, change: str, rearranged: bool) -> Event:
    """The base after a change of this kind. A rearranged base keeps all of its words."""
    dice = world.dice
    if change == "stronger":
        return dice.pick(edits.moves(base)) if rearranged else edits.stronger_event(base, world, NLI_PROFILE)
    if change == "weaker":
        return base if rearranged else edits.weaker_event(base, dice)
    if rearranged:
        return dice.pick(edits.exchanges(base))
    return dice.pick(edits.with_other_properties(base, dice) or edits.with_other_heads(base, dice))


PARAPHRASE_PROFILE = Profile(
    frames=("act", "act", "give"),
    names=20, place_name=10, adverb_place=0, adjective=45, number=8, place=35, time=25, manner=0,
    title=0, group=5, negated=8, affinity=1,
)  # fmt: skip
EXCHANGED = 80  # percent of the non-paraphrases; the others have one word replaced
PASSIVE = 25  # percent of the sentences: a change of voice misleads readers of word order or case


@lru_cache(maxsize=4)
def paraphrase_items(seed: int, split: str, count: int) -> tuple[Pair, ...]:
    """`count` pairs of the split, half of them paraphrases ("1"). Styles have the same distribution in both halves."""
    dice = Dice("paraphrase", seed, split)
    world = World(seed, split, dice)
    found: list[Pair] = []
    seen: set[str] = set()
    while len(found) < count:
        event = world.event(PARAPHRASE_PROFILE)
        exchanged = edits.exchanges(event)
        if not exchanged or split_of(seed, event) != split or key(event) in seen:
            continue
        first, second = (edits.random_style(dice, passive=PASSIVE) for _ in range(2))
        styles = _distinct_styles(seed, event, (first, second))
        number, label = len(found) // 2, str(len(found) % 2)
        if label == "1":
            others = [event]
        else:
            # Exactly EXCHANGED of every hundred are an exchange.
            exchange = number * EXCHANGED % 100 < EXCHANGED
            others = exchanged if exchange else edits.conflicting_events(event, dice)
        fitting = [e for e in others if (label == "1") == same_meaning(event, e) and split_of(seed, e) == split]
        if fitting:
            seen.add(key(event))
            found.append(Pair(event, dice.pick(fitting), styles, label))
    return tuple(dice.shuffled(found))


def _distinct_styles(seed: int, event: Event, styles: tuple[Style, Style]) -> tuple[Style, Style]:
    """The styles; the second one is changed (its order, else its voice) if both give one sentence in the pivot."""
    words = lexicon(seed, LANGUAGES[PIVOT])
    first, second = styles
    first_text = text(realise(event, words, first))
    orders = [replace(second, front=front) for front in ("place", "time", "")]
    choices = [second, *orders, replace(second, dative=not second.dative), replace(second, passive=not second.passive)]
    return first, next((s for s in choices if text(realise(event, words, s)) != first_text), choices[-1])
