"""The suite `alignment`: word links, word retrieval and sentence geometry on babel and on a folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.data.babel import Babel
from harness.data.folder import Folder
from harness.data.readers import aligned_pool
from harness.errors import UsageError
from harness.evaluation.item_statistics import Scored, scores_of
from harness.experiments.recipe import make_recipe
from harness.records import AlignedPair, Record
from tasks.families.word_links import mutual_links, sure_words
from tasks.sentence_geometry import GeometryOfTatoeba
from tasks.static_retrieval import StaticRetrieval
from tasks.suites import ALIGNMENT
from tasks.word_alignment import WordAlignment
from tasks.word_retrieval import WordRetrievalInContext
from tests.support.small_babel import encoder

TASKS: dict[str, Any] = {
    task.spec.name: task() for task in (WordAlignment, WordRetrievalInContext, StaticRetrieval, GeometryOfTatoeba)
}
PAIR = AlignedPair(
    "p",
    "de",
    ("the", "red", "Anna"),
    ("Anna", "rote"),
    frozenset({(1, 1), (2, 0)}),
    frozenset({(0, 1), (1, 1), (2, 0)}),
)


def test_suite_lists_the_tasks() -> None:
    assert set(ALIGNMENT.tasks) == set(TASKS)


def test_error_rate_of_links_is_that_of_the_formula() -> None:
    task = TASKS["word-alignment"]
    statistics = task.statistics([["0-1", "2-1"]], [PAIR])
    scores = scores_of(task, [Scored("", "de", [["0-1", "2-1"]], [PAIR], statistics)])
    found = {score["metric"]: score["value"] for score in scores}
    # A = {0-1, 2-1}; no link is sure, one is possible: 1 - (0 + 1) / (2 + 2)
    assert found == {"agreement": 25.0, "aer": 75.0, "precision": 50.0, "recall": 0.0}


def test_links_are_mutual_nearest_words() -> None:
    cosines = torch.tensor([[0.9, 0.8], [0.95, 0.1], [0.2, 0.3]])
    assert mutual_links(cosines) == ["1-0"]
    assert mutual_links(torch.zeros(0, 3)) == []


def test_retrieval_leaves_out_equal_words_and_words_of_several_links() -> None:
    assert sure_words([PAIR]) == [(0, 1, 1)]
    several = AlignedPair("q", "de", ("a",), ("x", "y"), frozenset({(0, 0), (0, 1)}), frozenset())
    assert sure_words([several]) == []


@pytest.mark.parametrize("name", TASKS)
def test_tasks_run_on_babel(name: str) -> None:
    task, source = TASKS[name], Babel.open("size=small,test=12")
    cells = source.manifest([task.spec]).tasks
    records = source.task(task.spec, "qab", "test")
    assert {cell.count for cell in cells} == {len(records)}
    settings = task.spec.settings("mini")
    predictions = task.predict(encoder(), {"qab": records}, settings)["qab"]
    statistics = task.statistics(predictions, records)
    scores = {s["metric"]: s["value"] for s in scores_of(task, [Scored("", "qab", predictions, records, statistics)])}
    assert task.spec.metric in scores
    assert all(0 <= scores[metric] <= 100 for metric in scores if metric in ("accuracy", "agreement", "cka"))
    assert len(list(task.show(predictions, records))) == len(statistics.items)


def test_identical_languages_are_aligned() -> None:
    """Words whose vectors are those of their translations are found: the encoder reads the same words twice."""
    words = ("abra", "cad", "omi")
    pairs = [AlignedPair(str(i), "xx", words[i:], words[i:], frozenset(), frozenset()) for i in range(2)]
    task = TASKS["word-alignment"]
    assert task.predict(encoder(), {"xx": pairs}, task.spec.settings("mini"))["xx"] == [
        ["0-0", "1-1", "2-2"],
        ["0-0", "1-1"],
    ]


def test_folder_reads_gold_links(tmp_path: Path) -> None:
    place = tmp_path / "alignments"
    place.mkdir()
    (place / "en-de.en").write_text("the red house\n", encoding="utf-8")
    (place / "en-de.de").write_text("das rote Haus\n", encoding="utf-8")
    (place / "en-de.gold").write_text("0-0 1-1 2p2\n", encoding="utf-8")
    source, spec = Folder.open(str(tmp_path)), TASKS["word-alignment"].spec
    assert [(cell.view, cell.count) for cell in source.manifest([spec]).tasks] == [("de", 1)]
    (pair,) = source.task(spec, "de", "test")
    assert isinstance(pair, AlignedPair)
    assert (pair.source, pair.sure) == (("the", "red", "house"), {(0, 0), (1, 1)})


def test_gold_links_without_a_word_to_search_are_told_when_a_run_is_planned() -> None:
    links = frozenset({(0, 0)})
    good = AlignedPair("a", "de", ("house",), ("Haus",), links, links)
    possible, same = replace(good, sure=frozenset()), replace(good, target=("house",))
    task = WordRetrievalInContext()
    assert not list(task.gold_faults([good, replace(possible, id="b")], "test"))
    for pair in (possible, same):
        assert [fault.what for _, fault in task.gold_faults([pair], "test")] == ["no word to search"]
    empty = replace(good, id="b", target=(), sure=frozenset(), possible=frozenset())
    assert [fault.what for _, fault in task.gold_faults([good, empty], "test")] == ["a side without words"]


def test_too_few_pairs_for_a_geometry_are_told_when_a_run_is_planned() -> None:
    def pool(size: int) -> list[Record]:
        texts = [f"sentence {number}" for number in range(size)]
        return aligned_pool("tatoeba", "de", "test", "en", texts, texts, labelled=True)

    task = GeometryOfTatoeba()
    assert not list(task.gold_faults(pool(3), "test"))
    ((item, fault),) = task.gold_faults(pool(2), "test")
    assert item is None
    assert (fault.what, fault.found) == ("too few pairs of translations", "2")


def test_a_geometry_has_no_choice_of_strong_retrieval() -> None:
    options = {"method": "mbert", "base": "init:1x64", "source": "babel", "suite": "sentence-geometry"}
    with pytest.raises(UsageError, match="strong"):
        make_recipe(**options, protocol="mini", changes=["tasks.sentence-geometry.strong=true"])
