"""The contamination guard: what is found in alignment text, what is not, and what a run tells of it."""

from __future__ import annotations

import csv
import io
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.data.contamination import BATCH, SIMILAR, Guard, Index, Overlap, normal, similarity
from harness.data.overlap import find_overlap
from harness.data.sample import Sample, SampleSettings
from harness.data.source import CorpusCell, Manifest, Source
from harness.errors import UsageError
from harness.experiments.plan import plan_run
from harness.experiments.recipe import Recipe, make_recipe
from harness.experiments.stage import StagePlace
from harness.experiments.stages.clean_sample import DrawCleanSample
from harness.experiments.stages.sample import DrawSample
from harness.records import (
    Answer,
    Corpus,
    DictionaryEntry,
    ParallelPair,
    PoolSentence,
    Question,
    Record,
    TaggedSentence,
    TextPair,
)
from harness.results.grouping import group_records, tables_by_group
from harness.results.rendering import to_csv, to_latex, to_markdown
from harness.results.score_json import score_json
from harness.results.tables import MARK, tables_by_language, tables_by_task
from harness.storage.store import AVERAGE, Store
from harness.task import Task, TaskSpec
from tasks.bucc2018 import BUCC2018
from tasks.mlqa import MLQA
from tasks.panx import PANX
from tasks.tatoeba import Tatoeba
from tasks.xnli import XNLI
from tasks.xquad import XQuAD
from tests.support.fake_store import run_row, scores, store_run

LETTERS = {
    "latin": "abcdefghijklmnopqrstuvwxyz",
    "han": "".join(map(chr, range(0x4E00, 0x5200))),
    "thai": "กขคงจฉชซญดตถทธนบปผฝพฟภมยรลวศสหอฮะาิีึืุูเแโใไ่้",
    "kana": "".join(map(chr, range(0x3042, 0x3090))),
}
TEXTS = st.text(min_size=1, max_size=60)


def sentence(rng: random.Random, script: str, length: int) -> str:
    return "".join(rng.choice(LETTERS[script]) for _ in range(length))


@given(TEXTS)
def test_normal_form_is_one(text: str) -> None:
    assert normal(normal(text)) == normal(text)


def test_case_width_space_and_punctuation_do_not_tell_texts_apart() -> None:
    assert normal("Don't  ASK, why!") == normal("do n't ask why")
    assert normal("ＡＢＣ　１２３。") == normal("abc123")
    assert normal("我 爱 你 。") == normal("我爱你")
    assert normal("Straße") == normal("STRASSE")
    assert normal("कि") != normal("क")  # a vowel sign is part of a word
    assert normal("!?") == ""


@given(st.lists(TEXTS, min_size=1, max_size=20), st.data())
def test_planted_duplicate_is_always_found(texts: list[str], data: st.DataObject) -> None:
    records = [TextPair(str(number), text, "", None) for number, text in enumerate(texts)]
    planted = data.draw(st.sampled_from(texts))
    other = data.draw(st.sampled_from([planted, planted.upper().lower(), f" {planted}!", planted.replace(" ", "  ")]))
    guard = Guard([(XNLI(), "de", records)], "en")
    flagged = guard.judge({"de": ["no such thing", other]})["de"]
    expected = {n for n, text in enumerate(texts) if normal(text) == normal(other)} if normal(other) else set()
    (overlap,) = guard.overlaps()
    assert (other in flagged) >= bool(expected)
    assert overlap.exact >= len(expected)


@pytest.mark.parametrize("script", LETTERS)
def test_near_duplicates_are_found_with_high_probability(script: str) -> None:
    rng = random.Random(script)
    found = near = 0
    originals = [sentence(rng, script, rng.randint(30, 90)) for _ in range(600)]
    index = Index(originals)
    for number, text in enumerate(originals):
        place = rng.randrange(len(text))
        changed = text[:place] + sentence(rng, script, 1) + text[place + rng.randint(0, 2) :]
        if changed == text or similarity(changed, text) < SIMILAR:
            continue
        near += 1
        found += number in index.matches([changed])[0].near
    assert near > 300
    assert found / near > 0.99


