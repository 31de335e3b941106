"""Question answering: windows over contexts, answers cut out of them, files of questions, and what is learnt."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harness.data.folder import Folder
from harness.errors import UserError
from harness.records import Answer, Question
from harness.registry import TASKS
from harness.training.checkpoint import load_tensors
from tasks.families.question_answering import AnswerSettings
from tasks.families.windows import AnswerSpan, Window, best_span, windows
from tasks.metrics.answers import normal_form, squad
from tasks.mlqa import MLQA
from tasks.tydiqa import TyDiQA
from tasks.xquad import XQuAD
from tests.support.tiny_encoder import tiny_encoder, tiny_tokenizer

SETTINGS = AnswerSettings(
    learning_rate=1e-2, batch_size=8, accumulation=1, epochs=6, max_length=30, doc_stride=10, question_length=6
)
QA = ("xquad", "mlqa", "tydiqa")


def make_question(text: str, question: str, context: str, name: str = "q", language: str = "en") -> Question:
    return Question(name, question, context, (Answer(text, context.index(text)),), name, language)


def random_questions(n: int, seed: int) -> list[Question]:
    """Contexts of letters with one word of digits, which is the answer; many are longer than a window."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(n):
        words = ["".join(rng.choice(list("abcdef"), 2)) for _ in range(int(rng.integers(3, 30)))]
        words[int(rng.integers(len(words)))] = str(rng.integers(10, 100))
        answer = next(word for word in words if word.isdigit())
        found.append(make_question(answer, "which ?", " ".join(words), f"q{number}"))
    return found


