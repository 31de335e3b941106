"""The report of the study cz-nce: its sentences follow from verdicts and figures."""

from __future__ import annotations

from pathlib import Path

from harness.evaluation.gradients import GradientFigures
from harness.evaluation.statistics import Difference
from harness.results.loss_report import judge_gradients, judge_scores, write_loss_report
from harness.results.verdicts import ComparedLine


def line(estimate: float, p: float | None, seeds: int = 5) -> ComparedLine:
    difference = Difference(estimate, seeds, 1.0, 0.5, 0.1, 500)
    return ComparedLine("tatoeba", "", 50 + estimate, 50.0, difference, p)


def figures(precision: str, wrong: dict[str, float], size: int = 4) -> list[GradientFigures]:
    return [
        GradientFigures("before alignment", loss, precision, 0.07, size, 1024, 0.0, share, norm)
        for (loss, share), norm in zip(wrong.items(), (0.5, 10.0), strict=True)
    ]


SAME = {"InfoNCE": 0.5, "CZ-NCE": 0.0}
LOSES = {"InfoNCE": 40.0, "CZ-NCE": 0.0}


def test_scores_are_judged_by_their_p_values() -> None:
    scores = {4: [line(5.0, 0.001)], 16: [line(-4.0, 0.01)], 32: [line(6.0, 0.2)], 64: [line(0.1, 0.9)]}
    said = judge_scores(scores)
    assert said[0] == (
        "In final scores, CZ-NCE is better than InfoNCE with batches of 4; is worse than InfoNCE with batches of 16; "
        "cannot be told apart from InfoNCE with batches of 32 and 64."
    )
    assert said[1] == "Batches of 4: On tatoeba CZ-NCE is better than InfoNCE by 5.0 points."
    both = [line(9.0, 0.001), line(0.0, 0.9)._replace(task="udpos"), line(4.5, 0.001)._replace(task="average")]
    assert judge_scores({4: both})[1].endswith(
        "It is better than InfoNCE on tatoeba; cannot be told apart from InfoNCE on udpos."
    )
    assert judge_scores({4: [line(5.0, None, 2)]})[0].startswith("In final scores, CZ-NCE is not judged")


def test_gradients_are_judged_where_the_losses_differ() -> None:
    said = judge_gradients([*figures("fp32", SAME), *figures("fp16", LOSES), *figures("fp16", LOSES, 64)], 0.07)
    assert said == [
        "Vectors before alignment, logits in fp32: neither loss keeps gradients that the other loses.",
        "Vectors before alignment: the gradient of CZ-NCE is 20 times as long as that of InfoNCE with batches of 4.",
        "Vectors before alignment, logits in fp16: CZ-NCE keeps gradients that InfoNCE loses or distorts with batches "
        "of 4 and 64 (40% wrong against 0% with 4); CZ-NCE is ahead in 2 of all 2 batch sizes and temperatures.",
    ]


def test_report_has_its_tables_and_figures(tmp_path: Path) -> None:
    gradients = [*figures("fp32", SAME), *figures("fp16", LOSES), *figures("fp32", SAME, 8)]
    paths = write_loss_report(tmp_path / "out", "About.", {4: [line(5.0, 0.001)]}, gradients, 0.07)
    assert all(path.is_file() for path in paths)
    text = paths[0].read_text(encoding="utf-8")
    assert "| 4 | tatoeba | 50.0 | 55.0 | +5.0 |" in text
    assert "| before alignment | fp16 | 4 | 0.0 | 40.0 | 0.5 | 0.0 | 0.0 | 10 |" in text
    for path in paths[1:4]:
        assert path.read_text(encoding="utf-8").startswith("<svg")
    assert len(paths[4].read_text(encoding="utf-8").splitlines()) == 7
