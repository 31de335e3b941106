"""`alignboard doctor`: checks the installation."""

from __future__ import annotations

import typer

from harness.cli.checks import run_checks
from harness.cli.options import Json
from harness.cli.output import print_json


def doctor(as_json: Json = False) -> None:
    """Check this machine, the home folder, the database and the plug-ins.

    Checks the Python version, the installed packages, the device for training, the home folder and its free space, the
    database and its schema, plug-ins that fail to load, and the data of the tests on real sentences. Changes nothing.
    The exit code is 1 if a check failed; a warning does not prevent work.

    \b
    Examples:
      alignboard doctor
      alignboard doctor --json
    """
    checks = run_checks()
    if as_json:
        print_json([check._asdict() for check in checks])
    else:
        for check in checks:
            typer.echo(f"{check.status + ':':<9} {check.name}: {check.found}")
            if check.remedy:
                typer.echo(f"{'':<9} remedy: {check.remedy}")
    if any(check.status == "failed" for check in checks):
        raise typer.Exit(1)
