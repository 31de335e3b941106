"""`alignboard new-method`: creates a method to start from."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer


def new_method(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the method, such as my-method.")],
    package: Annotated[
        bool, typer.Option("--package", help="Write a package that pip can install, with an entry point and a test.")
    ] = False,
    folder: Annotated[Path, typer.Option(help="Folder to write to.", show_default="the current folder")] = Path(),
) -> None:
    """Create a method that already runs, as one file or as a package.

    The file is a complete method for parallel text with the usual parts: docstring, settings, loss. Change its loss to
    make it yours.

    \b
    Examples:
      alignboard new-method my-method
      alignboard --plugin my_method.py run my-method continued-mlm --protocol mini --seeds 1
      alignboard new-method my-method --package && pip install ./alignboard-my-method
    """
    from harness.cli import scaffold

    names = scaffold.Names.of(name)
    plugin = ""
    if package:
        target = folder / names.distribution
        files = scaffold.write(scaffold.package(names), target)
        relative = not target.is_absolute() and target.parts[:1] != ("..",)
        # pip would look up a bare name in the package index
        steps = [f"pip install {shlex.quote(f'./{target}' if relative else str(target))}"]
    else:
        files = scaffold.write(scaffold.plugin(names), folder)
        plugin, steps = f"--plugin {shlex.quote(str(files[0]))} ", []
    steps += [
        f"alignboard {plugin}methods {name}",
        f"alignboard {plugin}run {name} continued-mlm mbert --source babel --protocol mini --seeds 1",
    ]
    for path in files:
        typer.echo(f"wrote {path}")
    typer.echo("\nTry it as it is, then change its loss:")
    for step in steps:
        typer.echo(f"  {step}")
