"""Tokenised entities in several languages: their mentions, descriptions and relations."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.errors import UserError
from harness.method import Corpora
from harness.pair_method import TokenSpan, word_tokens
from harness.records import Entity, Span

Ids = NDArray[np.integer]


class TokenizedFact(NamedTuple):
    """The tokenised name of a relation, the number of its object, and the tokenised descriptions of the object in the
    languages other than the subject's."""

    relation: Ids
    object: int
    descriptions: tuple[Ids, ...]


class EntityExample(NamedTuple):
    """A tokenised sentence, the token span of an entity in it, the number of the entity, its tokenised descriptions in
    the language of the sentence and in the other languages, and its facts."""

    mention: Ids
    span: TokenSpan
    entity: int
    description: Ids
    translations: tuple[Ids, ...]
    facts: tuple[TokenizedFact, ...]


def group_by_entity(records: Iterable[Entity]) -> list[list[Entity]]:
    """The records of each entity that has records in at least two languages."""
    groups: dict[str, list[Entity]] = defaultdict(list)
    for record in records:
        groups[record.entity].append(record)
    return [group for group in groups.values() if len({record.language for record in group}) > 1]


def tokenize_entities(groups: Sequence[Sequence[Entity]], corpora: Corpora) -> list[EntityExample]:
    """One example per record.

    Mentions beyond the maximal length are skipped, and so are relations to several objects and to entities in no group.
    Raises UserError where no mention is left.
    """
    flat = [record for group in groups for record in group]
    numbers = {group[0].entity: i for i, group in enumerate(groups)}
    tokens, length = corpora.tokenizer, corpora.max_length
    mentions = tokens.encode_offsets([record.mention for record in flat], length)
    encoded = tokens.encode([record.description for record in flat], length).ids
    names = list(dict.fromkeys(relation.name for record in flat for relation in record.relations))
    encoded_names = tokens.encode(names, length).ids if names else ()
    relations = {name: encoded_names[i] for i, name in enumerate(names)}
    described: list[list[tuple[str, Ids]]] = [[] for _ in groups]  # by entity: language and description
    for row, record in enumerate(flat):
        described[numbers[record.entity]].append((record.language, encoded[row]))

    def other_descriptions(entity: int, language: str) -> tuple[Ids, ...]:
        return tuple(ids for code, ids in described[entity] if code != language)

    examples = []
    for row, record in enumerate(flat):
        span = word_tokens(mentions, row, Span(*record.span))
        if span is None:
            continue
        number, code = numbers[record.entity], record.language
        objects = {name: numbers[other] for name, other in single_valued_relations(record).items() if other in numbers}
        facts = tuple(
            TokenizedFact(relations[name], other, other_descriptions(other, code)) for name, other in objects.items()
        )
        examples.append(
            EntityExample(mentions.ids[row], span, number, encoded[row], other_descriptions(number, code), facts)
        )
    if not examples:
        raise UserError(
            "every mention of an entity lies beyond the maximal length",
            found=f"max_length {length}, {len(flat)} mentions",
            expected="at least one mention within it",
            remedy="raise align.max_length",
        )
    return examples


def single_valued_relations(record: Entity) -> dict[str, str]:
    """The relations of an entity that have exactly one object, with that object."""
    objects: dict[str, set[str]] = defaultdict(set)
    for name, other in record.relations:
        objects[name].add(other)
    return {name: others.pop() for name, others in objects.items() if len(others) == 1}
