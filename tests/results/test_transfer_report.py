"""The report of the study align-mlm: its sentences follow from verdicts, coefficients and the mixed model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from harness.evaluation.statistics import Difference
from harness.results.transfer_report import judge_methods, judge_relation, write_transfer_report
from harness.results.verdicts import ComparedLine

METHODS, VIEWS = ("mlm", "xlm", "align"), ("unchanged", "script", "inversion")


def points(slope: float) -> pd.DataFrame:
    """Three methods by three properties by three seeds, whose transfer grows with alignment."""
    rng = np.random.default_rng(0)
    lines = []
    for row in METHODS:
        for view in VIEWS:
            alignment = float(rng.uniform(0, 100))
            for seed in range(3):
                zero_shot = 40 + slope * alignment + float(rng.normal(0, 0.5))
                lines.append(["udpos", view, row, seed, 90.0, zero_shot, alignment])
    frame = pd.DataFrame(lines, columns=["task", "view", "row", "seed", "pivot", "zero_shot", "measure"])
    return frame.assign(drop=frame["pivot"] - frame["zero_shot"], transfer=frame["zero_shot"] - frame["pivot"])


def compared(estimate: float, p: float | None) -> list[ComparedLine]:
    difference = Difference(estimate, 3, 1.0, 0.5, 0.1, 500)
    return [ComparedLine("udpos", "qab", 50.0 + estimate, 50.0, difference, p)]


def test_methods_are_judged_by_their_p_values() -> None:
    found = judge_methods(
        {
            ("script", "xlm"): compared(5.0, 0.01),
            ("script", "align"): compared(9.0, 0.2),
            ("inversion", "xlm"): compared(-5.0, 0.001),
            ("inversion", "align"): compared(1.0, None),
        },
        "mlm",
    )
    assert found == [
        "Zero-shot transfer better than that of mlm: xlm on udpos (script).",
        "Zero-shot transfer worse than that of mlm: xlm on udpos (inversion).",
        "Not to be told apart from mlm: align on udpos (script).",
        "1 comparison without a verdict, which needs 3 seeds.",
    ]


def test_relation_is_claimed_only_where_the_mixed_model_shows_it() -> None:
    _, spearman, slope = judge_relation("udpos", points(0.4))
    assert "over 9 points" in spearman
    assert "one point of alignment goes with transfer (+0.40 points" in slope
    assert "one point of alignment goes against transfer" in judge_relation("udpos", points(-0.4))[-1]
    assert "is not shown to go with" in judge_relation("udpos", points(0.0))[-1]
    few = points(0.4)
    assert judge_relation("udpos", few[few["row"] == "mlm"]) == [
        "udpos: too few methods or properties to relate alignment and transfer."
    ]


def test_report_has_its_tables_and_figures(tmp_path: Path) -> None:
    paths = write_transfer_report(tmp_path / "out", "About.", points(0.4), {("script", "xlm"): compared(5.0, 0.01)})
    text = paths[0].read_text(encoding="utf-8")
    assert "| script | xlm | udpos | 50.0 | 55.0 | +5.0 |" in text
    assert "| mlm | 90.0 ± 0.0 | 90.0 ± 0.0 | 90.0 ± 0.0 |" in text
    assert all(path.read_text(encoding="utf-8").startswith("<svg") for path in paths[1:3])
    assert len(paths[3].read_text(encoding="utf-8").splitlines()) == 1 + 27
