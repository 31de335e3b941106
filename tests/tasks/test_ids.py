"""Ids are opaque: whatever text they are, predictions and gold come back from files with their items."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from harness.data.checked_file import CheckedFile
from harness.data.folder import Folder
from harness.errors import UserError
from harness.evaluation.item_statistics import Scored, scores_of, write
from harness.files import EXAMPLES, STATISTICS
from harness.records import Answer, PoolSentence, Question, TaggedSentence, TextPair
from harness.task import Task
from tasks.bucc2018 import BUCC2018
from tasks.panx import PANX
from tasks.tatoeba import Tatoeba
from tasks.xnli import XNLI
from tasks.xquad import XQuAD

ODD = ("q#1", "q", "q#2", "..", "../q", "007", "7", "1e3", " q", "q ", "", "NA", "nan", "None", "#", "q" * 10_000)
CHARACTERS = st.characters(exclude_categories=("Cs",))
TEXTS = st.lists(st.text(CHARACTERS, max_size=8) | st.sampled_from(ODD), min_size=2, max_size=8, unique=True)


def fits_a_field(text: str) -> bool:
    """Whether a tab-separated line can hold a text, be it the first of a file."""
    return not set(text) & set("\t\n\r\0") and not text.startswith("\ufeff")


FIELDS = TEXTS.map(lambda ids: [*filter(fits_a_field, ids), "x"]).filter(lambda ids: len({*ids}) == len(ids))


def questions(ids: Sequence[str]) -> list[Question]:
    return [Question(name, "which?", f"it was {row}", (Answer(str(row), 7),)) for row, name in enumerate(ids)]


def pool(ids: Sequence[str]) -> list[PoolSentence]:
    """Both sides use the same ids, and each sentence translates the one before it."""
    mates = dict(zip(ids, [*ids[1:], *ids[:1]], strict=True))
    source = [PoolSentence(name, "source", f"s{row}", (mates[name],)) for row, name in enumerate(ids)]
    back = {mate: name for name, mate in mates.items()}
    return [*source, *(PoolSentence(name, "target", f"t{row}", (back[name],)) for row, name in enumerate(ids))]


def tagged(ids: Sequence[str]) -> list[TaggedSentence]:
    return [TaggedSentence(name, ("see", "Rome"), ("O", "B-LOC")) for name in ids]


def labelled(ids: Sequence[str]) -> list[TextPair]:
    return [TextPair(name, "a", "b", "neutral") for name in ids]


def come_back(task: Task, predictions: list[Any], records: Sequence[Any], items: Sequence[str]) -> None:
    """Right predictions stay right, and keep their ids, in files of predictions and gold and in the board's tables."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        for file, text in (
            ("p", task.format_predictions(predictions, records)),
            ("l", task.format_gold(records)),
        ):
            (folder / file).write_text(text, encoding="utf-8", newline="")
        gold_file = CheckedFile(folder / "l")
        for gold in (records, task.read_gold(gold_file, "de")):
            file = CheckedFile(folder / "p")
            aligned = task.read_predictions(file, gold)
            assert not [*file.problems, *file.notices, *gold_file.problems]
            statistics = task.statistics(*aligned)
            assert task.metric(statistics.sums())[task.spec.metric] == 100
            if gold is records:
                assert statistics.items == tuple(items)
        parts = [Scored("", "de", predictions, records, task.statistics(predictions, records))]
        write(folder, task, parts, scores_of(task, parts))
        assert pd.read_parquet(folder / STATISTICS)["item"].tolist() == list(items)
        assert pd.read_parquet(folder / EXAMPLES)["item"].tolist() == list(items)


@settings(deadline=None, max_examples=30)
@given(TEXTS)
@example(list(ODD))
def test_ids_of_questions_pairs_and_sentences_come_back(ids: list[str]) -> None:
    come_back(XQuAD(), [str(row) for row in range(len(ids))], questions(ids), ids)
    come_back(XNLI(), ["neutral"] * len(ids), labelled(ids), ids)
    come_back(PANX(), [["O", "B-LOC"]] * len(ids), tagged(ids), ids)


@settings(deadline=None, max_examples=30)
@given(FIELDS)
@example(list(ODD))
def test_ids_of_pools_come_back(ids: list[str]) -> None:
    mates = [*ids[1:], *ids[:1]]
    come_back(BUCC2018(), [list(pair) for pair in zip(ids, mates, strict=True)], pool(ids), ids)
    come_back(Tatoeba(), [ids[-1], *ids[:-1]], pool(ids), ids)


@settings(deadline=None, max_examples=30)
@given(TEXTS, FIELDS)
@example(list(ODD), list(ODD))
def test_a_folder_gives_ids_as_its_files_have_them(asked: list[str], fields: list[str]) -> None:
    with TemporaryDirectory() as name:
        source = Folder(Path(name))
        for folder in ("xquad", "bucc2018"):
            (source.root / folder).mkdir()
        gold = XQuAD().format_gold(questions(asked))
        (source.root / "xquad/xquad.de.json").write_text(gold, encoding="utf-8")
        for side in ("de", "en"):
            lines = "".join(f"{name}\tsentence\n" for name in fields)
            (source.root / f"bucc2018/de-en.test.{side}").write_text(lines, encoding="utf-8", newline="")
        pairs = BUCC2018().format_gold(pool(fields))
        (source.root / "bucc2018/de-en.test.gold").write_text(pairs, encoding="utf-8", newline="")
        assert [record.id for record in source.task(XQuAD.spec, "de", "test")] == asked
        found: Any = source.task(BUCC2018.spec, "de", "test")
        assert [(one.id, one.side, one.partners) for one in found] == [(o.id, o.side, o.partners) for o in pool(fields)]


def test_blanks_around_an_id_that_is_not_known_with_them_are_ignored(tmp_path: Path) -> None:
    file = CheckedFile(tmp_path / "test-de.tsv")
    file.path.write_text("de-1\ten-1 \n de-2\ten-2\n")
    records = [PoolSentence(f"de-{row}", "source", "x", (f"en-{row}",)) for row in (1, 2)]
    records += [PoolSentence(f"en-{row}", "target", "x", (f"de-{row}",)) for row in (1, 2)]
    for gold in (records, records[:2]):
        aligned = BUCC2018().read_predictions(file, gold)
        assert aligned.predictions == [["de-1", "en-1"], ["de-2", "en-2"]]
    assert not file.problems


def test_questions_of_one_id_share_its_answer(tmp_path: Path) -> None:
    """As in the official script, where answers are looked up by id."""
    file = CheckedFile(tmp_path / "test-de.json")
    file.path.write_text(json.dumps({"q": "0"}))
    aligned = XQuAD().read_predictions(file, questions(["q", "q"]))
    assert aligned.predictions == ["0", "0"]


def test_leading_zeros_of_a_line_number_do_not_count(tmp_path: Path) -> None:
    file = CheckedFile(tmp_path / "test-de.tsv")
    file.path.write_text("00\n01\n")
    gold = [PoolSentence(str(row), "target", "", (str(row),)) for row in (0, 1)]
    assert Tatoeba().read_predictions(file, gold).predictions == ["0", "1"]


def test_a_query_with_two_translations_is_not_written_as_gold() -> None:
    with pytest.raises(UserError, match="'e' has no line in the official format"):
        Tatoeba().format_gold([PoolSentence("e", "target", "x", ("a", "b"))])
