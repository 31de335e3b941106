"""Stored runs and the data and base of today: what has changed is named, and a moved folder is accepted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.errors import UsageError, UserError
from harness.experiments import stored
from harness.experiments.plan import RunPlan
from harness.experiments.recipe import Recipe, make_recipe, recipe_like
from harness.experiments.runner import Provenance, _run_row
from harness.experiments.stored import (
    Moved,
    PlannedRun,
    changed_cells,
    changed_sources,
    check_base,
    check_test_data,
    describe_changes,
    plan_again,
    prefer_current,
    recipe_of,
)
from harness.provenance import CodeVersion
from harness.registry import TASKS
from harness.results.versions import shorten_fingerprints
from harness.storage.store import Store
from tests.support.folder_specs import PAIR, Write
from tests.support.tiny_runs import WORLD, run_plans, tiny_plans


@pytest.fixture(scope="module")
def plan() -> RunPlan:
    return tiny_plans("mbert")[0]


def row_of(plan: RunPlan, **cells: str) -> dict[str, Any]:
    """The row of a run on the same base whose data had these other cells ("" means none)."""
    data = {**shorten_fingerprints(plan.data), **{name.replace("_", "/"): value for name, value in cells.items()}}
    return {
        "id": "former",
        "method": "mbert",
        "align_seed": 0,
        "base": "init:1x64",
        "base_fingerprint": plan.base_fingerprint,
        "data_fingerprint": "former" if cells else plan.data_fingerprint,
        "card": {"data": {name: value for name, value in data.items() if value}},
    }


def test_runs_whose_source_has_changed_are_named(write: Write) -> None:
    folder = write({"xnli/test-de.tsv": PAIR, "xnli/test-en.tsv": PAIR, "mono/de.txt": "ein Satz\n"})
    manifest = folder.manifest([TASKS.get("xnli").spec])
    cells = {cell.name: cell.fingerprint for cell in manifest.tasks}
    row = {
        "method": "mbert",
        "align_seed": 0,
        "transform": "",
        "recipe": {"source": f"folder:{folder.root}"},
        "card": {"data": shorten_fingerprints(cells)},
    }
    assert changed_sources([row]) == []
    file = folder.root / "xnli" / "test-de.tsv"
    file.write_text(PAIR * 2, encoding="utf-8")
    (line,) = changed_sources([row, {**row, "recipe": {"source": "babel:size=small"}}])
    assert line.startswith("mbert seed 0: its data in folder:")
    assert line.endswith("have changed since: xnli/de/test")
    file.unlink()
    assert "xnli/de/test" in changed_sources([row])[0]
    missing = {**row, "recipe": {"source": f"folder:{folder.root}/gone"}}
    assert "cannot be read today" in changed_sources([missing])[0]


def test_changed_gone_and_new_cells_are_named(plan: RunPlan) -> None:
    assert changed_cells(row_of(plan), plan) == []
    changed = row_of(plan, xnli_qab_test="other", xnli_zz_test="gone since", tatoeba_qab_test="")
    assert changed_cells(changed, plan) == ["tatoeba/qab/test", "xnli/qab/test", "xnli/zz/test"]
    assert describe_changes(changed, plan) == ("its data have changed: tatoeba/qab/test, xnli/qab/test, xnli/zz/test")
    unknown = {**changed, "card": {}}
    assert changed_cells(unknown, plan) == [""]
    assert describe_changes(unknown, plan) == "its data have changed"
    other_base = {**row_of(plan), "base_fingerprint": "other"}
    assert describe_changes(other_base, plan) == "the code or the text that trains its base has changed: init:1x64"
    assert "another meaning" in describe_changes(row_of(plan), plan)


def test_only_test_data_decide_what_predictions_may_be_combined_with(plan: RunPlan) -> None:
    check_test_data(row_of(plan, xnli_qaa_train="other"), plan)
    with pytest.raises(UserError, match=r"the data of this run have changed(.|\n)*xnli/qab/test(.|\n)*remedy"):
        check_test_data(row_of(plan, xnli_qab_test="other"), plan)
    check_base(row_of(plan), plan)
    with pytest.raises(UserError, match="the base of this run has changed"):
        check_base({**row_of(plan), "base_fingerprint": "other"}, plan)


def test_of_several_runs_those_on_the_base_of_today_are_preferred(plan: RunPlan) -> None:
    today, former = PlannedRun({"id": plan.id}, plan), PlannedRun({"id": "on an earlier base"}, plan)
    assert prefer_current([former, today]) == [today]
    assert prefer_current([former]) == [former]


def test_corpora_that_a_run_trains_on_decide_its_id() -> None:
    (trained,) = tiny_plans("ml-ctl")
    assert any(cell.startswith("parallel/") for cell in trained.data)
    changed = replace(trained, data={**trained.data, "parallel/qab": "other"})
    assert changed.id != trained.id


@pytest.fixture
def folder_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The row of a run on a folder and a base; the id of a plan is the content of both."""

    def planned(recipe: Recipe, *rest: Any) -> Any:
        source, base = Path(recipe.source.removeprefix("folder:")), Path(recipe.base)
        return SimpleNamespace(recipe=recipe, id=(source / "file").read_text() + (base / "file").read_text())

    monkeypatch.setattr(stored, "plan_run", planned)
    for name in ("data", "base"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    monkeypatch.chdir(tmp_path)
    recipe = make_recipe(method="mbert", base=str(tmp_path / "base"), source="folder:data", suite="xtreme-align")
    return {"id": "database", "method": "mbert", "align_seed": 0, "recipe": recipe.model_dump(mode="json")}


def test_a_run_is_planned_from_any_directory(
    folder_run: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "data").mkdir(parents=True)
    monkeypatch.chdir(elsewhere)
    assert plan_again(folder_run).recipe.source == f"folder:{tmp_path / 'data'}"


def test_a_moved_folder_of_the_same_content_is_accepted(folder_run: dict[str, Any], tmp_path: Path) -> None:
    for name in ("data", "base"):
        (tmp_path / name).rename(tmp_path / f"new-{name}")
    with pytest.raises(UserError, match=r"the source of mbert seed 0 is no longer there(.|\n)*--source folder:PATH"):
        plan_again(folder_run)
    with pytest.raises(UserError, match=r"the base of mbert seed 0 is no longer there(.|\n)*--base PATH"):
        plan_again(folder_run, Moved("folder:new-data"))
    plan = plan_again(folder_run, Moved("folder:new-data", "new-base"))
    assert plan.id == folder_run["id"]
    assert plan.recipe.source == f"folder:{tmp_path / 'new-data'}"
    assert plan.recipe.hash == Recipe.model_validate(folder_run["recipe"]).hash


def test_a_named_place_with_other_content_does_not_hide_the_right_one(
    folder_run: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "wrong").mkdir()
    (tmp_path / "wrong" / "file").write_text("wrong")
    assert plan_again(folder_run, Moved("folder:wrong")).id == folder_run["id"]
    (tmp_path / "data" / "file").unlink()
    (tmp_path / "data").rmdir()
    assert plan_again(folder_run, Moved("folder:wrong")).id == "wrongbase"


def test_a_new_run_closes_those_that_its_data_make_impossible_to_resume(plan: RunPlan, tmp_path: Path) -> None:
    former, elsewhere = (replace(plan, stages=(), data={"xnli/qab/test": text}) for text in ("old", "elsewhere"))
    moved = elsewhere.recipe.model_copy(update={"source": "babel:seed=3,size=small"})
    run_plans(tmp_path, [former, replace(elsewhere, recipe=moved)])
    _, display = run_plans(tmp_path, [replace(plan, stages=(), data={"xnli/qab/test": "new"})])
    assert display.notes == ["mbert seed 0, which was running, is superseded: its data have changed: xnli/qab/test"]
    _, display = run_plans(tmp_path, [replace(plan, stages=(), data={"xnli/qab/test": "new"})])
    assert display.notes == []


def tiny_recipe(method: str, **more: Any) -> Recipe:
    common = {"base": "init:1x64", "source": WORLD, "suite": "xnli,tatoeba", "protocol": "mini"}
    return make_recipe(method=method, **{**common, **more})


def test_a_run_lends_its_settings_to_a_control() -> None:
    """So that what `--set` has changed is the same in both."""
    changes = ["align.steps=7", "sample.size=70", "tasks.xnli.epochs=1", "contamination=remove"]
    known = tiny_recipe("ml-ctl", changes=[*changes, "config.temperature=0.2"]).model_copy(
        update={"tuning": {"1": 2.0}}
    )
    assert recipe_like(known, "continued-mlm") == tiny_recipe("continued-mlm", changes=changes)
    assert recipe_like(known, "mbert") == tiny_recipe("mbert", changes=["tasks.xnli.epochs=1"])
    shuffled = recipe_like(known, "ml-ctl", "shuffled-pairs", ["config.mlm_weight=0.5"])
    assert shuffled.config == {"temperature": 0.2, "mlm_weight": 0.5}
    assert (shuffled.align, shuffled.transform, shuffled.tuning) == (known.align, "shuffled-pairs", {})
    paper = tiny_recipe("ml-ctl", recipe="paper")
    assert recipe_like(paper, "infoxlm") == tiny_recipe("infoxlm", recipe="paper")
    with pytest.raises(UsageError, match=r"(?s)only settings of the method.*align"):
        recipe_like(known, "continued-mlm", changes=["align.steps=8"])
    with pytest.raises(UsageError, match="has no settings of a training"):
        recipe_like(recipe_like(known, "mbert"), "ml-ctl")


def test_a_run_is_named_by_its_id_a_part_of_it_or_its_method(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "board.db", create=True)
    plans = [*tiny_plans("mbert", "continued-mlm"), *tiny_plans("continued-mlm", changes=("align.steps=5",))]
    for plan in plans:
        store.add_run(_run_row(plan, Provenance(CodeVersion(None, None), {})))
    assert recipe_of(store, "mbert") == plans[0].recipe
    assert recipe_of(store, plans[2].id[:12]) == plans[2].recipe
    with pytest.raises(UsageError, match=r"(?s)runs of several recipes match.*give the id of one"):
        recipe_of(store, "continued-mlm")
    with pytest.raises(UserError, match="no run has this id or method"):
        recipe_of(store, "ml-ctl")
    store.close()
