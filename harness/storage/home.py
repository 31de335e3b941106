"""Where Alignboard keeps its artifacts and its database unless told otherwise."""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """The folder of artifacts and of the default database: `ALIGNBOARD_HOME`, else `~/.alignboard`. Creates nothing."""
    named = os.environ.get("ALIGNBOARD_HOME")
    return Path(named).expanduser().absolute() if named else Path.home() / ".alignboard"


def database_url() -> str:
    """The SQLAlchemy URL of the board's database: `ALIGNBOARD_DB`, else a SQLite file in `home()`."""
    return os.environ.get("ALIGNBOARD_DB") or f"sqlite:///{home() / 'board.db'}"


def artifacts_root() -> Path:
    """The folder that `Artifacts` works in."""
    return home() / "artifacts"
