"""Layout of lists and descriptions on a terminal."""

from __future__ import annotations

import io
import re
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from harness import registry
from harness.cli import progress
from harness.cli.output import fit_columns, format_value
from harness.cli.paragraphs import reflow
from harness.registry import METHODS, TASKS
from harness.training.loop import Rate
from tests.support.cli_calls import run_command


def on_terminal(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes stdout a terminal of so many columns."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(columns))


def printed(capsys: pytest.CaptureFixture[str]) -> str:
    """What a terminal shows, without its codes."""
    return re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)


@pytest.mark.parametrize("columns", [60, 80, 100, 120, 160, 300])
@pytest.mark.parametrize("command", ["methods", "tasks"])
def test_lists_have_one_line_per_name(
    command: str, columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    on_terminal(columns, monkeypatch)
    assert run_command(command) == 0
    lines = printed(capsys).splitlines()
    names = (METHODS if command == "methods" else TASKS).names()
    assert [line.split()[0] for line in lines[3 : 3 + len(names)]] == names
    assert max(map(len, lines)) <= columns
    assert lines == [line.rstrip() for line in lines]
    whole = not any("…" in line for line in lines) and "status" in lines[1]
    assert (lines[-1] == f"`alignboard {command} NAME` shows everything about one {command[:-1]}") is not whole
    assert whole == (columns == 300)


def test_wide_terminal_shows_objective_needs_and_reference(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    on_terminal(120, monkeypatch)
    assert run_command("methods") == 0
    line = next(line for line in printed(capsys).splitlines() if line.startswith(" ml-ctl "))
    assert re.search(r"InfoNCE over .*…   dictionary, parallel +Chen et al. 2022, arXiv 2202.13083", line)


def test_fit_columns_drops_the_last_columns_first() -> None:
    natural, least = {"name": 10, "text": 100, "needs": 20}, {"text": 30}
    assert fit_columns(natural, least, 200) == natural
    # 3 columns between two columns, 2 at the edges
    assert fit_columns(natural, least, 100) == {"name": 10, "text": 62, "needs": 20}
    assert fit_columns(natural, least, 68) == {"name": 10, "text": 30, "needs": 20}
    assert fit_columns(natural, least, 67) == {"name": 10, "text": 52}
    assert fit_columns(natural, least, 44) == {"name": 10}


def test_names_are_not_wrapped(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    on_terminal(80, monkeypatch)
    assert run_command("ablation") == 0
    lines = printed(capsys).splitlines()
    assert max(map(len, lines)) <= 80
    assert any(line.startswith(" align-mlm ") for line in lines)


def test_reflow_keeps_sections_and_formulas() -> None:
    text = """\
One line on what it is, long enough to fill the line up to the very end that the docstring has, so that it goes on
in another.

Reference: somebody, "A title of some length that needs more than one line of the docstring to be told", somewhere in
    2020.
Objective: a sum
    s(a, b) = cos(a, b) / t,
    with t a temperature.
Inputs: pairs."""
    assert (
        reflow(text, 60)
        == """\
One line on what it is, long enough to fill the line up to
the very end that the docstring has, so that it goes on in
another.

Reference: somebody, "A title of some length that needs more
    than one line of the docstring to be told", somewhere in
    2020.
Objective: a sum
    s(a, b) = cos(a, b) / t,
    with t a temperature.
Inputs: pairs."""
    )


def test_format_value_of_nested_values() -> None:
    assert (
        format_value({"clip": None, "adam_betas": (0.9, 0.98), "steps": 3})
        == "clip none, adam_betas (0.9, 0.98), steps 3"
    )
    assert format_value(None) == ""
    assert format_value(["a", "b"]) == "a, b"


ODD = """from typing import Annotated, Literal, Optional

from pydantic import Field

from alignboard import MethodConfig, PairMethod, register


@register("odd")
class Odd(PairMethod):
    control = None

    class Config(MethodConfig):
        layer: int | None = None
        share: Annotated[float, Field(ge=0, le=1)] | None = None
        pooling: Literal["mean", "cls"] = "mean"
        rates: Optional[tuple[float, ...]] = (0.1, 0.2)

    def loss(self, encoder, batch, step): ...
"""


def test_method_description_shows_types_and_unset_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(METHODS, "_local", dict(METHODS._local))
    monkeypatch.setattr(registry, "_plugins", [])
    (tmp_path / "odd.py").write_text(ODD)
    assert run_command("--plugin", str(tmp_path / "odd.py"), "methods", "odd") == 0
    rows = [line.split("  ") for line in capsys.readouterr().out.splitlines()]
    cells = [[part.strip() for part in row if part.strip()] for row in rows]
    assert ["layer", "int | None", "none"] in cells
    assert ["share", "float | None", "none"] in cells
    assert ["pooling", "'mean' | 'cls'", "mean"] in cells
    assert ["rates", "tuple[float, ...] | None", "(0.1, 0.2)"] in cells
    assert ["paper:", "no published settings are known; --recipe paper changes nothing"] in cells


def test_method_without_training_shows_no_training_settings(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command("methods", "mbert") == 0
    text = capsys.readouterr().out
    assert "batch:" not in text
    assert "paper:" not in text


def test_running_stages_are_reported_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "QUIET", 0.01)
    stream = io.StringIO()
    with progress.StageProgress({"a": "align ml-ctl", "b": "pretrain"}, Console(file=stream)) as shown:
        shown.started("a")
        shown.started("b")
        shown.update("b", Rate(1200, 3000, steps_per_second=10, tokens_per_second=1, seconds_left=180, losses={}))
        deadline = time.monotonic() + 60
        while stream.getvalue().count("pretrain") < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
    lines = set(stream.getvalue().splitlines())
    assert lines == {"     running  align ml-ctl", "     running  pretrain  1,200/3,000  10.0 steps/s  3 min 00 s left"}
