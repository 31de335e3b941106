"""Faults of gold are found when a run is planned, before anything is trained, and named with file and line."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.data.babel import Babel
from harness.data.folder import Folder
from harness.data.lines import MAX_LINE
from harness.data.source import Source
from harness.data.transforms import transform_of
from harness.errors import UserError
from harness.experiments import gold
from harness.experiments.gold import check_items
from harness.experiments.plan import plan_run
from harness.experiments.recipe import make_recipe
from harness.faults import DiskError
from harness.records import Answer, PoolSentence, Question, TaggedSentence, TextPair
from harness.task import Task
from tasks.bucc2018 import BUCC2018
from tasks.panx import PANX
from tasks.tatoeba import Tatoeba
from tasks.xnli import XNLI
from tasks.xquad import XQuAD
from tests.support.folder_specs import PAIR, Write


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ALIGNBOARD_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def squad(*answers: list[str]) -> str:
    """A file with a paragraph for each list of answers, on lines of its own."""
    qas = [
        {"id": f"q{n}", "question": "who?", "answers": [{"text": a, "answer_start": 0} for a in texts]}
        for n, texts in enumerate(answers)
    ]
    return json.dumps(
        {"data": [{"paragraphs": [{"context": "Ada \u0061\u030a", "qas": [qa]} for qa in qas]}]}, indent=1
    )


def check(source: Source, task: type[Task]) -> None:
    cells = dict.fromkeys(source.manifest([task.spec]).tasks, task.spec)
    assert cells
    check_items(source, cells, (type(source).__module__,))


POOL = {f"bucc2018/de-en.dev.{side}": f"{side}-1\ta\n{side}-2\tb\n" for side in ("de", "en")}
FAULTS: dict[str, tuple[type[Task], dict[str, str | bytes], str]] = {
    "no answer": (
        XQuAD,
        {"xquad/xquad.de.json": squad(["Ada"], [])},
        r"xquad\.de\.json:24: a question without an answer in the test set of xquad in 'de'.*'q1'.*remedy",
    ),
    "no answer in a compressed file": (
        XQuAD,
        {"xquad/xquad.de.json.gz": gzip.compress(squad(["Ada"], []).encode())},
        r"xquad\.de\.json\.gz:24: a question without an answer",
    ),
    "an empty answer": (
        XQuAD,
        {"xquad/xquad.de.json": squad(["Ada", " "], ["Ada"])},
        "without an answer.*'q0'.*none of",
    ),
    "an answer elsewhere": (
        XQuAD,
        {"xquad/xquad.de.json": squad(["Ada"], ["Bob", "Eve"])},
        r"xquad\.de\.json:\d+: an answer that is no part of its context.*question 'q1' with 'Bob'",
    ),
    "no questions": (XQuAD, {"xquad/xquad.de.json": '{"data": []}'}, r"xquad\.de\.json: there are no items"),
    "training without answers": (
        XQuAD,
        {"squad/train-v1.1.json": squad(["Bob"])},
        r"train-v1\.1\.json: no question has its answer in its context in the train set of xquad in 'en'",
    ),
    "an over-long line": (
        XNLI,
        {"xnli/test-de.tsv": PAIR + "a" * (MAX_LINE + 1)},
        r"test-de\.tsv:2: the line is too long",
    ),
    "a label in training": (XNLI, {"xnli/train-en.tsv": PAIR + "a\tb\tno\n"}, r"train-en\.tsv:2: a label outside"),
    "a tag that is missing": (PANX, {"panx/dev-de.tsv": "a\tO\nb\n"}, r"dev-de\.tsv:2: wrong number of fields"),
    "no dev pairs": (BUCC2018, POOL, r"de-en\.dev\.gold: gold is withheld in the dev set of bucc2018.*'de-1'"),
    "an unknown id": (
        BUCC2018,
        {**POOL, "bucc2018/de-en.dev.gold": "de-1\ten-9\n"},
        r"dev\.gold:1: a gold pair with an id that its file lacks",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_gold_is_named_with_its_file_and_line(write: Write, fault: str) -> None:
    task, files, words = FAULTS[fault]
    with pytest.raises(UserError, match=f"(?s){words}"):
        check(write(files), task)


def test_an_answer_in_another_form_of_the_same_characters_is_in_its_context(write: Write) -> None:
    check(write({"xquad/xquad.de.json": squad(["\u00e5"], ["Ada"])}), XQuAD)


def test_what_was_checked_is_not_read_again(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write({"xnli/test-de.tsv": PAIR, "xnli/dev-en.tsv": PAIR})
    check(folder, XNLI)
    read: list[str] = []
    monkeypatch.setattr(Folder, "items", lambda self, spec, view, split: iter(read.append(view) or [good()]))
    check(folder, XNLI)
    assert not read
    write({"xnli/test-de.tsv": PAIR * 2})
    check(folder, XNLI)
    assert read == ["de"]


def good() -> TextPair:
    return TextPair("x", "a", "b", "neutral")


def test_a_long_check_reports_its_progress(
    write: Write, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("harness.modeling.array_cache.QUIET", 0.0)
    monkeypatch.setattr(gold, "STEP", 2)
    check(write({"xnli/test-de.tsv": PAIR * 5}), XNLI)
    assert "checking the data: 2 of 5 items" in capsys.readouterr().err


def test_generated_data_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    babel = Babel.open("size=small")
    changed = transform_of("script:qaf").source(babel)
    for source in (babel, changed):
        monkeypatch.setattr(type(source), "task", None)
        check(source, XQuAD)


def test_a_changed_text_is_checked_in_its_own_file(write: Write) -> None:
    folder = write({"xquad/xquad.de.json": squad(["Ada"], [])})
    with pytest.raises(UserError, match=r"xquad\.de\.json:24: a question without an answer"):
        check(transform_of("script:de").source(folder), XQuAD)


def test_no_run_is_planned_on_gold_with_a_fault(write: Write) -> None:
    files: dict[str, str | bytes] = {f"xnli/{split}-en.tsv": PAIR for split in ("train", "dev", "test")}
    folder = write({**files, "mono/en.txt": "a b\n"})
    common: dict[str, Any] = {"base": "init:1x32", "source": f"folder:{folder.root}", "languages": "available"}
    recipe = make_recipe(method="mbert", suite="xnli", protocol="mini", **common)
    plan_run(recipe, 0)
    write({"xnli/dev-en.tsv": PAIR + "a\tb\n"})
    with pytest.raises(UserError, match=r"dev-en\.tsv:2: wrong number of fields"):
        plan_run(recipe, 0)


PAIRED = [PoolSentence("a", "source", "x", ("b",)), PoolSentence("b", "target", "y", ("a",))]
ASKED = Question("q", "who?", "Ada", (Answer("Ada", 0),))
SETS: list[tuple[Task, list[Any], str]] = [
    (XNLI(), [good(), good()], "an id that occurs twice"),
    (XNLI(), [good(), replace(good(), id="y", label=None)], "a label is withheld"),
    (PANX(), [TaggedSentence("s", ("a",), None)], "tags are withheld"),
    (PANX(), [TaggedSentence("s", ("a", "b"), ("O",))], "tags and words do not match"),
    (PANX(), [TaggedSentence("s", (), ())], "tags and words do not match"),
    (PANX(), [TaggedSentence("s", ("a",), ("VERB",))], "a tag outside the set"),
    (XQuAD(), [ASKED, ASKED], "an id that occurs twice"),
    (Tatoeba(), PAIRED[:1], "a side of the pool is empty"),
    (Tatoeba(), [PAIRED[0], replace(PAIRED[1], partners=())], "a query without a translation"),
    (Tatoeba(), [PAIRED[0], replace(PAIRED[1], partners=("z",))], "a gold pair with an id that the pool lacks"),
    (Tatoeba(), [replace(PAIRED[0], id=""), replace(PAIRED[1], partners=("",))], "an empty id"),
    (BUCC2018(), [replace(PAIRED[0], id="a\tb"), replace(PAIRED[1], partners=())], "an id that no file holds"),
    (BUCC2018(), [replace(one, partners=()) for one in PAIRED], "no pair to find"),
    (BUCC2018(), [replace(one, partners=None) for one in PAIRED], "gold is withheld"),
    (BUCC2018(), [], "there are no items"),
]


@pytest.mark.parametrize(("task", "items", "words"), SETS, ids=[words for _, _, words in SETS])
def test_families_find_the_faults_of_any_source(task: Task, items: list[Any], words: str) -> None:
    found = [fault.what for _, fault in task.gold_faults(iter(items), "test")]
    assert words in found


@pytest.mark.parametrize("task", [XNLI(), PANX()])
def test_one_label_in_place_of_all_is_withheld_gold(task: Task) -> None:
    """XTREME's code reads `neutral`, `0` or `O` where a test set has no labels."""
    pairs = [replace(good(), id=str(number)) for number in range(50)]
    items: list[Any] = (
        pairs if isinstance(task, XNLI) else [TaggedSentence(one.id, ("a", "b"), ("O", "O")) for one in pairs]
    )
    assert [fault.what for _, fault in task.gold_faults(items, "test")] == ["one label stands in place of all"]
    assert not list(task.gold_faults(items[1:], "test")), "so few may have one"


def test_training_ids_may_repeat_and_its_unanswerable_questions_are_passed_over() -> None:
    lost = replace(ASKED, answers=(Answer("zz", -1),))
    assert not list(XQuAD().gold_faults([ASKED, ASKED, lost], "train"))
    assert [fault.what for _, fault in XQuAD().gold_faults([lost], "train")] == [
        "no question has its answer in its context"
    ]


def test_disk_that_cannot_remember_what_was_checked_costs_time_alone(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path, value: object) -> None:
        raise DiskError("the disk is read-only", file=path)

    monkeypatch.setattr(gold, "write_json", fail)
    check(write({"xnli/test-de.tsv": PAIR}), XNLI)
