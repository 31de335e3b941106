"""`alignboard doctor`: is this machine ready?"""

from __future__ import annotations

from typing import Annotated

import typer

from harness.cli.checks import Check, all_checks
from harness.cli.output import print_json


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print JSON: a list of checks.")] = False) -> None:
    """Check this machine, the home folder, the database and the plug-ins.

    Looks at Python, the installed packages, the device that training would use (memory in GiB), whether the home
    folder can be written and how much room is left there (GiB), the database and its schema, plug-ins that do not
    load, and the data that tests on real sentences use. Changes nothing. The exit code is 1 where a check failed; a
    warning alone stops no work.

    \b
    Examples:
      alignboard doctor
      alignboard doctor --json
    """
    checks = all_checks()
    if as_json:
        print_json([check._asdict() for check in checks])
    else:
        _print(checks)
    if any(check.status == "failed" for check in checks):
        raise typer.Exit(1)


def _print(checks: list[Check]) -> None:
    for check in checks:
        typer.echo(f"{check.status + ':':<9} {check.name}: {check.found}")
        if check.remedy:
            typer.echo(f"{'':<9} remedy: {check.remedy}")
