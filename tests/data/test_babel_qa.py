"""Question answering of the made-up world: the same bytes, exact answers in every script, and a need to read."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from harness.data.babel import LANGUAGES, PIVOT, Babel, edits
from harness.data.babel.concepts import leaves
from harness.data.babel.dice import Dice
from harness.data.babel.grammar import realise
from harness.data.babel.lexicon import question_lexicon
from harness.data.babel.passages import Passage, filler, passages, question_word, roles_of
from harness.data.babel.reading import READINGS
from harness.data.babel.tasks import GENERATORS
from harness.data.babel.world import Event, Name, Phrase, split_of
from harness.data.source import open_source
from harness.experiments.executors.local import Local
from harness.experiments.plan import RunPlan, plan_runs
from harness.experiments.recipe import make_recipe
from harness.experiments.runner import Runner
from harness.records import Corpus, Question
from harness.registry import SUITES, TASKS
from harness.storage.artifacts import Artifacts
from harness.storage.store import Store
from tests.support.record_lines import record_line
from tests.support.tiny_runs import RecordingDisplay

GOLDEN = "f3c97641471a1e49ee06c203f0c843802294f5b75dfd08e7b17940c2ef48df4e"
QA = ("xquad", "mlqa", "tydiqa")
FAR = "qah"


@pytest.fixture(scope="module")
def babel() -> Babel:
    source = open_source("babel:size=small,test=120")
    assert isinstance(source, Babel)
    return source


@pytest.fixture(scope="module")
def cells(babel: Babel) -> dict[tuple[str, str, str], Sequence[Question]]:
    """Every cell of the three tasks, but of the views with questions in another language those with the pivot alone."""
    specs = [TASKS.get(name).spec for name in QA]
    kept = [c for c in babel.manifest(specs).tasks if "." not in c.view or PIVOT in c.view.split(".")]
    return {(c.task, c.view, c.split): _questions(babel, c.task, c.view, c.split) for c in kept}


def _questions(babel: Babel, task: str, view: str, split: str) -> Sequence[Question]:
    records: Any = babel.task(TASKS.get(task).spec, view, split)
    return records


def words_of(text: str) -> list[str]:
    return re.sub(r"[,.?]", "", text).split()


# The same bytes, and what the manifest promises


def test_the_bytes_of_the_small_size_are_golden(cells: dict[tuple[str, str, str], Sequence[Question]]) -> None:
    digest = hashlib.sha256()
    for records in cells.values():
        digest.update("\n".join(map(record_line, records)).encode())
    assert digest.hexdigest() == GOLDEN, "the data changed: if that is meant, measure docs/babel.md again"


@pytest.mark.parametrize("size", ["small", "demo", "large"])
def test_every_language_has_500_test_questions(size: str) -> None:
    specs = [TASKS.get(name).spec for name in QA]
    manifest = open_source(f"babel:size={size}").manifest(specs)
    for name in QA:
        views = manifest.views(name, "test")
        assert views[: len(LANGUAGES)] == tuple(LANGUAGES)
        crossed = {f"{a}.{b}" for a in LANGUAGES for b in LANGUAGES if a != b} if name == "mlqa" else set()
        assert set(views[len(LANGUAGES) :]) == crossed
        assert manifest.views(name, "train") == (PIVOT,)
        assert manifest.views(name, "dev") == ()
        assert min(c.count for c in manifest.tasks if (c.task, c.split) == (name, "test")) >= 500


def test_manifest_counts_what_is_there(babel: Babel, cells: dict[tuple[str, str, str], Sequence[Question]]) -> None:
    manifest = babel.manifest([TASKS.get(name).spec for name in QA])
    for (task, view, split), records in cells.items():
        cell = manifest.cell(task, view, split)
        assert cell is not None
        assert len(records) == cell.count
        assert len({record.id for record in records}) == cell.count
        assert {record.language for record in records} == {view.partition(".")[0]}
    assert manifest.training["mlqa"] == "babel qa_crossed, 300 items"


def test_the_number_of_training_questions_is_a_setting() -> None:
    source = open_source("babel:size=small,qa=37,qa_native=11,test=5")
    sizes = {name: len(source.task(TASKS.get(name).spec, PIVOT, "train")) for name in QA}
    assert sizes == {"xquad": 37, "mlqa": 37, "tydiqa": 11}
    assert len(source.task(TASKS.get("mlqa").spec, "qab.qah", "test")) == 5


def test_another_seed_asks_other_questions(cells: dict[tuple[str, str, str], Sequence[Question]]) -> None:
    other = open_source("babel:size=small,test=120,seed=1").task(TASKS.get("xquad").spec, PIVOT, "test")
    contexts = {record.context for record in cells["xquad", PIVOT, "test"]}
    assert contexts.isdisjoint(record.context for record in other)  # type: ignore[union-attr]


# Answers


def test_answers_match_their_offsets_in_every_script(
    cells: dict[tuple[str, str, str], Sequence[Question]],
) -> None:
    for key, records in cells.items():
        for record in records:
            (answer,) = record.answers
            end = answer.start + len(answer.text)
            assert record.context[answer.start : end] == answer.text, (key, record.id)
            before, after = record.context[: answer.start][-1:], record.context[end:][:1]
            assert before in ("", " "), "an answer begins where a word does"
            assert after in (" ", ",", "."), "and ends where one does"
            assert answer.text == answer.text.strip(" ,.")


@pytest.mark.parametrize("name", QA)
def test_a_perfect_oracle_scores_full_in_every_view(
    babel: Babel, cells: dict[tuple[str, str, str], Sequence[Question]], name: str
) -> None:
    task = TASKS.get(name)()
    for (owner, view, split), records in cells.items():
        if (owner, split) == (name, "test"):
            cut = [q.context[q.answers[0].start :][: len(q.answers[0].text)] for q in records]
            scores = task.metric(task.statistics(cut, records).sums())
            assert scores == {"f1_em": 100, "f1": 100, "exact_match": 100}, view


# Three views of one generator


def test_the_languages_of_xquad_are_parallel_and_those_of_tydiqa_are_not(
    cells: dict[tuple[str, str, str], Sequence[Question]],
) -> None:
    def clusters(task: str, view: str) -> list[str]:
        return [record.cluster for record in cells[task, view, "test"]]

    for view in LANGUAGES:
        assert clusters("xquad", view) == clusters("xquad", PIVOT)
        assert clusters("mlqa", view) == clusters("mlqa", PIVOT)
        assert view == PIVOT or set(clusters("tydiqa", view)).isdisjoint(clusters("tydiqa", PIVOT))
    assert len(set(clusters("tydiqa", FAR))) == len(clusters("tydiqa", FAR)), "each passage of tydiqa has one question"
    assert max(Counter(clusters("xquad", FAR)).values()) == 3


def test_crossed_views_have_contexts_in_one_language_and_questions_in_another(
    cells: dict[tuple[str, str, str], Sequence[Question]],
) -> None:
    for view in LANGUAGES:
        if view != PIVOT:
            crossed, back = cells["mlqa", f"{view}.{PIVOT}", "test"], cells["mlqa", f"{PIVOT}.{view}", "test"]
            for own, pivot, there, here in zip(
                cells["mlqa", view, "test"], cells["mlqa", PIVOT, "test"], crossed, back, strict=True
            ):
                assert (there.context, there.answers) == (own.context, own.answers)
                assert there.question == pivot.question
                assert (here.context, here.question, here.answers) == (pivot.context, own.question, pivot.answers)


def test_mlqa_is_trained_as_xquad_and_tested_on_other_passages(
    cells: dict[tuple[str, str, str], Sequence[Question]],
) -> None:
    first, second = ([(q.question, q.context, q.answers) for q in cells[t, PIVOT, "train"]] for t in ("xquad", "mlqa"))
    assert first == second
    contexts = {q.context for q in cells["xquad", PIVOT, "test"]}
    assert contexts.isdisjoint(q.context for q in cells["mlqa", PIVOT, "test"])


# Splits


def test_no_sentence_and_no_question_is_in_two_splits(
    babel: Babel, cells: dict[tuple[str, str, str], Sequence[Question]]
) -> None:
    owner: dict[str, str] = {}
    pivot = [(split, record) for (_, view, split), records in cells.items() if view == PIVOT for record in records]
    for split, record in pivot:
        for sentence in re.split(r"(?<=[.]) ", record.context):
            assert owner.setdefault(" ".join(words_of(sentence)), split) == split
        assert owner.setdefault(record.question, split) == split
    for line in babel.corpus(Corpus.MONO, [PIVOT]):
        for sentence in re.split(r"(?<=[.]) ", line.text):  # type: ignore[union-attr]
            assert owner.setdefault(" ".join(words_of(sentence)), "corpus") == "corpus"


@pytest.mark.parametrize("split", ["train", "test"])
def test_statements_and_questions_belong_to_the_split(split: str) -> None:
    for passage in passages(0, "qa", split, 200, 3):
        for statement in passage.statements:
            assert split_of(0, statement.event) == split
        for asked in passage.questions:
            assert split_of(0, edits.without(asked.event, asked.role)) == split


# Meaning: one statement answers, by a reading of its own


def holds(wanted: Event, told: Event, role: str) -> bool:
    """Whether all that is wanted is told, leaving aside what stands in `role`, which must be told at all."""
    if told.negated or (told.future != wanted.future) or told.verb not in leaves(wanted.verb):
        return False
    if any(getattr(wanted, name) not in (None, getattr(told, name)) for name in ("time", "manner") if name != role):
        return False
    if wanted.place and (told.place is None or told.place.relation != wanted.place.relation):
        return False
    filled = told.time if role == "time" else edits.phrase_of(told, role)
    others = [(other, phrase) for other, phrase in edits.roles(wanted) if other != role]
    return filled is not None and all(_covers(phrase, edits.phrase_of(told, other)) for other, phrase in others)


def _covers(wanted: Phrase, told: Phrase | None) -> bool:
    if told is None or any(
        getattr(wanted, part) not in (None, getattr(told, part)) for part in ("adjective", "number")
    ):
        return False
    if isinstance(wanted.head, Name) or isinstance(told.head, Name):
        return told.head == wanted.head or (wanted.head == "person" and told.head[0] == "PER")
    return told.head in leaves(wanted.head)


def kind_of(event: Event, role: str) -> str | None:
    return question_word(event, role) if role in roles_of(event) else None


def test_exactly_one_statement_answers_a_question() -> None:
    seen: Counter[str] = Counter()
    for passage in passages(0, "qa", "test", 500, 3):
        events = [statement.event for statement in passage.statements]
        for asked in passage.questions:
            word = question_word(events[asked.statement], asked.role)
            found = [
                i for i, e in enumerate(events) if kind_of(e, asked.role) == word and holds(asked.event, e, asked.role)
            ]
            assert found == [asked.statement]
            seen[word] += 1
    assert min(seen[word] for word in ("who", "what", "where", "when")) >= 15, seen


def test_test_questions_have_at_least_two_decoys() -> None:
    for passage in passages(0, "qa", "test", 500, 3):
        for asked in passage.questions:
            events = [statement.event for statement in passage.statements]
            word = question_word(events[asked.statement], asked.role)
            same = [filler(e, r) for e in events for r in roles_of(e) if question_word(e, r) == word]
            assert len(set(same)) >= len(events) == 5, "each statement has something of its own that is asked for"
            rest = atoms(edits.without(events[asked.statement], asked.role))
            assert sum(rest <= atoms(event) for event in events) >= 3


def atoms(event: Event) -> set[object]:
    """The words of content of an event, names whole."""
    found: set[object] = {event.verb, event.time, event.manner, event.place.relation if event.place else None}
    for _, phrase in edits.roles(event):
        found |= {phrase.head, phrase.adjective, phrase.number}
    return found - {None}


# Shallow baselines, which know more than they could: the phrases of the right kind that a question does not repeat


class Candidate(NamedTuple):
    """A phrase that may be the answer: its statement, and how many words and pairs of words that has in common with
    the question."""

    statement: int
    words: int
    pairs: int
    negated: bool


def baselines(language: str, count: int) -> dict[str, float]:
    """Shares in percent of questions whose answer is chosen."""
    dice, hits = Dice("baseline", language), defaultdict(float)
    every = [(p, asked) for p in passages(0, "qa", "test", count, 3) for asked in p.questions]
    for passage, asked in every:
        found = dice.shuffled(list(candidates(passage, passage.questions.index(asked), language)))
        choices = {
            "random": found[0],
            "words": max(found, key=lambda c: c.words),
            "words and pairs": max(found, key=lambda c: c.words + c.pairs),
            "not denied": max(found, key=lambda c: (not c.negated, c.words + c.pairs)),
        }
        for name, choice in choices.items():
            hits[name] += 100 * (choice.statement == asked.statement) / len(every)
    return hits


def candidates(passage: Passage, number: int, language: str) -> Iterator[Candidate]:
    asked, words = passage.questions[number], question_lexicon(0, LANGUAGES[language])
    question = [w.form for w in realise(asked.event, words, asked.style, "?") if w.tag != "PUNCT"]
    kind = question_word(passage.statements[asked.statement].event, asked.role)
    for i, (event, style) in enumerate(passage.statements):
        sentence = realise(event, words, style)
        forms = [word.form for word in sentence]
        pairs = set(itertools.pairwise(question)) & set(itertools.pairwise(forms))
        for role in roles_of(event):
            phrase = {w.form for w in sentence if w.slot.partition(".")[0] == role and w.tag != "ADP"}
            if question_word(event, role) == kind and not phrase & set(question):
                yield Candidate(i, len(set(question) & set(forms)), len(pairs), event.negated)


@pytest.mark.parametrize("language", [PIVOT, "qad", "qaf", FAR])
def test_overlap_of_words_does_not_find_the_answer(language: str) -> None:
    found = baselines(language, 500)
    assert found["random"] < 30, found
    assert found["words"] < 50, found
    assert max(found.values()) < 60, found


# All nine tasks, from the pivot's training to the scores


TINY = (
    "pretrain.steps=4",
    "pretrain.vocab_size=600",
    "pretrain.batch_tokens=500",
    *(f"tasks.{task}.epochs=1" for task in ("xnli", "pawsx", "udpos", "panx", *QA)),
)
SMALL = "babel:size=small,nli=32,paraphrase=32,pos=32,ner=32,qa=32,qa_native=32,dev=10,test=12,mono=100,parallel=20"


def xtreme(languages: str) -> RunPlan:
    recipe = make_recipe(
        method="mbert",
        base="init:1x64",
        source=SMALL,
        suite="xtreme",
        protocol="mini",
        languages=languages,
        changes=TINY,
    )
    (plan,) = plan_runs([recipe], [0])
    return plan


def test_the_suite_of_nine_tasks_runs_on_babel(tmp_path: Path) -> None:
    plan, artifacts = xtreme("official"), Artifacts(tmp_path / "artifacts")
    store = Store.open(tmp_path / "board.db", create=True)
    report = Runner(store, artifacts, Local(artifacts, 1, "cpu", threads=1, all_threads=1), RecordingDisplay()).run(
        [plan]
    )
    assert not report.failures
    assert report.finished == 1
    scores = store.scores(run=plan.id, split="test")
    store.close()
    assert set(scores["task"]) == set(SUITES.get("xtreme").tasks)
    for task in QA:
        mine = scores[(scores["task"] == task) & (scores["metric"] == "f1_em")]
        assert list(mine["view"]) == list(LANGUAGES)
        assert set(mine["n"]) == {12}


def test_available_views_include_questions_in_another_language() -> None:
    assert xtreme("official").expected["mlqa"] == tuple(LANGUAGES)
    assert len(xtreme("available").expected["mlqa"]) == len(LANGUAGES) ** 2


def test_three_readings_share_a_generator() -> None:
    assert set(READINGS) == {GENERATORS[name] for name in QA}
