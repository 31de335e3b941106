"""Every probe is asked by a test that is marked long: no method of the literature is without one."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import validation.probes
from harness.registry import METHODS
from validation.probes.__main__ import PROBES, table

TESTS = Path(__file__).parents[1]
CONTROLS = {"continued-mlm", "info-snt", "cz-snt", "ml-ctl", "ml-ctl-cz"}  # of the main table, which is their probe


def probed(file: Path) -> set[str]:
    """The probes that a test file imports, if a test of it that is marked long asserts something."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    long = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
        and any("mark.long" in ast.unparse(mark) for mark in node.decorator_list)
        and any(isinstance(part, ast.Assert) for part in ast.walk(node))
    ]
    if not long:
        return set()
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
    whole = {a.name for node in imports if node.module == "validation.probes" for a in node.names}
    return whole | {str(n.module).split(".")[2] for n in imports if str(n.module).startswith("validation.probes.")}


def test_each_probe_has_a_long_test() -> None:
    asked = set().union(*(probed(file) for file in TESTS.rglob("test_*.py") if file != Path(__file__)))
    assert set(PROBES) <= asked, set(PROBES) - asked


def test_each_method_of_the_literature_has_a_probe() -> None:
    files = {file.stem for file in Path(validation.probes.__path__[0]).glob("*.py")}
    assert set(PROBES) <= files
    trained = {name for name in METHODS.names() if METHODS.get(name).trains} - CONTROLS
    assert {name.removesuffix("-switch").replace("-", "_") for name in trained} == set(PROBES)


def test_the_table_has_mean_spread_and_each_seed() -> None:
    records = [{"probe": "xlm", "seed": seed, "figures": {"loss": value}} for seed, value in ((1, 3.0), (0, 1.0))]
    assert table(records).splitlines()[-1] == "| xlm | loss | 2 | 1.41 | 1, 3 |"
    with pytest.raises(ValueError, match="not in tuple"):
        table([{"probe": "none", "seed": 0, "figures": {}}, *records])
