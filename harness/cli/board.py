"""`alignboard board`: opens the leaderboard."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Annotated, Any

import typer

from harness.errors import UserError, unknown
from harness.storage.home import database_url

GROUP = "alignboard.boards"


def board(
    db: Annotated[str | None, typer.Option(help="Database: a path or URL. Default: ALIGNBOARD_DB, or home.")] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="TCP port to listen on.")] = 8501,
    base_path: Annotated[str, typer.Option(help="URL path that the board is served under, behind a proxy.")] = "",
    name: Annotated[str, typer.Option(help="Which installed board to open.")] = "leaderboard",
) -> None:
    """Open the leaderboard in a browser.

    Serves it from this machine until Ctrl-C. The board only reads the database, so a run may go on meanwhile and its
    rows appear as they are scored. Without a display it prints the address to open.

    \b
    Examples:
      alignboard board
      alignboard board --port 8600 --db results/board.db
      alignboard board --base-path /board
    """
    command = launcher(name)(db or database_url(), port, base_path)
    raise typer.Exit(_serve(command))


def launcher(name: str) -> Callable[[str, int, str], list[str]]:
    """The function that gives a board's command line from database URL, port and base path. Raises UserError."""
    points = {point.name: point for point in entry_points(group=GROUP)}
    if name not in points:
        raise unknown("board", name, points)
    try:
        found: Any = points[name].load()
    except Exception as error:  # any failure of foreign code is that plug-in's, and is told as such
        what = f"the board {name!r} is broken: {type(error).__name__}: {error}"
        raise UserError(what, found=points[name].value, remedy="repair or uninstall that package") from error
    return found  # type: ignore[no-any-return]


def _serve(command: list[str]) -> int:
    """Runs the server in the foreground; Ctrl-C is the ordinary way to end it."""
    sys.stdout.flush()
    with subprocess.Popen(command, env=os.environ) as server:
        try:
            return server.wait()
        except KeyboardInterrupt:
            server.terminate()
            return 0
