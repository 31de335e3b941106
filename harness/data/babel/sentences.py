"""The tasks on single sentences: tags, names, and pools of sentences to match across languages."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import chain, count, islice
from typing import NamedTuple

from harness.data.babel import edits
from harness.data.babel.dice import Dice
from harness.data.babel.grammar import Style
from harness.data.babel.world import FRAMES, Event, Profile, World, key, split_of


class Statement(NamedTuple):
    """One event and its style."""

    event: Event
    style: Style


ALL_FRAMES = tuple(FRAMES)
POS_PROFILE = Profile(
    frames=ALL_FRAMES, names=25, adjective=45, place=45, adverb_place=45, time=35, manner=35, future=20, speech=15,
    pronoun=20, demonstrative=20, article=25, number=12, title=10,
)  # fmt: skip
NER_PROFILE = Profile(
    frames=(*ALL_FRAMES, "employ", "serve", "value"), names=65, place_name=60, adjective=25, place=40, speech=15,
    manner=8, time=20, title=8, article=5,
)  # fmt: skip
POOL_PROFILE = Profile(
    frames=ALL_FRAMES, names=35, place_name=35, adjective=50, place=60, time=40, manner=20, speech=12, title=5,
    adverb_place=5,
)  # fmt: skip


@lru_cache(maxsize=16)
def statements(seed: int, purpose: str, split: str, number: int, profile: Profile) -> tuple[Statement, ...]:
    """`number` events of the split, all of different content."""
    return tuple(islice(statement_stream(seed, purpose, split, profile), number))


def statement_stream(seed: int, purpose: str, split: str, profile: Profile) -> Iterator[Statement]:
    """An endless stream of events of the split, all of different content."""
    dice = Dice(purpose, seed, split)
    world = World(seed, split, dice)
    seen: set[str] = set()
    while True:
        event = world.event(profile)
        content = key(event)
        if content not in seen and split_of(seed, event) == split:
            seen.add(content)
            yield Statement(event, edits.random_style(dice))


class Pool(NamedTuple):
    """A mining pool: statements on both sides, and statements on one side only."""

    shared: tuple[Statement, ...]
    source_only: tuple[Statement, ...]
    target_only: tuple[Statement, ...]


DISTRACTORS = 40  # percent of the number of shared statements, on each side
HARD = 60  # percent of the distractors that are a shared statement with one change


@lru_cache(maxsize=4)
def mining_pool(seed: int, split: str, number: int) -> Pool:
    """A pool with `number` translated statements. No two statements in it have the same meaning."""
    extra = number * DISTRACTORS // 100
    shared = statements(seed, "mining", split, number, POOL_PROFILE)
    random = statements(seed, "mining-distractor", split, 3 * extra, POOL_PROFILE)
    dice = Dice("mining-hard", seed, split)
    seen = {(key(s.event), s.event.negated, s.event.future) for s in shared}
    fresh = iter([s for s in random if (key(s.event), s.event.negated, s.event.future) not in seen])
    changed = _near_statements(seed, split, dice, shared)
    sides = [tuple(next(changed) if dice.chance(HARD) else next(fresh) for _ in range(extra)) for _ in range(2)]
    return Pool(shared, *sides)


@lru_cache(maxsize=4)
def retrieval_statements(seed: int, split: str, number: int) -> tuple[Statement, ...]:
    """`number` statements for retrieval. Half of them are another one of them with one change."""
    single = statements(seed, "retrieval", split, number - number // 2, POOL_PROFILE)
    changed = islice(_near_statements(seed, split, Dice("retrieval-hard", seed, split), single), number // 2)
    return (*single, *changed)


def _near_statements(seed: int, split: str, dice: Dice, shared: tuple[Statement, ...]) -> Iterator[Statement]:
    """An endless stream of statements that differ little from shared ones: at most one for each in every round."""
    events = {s.event for s in shared}
    for event, style in chain.from_iterable(dice.shuffled(shared) for _ in count()):
        for other in dice.shuffled([*edits.exchanges(event), *edits.conflicting_events(event, dice)]):
            if other not in events and split_of(seed, other) == split:
                events.add(other)
                yield Statement(other, style)
                break
