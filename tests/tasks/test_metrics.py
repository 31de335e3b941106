"""Every metric is an `evaluate.Metric`, agrees with the sums of its statistics, and has error bars on the board."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import evaluate
import numpy as np
import pandas as pd
import pytest
from datasets import Features, Value
from evaluate import MetricInfo
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.evaluation.item_statistics import SCORES, Scored, read_ratios, scores_of, write
from harness.evaluation.metrics import AdditiveMetric
from harness.files import STATISTICS
from harness.records import PoolSentence, TaggedSentence, TextPair
from harness.registry import TASKS
from harness.results.item_reader import read_items, variances_of
from harness.results.tables import frame_records
from harness.statistics import Ratio
from harness.storage.artifacts import artifact_folder
from harness.task import Task
from tasks.bucc2018 import BUCC2018
from tasks.metrics import (
    Accuracy,
    MiningF1,
    MlqaAnswers,
    RetrievalAccuracy,
    SpanF1,
    SquadAnswers,
    StrongMiningF1,
    StrongRetrievalAccuracy,
)
from tasks.panx import PANX
from tasks.xnli import XNLI

LABELS = st.sampled_from(["entailment", "neutral", " neutral "])
IDS = st.lists(st.sampled_from("abcd"), max_size=3)
ANSWERS = st.sampled_from(["the cat", "a cat", "Cat!", "", "das Haus", "das rote Haus", "中国 北京"])
TAGS = st.sampled_from(["O", "B-PER", "I-PER", "B-LOC", "NOUN", "_", "X-O"])
GOLD = st.lists(ANSWERS, min_size=1, max_size=2)
METRICS: list[tuple[AdditiveMetric, dict[str, st.SearchStrategy[Any]]]] = [
    (Accuracy(), {"predictions": LABELS, "references": LABELS}),
    (RetrievalAccuracy(), {"predictions": st.sampled_from("abcd"), "references": IDS}),
    (
        StrongRetrievalAccuracy(),
        {"predictions": st.sampled_from("abcd"), "references": IDS, "rivals": st.sampled_from(["", "e"])},
    ),
    (MiningF1(), {"predictions": IDS, "references": IDS}),
    (StrongMiningF1(), {"predictions": IDS, "references": IDS, "strong": IDS}),
    (SquadAnswers(), {"predictions": ANSWERS, "references": GOLD}),
    (MlqaAnswers(), {"predictions": ANSWERS, "references": GOLD, "languages": st.sampled_from(["de", "zh", "qaa"])}),
    *(
        (SpanF1(scheme), {"words": st.lists(st.tuples(TAGS, TAGS), min_size=1, max_size=5)})
        for scheme in (None, "seqeval-0.0.12")
    ),
]


@st.composite
def inputs_of(draw: st.DrawFn, columns: dict[str, st.SearchStrategy[Any]]) -> dict[str, list[Any]]:
    rows = draw(st.lists(st.fixed_dictionaries(columns), min_size=1, max_size=8))
    if "words" in columns:  # as many predicted tags as gold ones
        sides = ([[pair[side] for pair in row["words"]] for row in rows] for side in (0, 1))
        return dict(zip(("predictions", "references"), sides, strict=True))
    return {name: [row[name] for row in rows] for name in columns}


@settings(deadline=None, max_examples=20)
@pytest.mark.parametrize(("metric", "columns"), METRICS, ids=lambda value: getattr(value, "name", ""))
@given(data=st.data())
def test_metric_equals_ratios_of_summed_statistics(
    metric: AdditiveMetric, columns: dict[str, st.SearchStrategy[Any]], data: st.DataObject
) -> None:
    inputs = data.draw(inputs_of(columns))
    parts = metric.statistics(**inputs)
    assert {len(column) for column in parts.values()} == {len(inputs["predictions"])}
    sums = {name: float(column.sum()) for name, column in parts.items()}
    assert metric.compute(**inputs) == pytest.approx({r.name: r.value(sums) for r in metric.ratios}, abs=1e-9)


def test_span_f1_computes_in_two_lines() -> None:
    scores = SpanF1().compute(predictions=[["O", "B-PER"]], references=[["O", "B-PER"]])
    assert scores == {"f1": 100.0, "precision": 100.0, "recall": 100.0, "accuracy": 100.0}


def test_each_metric_describes_itself() -> None:
    for metric, _ in METRICS:
        assert isinstance(metric, evaluate.Metric)
        assert metric.description
        assert metric.citation
        assert metric.inputs_description
        assert metric.reference_urls
        assert {"predictions", "references"} <= metric.features.keys()


def test_metrics_write_no_cache_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(evaluate.config, "HF_METRICS_CACHE", str(tmp_path))
    Accuracy().compute(predictions=["a"], references=["a"])
    assert not list(tmp_path.iterdir())
    assert Accuracy(keep_in_memory=False).compute(predictions=["a"], references=["a"]) == {"accuracy": 100.0}
    assert list(tmp_path.iterdir())


def test_unknown_version_of_seqeval_is_refused() -> None:
    with pytest.raises(UsageError, match=r"seqeval-1\.2\.2"):
        SpanF1("seqeval-2").compute(predictions=[["O"]], references=[["O"]])


@pytest.mark.parametrize("name", TASKS.names())
def test_first_metric_of_a_task_gives_its_headline(name: str) -> None:
    task: Task = TASKS.get(name)()
    assert task.spec.metric in {ratio.name for ratio in task.metrics()[0].ratios}


PAIRS = [TextPair(str(n), "a", "b", label, f"c{n // 2}") for n, label in enumerate(("yes", "no", "yes", "yes"))]
PREDICTED = ["yes", "yes", "no", "yes"]


def test_disagreement_with_the_statistics_stops_scoring() -> None:
    task = XNLI()
    statistics = task.statistics(PREDICTED, PAIRS)
    assert task.scores("de", PREDICTED, PAIRS, statistics) == {"accuracy": 50.0}
    wrong = replace(statistics, columns={**statistics.columns, "correct": np.ones(4, dtype=np.int64)})
    with pytest.raises(AssertionError, match=r"xnli de: accuracy is 50\.0 as computed and 100\.0 from the summed"):
        task.scores("de", PREDICTED, PAIRS, wrong)


def test_scores_of_a_tagging_task_are_those_of_seqeval() -> None:
    gold = [TaggedSentence("s", ("w",) * 4, ("B-PER", "I-PER", "O", "B-LOC"))]
    predicted = [["B-PER", "I-PER", "O", "B-PER"]]
    scores = PANX().scores("de", predicted, gold, PANX().statistics(predicted, gold))
    assert scores == pytest.approx({"f1": 50.0, "precision": 50.0, "recall": 50.0, "accuracy": 75.0})


def test_a_view_without_predictions_has_the_scores_of_the_others() -> None:
    pool = [PoolSentence("x", "source", "x", ("e",)), PoolSentence("e", "target", "e", ("x",))]
    task = BUCC2018()
    parts = [
        Scored("", view, pairs, pool, task.statistics(pairs, pool))
        for view, pairs in (("de", [["x", "e", 1]]), ("fr", []))
    ]
    scores = {(row["view"], row["metric"]): row["value"] for row in scores_of(task, parts)}
    assert scores["de", "strong_f1"] == 100
    assert scores["fr", "strong_f1"] == scores["fr", "f1"] == 0


class YesRecall(AdditiveMetric):
    """Percent of the items labelled `yes` that are predicted as such."""

    ratios = (Ratio("yes_recall", {"yes_found": 1}, {"yes": 1}),)

    def _info(self) -> MetricInfo:
        text = Value("string")
        return MetricInfo(str(self.__doc__), "none", Features({"predictions": text, "references": text}))

    def statistics(self, predictions: Sequence[str], references: Sequence[str]) -> dict[str, np.ndarray]:
        yes = np.asarray([gold == "yes" for gold in references], dtype=np.int64)
        return {"yes": yes, "yes_found": yes * np.asarray([p == "yes" for p in predictions])}


class PoliteXNLI(XNLI):
    """A third party's task: XNLI with one more metric."""

    def metrics(self) -> tuple[AdditiveMetric, ...]:
        return (*super().metrics(), YesRecall())


