"""`alignboard new-method`: creates a method to start from."""

from __future__ import annotations

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

    scaffold.create(scaffold.METHOD, name, folder, as_package=package)