@pytest.mark.parametrize("script", LETTERS)
def test_unrelated_text_is_not_flagged(script: str) -> None:
    rng = random.Random(f"unrelated {script}")
    index = Index([sentence(rng, script, rng.randint(10, 90)) for _ in range(2000)])
    others = [sentence(rng, script, rng.randint(10, 90)) for _ in range(2000)]
    assert not any(match.exact or match.near for match in index.matches(others))


@given(st.lists(TEXTS.map(normal).filter(bool), unique=True, max_size=30), st.lists(TEXTS.map(normal), max_size=30))
def test_nothing_is_flagged_that_is_not_similar(texts: list[str], others: list[str]) -> None:
    for other, match in zip(others, Index(texts).matches(others), strict=True):
        assert all(texts[number] == other for number in match.exact)
        assert all(similarity(texts[number], other) >= SIMILAR for number in match.near)


def test_batches_do_not_change_what_is_found() -> None:
    rng = random.Random(0)
    texts = [sentence(rng, "latin", 40) for _ in range(BATCH + 10)]
    found = Index(texts).matches(list(reversed(texts)))
    assert [match.exact for match in found] == [(number,) for number in reversed(range(len(texts)))]


def test_share_of_common_bands_follows_the_similarity() -> None:
    """The minima are fair: two texts agree in a minimum with the probability of their similarity."""
    rng = random.Random(1)
    from harness.data.contamination import BANDS, ROWS, _bands

    first = [sentence(rng, "latin", 80) for _ in range(4000)]
    second = [text[:70] + sentence(rng, "latin", 10) for text in first]
    equal = float(np.mean(_bands(first) == _bands(second)))
    expected = float(np.mean([similarity(a, b) ** ROWS for a, b in zip(first, second, strict=True)]))
    assert equal == pytest.approx(expected, abs=4 * (expected / (4000 * BANDS)) ** 0.5 + 0.01)


QUESTION = Question("q", "Who came first?", "Anna came first. Ben came later!", (Answer("Anna", 0),), language="de")
POOL = (
    PoolSentence("1", "source", "Ein Satz über Züge", ("1",)),
    PoolSentence("1", "target", "A sentence about trains", ("1",)),
)


@pytest.mark.parametrize(
    ("task", "record", "view", "expected"),
    [
        (XNLI(), TextPair("a", "one", "two", "0"), "de", [("de", "one"), ("de", "two")]),
        (PANX(), TaggedSentence("a", ("do", "n't"), None), "fr", [("fr", "do n't")]),
        (Tatoeba(), POOL[0], "de", [("de", "Ein Satz über Züge")]),
        (BUCC2018(), POOL[1], "de", [("en", "A sentence about trains")]),
        (MLQA(), QUESTION, "de.en", [("en", "Who came first?"), ("de", "Anna came first."), ("de", "Ben came later!")]),
        (
            XQuAD(),
            Question("q", "誰?", "一です。二です。", ()),
            "ja",
            [("ja", "誰?"), ("ja", "一です。"), ("ja", "二です。")],
        ),
    ],
)
def test_texts_have_their_languages(task: Task, record: Record, view: str, expected: Sequence[tuple[str, str]]) -> None:
    assert [pair for pair in task.texts(record, view, "en") if pair[1]] == expected


