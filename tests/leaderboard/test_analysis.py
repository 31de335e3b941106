"""Analysis: averages over chosen languages, differences with errors, attribution; downloads with hostile names."""

from __future__ import annotations

import csv
import io
import json
import math
import random
import re
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from harness.data.babel.lexicon import lexicon
from harness.data.babel.settings import parse_settings
from harness.evaluation.correlation import correlate
from harness.files import STATISTICS
from harness.results.item_reader import variances_of
from harness.results.labels import flatten_settings
from harness.results.rendering import DASH, escape, format_cell
from harness.results.tables import tables_by_task
from harness.storage.store import AVERAGE, Store
from leaderboard.analysis import ablation, board, compare, intrinsic, item_errors, method, runs
from leaderboard.artifacts import find_file, load_trace
from leaderboard.components import downloads
from tests.support.board_data import BoardData
from tests.support.board_store import HOSTILE, ITEMS, add_full_run, write_board_store
from tests.support.fake_store import FAR, LANGUAGES, VIEWS


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def made(home: Path) -> BoardData:
    return BoardData(write_board_store(home / "board.db", home))


@pytest.fixture(autouse=True)
def artifacts(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALIGNBOARD_HOME", str(home))


def test_averages_over_chosen_languages_are_computed_again(made: BoardData) -> None:
    kept = frozenset(LANGUAGES[1:3])
    table, row = made.table(languages=kept), made.row("ml-ctl-cz")
    own = made.cells[made.cells["run"].isin(row.runs) & made.cells["view"].isin(kept)]
    expected = {task: [fmean(part["value"]) for _, part in own[own["task"] == task].groupby("run")] for task in VIEWS}
    found = next(other for other in table.rows if other.label == row.label)
    for task, values in expected.items():
        assert sorted(found.cell(task).values) == pytest.approx(sorted(values))
    means = [fmean(fmean(values) for values in expected.values())]
    assert fmean(found.cell(AVERAGE).values) == pytest.approx(means[0])
    assert table.languages == 2
    assert "Over 2 of 7 languages" in table.notes[0]


def test_tasks_without_a_chosen_language_are_left_out(made: BoardData) -> None:
    table = made.table(languages=frozenset({"qaa"}))
    assert "qaa" not in FAR
    assert [column.name for column in table.columns] == ["xnli", "pawsx", "udpos", "panx", AVERAGE]


def test_an_incomplete_row_stays_incomplete_under_a_filter(made: BoardData) -> None:
    table = made.table(languages=frozenset({"qab"}))
    unfinished = next(
        row
        for row in table.rows
        if row.label.startswith("cz-snt [") and row.cell("xnli").values and not row.cell("panx").values
    )
    assert unfinished.cell(AVERAGE).mean is None
    assert unfinished.cell("panx").have == 0


def test_groups_of_languages_have_their_own_averages(made: BoardData) -> None:
    table = made.table(columns=board.GROUPS, grouping="aligned")
    names = [column.name for column in table.columns]
    assert names == ["aligned", "not aligned", "pivot", AVERAGE]
    aligned = made.table(languages=frozenset(LANGUAGES[1:4]))
    for row in table.rows:
        same = next(other for other in aligned.rows if other.label == row.label)
        assert row.cell("aligned").values == pytest.approx(same.cell(AVERAGE).values)


def test_costs_and_foreign_rows_are_added(made: BoardData) -> None:
    table = board.add_costs(made.table(), made.links)
    assert made.row("mbert").cell(AVERAGE).mean is not None
    by_label = {row.label: row for row in table.rows}
    assert by_label["ml-ctl-cz"].cell(board.SECONDS.name).values == (19.0, 19.0)
    assert by_label["ml-ctl-cz"].cell(board.TOKENS.name).mean == 3.0
    assert by_label["mbert"].cell(board.SECONDS.name).mean is None
    full = board.add_foreign_rows(table, tables_by_task(made.foreign))
    (external,) = board.with_badges(full, "external").rows
    assert external.label == "ann-system (external) (ann-large)"
    assert len(board.with_badges(full, "control", "").rows) == len(table.rows)


def test_standard_error_is_between_clusters(made: BoardData) -> None:
    run = made.row("mbert").runs[0]
    part = made.cells[(made.cells["run"] == run) & (made.cells["task"] == "xnli")]
    error, source = item_errors.task_error(part, "accuracy")
    assert source == "clusters of items"
    found = pd.read_parquet(find_file(part["stage"].iloc[0], STATISTICS))  # type: ignore[arg-type]
    sums = found.assign(c=found["correct"] - found.groupby("view")["correct"].transform("mean"))
    clusters = 100 * sums.groupby("cluster")["c"].sum() / (ITEMS * len(LANGUAGES))
    count = len(clusters)
    assert error == pytest.approx(math.sqrt((clusters**2).sum() * count / (count - 1)))


def test_standard_error_agrees_with_a_bootstrap() -> None:
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 4, size=(300, 3)).astype(float)
    counts[:, 0] = np.minimum(counts[:, 0], counts[:, 1:].min(1))
    tp, pred, gold = counts.T
    names = [str(number) for number in range(300)]
    items = pd.DataFrame({"view": "de", "item": names, "cluster": names, "above": 2 * tp, "below": pred + gold})
    parts = variances_of([[items]])
    assert parts is not None
    drawn = rng.integers(0, 300, size=(4000, 300))
    values = 200 * tp[drawn].sum(1) / (pred[drawn].sum(1) + gold[drawn].sum(1))
    assert math.sqrt(parts.between[0, 1]) == pytest.approx(values.std(), rel=0.06)


