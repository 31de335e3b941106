"""`alignboard board`: serves the leaderboard."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Annotated, Any

import typer

from harness.cli.options import Db
from harness.errors import UserError, unknown
from harness.storage.home import database_url

GROUP = "alignboard.boards"


def board(
    db: Db = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="TCP port to listen on.")] = 8501,
    base_path: Annotated[str, typer.Option(help="URL path of the board behind a proxy.")] = "",
    name: Annotated[str, typer.Option(help="Which installed board to open.")] = "leaderboard",
) -> None:
    """Open the leaderboard in a browser.

    Serves the board from this machine until Ctrl-C. The board only reads the database, so it can stay open during a
    run: rows appear as they are scored. Without a display, it prints the address to open.

    \b
    Examples:
      alignboard board
      alignboard board --port 8600 --db results/board.db
      alignboard board --base-path /board
    """
    command = load_board(name)(db or database_url(), port, base_path)
    sys.stdout.flush()
    os.execv(command[0], command)  # the server takes this process's place, so that every signal reaches it


def load_board(name: str) -> Callable[[str, int, str], list[str]]:
    """The function that returns a board's command line for a database URL, port and base path. Raises UserError."""
    points = {point.name: point for point in entry_points(group=GROUP)}
    if name not in points:
        raise unknown("board", name, points)
    try:
        build: Any = points[name].load()
    except (Exception, SystemExit) as error:  # foreign code may fail in any way
        what = f"the board {name!r} is broken: {type(error).__name__}: {error}"
        raise UserError(what, found=points[name].value, remedy="fix or uninstall that package") from error
    return build  # type: ignore[no-any-return]
