"""A store on each back end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.storage.store import Store
from tests.support.postgres import Server, running_server


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    yield from running_server()


@pytest.fixture(params=["sqlite", "postgresql"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return str(tmp_path / "stores" / "board.db")
    server: Server = request.getfixturevalue("server")
    return server.fresh()


@pytest.fixture
def store(location: str) -> Iterator[Store]:
    opened = Store.open(location, create=True)
    yield opened
    opened.close()
