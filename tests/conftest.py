"""Fixtures that several test files use."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.data.folder import Folder
from tests.support.board_browser import blank_pages, browser, complaints, visit  # noqa: F401

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


@pytest.fixture(scope="session", autouse=True)
def _home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A home of the tests' own, where commands in new processes find the cards of methods that others have kept."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALIGNBOARD_HOME", str(tmp_path_factory.getbasetemp() / "home"))
        patch.delenv("ALIGNBOARD_ARTIFACTS", raising=False)
        yield


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Bits depend on the number of threads."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def write(tmp_path: Path) -> Callable[[dict[str, str | bytes]], Folder]:
    """Writes files by path into a folder, and opens it as a source."""

    def make(files: dict[str, str | bytes]) -> Folder:
        for name, content in files.items():
            path = tmp_path / "pack" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        return Folder.open(str(tmp_path / "pack"))

    return make


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder that one process of the session makes, while others that need it wait."""
    root = factory.getbasetemp()
    root = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root
    folder, made = root / name, root / f"{name}.made"
    with (root / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            folder.mkdir()
            make(folder)
            made.touch()
    return folder


@pytest.fixture(scope="session")
def finished_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with one finished run of the untrained base. Not to be written to: copy it."""
    from tests.support.cli_calls import MBERT_RUN, run_command
    from tests.support.small_babel import isolated
    from tests.support.tiny_runs import TINY

    def make(home: Path) -> None:
        with pytest.MonkeyPatch.context() as patch, isolated():
            patch.setenv("ALIGNBOARD_HOME", str(home))
            changes = [word for change in TINY for word in ("--set", change)]
            assert run_command(*MBERT_RUN, *changes, "--workers", "1") == 0

    return made_once(tmp_path_factory, "finished", make)


@pytest.fixture(scope="session")
def demo_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the demo at its smallest, made by the command line. Not to be written to: copy it."""
    from tests.support import demo_store

    return made_once(tmp_path_factory, "demo", demo_store.run_demo)


LONGEST_FIRST = (  # by measure: a long file that begins last leaves the other process idle
    "leaderboard/test_board_browser.py",
    "experiments/test_runner.py",
    "experiments/test_ablation.py",
    "experiments/test_logs.py",
    "contracts/test_contract.py",
    "tasks/test_tasks_fit.py",
    "results/test_submissions.py",
    "cli/test_submit.py",
    "experiments/test_code.py",
    "experiments/test_executor.py",
    "cli/test_new_task.py",
    "data/test_prepare_interrupted.py",
    "faults/test_crashes.py",
    "leaderboard/test_board.py",
    "leaderboard/test_board_live.py",
    "data/test_hub_base.py",
    "experiments/test_bases.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    place = {ROOT / "tests" / name: number for number, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: place.get(item.path, len(place)))
