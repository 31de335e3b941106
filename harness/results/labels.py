"""What tells the rows of a table apart, their names, and what they should have in common and have not."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Record = Mapping[str, Any]

SHOWN = 5  # rows that a note names
RATE = "align.learning_rate"
ALIGNMENT = ("align", "sample", "contamination")  # the parts of a recipe that have no effect where nothing is aligned
# parts of a recipe that the table's key or the row's name tell already
_TOLD = frozenset(
    {"kind", "method", "config", "base", "source", "suite", "protocol", "languages", "transform", "tuning"}
)


def row_identity(row: Record) -> tuple[str, ...]:
    """What the seeds of one row share: names, and all settings as JSON."""
    settings = json.dumps({**row["config"], **recipe_settings(row)}, sort_keys=True)
    return (row["method"], row["transform"], row["kind"], settings)


def recipe_settings(row: Record) -> dict[str, Any]:
    """The recipe's settings by dotted name, or its hash where only that is known."""
    rest = {name: value for name, value in row["recipe"].items() if name not in _TOLD and value is not None}
    return _flat(rest) if row["recipe"] else {"recipe": row["recipe_hash"][:8]}


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        inner = _flat(value) if isinstance(value, Mapping) else None
        flat |= {name: value} if inner is None else {f"{name}.{key}": each for key, each in inner.items()}
    return flat


def row_labels(identities: Iterable[tuple[str, ...]]) -> dict[tuple[str, ...], str]:
    """Names of rows: the method, its transform, whether it is not of our own training, and as much of its settings as
    tells it from its namesakes."""
    namesakes: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
    for identity in identities:
        namesakes.setdefault(identity[:3], []).append(identity)
    labels: dict[tuple[str, ...], str] = {}
    for (method, transform, kind), group in namesakes.items():
        marks = [mark for mark in (transform, "" if kind == "trained" else kind) if mark]
        name = f"{method} ({', '.join(marks)})" if marks else method
        labels |= {identity: name + _difference(identity, group) for identity in group}
    return labels


def _difference(identity: tuple[str, ...], group: Sequence[tuple[str, ...]]) -> str:
    if len(group) == 1:
        return ""
    own = json.loads(identity[3])
    differing = _differing([json.loads(other[3]) for other in group])
    told = ", ".join(f"{name}={_short(own[name])}" for name in differing if name in own)
    return f" [{told}]" if told else ""


def _differing(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of settings that are not the same, or not there, in all of them."""
    names = sorted({name for each in settings for name in each})
    return [name for name in names if len({json.dumps(each.get(name)) for each in settings}) > 1]


def _short(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def mismatch_notes(records: Sequence[Record], labels: Mapping[str, str]) -> list[str]:
    """Notes on what rows that should be matched do not have in common: each setting with its commonest value, and the
    rows that have another. `labels` names the row of each run. Rows without alignment have no settings of it."""
    first = {labels[record["run"]]: record for record in reversed(records)}
    settings = {label: recipe_settings(record) for label, record in first.items()}
    aligned = {label: own for label, own in settings.items() if any(map(is_alignment_setting, own))}
    told, tuned = [], all(first[label]["recipe"].get("tuning") for label in aligned)
    for name in _differing(list(settings.values())):
        values = {label: own.get(name) for label, own in (aligned if is_alignment_setting(name) else settings).items()}
        counts = Counter(map(_short, values.values()))
        if len(counts) > 1 and not (tuned and name == RATE):
            common = max(counts, key=lambda value: (counts[value], value))
            others: dict[str, list[str]] = {}
            for label, value in sorted(values.items()):
                if _short(value) != common:
                    others.setdefault(_short(value), []).append(label)
            exceptions = [f"{value} in {_few(labels)}" for value, labels in others.items()]
            more = "; …" if len(exceptions) > SHOWN else ""
            told.append(f"{name}={common}, but {'; '.join(exceptions[:SHOWN])}{more}")
    notes = [f"Not the same recipe in all rows: {'. '.join(told)}."] if told else []
    rates = {own.get(RATE) for own in aligned.values()}
    return [*notes, "Each row at the learning rate that pivot dev chose."] if tuned and len(rates) > 1 else notes


def _few(labels: Sequence[str]) -> str:
    more = f" and {len(labels) - SHOWN} more" if len(labels) > SHOWN else ""
    return ", ".join(labels[:SHOWN]) + more


def is_alignment_setting(name: str) -> bool:
    """Whether a setting, by its dotted name, is one of alignment."""
    return name.partition(".")[0] in ALIGNMENT
