"""Every probe is asked by a test that is marked long: no method of the literature is without one."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from harness.registry import METHODS
from validation.probes.__main__ import PROBES, table

TESTS = Path(__file__).parents[1]
CONTROLS = {"continued-mlm", "info-snt", "cz-snt", "ml-ctl", "ml-ctl-cz"}  # of the main table, which is their probe


def asserted_in_long_tests(file: Path) -> set[str]:
    """The functions that the long tests of a file call, if they assert something."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    long = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
        and any("mark.long" in ast.unparse(mark) for mark in node.decorator_list)
        and any(isinstance(part, ast.Assert) for part in ast.walk(node))
    ]
    calls = [call.func for test in long for call in ast.walk(test) if isinstance(call, ast.Call)]
    return {ast.unparse(call).rpartition(".")[2] for call in calls}


def test_each_probe_has_a_long_test() -> None:
    asked = set().union(*(asserted_in_long_tests(file) for file in (TESTS / "methods").glob("test_*.py")))
    assert {probe.__name__ for probe in PROBES.values()} <= asked


def test_each_method_of_the_literature_has_a_probe() -> None:
    trained = {name for name in METHODS.names() if METHODS.get(name).trains} - CONTROLS
    assert {name.removesuffix("-switch") for name in trained} == set(PROBES)


def test_the_table_has_mean_spread_and_each_seed() -> None:
    records = [{"probe": "xlm", "seed": seed, "figures": {"loss": value}} for seed, value in ((1, 3.0), (0, 1.0))]
    assert table(records).splitlines()[-1] == "| xlm | loss | 2 | 1.41 | 1, 3 |"
    with pytest.raises(ValueError, match="is not in list"):
        table([{"probe": "none", "seed": 0, "figures": {}}, *records])
