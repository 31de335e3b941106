"""The layers of the board, read from the source: analysis needs no Streamlit, and nothing needs the command line."""

from __future__ import annotations

import ast
from pathlib import Path

import leaderboard

ROOT = Path(leaderboard.__file__).parent


def imports(folder: str) -> dict[str, set[str]]:
    """The modules that each file below a folder imports, by the file's name."""
    found: dict[str, set[str]] = {}
    for path in (ROOT / folder).rglob("*.py"):
        names = found.setdefault(str(path.relative_to(ROOT)), set())
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                names |= {f"{node.module}.{alias.name}" for alias in node.names}
            elif isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
    assert found
    return found


def importers(folder: str, *prefixes: str) -> list[str]:
    return [file for file, names in imports(folder).items() if any(name.startswith(prefixes) for name in names)]


def test_analysis_needs_neither_streamlit_nor_components() -> None:
    assert not importers("analysis", "streamlit", "altair", "leaderboard.components", "leaderboard.data")


def test_components_do_not_import_pages() -> None:
    assert not importers("components", "leaderboard.pages")


def test_the_board_does_not_import_the_command_line() -> None:
    assert not importers(".", "harness.cli")
