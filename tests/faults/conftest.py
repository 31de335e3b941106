"""The server of forked runs, one undisturbed run to compare with, and the table of what was tried."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.fault_checks import COUNTS, Finished, Server, scores_of
from tests.support.fault_runs import Job


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


@pytest.fixture(scope="session")
def undisturbed(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    home = tmp_path_factory.mktemp("undisturbed") / "home"
    ended = server.run(Job(str(home)))
    assert (ended.code, ended.errors, ended.finished) == (0, [], 1)
    return Finished(home, ended, scores_of(home))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Has each of several processes send its counts to the first."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["counts"] = COUNTS


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    for kind, counts in getattr(node, "workeroutput", {}).get("counts", {}).items():
        for name, number in counts.items():
            COUNTS.setdefault(kind, dict.fromkeys(counts, 0))[name] += number


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if not COUNTS:
        return
    terminalreporter.write_line(f"\n{'kind of fault':<42} {'tried':>6} {'survived':>9} {'lost':>5}")
    for kind, counts in COUNTS.items():
        lost = counts["tried"] - counts["survived"]
        terminalreporter.write_line(f"{kind:<42} {counts['tried']:>6} {counts['survived']:>9} {lost:>5}")
