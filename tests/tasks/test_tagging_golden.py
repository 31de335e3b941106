"""Span F1 and accuracy against the official scorer's recorded numbers, and against the installed seqeval."""

from __future__ import annotations

import io
import json
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from seqeval.metrics import f1_score, precision_score, recall_score
from seqeval.metrics.sequence_labeling import get_entities

from harness.errors import UserError
from harness.records import PoolSentence, TaggedSentence, TextPair
from harness.task import Task
from tasks.metrics import SEQEVAL_0_0_12, SEQEVAL_1_2_2, f1_scores, span_counts, tag_spans
from tasks.panx import PANX
from tasks.pawsx import PAWSX
from tasks.tatoeba import Tatoeba
from tasks.udpos import UDPOS
from tasks.xnli import XNLI

GOLDEN = Path(__file__).parents[1] / "golden"
SIDES = ("label", "prediction")
TASKS: dict[str, type[Task]] = {"xnli": XNLI, "pawsx": PAWSX, "tatoeba": Tatoeba}
Tags = list[list[str]]


def cases(*files: str) -> list[Any]:
    """(case, version) of every run that the official code finishes, named."""
    runs = [
        pytest.param(case, version, id=f"{file}-{case['name']}-{version}")
        for file in files
        for case in json.loads((GOLDEN / file).read_text(encoding="utf-8"))["cases"]
        for version in (SEQEVAL_0_0_12, SEQEVAL_1_2_2)
        if "ok" in case["expected"][version]  # the official code ends the others with an exception
    ]
    assert runs
    return runs


def scores(labels: Tags, predictions: Tags, scheme: str) -> dict[str, float]:
    return f1_scores(*(float(column.sum()) for column in span_counts(labels, predictions, scheme)))


@pytest.mark.parametrize(("case", "version"), cases("tagging_f1/cases.json", "pos_f1/cases.json"))
def test_span_f1_is_the_official_one(case: dict[str, Any], version: str) -> None:
    expected = case["expected"][version]["ok"]
    assert scores(case["labels"], case["predictions"], version) == pytest.approx(expected, abs=1e-9)


def read_tags(content: str) -> Tags:
    """Tags of a file: the last field of each line, a blank line between sentences, line ends at the very end aside."""
    return [[line.split("\t")[-1] for line in s.split("\n") if line] for s in content.rstrip("\n").split("\n\n")]


def sentences(tags: Tags) -> list[TaggedSentence]:
    return [TaggedSentence(str(i), ("w",) * len(row), tuple(row)) for i, row in enumerate(tags)]


@pytest.mark.parametrize(("case", "version"), cases("tagging_f1/files.json"))
def test_files_are_scored_as_officially(case: dict[str, Any], version: str) -> None:
    labels, predictions = read_tags(case["label_file"]), read_tags(case["prediction_file"])
    expected = case["expected"][version]["ok"]
    assert scores(labels, predictions, version) == pytest.approx(expected, abs=1e-9)
    if version == PANX.scheme:
        found = PANX().metric(PANX().statistics(predictions, sentences(labels)).sums())
        assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-9)


def test_what_the_official_code_stops_at_is_told() -> None:
    by_name = {c["name"]: c for c in json.loads((GOLDEN / "tagging_f1/cases.json").read_text())["cases"]}
    shifted = by_name["mismatch_shifts_next_sentence"]
    with pytest.raises(UserError, match="another number of tags"):
        PANX().statistics(shifted["predictions"], sentences(shifted["labels"]))
    with pytest.raises(UserError, match="differ in length"):
        PANX().statistics([["B-PER"]], sentences([["B-PER"], ["B-LOC"]]))


def test_token_accuracy_is_that_of_the_recorded_cases() -> None:
    for case in json.loads((GOLDEN / "pos_f1/cases.json").read_text())["cases"]:
        found = UDPOS().metric(UDPOS().statistics(case["predictions"], sentences(case["labels"])).sums())
        assert found["accuracy"] == pytest.approx(case["token_accuracy_percent"], abs=1e-9), case["name"]


POS = (*UDPOS.spec.labels, "_")
ENTITY = ("O", "B-PER", "I-PER", "E-PER", "S-PER", "B-LOC", "I-LOC", "E-LOC", "B-A-B", "I-A-B", "B", "I")


def pairs_of(tags: tuple[str, ...]) -> st.SearchStrategy[list[list[tuple[str, str]]]]:
    tag = st.sampled_from(tags)
    return st.lists(st.lists(st.tuples(tag, tag), min_size=1, max_size=8), min_size=1, max_size=5)


@given(st.one_of(pairs_of(POS), pairs_of(ENTITY), pairs_of((*POS, *ENTITY, "."))))
def test_span_f1_equals_seqeval(both: list[list[tuple[str, str]]]) -> None:
    gold, predicted = ([[pair[side] for pair in row] for row in both] for side in (0, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ours = [span for row in tag_spans(gold, SEQEVAL_1_2_2) for span in row]
        assert ours == get_entities(gold)
        found = scores(gold, predicted, SEQEVAL_1_2_2)
        assert found["f1"] == pytest.approx(100 * f1_score(gold, predicted, zero_division=0), abs=1e-9)
        assert found["precision"] == pytest.approx(100 * precision_score(gold, predicted, zero_division=0), abs=1e-9)
        assert found["recall"] == pytest.approx(100 * recall_score(gold, predicted, zero_division=0), abs=1e-9)


def accuracy_cases() -> list[Any]:
    found = json.loads((GOLDEN / "accuracy/cases.json").read_text())["cases"]
    return [pytest.param(case, id=case["name"]) for case in found]


@pytest.mark.parametrize("case", accuracy_cases())
def test_accuracy_is_the_official_one(case: dict[str, Any]) -> None:
    labels, predictions = ([line.strip() for line in io.StringIO(case[f"{side}_file"])] for side in SIDES)
    task = TASKS[case["task"]]()
    if case["task"] == "tatoeba":
        gold: list[Any] = [PoolSentence(str(i), "target", "t", (label,)) for i, label in enumerate(labels)]
    else:
        gold = [TextPair(str(i), "a", "b", label) for i, label in enumerate(labels)]
    if "error" in case["expected"]:
        with pytest.raises((UserError, ZeroDivisionError)):
            task.metric(task.statistics(predictions, gold).sums())
    else:
        found = task.metric(task.statistics(predictions, gold).sums())
        assert found == pytest.approx(case["expected"]["ok"], abs=1e-9)
