"""`alignboard new-task`: creates a task to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def new_task(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the task, such as my-task.")],
    package: Annotated[
        bool, typer.Option("--package", help="Write a package that pip can install, with an entry point and a test.")
    ] = False,
    folder: Annotated[Path, typer.Option(help="Folder to write to.", show_default="the current folder")] = Path(),
) -> None:
    """Create a classification task, as one file or as a package.

    Its data are read from a folder: NAME/train-en.tsv, NAME/dev-en.tsv and NAME/test-LANGUAGE.tsv, with the columns
    sentence1, sentence2 and label, separated by tabs. For a task of another family, change the class that it derives
    from.

    \b
    Examples:
      alignboard new-task my-task
      alignboard --plugin my_task.py run mbert --suite my-task --source folder:data --base xlm-roberta-base
      alignboard new-task my-task --package && pip install ./alignboard-my-task
    """
    from harness.cli import scaffold

    scaffold.create(scaffold.TASK, name, folder, as_package=package)
