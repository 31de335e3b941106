"""The command line of the board's server."""

from __future__ import annotations

import os
import sys
from pathlib import Path

APP = Path(__file__).resolve().parent / "shell" / "app.py"
SERVER = APP.with_name("server.py")


def command(db_url: str, port: int, base_path: str) -> list[str]:
    """The command line that serves a database on `port`, under the URL path `base_path`.

    The server accepts only connections from this machine unless STREAMLIT_SERVER_ADDRESS is set.
    """
    options = {
        "server.port": port,
        "server.address": os.environ.get("STREAMLIT_SERVER_ADDRESS", "localhost"),
        "server.headless": os.environ.get("STREAMLIT_SERVER_HEADLESS", str(not _has_display()).lower()),
        "server.baseUrlPath": base_path.strip("/"),
    }
    arguments = [f"--{name}={value}" for name, value in options.items()]
    # a URL from the environment stays there: it may hold a password, and command lines are public
    database = [] if db_url == os.environ.get("ALIGNBOARD_DB") else ["--", db_url]
    return [sys.executable, "-m", "streamlit", "run", str(SERVER), *arguments, *database]


def _has_display() -> bool:
    return sys.platform in ("darwin", "win32") or any(name in os.environ for name in ("DISPLAY", "WAYLAND_DISPLAY"))
