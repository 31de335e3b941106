"""Converts rows of the hub into the records that the folder source reads from the official files."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from harness.data.readers import OLD_LABELS, aligned_pool, lost_tag
from harness.data.squad_json import locate_answers
from harness.errors import UserError
from harness.records import Question, Record, TaggedSentence, TextPair
from harness.task import TaskSpec

Row = dict[str, Any]


def pairs(key: str, split: str, rows: list[tuple[str, str, str]], clusters: list[str]) -> list[Record]:
    """Classification: (first, second, label) rows; `clusters` is empty if languages are not parallel."""
    return [
        TextPair(f"{split}-{row}", first, second, label, clusters[row] if clusters else f"{key}-{row}")
        for row, (first, second, label) in enumerate(rows)
    ]


def labelled(where: str, rows: list[tuple[str, str, str]], labels: Sequence[str]) -> list[tuple[str, str, str]]:
    """The rows with current label names. Raises UserError for a label outside the set."""
    plain = [(first, second, OLD_LABELS.get(label.strip(), label.strip())) for first, second, label in rows]
    for number, (_, _, label) in enumerate(plain):
        if label not in labels:
            raise _label_error(where, number, label, labels)
    return plain


def tagged(
    key: str, split: str, where: str, rows: list[tuple[list[str], list[str]]], labels: Sequence[str]
) -> list[Record]:
    """Tagging: words and tags. Of a token with a Unicode blank inside only the first part is read, as the official
    code does; tokens of blanks only, and sentences that keep no word, are left out."""
    records: list[Record] = []
    for number, (tokens, tags) in enumerate(rows):
        for tag in tags:
            if tag not in labels:
                raise _label_error(where, number, tag, labels)
        kept = [(token.split(), tag) for token, tag in zip(tokens, tags, strict=True) if token.strip()]
        words = tuple(pieces[0] for pieces, _ in kept)
        kept_tags = tuple(tag if len(pieces) == 1 or split == "test" else lost_tag(labels) for pieces, tag in kept)
        if words:
            row = len(records)
            records.append(TaggedSentence(f"{split}-{row}", words, kept_tags, f"{key}-{row}"))
    return records


def questions(prefix: str, language: str, rows: list[Row], *, repeated_ids: bool, where: str) -> list[Record]:
    """Question answering: consecutive rows on one context share a cluster, named after their smallest id."""
    records: list[Record] = []
    seen: set[str] = set()
    for context, group in groupby(rows, key=lambda row: str(row["context"])):
        members = list(group)
        cluster = f"{prefix}-{min(row['id'] for row in members)}"
        for row in members:
            name = row["id"]
            if name in seen and not repeated_ids:
                raise UserError("an id occurs twice", file=where, found=name, expected="each id once")
            seen.add(name)
            given = list(zip(row["answers"]["text"], row["answers"]["answer_start"], strict=True))
            records.append(Question(name, row["question"], context, locate_answers(given, context), cluster, language))
    return records


def aligned(spec: TaskSpec, view: str, split: str, pivot: str, rows: list[tuple[str, str]], where: str) -> list[Record]:
    """Tatoeba: (foreign, English) rows that are translations of each other, without line ends."""
    texts = [(source.rstrip("\r\n"), target.rstrip("\r\n")) for source, target in rows]
    for number, pair in enumerate(texts):
        if not all(text.strip() for text in pair):
            raise UserError(
                "a row with an empty side", file=where, line=number + 1, expected="a sentence on both sides"
            )
    foreign, english = [source for source, _ in texts], [target for _, target in texts]
    return aligned_pool(spec.name, view, split, pivot, foreign, english, labelled=True)


def _label_error(where: str, number: int, label: str, labels: Sequence[str]) -> UserError:
    return UserError(
        "a label outside the set",
        file=where,
        line=number + 1,
        found=repr(label),
        expected=" | ".join(labels),
        remedy="name another revision of the data set: OWNER/NAME@COMMIT",
    )