def test_items_are_counted_once_and_languages_are_kept_apart() -> None:
    pairs = [
        TextPair("a", "the quick brown fox jumps over the lazy dog", "foxes jump", None),
        TextPair("b", "the quick brown fox jumps over the lazy dog", "dogs are lazy", None),
        TextPair("c", "nothing of the kind happened in the evening", "it did not happen", None),
    ]
    guard = Guard([(XNLI(), "en", pairs), (Tatoeba(), "de", POOL), (MLQA(), "de", [QUESTION])], "en")
    guard.judge(
        {
            "en": [
                "The quick brown fox jumps over the lazy dog!",
                "Foxes jump.",
                "Nothing of the kind happened in the evenings.",
            ],
            "de": ["A sentence about trains", "ANNA CAME FIRST"],
        }
    )
    assert guard.overlaps() == [
        Overlap("xnli", "en", 3, 2, 1),
        Overlap("tatoeba", "de", 2, 0, 0),  # the English sentence stands in German text: another language
        Overlap("mlqa", "de", 1, 1, 0),
    ]
    assert guard.overlaps()[0].share == 1.0


# a run


PLANTED = ("the very sentence that a test set holds, word for word", "der ganze Satz, der im Testset steht")


class Planted(Source):
    """A source of one language whose parallel text holds two test items, one of them with one letter more."""

    kind, pivot, name = "planted", "en", "planted"

    @classmethod
    def open(cls, location: str) -> Planted:
        return cls()

    def manifest(self, specs: Sequence[TaskSpec]) -> Manifest:
        cells = (CorpusCell(kind, "de", 1, "f") for kind in (Corpus.PARALLEL, Corpus.DICTIONARY))
        return Manifest("en", (), tuple(cells))

    def task(self, spec: TaskSpec, view: str, split: str) -> Sequence[Record]:
        assert split == "test"
        return [TextPair("1", PLANTED[0], "no", "0"), TextPair("2", "something else", "yes", "1")]

    def corpus(self, kind: Corpus, languages: Sequence[str]) -> Sequence[Any]:
        if kind == Corpus.DICTIONARY:
            return [DictionaryEntry("de", f"word{n}", f"Wort{n}") for n in range(40)]
        clean = [(f"a sentence number {n} with word{n} in it", f"ein Satz {n} mit Wort{n} darin") for n in range(38)]
        planted = [(f"{PLANTED[0].upper()} word38", "Wort38 und mehr"), (f"{PLANTED[0]}s", "ein Wort39")]
        pairs = [*clean, (PLANTED[0].title() + "!", "word39 Wort39"), *planted]
        return [ParallelPair(str(n), "de", source, target) for n, (source, target) in enumerate(pairs)]


VIEWS = {"xnli": ("en",)}


def draw(size: int, **more: Any) -> Sample:
    settings = SampleSettings(size=size, unmatched="sentence-only")
    stage = DrawCleanSample if more else DrawSample
    return stage(place=StagePlace("planted"), settings=settings, **more).draw(Planted())


def test_report_counts_what_the_sample_touches_and_leaves_it_as_it_was() -> None:
    sample = draw(60)
    facts = find_overlap(sample.pairs, Planted(), VIEWS)
    assert facts["overlap"] == [{"task": "xnli", "view": "en", "items": 2, "exact": 1, "near": 0}]
    assert (facts["pivot"], facts["languages"], facts["touching"]) == ("en", ["de"], 3)
    assert facts["pairs"] == len({(pair.source, pair.target) for pair in sample.pairs})


def test_removed_pairs_are_made_up_for_from_the_pool() -> None:
    plain, clean = draw(30), draw(30, tests=VIEWS)
    assert len(clean.pairs) == len(plain.pairs) == 30
    facts = find_overlap(clean.pairs, Planted(), VIEWS)
    assert facts["touching"] == 0
    assert facts["overlap"] == [{"task": "xnli", "view": "en", "items": 2, "exact": 0, "near": 0}]
    assert clean.notes[0].startswith("3 of 41 sentence pairs left out")


def recipe(*changes: str) -> Recipe:
    common = {"base": "init:1x64", "source": "babel:size=small", "suite": "xtreme-align", "protocol": "mini"}
    return make_recipe(method="ml-ctl-cz", changes=changes, **common)


def test_a_recipe_that_reports_is_the_recipe_that_it_was() -> None:
    assert recipe().hash == recipe('contamination="report"').hash != recipe("contamination=remove").hash
    assert "contamination" not in recipe().model_dump(mode="json")
    with pytest.raises(UsageError, match="contamination"):
        recipe("contamination=perhaps")


