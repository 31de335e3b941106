"""`alignboard methods`: lists the alignment methods, or describes one."""

from __future__ import annotations

import inspect
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer

from harness.cli.listing import Record, registry_records
from harness.cli.options import Json
from harness.cli.output import format_item, print_fields, print_json, print_list, print_table, print_text
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
    cls = METHODS.get(name)
    return {
        **_summary(cls),
        "name": name,
        "origin": str(METHODS.origin(name)),
        "paper": dict(cls.paper),
        "paper_config": dict(cls.paper_config),
        "config": [
            {
                "field": field,
                "type": _type_text(info.annotation),
                "default": info.get_default(call_default_factory=True),
                "description": info.description,
            }
            for field, info in cls.Config.model_fields.items()
        ],
        "config_description": _config_docstring(cls.Config),
        "description": inspect.getdoc(cls) or "",
    }


def _summary(cls: Any) -> Record:
    return {
        "reference": cls.reference,
        "objective": cls.objective,
        "needs": sorted(map(str, cls.needs)),
        "control": cls.control,
        "trains": cls.trains,
    }


def _type_text(annotation: Any) -> str:
    """A type as it is written in code: `int | None`, `'mean' | 'cls'`."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " | ".join(map(repr, parts))
    if origin is Annotated:
        return _type_text(parts[0])
    if origin in (Union, UnionType):
        return " | ".join(map(_type_text, parts))
    if annotation is NoneType:
        return "None"
    return annotation.__name__ if isinstance(annotation, type) else str(annotation).replace("typing.", "")


def _config_docstring(config: type) -> str:
    """The docstring of a Config class, or of its nearest base that has one."""
    from harness.method import MethodConfig

    documented = (cls for cls in config.__mro__ if cls is not MethodConfig and issubclass(cls, MethodConfig))
    return next((inspect.cleandoc(cls.__doc__) for cls in documented if cls.__doc__), "")
