"""Formulas of methods, which are foreign text: what is plain mathematics is typeset, all else is left as it is written.

The board's typesetter follows no link and loads no picture, but it knows macros, boxes of any size and moves of any
length. So commands are allowed by name; what else a formula holds makes it a text.
"""

from __future__ import annotations

import re

from harness.results.rendering import clean

MOST = 2000  # characters
ROWS = 40
DEPTH = 12  # of groups within groups

_TOKEN = re.compile(r"\\(?:[A-Za-z]+|.?)|[{}$%#]")
_ENVIRONMENT = re.compile(r"\\(begin|end)\s*(?:\{(\w*)\})?")
_SHIFTED = re.compile(r"\\\\\s*\[")  # a row that begins a free distance below the one before
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


def typeset(text: str) -> str | None:
    """A formula on one line, as the typesetter may have it; None where it is not plain, balanced mathematics."""
    line = " ".join(filter(None, (clean(part).strip() for part in text.splitlines())))
    if not line or len(line) > MOST or line.count(r"\\") > ROWS or _SHIFTED.search(line):
        return None
    return line if _plain(line) and _nested(line) else None


def _plain(line: str) -> bool:
    """Whether groups are closed and every command is known."""
    depth = 0
    for token in _TOKEN.findall(line):
        if token in ("{", "}"):
            depth += 1 if token == "{" else -1
            if not 0 <= depth <= DEPTH:
                return False
        elif token[0] != "\\" or not (token[1:] in _COMMANDS or token[1:] in _SIGNS):
            return False
    return depth == 0


def _nested(line: str) -> bool:
    """Whether environments are known and end in the reverse order of their beginnings."""
    open_ones: list[str] = []
    for kind, name in _ENVIRONMENT.findall(line):
        if kind == "begin" and name in _ENVIRONMENTS:
            open_ones.append(name)
        elif kind == "begin" or not open_ones or open_ones.pop() != name:
            return False
    return not open_ones
