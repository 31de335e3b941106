"""Entities in several languages, tokenised: what mentions them, what describes them, how they are related."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.method import Corpora, Span
from harness.pair_method import token_span
from harness.records import Entity

Ids = NDArray[np.integer]


class Fact(NamedTuple):
    """The tokenised name of a relation, the number of the entity it leads to, and the tokenised descriptions of that
    entity in the languages other than the subject's."""

    relation: Ids
    object: int
    descriptions: tuple[Ids, ...]


class EntityExample(NamedTuple):
    """A tokenised sentence, the token span of the entity in it, the entity's number, its tokenised description in the
    sentence's language and those in the other languages, and its facts."""

    mention: Ids
    span: tuple[int, int]
    entity: int
    description: Ids
    translations: tuple[Ids, ...]
    facts: tuple[Fact, ...]


def by_entity(records: Iterable[Entity]) -> list[list[Entity]]:
    """The records of each entity that has them in two languages or more."""
    groups: dict[str, list[Entity]] = defaultdict(list)
    for record in records:
        groups[_entity(record.id, record.language)].append(record)
    return [group for group in groups.values() if len({record.language for record in group}) > 1]


def tokenised(groups: Sequence[Sequence[Entity]], corpora: Corpora) -> list[EntityExample]:
    """One example per record; mentions that the maximal length cuts off are left out, and so are relations to entities
    without a record in another language."""
    flat = [record for group in groups for record in group]
    numbers = {_entity(record.id, record.language): i for i, group in enumerate(groups) for record in group}
    tokens, length = corpora.tokenizer, corpora.max_length
    mentions = tokens.encode_offsets([record.mention for record in flat], length)
    encoded = tokens.encode([record.description for record in flat], length).ids
    names = list(dict.fromkeys(relation.name for record in flat for relation in record.relations))
    named = tokens.encode(names, length).ids
    relations = {name: named[i] for i, name in enumerate(names)}
    described: list[list[tuple[str, Ids]]] = [[] for _ in groups]  # by entity: language and description
    for row, record in enumerate(flat):
        described[numbers[_entity(record.id, record.language)]].append((record.language, encoded[row]))

    def elsewhere(entity: int, language: str) -> tuple[Ids, ...]:
        return tuple(ids for code, ids in described[entity] if code != language)

    examples = []
    for row, record in enumerate(flat):
        if int(mentions.ends[row].max(initial=0)) < record.span[1]:
            continue
        number = numbers[_entity(record.id, record.language)]
        led = [(relation.name, numbers.get(_entity(relation.object, record.language))) for relation in record.relations]
        facts = [Fact(relations[n], o, elsewhere(o, record.language)) for n, o in led if o is not None]
        span = token_span(mentions, row, Span(*record.span))
        translations = elsewhere(number, record.language)
        examples.append(
            EntityExample(mentions.ids[row], span, number, encoded[row], translations, tuple(f for f in facts if f[2]))
        )
    return examples


def _entity(record: str, language: str) -> str:
    """What the ids of an entity's records have in common: all but the language."""
    return record.replace(f"-{language}-", "-")
