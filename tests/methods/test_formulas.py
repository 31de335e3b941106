"""Formulas of methods: every built-in one is typeset without a fault, and hostile ones stay text."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as some

from harness.cli import scaffold
from harness.experiments.runner import board_card
from harness.registry import METHODS
from leaderboard.components import formulas
from tests.support.board_browser import wait_for, wait_until_idle

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page

BUILT_IN = [name for name in METHODS.names() if METHODS.origin(name).value.startswith("methods.")]
TRAINED = [name for name in BUILT_IN if METHODS.get(name).trains]
HOSTILE = (
    r"\href{javascript:window.pwned=1}{click}",
    r"\url{http://evil.example}",
    r"\includegraphics{http://evil.example/i.png}",
    r"\htmlData{x=y}{z} \htmlStyle{position:fixed}{z}",
    r"\def\x{\x\x}\x",
    r"\newcommand{\y}{\y} \y",
    "x $$\n\n[link](http://evil.example) ![i](http://evil.example/i.png)\n\n$$ y",
    "$$\n# A title\n$$",
    "x </span></div><script>window.pwned=1</script><img src=x onerror=window.pwned=1>",
    r"\rule{9999em}{9999em} \hspace{9999em} \raisebox{99em}{x} \kern-99em \llap{x}",
    r"\begin{aligned} x \\[-99em] y \end{aligned}",
    r"\color{red} \colorbox{red}{x} \tag{1} \phantom{x}",
    r"{" * 900 + "x" + "}" * 900,
    r"\frac{a}{b",
    r"\begin{aligned} x",
    r"\begin{cases} x \end{aligned}",
    r"x % y",
    "x\\",
    "x" * 10_000,
    "\u202eevil\u202c :red[x] {{7*7}} `code` http://evil.example www.evil.example",
)
HARMLESS = {8, 19}  # typeset as letters and signs


@pytest.mark.parametrize("name", TRAINED)
def test_every_method_that_trains_has_a_formula(name: str) -> None:
    told = board_card(name)
    drawn = formulas.safe_latex(told["formula"])
    assert drawn is not None
    assert r"\mathcal{L}" in drawn
    assert "{" not in told["symbols"]


def test_a_method_without_an_objective_has_none() -> None:
    assert board_card("mbert")["formula"] == ""


def test_the_formula_of_a_new_method_is_typeset() -> None:
    (text,) = scaffold.plugin(scaffold.Names.of("near-pairs")).values()
    found = re.search(r'formula = r"""(.*?)"""', text, re.DOTALL)
    assert found
    assert formulas.safe_latex(found[1]) is not None


@pytest.mark.parametrize("place", range(len(HOSTILE)))
def test_only_plain_mathematics_is_typeset(place: int) -> None:
    drawn = formulas.safe_latex(HOSTILE[place])
    assert (drawn is not None) == (place in HARMLESS)
    assert "\u202e" not in (drawn or "")


@given(some.text(alphabet="\\{}[]$%&^_<>\n abdefhr", max_size=60))
def test_a_typeset_formula_cannot_break_out(text: str) -> None:
    drawn = formulas.safe_latex(text)
    if drawn is not None:
        assert "$" not in drawn
        assert "\n" not in drawn
        bare = drawn.replace("\\\\", "").replace("\\{", "").replace("\\}", "")
        assert bare.count("{") == bare.count("}")
        assert not any(f"\\{name}" in bare for name in ("href", "def", "rule", "html", "hbox"))


@pytest.fixture(scope="module")
def drawn_page() -> Iterator[str]:
    """The address of a page with every formula, hostile ones last."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    cards = [board_card(name) for name in TRAINED] + [{"formula": text, "symbols": text} for text in HOSTILE]
    page = Path(__file__).parents[1] / "support" / "formula_page.py"
    options = (f"--server.port={port}", "--server.address=localhost", "--server.headless=true")
    quiet = "--browser.gatherUsageStats=false"
    server = subprocess.Popen(
        [sys.executable, "-m", "streamlit", "run", str(page), *options, quiet],
        env={**os.environ, "FORMULAS": json.dumps(cards), "PYTHONPATH": str(page.parent.parent)},
        stdout=subprocess.DEVNULL,
    )
    try:
        wait_for(f"http://localhost:{port}/_stcore/health", server)
        yield f"http://localhost:{port}"
    finally:
        server.terminate()
        server.wait(20)


@pytest.mark.ui
@pytest.mark.parametrize("width", [1280, 390])
def test_formulas_in_a_browser(visit: Callable[..., Page], complaints: list[str], drawn_page: str, width: int) -> None:
    page = visit(drawn_page, width)
    page.locator(f".st-key-formula-{len(TRAINED) + len(HOSTILE) - 1}").wait_for(state="attached")
    page.locator(f".st-key-formula-{len(TRAINED) - 1} .katex-display").wait_for()
    wait_until_idle(page)
    shown = {name: page.locator(f".st-key-formula-{place} .katex-display") for place, name in enumerate(TRAINED)}
    assert {name for name, formula in shown.items() if formula.count() != 1} == set()
    over = {name: formula.evaluate("e => e.scrollWidth - e.clientWidth") for name, formula in shown.items()}
    assert {name: pixels for name, pixels in over.items() if pixels > 4} == {}  # italics lean over by a pixel or two
    red = "[...document.querySelectorAll('.katex, .katex *, .katex-error')].filter(e => e.className === 'katex-error'"
    assert page.evaluate(f"{red} || getComputedStyle(e).color === 'rgb(204, 0, 0)').length") == 0
    assert page.evaluate("window.pwned") is None
    assert page.evaluate("[...document.links].filter(link => /evil|javascript/.test(link.href)).length") == 0
    assert page.locator("h1").count() == 1
    assert page.locator('img[src*="evil"], img[src="x"]').count() == 0
    assert page.locator('[data-testid="stException"]').count() == 0
    assert "\u202e" not in page.content()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert complaints == []