def test_third_party_metric_has_scores_and_error_bars(tmp_path: Path) -> None:
    task = PoliteXNLI()
    parts = [Scored("english", "de", PREDICTED, PAIRS, task.statistics(PREDICTED, PAIRS))]
    scores = scores_of(task, parts)
    assert {row["metric"]: row["value"] for row in scores} == pytest.approx({"accuracy": 50.0, "yes_recall": 200 / 3})
    write(tmp_path, task, parts, scores)
    assert (tmp_path / SCORES).is_file()
    assert read_ratios(tmp_path / STATISTICS) == {ratio.name: ratio for ratio in task.ratios()}

    artifact = tmp_path / artifact_folder("stage1")
    artifact.mkdir(parents=True)
    (tmp_path / STATISTICS).rename(artifact / STATISTICS)
    cells = pd.DataFrame({"stage": ["stage1"], "selection": ["english"], "view": ["de"]})
    items = read_items(tmp_path, frame_records(cells.assign(metric="yes_recall", value=200 / 3)))
    assert items is not None
    parts_of_clusters = items.groupby("cluster")[["above", "below"]].sum()
    assert parts_of_clusters.to_dict("list") == {"above": [1, 1], "below": [1, 2]}
    ratio = 2 / 3  # two of three `yes` items; cluster c0 has one of them, c1 two
    moves = np.array([100 * (1 - ratio) / 3, 100 * (1 - 2 * ratio) / 3])
    variances = variances_of([[items]])
    assert variances is not None
    assert variances.between[0, 1] == pytest.approx(2 * (moves**2).sum())
    assert read_items(tmp_path, frame_records(cells.assign(metric="an undeclared metric", value=0.0))) is None
