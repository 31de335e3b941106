"""The sentence above the leaderboard says what the verdicts have shown, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from harness.evaluation import statistics
from harness.evaluation.correlation import Correlation
from harness.evaluation.statistics import ItemVariances
from harness.results.attribution import Attribution, AttributionStep
from harness.results.findings import (
    describe_comparison,
    describe_finding,
    describe_gains,
    describe_row,
    format_difference,
)
from harness.results.tables import ResultRow, ResultTable, TableKey
from harness.results.verdicts import ComparedColumn, ComparedLine, Verdicts
from leaderboard.analysis.intrinsic import describe_relation

LABELS = ("continued-mlm", "a", "b", "c")
KEY = TableKey("suite", "mini", "matched", "base", "babel", "l")
ROWS = tuple(ResultRow(label, label, "", "control" if label == "continued-mlm" else "", 5, {}) for label in LABELS)
TABLE = ResultTable(KEY, "task", "english", 7, (), ROWS)


def column(*means: float, noise: Sequence[float] = ()) -> ComparedColumn:
    """Rows with these means, whose seeds differ by tenths of a point; the last row's also by `noise`."""
    scores = np.array([*means])[:, None] + np.random.default_rng(3).normal(0, 0.1, (len(means), 5))
    scores[-1] += np.array(noise or np.zeros(5))
    unknown = np.full((len(means) + 1, len(means) + 1), 0.02) * (1 - np.eye(len(means) + 1))
    pairs = statistics.differences(np.array([*scores, np.zeros(5)]), ItemVariances(unknown, unknown / 100, 500))
    return ComparedColumn(LABELS, pairs, statistics.rank_intervals(pairs.among(len(means))))


def finding(columns: Mapping[str, ComparedColumn]) -> str:
    verdicts = Verdicts(columns, tuple("01234"), dict.fromkeys(LABELS[1:], LABELS[0]))
    return describe_finding(TABLE, verdicts, ("Transfer", "QA", "Retrieval"))


@pytest.mark.parametrize(
    ("means", "said"),
    [
        ((50.0, 53.0, 53.0, 53.0), "the three methods cannot be told apart, and all beat their control"),
        ((50.0, 50.0, 50.0, 50.0), "the three methods cannot be told apart, and none can be told from its control"),
        ((50.0, 53.0, 60.0, 53.0), "b leads"),
        ((50.0, 60.0, 60.0, 53.0), "a and b lead"),
        ((50.0, 40.0, 45.0, 42.0), "all are worse than their control"),
    ],
)
def test_the_sentence_names_ties_and_leaders(means: tuple[float, ...], said: str) -> None:
    assert finding({"Transfer": column(*means)}) == f"On transfer {said}. 5 seeds."


def test_a_row_that_no_test_separates_from_the_leader_does_not_lead_unless_it_beats_its_control() -> None:
    said = finding({"Transfer": column(50, 53, 60, 49, noise=(-10, 10, 0, 10, -10))})
    assert said == "On transfer b leads, though c cannot be told from it. 5 seeds."


def test_groups_are_in_one_sentence_and_nothing_is_said_without_a_test() -> None:
    both = finding({"Transfer": column(50, 53, 53, 53), "Retrieval": column(20, 40, 45, 50), "QA": column(1, 9, 2, 2)})
    assert both.startswith("On transfer the three methods cannot be told apart")
    assert "; on QA a leads; on retrieval c leads. 5 seeds." in both
    assert finding({}) == ""


def test_a_row_is_judged_against_its_control_and_has_its_rank() -> None:
    columns = {
        "Transfer": column(50, 53, 53, 53),
        "Retrieval": column(20, 10, 45, 50),
        "average": column(20, 10, 45, 50),
    }
    verdicts = Verdicts(columns, tuple("01234"), dict.fromkeys(LABELS[1:], LABELS[0]))
    said = describe_row(TABLE, ROWS[1], verdicts, ("Transfer", "Retrieval"))
    assert (
        said
        == "On transfer a beats its control; on retrieval a is worse than its control. 5 seeds. Rank 4 of 4 on average."
    )
    assert describe_row(TABLE, ROWS[0], verdicts, ("Transfer", "Retrieval")) == ""
    assert describe_row(TABLE, ROWS[1], Verdicts({}, (), {}), ("Transfer",)) == ""


def test_gains_are_counted_by_step_and_a_step_of_all_methods_is_named_once() -> None:
    text = AttributionStep("text", "masked LM on the same text", "base", "control")

    def attribution(method: str, pairs: float, objective: float) -> Attribution:
        def lines(gap: float) -> list[ComparedLine]:
            one = column(50, 50 + gap, 50, 50).difference("a", "continued-mlm")
            return [ComparedLine("Transfer", "", 50, 50, one, one.p)]

        steps = {
            text: lines(-10),
            AttributionStep("objective", "the objective on shuffled pairs", "control", f"{method} (s)"): lines(
                objective
            ),
            AttributionStep("pairs", "the true pairs", f"{method} (s)", method): lines(pairs),
        }
        return Attribution(steps, tuple("01234"), {})

    said = describe_gains([attribution("a", 10, 0), attribution("b", 10, -10)], ["Transfer", "Retrieval"])
    assert said == (
        "On transfer: gains from the true pairs in 2 of 2 methods, a loss from the objective on shuffled pairs in 1 of "
        "2 methods, a loss from masked LM on the same text. 5 seeds."
    )
    assert describe_gains([], ["Transfer"]) == ""


def test_a_comparison_says_on_which_tasks_a_row_is_better_and_on_which_worse() -> None:
    gaps = {"xnli": 10.0, "udpos": 0.0, "panx": -10.0}
    differences = {task: column(50, 50 + gap, 50, 50).difference("a", "continued-mlm") for task, gap in gaps.items()}
    lines = [ComparedLine(task, "", 50, 50, one, one.p) for task, one in differences.items()]
    said = describe_comparison(lines, list(gaps), "control", "a")
    assert said == "a against control: better on 1 of 3 tasks (xnli), worse on 1 of 3 tasks (panx)."
    assert (
        describe_comparison(lines[1:2], ["udpos"], "control", "a") == "a cannot be told from control on any of 1 task."
    )
    assert describe_comparison([lines[0]._replace(p=None)], list(gaps), "control", "a") == ""


def test_a_relation_within_languages_needs_both_intervals_on_one_side_of_zero() -> None:
    both = [Correlation("Pearson", 0.4, 0.1, 0.6, 20), Correlation("Spearman", 0.3, 0.05, 0.5, 20)]
    assert describe_relation(both, "cka") == "Within languages, higher CKA goes with higher scores"
    both[1] = both[1]._replace(low=-0.1)
    assert describe_relation(both, "cka") == "Within languages, no relation of CKA to scores can be seen"


def test_a_difference_is_signed_with_its_interval_in_brackets() -> None:
    difference = column(50, 53, 53, 53).difference("a", "continued-mlm")
    low, high = difference.interval() or (0.0, 0.0)
    assert format_difference(difference) == f"+{difference.estimate:.1f} [{low:.1f}, {high:.1f}]"
    assert format_difference(None) == "–"
