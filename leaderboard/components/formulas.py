"""Formulas of methods, which are third-party text: plain mathematics is typeset, all else is shown as written.

The typesetter follows no links and loads no pictures, but it knows macros, boxes and shifts of any size. So commands
are allowed by name, and a formula with any other command is shown as text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import streamlit as st

from harness.results.rendering import clean, escape
from leaderboard.components import messages

MAX_LENGTH = 2000  # characters
MAX_ROWS = 40
MAX_DEPTH = 12  # of groups within groups

_TOKEN = re.compile(r"\\(?:[A-Za-z]+|.?)|[{}$%#]")
_ENVIRONMENT = re.compile(r"\\(begin|end)\s*(?:\{(\w*)\})?")
_SHIFTED = re.compile(r"\\\\\s*\[")  # a row at any distance below the one before
_ENVIRONMENTS = {"aligned", "bmatrix", "cases", "gathered", "matrix", "pmatrix", "split"}
_SIGNS = frozenset(",;:!{}|\\_&#% ")
_NAMES = """
    alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi pi varpi rho varrho
    sigma varsigma tau upsilon phi varphi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega
    ell hbar imath jmath Re Im infty partial nabla emptyset varnothing top bot prime angle triangle
    frac dfrac tfrac binom sqrt sum prod int oint bigcup bigcap bigoplus bigotimes limits nolimits substack
    left right middle big Big bigg Bigg bigl bigr Bigl Bigr biggl biggr Biggl Biggr bigm Bigm
    lVert rVert lvert rvert Vert vert langle rangle lfloor rfloor lceil rceil lbrace rbrace lbrack rbrack
    hat bar tilde vec dot ddot check breve widehat widetilde overline underline overbrace underbrace overset underset
    stackrel mathcal mathbb mathbf mathrm mathit mathsf mathtt mathfrak mathscr boldsymbol bm text textbf textit textrm
    operatorname arccos arcsin arctan arg argmax argmin cos cosh cot deg det dim exp gcd hom inf ker lg lim liminf
    limsup ln log max min Pr sec sin sinh sup tan tanh bmod pmod mod
    cdot times div pm mp ast star circ bullet oplus ominus otimes odot wedge vee cup cap setminus sqcup uplus dagger
    in notin ni subset subseteq supset supseteq forall exists nexists neg lnot land lor mid nmid parallel perp not
    leq le geq ge neq ne approx sim simeq cong equiv propto ll gg prec succ preceq succeq triangleq coloneqq models
    to gets leftarrow rightarrow Leftarrow Rightarrow leftrightarrow Leftrightarrow mapsto longrightarrow longleftarrow
    longmapsto uparrow downarrow implies iff rightharpoonup
    ldots cdots vdots ddots dots dotsc dotsb colon quad qquad displaystyle textstyle begin end
"""
_COMMANDS = frozenset(_NAMES.split())


def draw_formula(card: Mapping[str, Any]) -> None:
    """Draws the formula of a method's card, and its symbols below."""
    text = str(card.get("formula") or "")
    if not text.strip():
        return
    latex = safe_latex(text)
    if latex is None:
        st.code(escape(text, most=MAX_LENGTH), language=None, wrap_lines=True)
    else:
        st.latex(latex, width="content")
    messages.write_notes([str(card["symbols"])] if card.get("symbols") else ())


def safe_latex(text: str) -> str | None:
    """A formula on one line, safe to typeset; None if it is not plain, balanced mathematics."""
    line = " ".join(filter(None, (clean(part).strip() for part in text.splitlines())))
    if not line or len(line) > MAX_LENGTH or line.count(r"\\") > MAX_ROWS or _SHIFTED.search(line):
        return None
    return line if _commands_are_allowed(line) and _environments_are_nested(line) else None


def _commands_are_allowed(line: str) -> bool:
    """Whether groups are closed and every command is known."""
    depth = 0
    for token in _TOKEN.findall(line):
        if token in ("{", "}"):
            depth += 1 if token == "{" else -1
            if not 0 <= depth <= MAX_DEPTH:
                return False
        elif token[0] != "\\" or not (token[1:] in _COMMANDS or token[1:] in _SIGNS):
            return False
    return depth == 0


def _environments_are_nested(line: str) -> bool:
    """Whether environments are known, and end in the reverse order of their beginnings."""
    stack: list[str] = []
    for kind, name in _ENVIRONMENT.findall(line):
        if kind == "begin" and name in _ENVIRONMENTS:
            stack.append(name)
        elif kind == "begin" or not stack or stack.pop() != name:
            return False
    return not stack
