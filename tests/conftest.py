"""Fixtures that several test files use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real data and models beside the repository (ALIGNBOARD_SHARED). CI must have it."""
    folder = Path(os.environ.get("ALIGNBOARD_SHARED") or ROOT.parent / "shared")
    if not (folder / "data" / "open" / "README.md").is_file():
        message = f"no real data at {folder}; set ALIGNBOARD_SHARED to the folder that holds data/open"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return folder
