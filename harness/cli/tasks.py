"""`alignboard tasks`: the registered tasks."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.cli import listing
from harness.cli.output import print_fields, print_json, print_table


def tasks(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Describe this task alone.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: a list of records, or one record.")] = False,
) -> None:
    """List the tasks, or describe one.

    The list tells each task's family, its headline metric (all metrics are in percent), and its languages. With NAME:
    licence, citation, what differs from the official code, and the settings of every protocol: learning rates per
    step, lengths in subwords, sizes in items.

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
        print_table(("name", "title", "family", "metric", "languages", "status"), records)


def _describe(name: str, as_json: bool) -> None:
    record = listing.describe_task(name)
    if as_json:
        print_json(record)
        return
    settings, description = record.pop("settings"), record.pop("description")
    print_fields(record)
    typer.echo(f"\n{description}\n")
    print_table(("setting", *settings), _by_setting(settings))


def _by_setting(settings: dict[str, listing.Json]) -> list[listing.Json]:
    names = {name: None for values in settings.values() for name in values}
    return [{"setting": name} | {protocol: values.get(name) for protocol, values in settings.items()} for name in names]
