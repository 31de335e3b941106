"""`alignboard methods`: lists the alignment methods, or describes one."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.cli.listing import Record, registry_records
from harness.cli.options import Json
from harness.cli.output import format_item, print_fields, print_json, print_list, print_table, print_text
from harness.experiments.method_card import method_card
from harness.registry import METHODS

COLUMNS = ("name", "objective", "needs", "reference", "control", "status")  # a narrow terminal shows the first ones
MIN_WIDTHS = {"objective": 36, "reference": 34}  # columns of the terminal
NO_PAPER_SETTINGS = "no published settings are known; --recipe paper changes nothing"


def methods(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Describe this method only.")] = None,
    as_json: Json = False,
) -> None:
    """List the alignment methods, or describe one.

    The list shows each method's objective and reference, the corpora it needs, its control (the baseline of its gain),
    and whether it loads; a narrow terminal shows fewer columns. With NAME, shows the method's docstring with its
    formula, all settings with their defaults, what --recipe paper changes if known, and the package it comes from.

    \b
    Examples:
      alignboard methods
      alignboard methods ml-ctl
      alignboard methods --json
      alignboard --plugin my_method.py methods my-method
    """
    if name is None:
        records = registry_records(METHODS, _summary)
        if as_json:
            print_json(records)
        else:
            print_list(COLUMNS, records, MIN_WIDTHS, "`alignboard methods NAME` shows everything about one method")
        return
    record = describe_method(name)
    if as_json:
        print_json(record)
        return
    settings, explanation, docstring = (record.pop(key) for key in ("config", "config_description", "description"))
    if record["trains"] and not (record["paper"] or record["paper_config"]):
        record["paper"] = NO_PAPER_SETTINGS
    print_fields(record)
    print_text(f"\n{docstring}")
    if settings:
        described = any(row["description"] is not None for row in settings)
        columns = ("field", "type", "default", *(("description",) if described else ()))
        print_table(columns, [{**row, "default": format_item(row["default"])} for row in settings])
        print_text(explanation)


def describe_method(name: str) -> Record:
    """One method: its summary, its settings with their defaults, its docstring. Raises UserError."""
    card = method_card(name)
    return {
        **_summary(name),
        "name": name,
        "origin": str(METHODS.origin(name)),
        "paper": card.paper,
        "paper_config": card.paper_config,
        "config": [setting._asdict() for setting in card.settings],
        "config_description": card.settings_description,
        "description": card.description,
    }


def _summary(name: str) -> Record:
    return method_card(name).model_dump(include={"reference", "objective", "needs", "control", "trains"})
