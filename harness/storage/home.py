"""The default places of the artifacts and the database."""

from __future__ import annotations

import os
from pathlib import Path

from harness.errors import UserError
from harness.files import expand_user


def home() -> Path:
    """The folder of artifacts and default database: `ALIGNBOARD_HOME`, else `~/.alignboard`. Creates nothing."""
    if folder := os.environ.get("ALIGNBOARD_HOME"):
        return expand_user(folder).absolute()
    try:
        return Path.home() / ".alignboard"
    except RuntimeError as error:  # in a container, for a user whom the system does not know
        raise UserError("this user has no home folder", remedy="set ALIGNBOARD_HOME to a folder") from error


def database_url() -> str:
    """The URL of the database of scores: `ALIGNBOARD_DB`, else an SQLite file in `home()`."""
    return os.environ.get("ALIGNBOARD_DB") or f"sqlite:///{home() / 'board.db'}"


def artifacts_root() -> Path:
    """The folder of the artifact store."""
    return home() / "artifacts"