@given(st.integers(0, 500), st.integers(1, 60), st.integers(1, 60))
def test_windows_cover_every_subword_and_end_at_the_last(length: int, room: int, stride: int) -> None:
    found = list(windows(length, room, stride))
    assert set().union(*(range(first, first + size) for first, size in found)) == set(range(length))
    assert all(size <= room for _, size in found)
    steps = {b[0] - a[0] for a, b in pairwise(found)}
    assert steps <= ({stride} if stride <= room else {max(room // 2, 1)})
    assert sum(found[-1]) == length


def test_the_best_span_is_that_of_all_pairs_of_starts_and_ends() -> None:
    rng = np.random.default_rng(0)
    for _ in range(30):
        logits = rng.normal(size=(25, 2))
        window, mine = Window(0, 40, 17, 6), rng.random(17) < 0.7
        found = best_span(logits, window, mine, best=25, longest=5)
        spans = [
            AnswerSpan(logits[6 + i, 0] + logits[6 + j, 1], 40 + i, 40 + j)
            for i in range(17)
            for j in range(i, min(i + 5, 17))
            if mine[i]
        ]
        assert found is not None
        assert found == pytest.approx(max(spans))
    assert best_span(np.zeros((8, 2)), Window(0, 0, 2, 6), np.array([False, False]), 20, 5) is None


def test_answers_keep_their_place_in_every_window() -> None:
    task, tokenizer = XQuAD(), tiny_tokenizer()
    questions = random_questions(40, seed=1)
    examples = task.encode(tokenizer, questions, SETTINGS, gold=True)
    answered = set()
    for row, window in zip(range(len(examples)), examples.rows, strict=True):
        example = examples[row]
        assert len(example.ids) <= SETTINGS.max_length
        assert example.ids[window.offset - 1] == tokenizer.sep_id
        if example.start:
            shift = window.first - window.offset
            span = AnswerSpan(0.0, example.start + shift, example.end + shift)
            assert examples.text(window.question, span) == questions[window.question].answers[0].text
            answered.add(window.question)
    assert answered == set(range(40))
    assert len(examples) > 60


@pytest.mark.parametrize("length", [12, 20, 40])
def test_a_long_question_leaves_half_of_a_short_encoder_to_the_context(length: int) -> None:
    settings = replace(SETTINGS, max_length=length, question_length=64, doc_stride=64)
    questions = [make_question("b", "what " * 30, "abc " * 20 + "b") for _ in range(2)]
    examples = XQuAD().encode(tiny_tokenizer(), questions, settings, gold=True)
    room = length - 3
    assert max(map(len, (examples.ids[i] for i in range(len(examples))))) <= length
    assert max(window.size for window in examples.rows) == room - room // 2
    assert any(start for start, _ in examples.answers)


def test_questions_without_an_answer_in_their_context_are_not_trained_on() -> None:
    lost = Question("lost", "which ?", "ab cd", (Answer("zz", -1),))
    examples = XQuAD().encode(tiny_tokenizer(), [lost, *random_questions(3, seed=2)], SETTINGS, gold=True)
    assert {window.question for window in examples.rows} == {1, 2, 3}
    with pytest.raises(UserError, match="has its answer in its context"):
        XQuAD().encode(tiny_tokenizer(), [lost], SETTINGS, gold=True)


def test_fine_tuning_learns_and_keeps_the_last_step(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    task = TyDiQA()
    model = task.build(tiny_encoder(), SETTINGS)
    fit = task.fit(model, random_questions(150, seed=3), {}, SETTINGS, None, pivot="en", seed=0, checkpoint=tmp_path)
    assert fit.kept == {"english": fit.trace.steps}
    assert all(not point.metrics for point in fit.curve)
    load_tensors(model, fit.states[fit.trace.steps])
    test = random_questions(60, seed=4)
    predicted = task.predict(model, {"en": test, "fi": test[:7]}, SETTINGS)
    assert predicted["fi"] == predicted["en"][:7]
    assert all(text in question.context for text, question in zip(predicted["en"], test, strict=True))
    assert task.metric(task.statistics(predicted["en"], test).sums())["exact_match"] > 85


def of_two_kinds(n: int, seed: int) -> list[Question]:
    """Contexts with one word of digits and one of the last letters: which of them answers, the question tells."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(n):
        words = ["".join(rng.choice(list("abcdef"), 2)) for _ in range(int(rng.integers(4, 14)))]
        places, kind = rng.choice(len(words), 2, replace=False), number % 2
        words[places[0]], words[places[1]] = str(rng.integers(10, 100)), "".join(rng.choice(list("xyz"), 2))
        found.append(make_question(words[places[kind]], ("9 ?", "x ?")[kind], " ".join(words), f"q{number}"))
    return found


@pytest.mark.long
def test_answers_follow_the_question(tmp_path: Path) -> None:
    """Both candidates stand in every context, so that half is the best without reading the question."""
    torch.set_num_threads(1)
    task, settings = TyDiQA(), replace(SETTINGS, learning_rate=4e-3, epochs=25)
    model = task.build(tiny_encoder(hidden=32), settings)
    fit = task.fit(model, of_two_kinds(300, seed=3), {}, settings, None, pivot="en", seed=0, checkpoint=tmp_path)
    load_tensors(model, fit.states[fit.trace.steps])
    test = of_two_kinds(80, seed=4)
    predicted = task.predict(model, {"en": test}, settings)["en"]
    assert task.metric(task.statistics(predicted, test).sums())["exact_match"] > 85


def test_the_loss_is_the_mean_of_both_cross_entropies_over_each_window_alone() -> None:
    task = XQuAD()
    model = task.build(tiny_encoder(), SETTINGS).eval()
    examples = task.encode(tiny_tokenizer(), random_questions(4, seed=5), SETTINGS, gold=True)
    chosen = [examples[i] for i in range(len(examples))]
    special = tiny_tokenizer().special_ids
    with torch.no_grad():
        term = model.head.loss(model.encoder, task.collate(chosen, special), 0)["cross-entropy"]
        total = 0.0
        for one in chosen:
            logits = model.head(model.encoder, task.collate([one], special)["text"]).double().log_softmax(0)
            total -= float(logits[one.start, 0] + logits[one.end, 1]) / 2
    assert float(term.sum) / term.count == pytest.approx(total / len(chosen), rel=1e-5)


def test_mlqa_scores_by_the_language_of_the_text() -> None:
    record = make_question("ein Haus", "what?", "das ist ein Haus", language="de")
    statistics = MLQA().statistics(["Haus"], [record])
    assert statistics.sums() == {"exact_match": 1.0, "f1": 1.0, "items": 1.0}
    assert XQuAD().statistics(["Haus"], [record]).sums()["exact_match"] == 0


def paragraph(context: str, *rows: tuple[str, str]) -> dict[str, Any]:
    qas = [
        {"id": name, "question": "who?", "answers": [{"text": text, "answer_start": max(context.find(text), 0)}]}
        for name, text in rows
    ]
    return {"paragraphs": [{"context": context, "qas": qas}]}


def written(root: Path, name: str, content: Any) -> None:
    file = root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")


def test_a_folder_has_views_with_questions_in_another_language(tmp_path: Path) -> None:
    data = {"data": [paragraph("Ada lived.", ("q1", "Ada"), ("q2", "zzz"))]}
    for pair in ("de-question-de", "de-question-en", "en-question-en"):
        written(tmp_path, f"mlqa/MLQA_V1/test/test-context-{pair}.json", data)
    written(tmp_path, "tydiqa/tydiqa-goldp-v1.1-train/tydiqa.goldp.en.train.json", data["data"])
    spec = TASKS.get("mlqa").spec
    manifest = Folder.open(str(tmp_path)).manifest([spec])
    assert manifest.views("mlqa", "test") == ("de", "en", "de.en")
    assert manifest.training == {"mlqa": "tydiqa-goldp-v1.1-train/tydiqa.goldp.en.train.json (2 items)"}
    assert any("is read in place of squad/train-v1.1.json" in note for note in manifest.notes)
    first, second = Folder.open(str(tmp_path)).task(spec, "de.en", "test")
    assert isinstance(first, Question)
    assert (first.language, first.answers, first.cluster) == ("de", (Answer("Ada", 0),), second.cluster)
    assert second.answers == (Answer("zzz", -1),)


def test_withheld_answers_raise_an_error(tmp_path: Path) -> None:
    written(tmp_path, "xquad/xquad.de.json", {"data": [paragraph("Ada lived.", ("q1", ""))]})
    cell = Folder.open(str(tmp_path)).manifest([TASKS.get("xquad").spec]).cell("xquad", "de", "test")
    assert cell is not None
    assert not cell.labelled


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "the file is empty"),
        ("{", "not JSON"),
        ({"data": [{"paragraphs": [{"qas": []}]}]}, r"data\[0\].paragraphs\[0\].context"),
        ({"data": [paragraph("a", ("q", "a"), ("q", "a"))]}, "an id that occurs twice"),
        ({"data": 3}, "this is not a list"),
    ],
)
def test_damaged_files_raise_an_error_with_the_line(tmp_path: Path, content: Any, told: str) -> None:
    written(tmp_path, "xquad/xquad.de.json", content)
    with pytest.raises(UserError, match=told):
        Folder.open(str(tmp_path)).task(TASKS.get("xquad").spec, "de", "test")


def test_ids_that_repeat_in_training_data_stay_as_they_are(tmp_path: Path) -> None:
    name = "tydiqa/tydiqa-goldp-v1.1-train/tydiqa.goldp.en.train.json"
    written(tmp_path, name, {"data": [paragraph("a b", ("q", "a")), paragraph("a b", ("q", "b"))]})
    records = Folder.open(str(tmp_path)).task(TASKS.get("tydiqa").spec, "en", "train")
    assert [record.id for record in records] == ["q", "q"]


def test_gold_answers_score_100_on_every_real_file(shared: Path) -> None:
    """Cutting by offsets gives back every gold answer, but those that the scorers' normal form leaves nothing of."""
    source = Folder.open(str(shared / "data" / "open"))
    specs = [TASKS.get(name).spec for name in QA]
    empty = []
    for spec in specs:
        task = TASKS.get(spec.name)()
        for view in source.manifest([spec]).views(spec.name, "test"):
            records: Any = source.task(spec, view, "test")
            normal = normal_form(records[0].language) if spec.name == "mlqa" else squad
            cut = [q.context[q.answers[0].start :][: len(q.answers[0].text)] for q in records]
            statistics = task.statistics(cut, records)
            assert statistics.columns["exact_match"].min() == 1, (spec.name, view)
            without = [q.id for q, f1 in zip(records, statistics.columns["f1"], strict=True) if f1 < 1]
            nothing = [q.id for q in records if not normal(q.answers[0].text)]
            assert without == nothing, (spec.name, view)
            empty += without
    assert len(empty) < 10, empty


def test_subwords_cover_real_answers_in_every_script(shared: Path) -> None:
    """The span of subwords that holds a gold answer gives it back, or a little more where it begins inside of one."""
    model = shared / "models" / "mini-mbert"
    if not model.is_dir():
        pytest.skip(f"no encoder at {model}")
    from harness.modeling.tokenizer import Tokenizer

    tokenizer, source = Tokenizer.load(model), Folder.open(str(shared / "data" / "open"))
    task, settings = XQuAD(), AnswerSettings(max_length=128, doc_stride=64, question_length=32)
    for view in source.manifest([task.spec]).views("xquad", "test"):
        records: Any = list(source.task(task.spec, view, "test"))[:100]
        examples = task.encode(tokenizer, records, settings, gold=True)
        exact = inside = 0
        for number in range(len(examples)):
            window, (start, end) = examples.rows[number], examples.answers[number]
            if start:
                shift = window.first - window.offset
                text = examples.text(window.question, AnswerSpan(0.0, int(start) + shift, int(end) + shift))
                gold = records[window.question].answers[0].text.strip()
                assert gold in text, (view, gold, text)
                exact, inside = exact + (gold == text), inside + 1
        assert inside >= 100, view
        assert exact / inside > 0.85, (view, exact / inside)
