"""`alignboard methods`: the registered alignment methods."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.cli import listing
from harness.cli.output import inner, print_fields, print_json, print_lines, print_table, print_text

COLUMNS = ("name", "objective", "needs", "reference", "control", "status")  # a narrow terminal has the first ones
LEAST = {"objective": 36, "reference": 34}  # columns of the terminal
UNKNOWN = "no settings known as published; --recipe paper changes nothing"


def methods(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Describe this method alone.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: a list of records, or one record.")] = False,
) -> None:
    """List the alignment methods, or describe one.

    The list tells each method's objective and reference, what it needs beside the base encoder, the control that its
    gain is measured against, and whether it can be loaded; a narrow terminal shows less. With NAME: its docstring with
    the formula, every setting with its default, the paper's alignment settings where they are known, and the package
    that it comes from.

    \b
    Examples:
      alignboard methods
      alignboard methods ml-ctl
      alignboard methods --json
      alignboard --plugin my_method.py methods my-method
    """
    if name is not None:
        _describe(name, as_json)
        return
    records = listing.method_records()
    if as_json:
        print_json(records)
    else:
        print_lines(COLUMNS, records, LEAST, "`alignboard methods NAME` shows everything about one")


def _describe(name: str, as_json: bool) -> None:
    record = listing.describe_method(name)
    if as_json:
        print_json(record)
        return
    settings, explained = record.pop("config"), record.pop("config_description")
    description = record.pop("description")
    if record["trains"] and not record["paper"]:
        record["paper"] = UNKNOWN
    print_fields(record)
    print_text(f"\n{description}")
    if settings:
        columns = ("field", "type", "default", "description")
        told = [name for name in columns if name == "default" or any(row[name] is not None for row in settings)]
        print_table(told, [{**row, "default": inner(row["default"])} for row in settings])
        print_text(explained)