def test_error_without_artifacts_is_binomial(made: BoardData, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ALIGNBOARD_HOME", str(tmp_path))
    run = made.row("mbert").runs[0]
    part = made.cells[(made.cells["run"] == run) & (made.cells["task"] == "xnli") & (made.cells["view"] == "qaa")]
    value = float(part["value"].iloc[0])
    error, source = item_errors.task_error(part, "accuracy")
    assert error == pytest.approx(math.sqrt(value * (100 - value) / ITEMS))
    assert source == "items taken as independent"
    assert item_errors.task_error(part, "f1")[0] is None
    assert find_file("../../etc/passwd", "x") is None


def test_differences_are_paired(made: BoardData) -> None:
    one, two = made.row("mbert"), made.row("ml-ctl")
    found = compare.pair_scores(one, two, made.cells, "xnli", "english", "accuracy")
    compared = made.compare("ml-ctl", "mbert", ["xnli"], VIEWS["xnli"])
    lines = compare.view_differences(found, compared).set_index("view")
    tables = {run: _right(made, run) for run in (*one.runs, *two.runs)}
    gap = fmean(tables[run]["qac"].mean() for run in two.runs) - fmean(tables[run]["qac"].mean() for run in one.runs)
    assert lines.loc["qac", "difference"] == pytest.approx(100 * gap)
    each = sum(tables[run]["qac"] for run in two.runs) / 2 - sum(tables[run]["qac"] for run in one.runs) / 2
    clusters = (100 * (each - each.mean()) / ITEMS).groupby(lambda item: int(item.split("-")[1]) // 2).sum()
    count = len(clusters)
    assert lines.loc["qac", "error"] == pytest.approx(math.sqrt((clusters**2).sum() * count / (count - 1)))
    width = lines.loc["qac", "high"] - lines.loc["qac", "low"]
    assert width == pytest.approx(2 * stats.t.ppf(0.975, count - 1) * lines.loc["qac", "error"])


def _right(made: BoardData, run: str) -> dict[str, pd.Series]:
    part = made.cells[(made.cells["run"] == run) & (made.cells["task"] == "xnli")]
    found = pd.read_parquet(find_file(part["stage"].iloc[0], STATISTICS))  # type: ignore[arg-type]
    return {str(view): rows.set_index("item")["correct"] for view, rows in found.groupby("view")}


def test_scores_are_in_the_order_of_the_runs_of_each_row(made: BoardData) -> None:
    row = made.row("mbert")
    turned = replace(row, runs=row.runs[::-1])
    found = compare.pair_scores(turned, row, made.cells, "udpos", "english", "f1")
    assert tuple(dict.fromkeys(found.first["run"])) == turned.runs
    assert tuple(dict.fromkeys(found.second["run"])) == row.runs


def test_items_that_one_gets_right_and_the_other_wrong(made: BoardData) -> None:
    found = compare.pair_scores(made.row("mbert"), made.row("ml-ctl"), made.cells, "udpos", "english", "f1")
    every = compare.compare_items(found, "qab")
    assert len(every) == ITEMS
    only = compare.filter_items(every, [compare.SECOND], "")
    assert set(zip(only["first"], only["second"], strict=True)) == {("no", "yes")}
    assert list(compare.filter_items(every, [], "SENTENCE 7 ")["text"]) == ["sentence 7 of qab"]
    assert compare.compare_items(found, "nowhere").empty


def test_items_of_the_made_up_world_have_a_meaning_beside_their_texts() -> None:
    word = lexicon(0, parse_settings("").languages["qab"]).forms["dog"][0]
    items = pd.DataFrame({"text": [f"{word}."], "other": ["x"], "gold": ["yes"]})
    glossed = compare.add_gloss(items, "babel", "qab")
    assert list(glossed) == ["text", "other", "gloss", "gold"]
    assert "dog" in glossed["gloss"].item()
    assert glossed["gloss"].item().endswith(". | x")
    assert compare.add_gloss(items, "folder:x", "de") is items
    assert compare.add_gloss(items, "babel", "xx") is items
    assert compare.add_gloss(items, "subset:qab,babel", "qab").equals(glossed)
    assert compare.add_gloss(items, "babel+inversion:qab", "qab") is items, "its words are not those of the world"


def test_items_that_have_changed_are_not_compared(made: BoardData) -> None:
    data = [{"xnli/qab/test": version, "xnli/qac/test": "same", "xnli/qad/dev": version} for version in "12"]
    one, two = (replace(made.row(name), data=cells) for name, cells in zip(("mbert", "ml-ctl"), data, strict=True))
    found = compare.pair_scores(one, two, made.cells, "xnli", "english", "accuracy")
    assert found.changed == {"qab"}
    compared = made.compare("ml-ctl", "mbert", ["xnli"], set(VIEWS["xnli"]) - found.changed)
    lines = compare.view_differences(found, compared).set_index("view")
    assert math.isnan(lines.loc["qab", "low"])
    assert not math.isnan(lines.loc["qac", "low"])
    assert compare.compare_items(found, "qab").empty
    assert len(compare.compare_items(found, "qac")) == ITEMS
    assert ablation.row_differences(one, [two], ["xnli"], {})["low"].isna().all()
    former = replace(two, data={"": "an older store"})
    unknown = compare.pair_scores(replace(one, data={"": "another"}), former, made.cells, "xnli", "english", "accuracy")
    assert unknown.changed >= {"qab", "qac"}


def test_attribution_adds_up(made: BoardData) -> None:
    steps = ablation.gain_steps(made.table(), made.summaries, [AVERAGE, "panx"], {}, ["ml-ctl", "info-snt"])
    own = steps[(steps["method"] == "ml-ctl") & (steps["column"] == AVERAGE)]
    assert list(own["step"]) == ["masked LM on the same text", "the objective on shuffled pairs", "the true pairs"]
    assert own["before"].iloc[0] == made.row("mbert").cell(AVERAGE).mean
    assert own["after"].iloc[-1] == made.row("ml-ctl").cell(AVERAGE).mean
    assert all(after == before for after, before in zip(own["after"][:-1], own["before"][1:], strict=True))
    assert own["gain"].sum() == pytest.approx(own["after"].iloc[-1] - own["before"].iloc[0])
    other = steps[(steps["method"] == "info-snt") & (steps["column"] == "panx")]
    assert other["step"].iloc[-1] == "the objective on the true pairs"
    assert steps["low"].isna().all()


def test_row_families_and_recipe_differences(made: BoardData) -> None:
    rows = made.table().rows
    recipes = ablation.row_recipes(rows, made.summaries)
    families = ablation.row_families(rows, recipes, {})
    base = next(row for row in rows if row.label.startswith("cz-snt ["))
    field = ablation.RowFamily(ablation.FIELD, "align.steps")
    assert ablation.RowFamily(ablation.SAME_METHOD, "cz-snt") in families
    assert ablation.ALL in families
    (other,) = ablation.comparable_rows(base, rows, families[field])
    assert {row.method for row in ablation.family_rows(rows, families[field])} == {"cz-snt"}
    assert len(ablation.comparable_rows(base, rows, families[ablation.ALL])) == len(rows) - 1
    fields = ablation.recipe_differences(recipes[base.label], recipes[other.label]).set_index("field")
    assert sorted(fields.loc["align.steps"]) == ["100", "200"]


def test_distances_of_made_up_and_real_languages(made: BoardData) -> None:
    where = (made.row("mbert"), [made.row("ml-ctl")], made.cells)
    found = ablation.language_differences(*where, {"xnli": "accuracy"}, "english")
    other = ablation.language_differences(*where, {"tatoeba": "accuracy"}, "english").set_index("view")["difference"]
    both = ablation.language_differences(*where, {"xnli": "accuracy", "tatoeba": "accuracy"}, "english")
    mean = (found.set_index("view")["difference"] + other).dropna() / 2
    assert both.set_index("view")["difference"].to_dict() == pytest.approx(mean.to_dict())
    placed, axis = ablation.add_distances(found, "babel")
    assert "differ from the pivot" in axis
    assert dict(zip(placed["view"], placed["distance"], strict=True))["qaa"] == 0
    real = pd.DataFrame({"row": "a", "view": ["de", "sw", "xx"], "difference": 1.0})
    placed, axis = ablation.add_distances(real, "hub")
    assert list(placed["distance"]) == [5, 2]


def test_languages_have_names_and_an_order() -> None:
    assert board.view_label("sw", "hub") == "Swahili (sw) · Niger-Congo · class 2"
    assert board.view_label("qah", "babel").startswith("qah · ")
    assert board.view_label("qah", "babel").endswith("steps from the pivot")
    assert board.view_label("qaa", "babel").endswith(", the pivot")
    assert board.view_name("de.en", "hub") == "German (de) / English (en)"
    assert sorted(["sw", "xx", "de", "th"], key=lambda view: board.view_order(view, "hub")) == ["de", "th", "sw", "xx"]
    assert min(LANGUAGES[::-1], key=lambda view: board.view_order(view, "babel")) == "qaa"


def test_correlation_within_languages_ignores_differences_between_them() -> None:
    lines = [(f"m{at}", view, far + at, far - at) for view, far in (("a", 0.0), ("b", 50.0)) for at in range(4)]
    points = pd.DataFrame(lines, columns=["row", "view", "measure", "transfer"])
    assert correlate(points)[0].value > 0.9
    centred = intrinsic.centre_within_languages(points)
    pearson, spearman = correlate(centred)
    assert pearson.value == pytest.approx(-1)
    assert (pearson.n, spearman.n) == (8, 8)
    assert (pearson.low, pearson.high) == pytest.approx((-1, -1)), "it is so in every draw"


def test_items_of_two_texts_are_split() -> None:
    items = pd.DataFrame({"outcome": "both", "text": ["one | two", "three | four"], "gold": "x"})
    assert list(compare.split_texts(items)["other"]) == ["two", "four"]
    assert "other" not in compare.split_texts(items.assign(text=["one | two", "alone"]))
    assert (
        compare.filter_items(items.assign(outcome=["both", compare.FIRST]), compare.OUTCOMES[compare.ONE], "").shape[0]
        == 1
    )


def test_strip_of_a_method_has_its_score_and_dashes_without_verdicts(made: BoardData) -> None:
    row = made.row("ml-ctl")
    strip = method.score_strip(row, ["xnli", AVERAGE], None)
    assert list(strip[""]) == ["Score, %", "Gain", "Rank"]
    assert list(strip["xnli"]) == [format_cell(row.cell("xnli"), row.seeds), DASH, DASH]
    cells = method.score_map(row, made.cells, made.summaries, "english")
    xnli = cells[cells["task"] == "xnli"]["value"].mean()
    assert xnli == pytest.approx(row.cell("xnli").mean)


def test_sections_of_a_docstring() -> None:
    text = "Words.\n\nReference: A paper.\nObjective: a sum\n    L = x + y\n    over all. Inputs: pairs\nof sentences."
    found = method.docstring_sections(text)
    assert [part.title for part in found] == ["", "Reference", "Objective", "Inputs"]
    assert found[2].text.splitlines()[1] == "    L = x + y"
    assert found[3].text == "pairs of sentences."


def test_curves_and_throughput(made: BoardData) -> None:
    row = made.row("ml-ctl-cz")
    links = made.links[made.links["run"].isin(row.runs)]
    cost = method.stage_costs(links).set_index("kind")
    assert cost.loc["align", "tokens per second"] == pytest.approx(6e6 / 38)
    traces = [load_trace(str(name)) for name in links.loc[links["kind"] == "align", "fingerprint"]]
    losses = method.loss_curves(traces)
    assert set(losses["term"]) == {"contrast", "mlm"}
    assert method.dev_curve(made.dev[made.dev["run"].isin(row.runs)], "xnli", "accuracy")["value"].max() == 70


def test_stages_and_times_of_a_run(made: BoardData) -> None:
    links = made.links[made.links["run"] == made.row("ml-ctl-cz").runs[0]]
    assert list(runs.list_stages(links, {})["stage"]) == ["align", "finetune xnli", "project tatoeba"]
    assert list(runs.stage_timeline(links, {})["start"]) == [0, 60]
    again = links.assign(hit=True)  # as after a second command
    align, finetune = again.set_index("kind").loc[["align", "finetune"], "fingerprint"]
    found = runs.list_stages(again, {align: 3, finetune: 1})
    assert list(found["result"])[:2] == ["reused", "computed"]
    assert list(found["runs"])[:2] == [3, 1]
    assert list(runs.stage_timeline(again, {align: 3, finetune: 1})["stage"]) == ["finetune xnli"]
    assert flatten_settings({"a": {"b": 1, "c": {}}, "d": [2]}) == {"a.b": 1, "a.c": {}, "d": [2]}


def test_downloads_of_a_frame_hold_all_values_escaped() -> None:
    frame = pd.DataFrame({"name": list(HOSTILE), "value": [1.5, None] * 4})
    files = downloads.frame_files(frame, HOSTILE[0], "a/b", "../c", notes=[HOSTILE[2]])
    assert files.stem == "alignboard-ab-c"
    lines = list(csv.reader(io.StringIO(files.csv)))
    assert len(lines) == 1 + len(HOSTILE)
    assert lines[1] == [HOSTILE[0], "1.5"]
    assert lines[2][1] == ""
    assert not any(cell.startswith(("=", "+", "-", "@")) for line in lines for cell in line)
    rows = json.loads(files.json)["rows"]
    assert rows[1]["value"] is None
    assert rows[4]["name"] == HOSTILE[4]
    table = [line for line in files.markdown.splitlines() if line.startswith("|")]
    assert len(table) == 2 + len(HOSTILE)
    assert r"\<script\>" in files.markdown
    assert not re.search(r"(?<!\\)\]\(", files.markdown)
    assert r"\textbackslash{}input\{/etc/passwd\}" in files.latex
    assert files.latex.count(r"\\" + "\n") == 1 + len(HOSTILE)
    assert "\u202e" not in "".join(files)


@given(st.text(max_size=60))
def test_third_party_text_is_escaped_in_every_form(text: str) -> None:
    assert not escape(text, "csv").lstrip().startswith(("=", "+", "-", "@"))
    latex = escape(text, "latex")
    for known in (r"\textbackslash{}", r"\textasciitilde{}", r"\textasciicircum{}", r"\&", r"\%", r"\$", r"\#", r"\_"):
        latex = latex.replace(known, "")
    for known in (r"\{", r"\}", "{[}", "{]}", "{*}", r"$\pm$", r"$\dagger$", "$-$", "$<$"):
        latex = latex.replace(known, "")
    assert not set(latex) & set("\\%$&#_~^{}[")
    marked = escape(text, "markdown")
    assert "://" not in escape(text, "label")
    unescaped = [char for at, char in enumerate(marked) if char in "<[`*_$:@" and marked[at - 1 : at] != "\\"]
    assert not unescaped
    assert len(escape(text, most=10)) <= 10


def test_rows_with_equal_names_are_numbered(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "board.db", create=True)
    for name in ("x" * 100, "x" * 100 + "y", "a\u200bb", "ab"):
        add_full_run(store, tmp_path, name, 50 + random.random(), 1)
    (table,) = tables_by_task(store.summaries(split="test"))
    names = list(board.rows_by_name(table.rows))
    assert len(set(names)) == 4
    assert all(len(name) < 70 for name in names)
