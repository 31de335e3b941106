"""`alignboard tasks`: the registered tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from harness.cli import listing
from harness.cli.output import cell, inner, print_fields, print_json, print_lines, print_table, print_text

COLUMNS = ("name", "title", "family", "metric", "languages", "status")  # a narrow terminal has the first ones
UNSET = {  # what an unset setting means
    "evaluate_every": "each epoch",
    "layer": "8 of 12",
    "max_train": "all",
    "max_dev": "all",
    "max_test": "all",
    "seed": "the run's",
    "learning_rates": "learning_rate alone",
}


def tasks(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Describe this task alone.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: a list of records, or one record.")] = False,
) -> None:
    """List the tasks, or describe one.

    The list tells each task's family, its headline metric (all metrics are in percent), and its languages. With NAME:
    the official data's sizes and where each source has them, licence, citation, the settings of every protocol
    (learning rates per step, lengths in subwords, sizes in items), those for some kinds of bases, what is done where
    the official code is broken or differs from its paper, and what differs from the official code.

    \b
    Examples:
      alignboard tasks
      alignboard tasks bucc2018
      alignboard tasks --json
    """
    if name is not None:
        _describe(name, as_json)
        return
    records = listing.task_records()
    if as_json:
        print_json(records)
    else:
        print_lines(COLUMNS, records, {"languages": 20}, "`alignboard tasks NAME` shows everything about one")


def _describe(name: str, as_json: bool) -> None:
    record = listing.describe_task(name)
    if as_json:
        print_json(record)
        return
    names = ("settings", "variants", "description", "locations", "choices", "deviations")
    apart = {key: record.pop(key) for key in names}
    print_fields(record)
    print_text(f"\n{apart['description']}\n\nWhere its data lie:")
    for kind, where in apart["locations"].items():
        for part, pattern in where.items():
            print_text(f"  {kind} {part}: {cell(pattern)}")
    settings = apart["settings"]
    print_table(("setting", *settings), _by_setting(settings, record["splits"]))
    _list("For some kinds of bases:", _variants(apart["variants"]))
    told = [f"{c['name']}: {c['here']}. Official: {c['official']}" for c in apart["choices"]]
    _list("Where the official code is broken or differs from its paper:", told)
    _list("Differs from the official code:", apart["deviations"])


def _list(title: str, lines: Sequence[str]) -> None:
    if lines:
        print_text("\n".join((title, *(f"- {line}" for line in lines))))


def _variants(variants: dict[str, list[listing.Json]]) -> list[str]:
    """A line for each kind of base for which a protocol has settings of its own."""
    return [
        f"{protocol}, {each['name']}: " + ", ".join(f"{name} {inner(v)}" for name, v in each["changes"].items())
        for protocol, known in variants.items()
        for each in known
    ]


def _by_setting(settings: dict[str, listing.Json], splits: list[str]) -> list[listing.Json]:
    """A row for each setting; without a dev set, no setting that concerns it."""
    without_dev = {"evaluate_every", "dev_languages", "max_dev", "learning_rates"} if "dev" not in splits else set()
    names = {name: None for values in settings.values() for name in values if name not in without_dev}
    return [
        {"setting": name} | {protocol: _told(name, values) for protocol, values in settings.items()} for name in names
    ]


def _told(name: str, values: listing.Json) -> object:
    if name == "learning_rate" and values.get("learning_rates"):
        return "chosen on dev"
    value = values[name]
    return UNSET.get(name) if value is None or value == () else value
