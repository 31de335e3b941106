"""The identity and the label of a row, and notes on settings that matched rows do not share."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from harness.errors import list_first

Record = Mapping[str, Any]

SHOWN = 5  # values that a note lists
LEARNING_RATE = "align.learning_rate"
ALIGNMENT = ("align", "sample", "contamination")  # parts of a recipe without effect where nothing is aligned
# parts of a recipe that are in the table's key or in the row's name
_NAMED = frozenset(
    {"kind", "method", "config", "base", "source", "suite", "protocol", "languages", "transform", "tuning"}
)


def row_identity(row: Record) -> tuple[str, ...]:
    """What the seeds of one row have in common: method, transform, kind, and all settings as JSON."""
    return _identity(row, {})


def version_identity(row: Record) -> tuple[str, ...]:
    """As `row_identity`, together with the versions of the data and of the base: what may be averaged over seeds."""
    versions = {"data": row["data_fingerprint"][:8], "base": row["base_fingerprint"][:8]}
    return _identity(row, {name: version for name, version in versions.items() if version})


def _identity(row: Record, versions: Mapping[str, str]) -> tuple[str, ...]:
    every = {**row["config"], **recipe_settings(row), **versions}
    # A setting without a value is one that the recipes of an earlier version did not have.
    settings = json.dumps({name: value for name, value in every.items() if value is not None}, sort_keys=True)
    return (row["method"], row["transform"], row["kind"], settings)


def recipe_settings(row: Record) -> dict[str, Any]:
    """The recipe's settings by dotted name without empty parts, or its hash if only that is known."""
    if not row["recipe"]:
        return {"recipe": row["recipe_hash"][:8]}
    rest = {name: value for name, value in row["recipe"].items() if name not in _NAMED and value is not None}
    return {name: value for name, value in flatten_settings(rest).items() if value != {}}


def shown_recipe(run: Record) -> dict[str, Any]:
    """The recipe of a run by dotted name, with the short names of its source and base in place of paths."""
    recipe = run["recipe"] or {}
    return flatten_settings({**recipe, "source": run["source"], "base": run["base"]} if recipe else {})


def flatten_settings(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted name; an empty mapping stays as it is."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        nested = isinstance(value, Mapping) and value
        flat |= flatten_settings(value, f"{prefix}{name}.") if nested else {prefix + name: value}
    return flat


def row_labels(identities: Iterable[tuple[str, ...]]) -> dict[tuple[str, ...], str]:
    """Labels of rows: the method, its transform, its kind unless it was trained here, and the settings in which rows
    with the same name differ."""
    namesakes: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
    for identity in identities:
        namesakes.setdefault(identity[:3], []).append(identity)
    labels: dict[tuple[str, ...], str] = {}
    for (method, transform, kind), group in namesakes.items():
        marks = [mark for mark in (transform, "" if kind == "trained" else kind) if mark]
        name = f"{method} ({', '.join(marks)})" if marks else method
        settings = {identity: json.loads(identity[3]) for identity in group}
        differing = _differing(list(settings.values())) if len(group) > 1 else []
        for identity, own in settings.items():
            difference = ", ".join(f"{field}={_text(own[field])}" for field in differing if field in own)
            labels[identity] = f"{name} [{difference}]" if difference else name
    return labels


def _differing(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of settings that differ or are missing in some of them."""
    names = sorted({name for each in settings for name in each})
    return [name for name in names if len({json.dumps(each.get(name)) for each in settings}) > 1]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def mismatch_notes(records: Sequence[Record], labels: Mapping[str, str]) -> list[str]:
    """Notes on settings in which rows of a matched recipe differ: the commonest value, and the rows with another one.

    `labels` maps runs to rows. Rows without alignment have no alignment settings, so they are not compared in these.
    """
    first = {labels[record["run"]]: record for record in reversed(records)}
    settings = {label: recipe_settings(record) for label, record in first.items()}
    aligned = {label: own for label, own in settings.items() if any(map(is_alignment_setting, own))}
    tuned = all(first[label]["recipe"].get("tuning") for label in aligned)
    mismatches = []
    for name in _differing(list(settings.values())):
        compared = aligned if is_alignment_setting(name) else settings
        values = {label: _text(own.get(name)) for label, own in compared.items()}
        counts = Counter(values.values())
        if len(counts) < 2 or (tuned and name == LEARNING_RATE):
            continue
        common = max(counts, key=lambda value: (counts[value], value))
        others: dict[str, list[str]] = {}
        for label, value in sorted(values.items()):
            if value != common:
                others.setdefault(value, []).append(label)
        exceptions = [f"{value} in {list_first(rows)}" for value, rows in others.items()]
        more = "; …" if len(exceptions) > SHOWN else ""
        mismatches.append(f"{name}={common}, but {'; '.join(exceptions[:SHOWN])}{more}")
    notes = [f"Not the same recipe in all rows: {'. '.join(mismatches)}."] if mismatches else []
    rates = {own.get(LEARNING_RATE) for own in aligned.values()}
    return [*notes, "Each row at the learning rate that pivot dev chose."] if tuned and len(rates) > 1 else notes


def newest_described(records: Iterable[Record]) -> Record:
    """The newest of some records of runs whose card describes its tasks; {} without one."""
    newest_first = sorted(records, key=lambda record: record["serial"], reverse=True)
    return next((record for record in newest_first if (record["card"] or {}).get("tasks")), {})


def is_alignment_setting(name: str) -> bool:
    """Whether a setting, by its dotted name, is one of alignment."""
    return name.partition(".")[0] in ALIGNMENT
