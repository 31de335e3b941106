"""`alignboard new-method`: a method of one's own that already runs."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer


def new_method(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name, such as my-method.")],
    package: Annotated[
        bool, typer.Option("--package", help="Write a package that pip installs, with its entry point and a test.")
    ] = False,
    folder: Annotated[Path, typer.Option(help="Where to write.", show_default="the current folder")] = Path(),
) -> None:
    """Write a method that already runs, to be made your own: one file, or a package around it.

    The file is a complete method on parallel text, with the parts that every method has: docstring, settings, loss.

    \b
    Examples:
      alignboard new-method my-method
      alignboard --plugin my_method.py run my-method continued-mlm --protocol mini --seeds 1
      alignboard new-method my-method --package && pip install ./alignboard-my-method
    """
    from harness.cli import scaffold

    names = scaffold.Names.of(name)
    if package:
        place = folder / names.distribution
        written = scaffold.write(scaffold.package(names), place)
        steps = [f"pip install {shlex.quote(_shown(place))}", f"alignboard methods {name}", _trial("", name)]
    else:
        written = scaffold.write(scaffold.plugin(names), folder)
        loose = f"--plugin {shlex.quote(str(written[0]))} "
        steps = [f"alignboard {loose}methods {name}", _trial(loose, name)]
    for path in written:
        typer.echo(f"wrote {path}")
    typer.echo("\nTry it as it is, then change its loss:")
    for step in steps:
        typer.echo(f"  {step}")


def _trial(loose: str, name: str) -> str:
    return f"alignboard {loose}run {name} continued-mlm mbert --source babel --protocol mini --seeds 1"


def _shown(place: Path) -> str:
    """A folder as pip takes it: a bare name would be looked up in the registry of packages."""
    return str(place) if place.is_absolute() or place.parts[:1] == ("..",) else f"./{place}"
