"""The default places of the artifacts and the database."""

from __future__ import annotations

import os
from pathlib import Path

from harness.files import expand_user


def home() -> Path:
    """The folder of artifacts and default database: `ALIGNBOARD_HOME`, else `~/.alignboard`. Creates nothing."""
    folder = os.environ.get("ALIGNBOARD_HOME")
    return expand_user(folder).absolute() if folder else Path.home() / ".alignboard"


def database_url() -> str:
    """The URL of the database of scores: `ALIGNBOARD_DB`, else an SQLite file in `home()`."""
    return os.environ.get("ALIGNBOARD_DB") or f"sqlite:///{home() / 'board.db'}"


def artifacts_root() -> Path:
    """The folder of the artifact store."""
    return home() / "artifacts"
