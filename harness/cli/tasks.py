"""`alignboard tasks`: lists the tasks, or describes one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer

from harness.cli.listing import Record, registry_records
from harness.cli.options import Json
from harness.cli.output import (
    format_item,
    format_value,
    print_fields,
    print_json,
    print_list,
    print_table,
    print_text,
)
from harness.registry import SOURCES, TASKS
from harness.task import TaskSpec

COLUMNS = ("name", "title", "family", "metric", "languages", "status")  # a narrow terminal shows the first ones
UNSET = {  # what a setting means where it is unset
    "evaluate_every": "each epoch",
    "layer": "8 of 12",
    "max_train": "all",
    "max_dev": "all",
    "max_test": "all",
    "seed": "the run's",
    "learning_rates": "learning_rate alone",
}


def tasks(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Describe this task only.")] = None,
    as_json: Json = False,
) -> None:
    """List the tasks, or describe one.

    The list shows each task's family, its headline metric (in percent) and its languages. With NAME, shows the sizes of
    the official data and where each source finds them, licence, citation, the settings of each protocol (learning rates
    per step, lengths in subwords, sizes in items) and of certain kinds of base encoder, choices made where the official
    code is broken or differs from its paper, and deviations from the official code.

    \b
    Examples:
      alignboard tasks
      alignboard tasks bucc2018
      alignboard tasks --json
    """
    if name is not None:
        _describe(name, as_json)
        return
    records = registry_records(TASKS, _summary)
    if as_json:
        print_json(records)
    else:
        print_list(COLUMNS, records, {"languages": 20}, "`alignboard tasks NAME` shows everything about one task")


def describe_task(name: str) -> Record:
    """One task: its summary, its data, and the settings of each protocol. Raises UserError."""
    spec = TASKS.get(name).spec
    return {
        **_summary(name),
        "name": name,
        "origin": str(TASKS.origin(name)),
        "labels": list(spec.labels),
        "splits": list(spec.splits),
        "sizes": dict(spec.sizes),
        "locations": _locations(spec),
        "citation": spec.citation,
        "deviations": list(spec.deviations),
        "settings": {protocol: asdict(settings) for protocol, settings in spec.protocols.items()},
        "variants": {protocol: [asdict(v) for v in variants] for protocol, variants in spec.variants.items()},
        "choices": [choice._asdict() for choice in spec.choices],
        "description": spec.description,
    }


def _locations(spec: TaskSpec) -> dict[str, dict[str, str]]:
    """Where each kind of source that has the task looks for its splits."""
    broken = SOURCES.broken()
    locations = {kind: SOURCES.get(kind).locations(spec) for kind in SOURCES if kind not in broken}
    return {kind: where for kind, where in locations.items() if where}


def _summary(name: str) -> Record:
    spec = TASKS.get(name).spec
    return {
        "title": spec.title,
        "family": spec.family.name,
        "metric": spec.metric,
        "languages": list(spec.languages),
        "licence": spec.licence,
        "protocols": list(spec.protocols),
    }


def _describe(name: str, as_json: bool) -> None:
    record = describe_task(name)
    if as_json:
        print_json(record)
        return
    names = ("settings", "variants", "description", "locations", "choices", "deviations")
    settings, variants, description, locations, choices, deviations = (record.pop(key) for key in names)
    print_fields(record)
    print_text(f"\n{description}\n\nData locations:")
    for kind, where in locations.items():
        for part, pattern in where.items():
            print_text(f"  {kind} {part}: {format_value(pattern)}")
    print_table(("setting", *settings), _setting_rows(settings, record["splits"]))
    changed = [
        f"{protocol}, {variant['name']}: "
        + ", ".join(f"{setting} {format_item(value)}" for setting, value in variant["changes"].items())
        for protocol, known in variants.items()
        for variant in known
    ]
    _print_section("For certain kinds of base encoder:", changed)
    chosen = [f"{choice['name']}: {choice['here']}. Official: {choice['official']}" for choice in choices]
    _print_section("Choices where the official code is broken or differs from its paper:", chosen)
    _print_section("Deviations from the official code:", deviations)


def _print_section(title: str, lines: Sequence[str]) -> None:
    if lines:
        print_text("\n".join((title, *(f"- {line}" for line in lines))))


def _setting_rows(settings: Record, splits: list[str]) -> list[Record]:
    """A row for each setting, with its value in each protocol. Settings of the dev set need a dev set."""
    dev_only = {"evaluate_every", "dev_languages", "max_dev", "learning_rates"} if "dev" not in splits else set()
    names = {name: None for values in settings.values() for name in values if name not in dev_only}
    return [
        {"setting": name} | {protocol: _setting_text(name, values) for protocol, values in settings.items()}
        for name in names
    ]


def _setting_text(name: str, values: Record) -> object:
    if name == "learning_rate" and values.get("learning_rates"):
        return "chosen on dev"
    value = values[name]
    return UNSET.get(name) if value is None or value == () else value