def test_only_removal_changes_sample_and_encoder() -> None:
    plain, clean = (plan_run(recipe(f"contamination={word}"), 0) for word in ("report", "remove"))
    prints = [{stage.kind: stage.fingerprint for stage in plan.stages} for plan in (plain, clean)]
    assert {kind for kind in prints[0] if prints[0][kind] != prints[1][kind]} >= {"sample", "overlap", "align"}
    sample, overlap, align = (
        next(s for s in plain.stages if s.kind == kind) for kind in ("sample", "overlap", "align")
    )
    assert "tests" not in sample.parameters
    assert not any("/test" in cell for cell in sample.data)
    assert overlap.fingerprint not in align.inputs.values()
    assert [s.kind for s in plain.stages[1:4]] == ["sample", "overlap", "align"]
    assert plain.data_fingerprint == clean.data_fingerprint


def with_overlap(place: Path, exact: int, near: int) -> Store:
    store = Store.open(place, create=True)
    for method in ("mbert", "ml-ctl"):
        store_run(store, run_row(method, 1), scores(50.0, 1))
    cells = [Overlap("tatoeba", "qab", 1000, exact, near), Overlap("tatoeba", "qac", 1000, 0, 3)]
    facts = {"pivot": "qaa", "languages": ["qab"], "overlap": [cell._asdict() for cell in cells]}
    store.add_alignment(run_row("ml-ctl", 1).id, facts)
    return store


@pytest.mark.parametrize(("exact", "near", "marked"), [(8, 3, True), (8, 2, False)])
def test_figures_are_marked_above_the_limit(tmp_path: Path, exact: int, near: int, marked: bool) -> None:
    store = with_overlap(tmp_path / "board.db", exact, near)
    figures, totals = store.scores(split="test"), store.summaries(split="test")
    (tasks,) = tables_by_task(totals)
    (languages,) = tables_by_language(figures, totals, "tatoeba")
    (scripts,) = (table for table in tables_by_group(figures, totals, "script") if table.view == "tatoeba")
    for table, columns in (
        (tasks, {"tatoeba", AVERAGE}),
        (languages, {"qab", AVERAGE}),
        (scripts, {"Latin", AVERAGE}),
    ):
        found = {name for row in table.rows for name, cell in row.cells.items() if cell.contaminated}
        assert found == (columns if marked else set())
        assert [row.method for row in table.rows if any(cell.contaminated for cell in row.cells.values())] == (
            ["ml-ctl"] if marked else []
        )
        told = [note for note in table.notes if note.startswith(MARK)]
        assert len(told) == marked
        assert all("tatoeba qab 1.1%" in note and "qac" not in note for note in told)
        assert (f" {MARK}" in to_markdown([table])) == marked
        assert (r"$\dagger$" in to_latex([table])) == marked
    lines = {line["method"]: line["contaminated"] for line in csv.DictReader(io.StringIO(to_csv([languages])))}
    assert lines == {"mbert": "", "ml-ctl": "qab; average" if marked else ""}
    store.close()


def test_json_tells_what_was_measured_for_each_score(tmp_path: Path) -> None:
    store = with_overlap(tmp_path / "board.db", 8, 3)
    told = {
        (record["method"], record["task"], record["view"]): record["contamination"]
        for record in json.loads("".join(score_json(store, split="test")))
    }
    assert told["ml-ctl", "tatoeba", "qab"] == {"items": 1000, "exact": 8, "near": 3, "share": 0.011}
    assert told["ml-ctl", "xnli", "qab"] is None
    assert told["mbert", "tatoeba", "qab"] is None
    records = group_records(store.scores(split="test"), store.summaries(split="test"), "script")
    (latin,) = (r for r in records if (r["method"], r["task"], r["group"]) == ("ml-ctl", "tatoeba", "Latin"))
    assert latin["contamination"]["items"] == 1000
    store.close()
