"""Ablations: the same number of trials for every row, chosen on the pivot's dev sets, resumed where they stopped."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.cli.ablation import _rates_to_try
from harness.cli.app import main
from harness.data.babel import Babel
from harness.errors import UserError
from harness.experiments.ablation import (
    AblationRow,
    RateSearch,
    get_ablation,
    on_shuffled_pairs,
    plan_search,
    run_trials,
    tune,
    with_changes,
    with_rate,
)
from harness.experiments.budgets import AlignmentCost, alignment_cost, match_seconds, plan_alignments
from harness.experiments.executors.local import Local, StageFailure
from harness.experiments.plan import plan_run
from harness.experiments.recipe import Recipe, make_recipe
from harness.experiments.stages.finetune import CURVE
from harness.records import Corpus
from harness.registry import METHODS
from harness.storage.artifacts import Artifacts
from harness.storage.usage import in_use
from tests.support.small_babel import isolated
from tests.support.tiny_runs import TINY, WORLD, RecordingDisplay

GRID = (1e-4, 1e-2)


@pytest.fixture(autouse=True)
def _alone() -> Iterator[None]:
    with isolated():
        yield


def recipe(method: str, **more: Any) -> Recipe:
    common = {"base": "init:1x64", "source": WORLD, "suite": "xtreme-align", "protocol": "mini"}
    return make_recipe(method=method, changes=TINY, **common, **more)


@pytest.fixture(scope="module")
def executor(tmp_path_factory: pytest.TempPathFactory) -> Local:
    artifacts = Artifacts(tmp_path_factory.mktemp("home") / "artifacts")
    return Local(artifacts, 1, "cpu", threads=1, all_threads=1)


def test_every_trained_row_has_a_trial_per_rate_and_none_reads_a_test_set() -> None:
    for method, transform in (("info-snt", ""), ("info-snt", "shuffled-pairs"), ("continued-mlm", "")):
        row = plan_search(recipe(method, transform=transform), GRID).trials
        assert [trial.rate for trial in row] == list(GRID)
        cells = {cell for trial in row for stage in trial.stages for cell in stage.data}
        assert not [cell for cell in cells if cell.endswith("/test")]
        dev = {cell for cell in cells if cell.endswith("/dev")}
        assert dev == {f"{task}/qaa/dev" for task in ("xnli", "pawsx", "udpos", "panx")}
    assert plan_search(recipe("mbert"), GRID) == RateSearch(recipe("mbert"))
    assert plan_search(recipe("info-snt"), GRID[1:]) == RateSearch(with_rate(recipe("info-snt"), GRID[1]))


def test_the_best_rate_is_taken_and_recorded_outside_of_the_hash(executor: Local) -> None:
    recipes = [recipe("mbert"), recipe("info-snt")]
    untrained, tuned = tune([plan_search(r, GRID) for r in recipes], executor, RecordingDisplay())
    assert (untrained.recipe, untrained.scores) == (recipes[0], {})
    assert set(tuned.scores) == set(GRID)
    for trial in plan_search(recipes[1], GRID).trials:
        assert tuned.scores[trial.rate] == pytest.approx(by_hand(trial.stages, executor.artifacts))
    best = max(GRID, key=lambda rate: tuned.scores[rate])
    assert tuned.recipe.align.learning_rate == best
    assert set(tuned.recipe.tuning) == {"0.0001", "0.01"}
    assert tuned.recipe.hash == with_rate(recipes[1], best).hash
    final = plan_run(tuned.recipe, 0)
    known = [stage.title for stage in final.stages if executor.artifacts.find(stage.fingerprint)]
    assert {"finetune xnli seed 0", "align info-snt seed 0"} <= set(known), "the first seed is not trained again"
    trials = {stage.fingerprint for trial in plan_search(recipes[1], GRID).trials for stage in trial.stages}
    assert trials <= in_use(executor.artifacts, []), "gc keeps the trials"


def by_hand(stages: Any, artifacts: Artifacts) -> float:
    best = []
    metrics = {"xnli": "accuracy", "pawsx": "accuracy", "udpos": "f1", "panx": "f1"}
    for stage in stages:
        if stage.kind == "finetune":
            artifact = artifacts.find(stage.fingerprint)
            assert artifact is not None
            curve = json.loads((artifact.path / CURVE).read_text())["curve"]
            best.append(max(p["metrics"][metrics[stage.task]] for p in curve))
    assert len(best) == 4
    return sum(best) / 4


def test_a_grid_goes_on_where_it_stopped(executor: Local) -> None:
    tune([plan_search(recipe("info-snt"), GRID)], executor, RecordingDisplay())
    again = RecordingDisplay()
    tune([plan_search(recipe("info-snt"), GRID)], executor, again)
    assert again.found
    assert not again.made
    wider = RecordingDisplay()
    tune([plan_search(recipe("info-snt"), (*GRID, 1e-3))], executor, wider)
    assert [title for title in wider.made if title.startswith("align")] == ["align info-snt seed 0"]


def test_a_trial_that_fails_is_told_and_the_others_are_done(executor: Local) -> None:
    class Failing:
        artifacts = executor.artifacts

        def run(self, stages: Any, display: Any) -> Any:
            for stage in stages:
                yield from executor.run([stage], display)
            yield StageFailure(stages[-1].fingerprint, "out of memory", True)

    display = RecordingDisplay()
    with pytest.raises(UserError, match=r"1 stage of the trials failed.*\n.*out of memory"):
        tune([plan_search(recipe("info-snt"), GRID)], Failing(), display)  # type: ignore[arg-type]
    assert len(display.failures) == 1


def test_costs_are_means_over_the_seeds_of_a_row() -> None:
    plans = [plan_run(recipe("info-snt"), seed) for seed in (0, 1)]
    aligned = [next(s.fingerprint for s in plan.stages if s.kind == "align") for plan in plans]
    stages = {
        fingerprint: {"tokens": 1000 * (i + 1), "examples": 50, "device_seconds": 2.0 * (i + 1)}
        for i, fingerprint in enumerate(aligned)
    }
    assert alignment_cost(plans, stages) == AlignmentCost(tokens=1500, seconds=3.0, per_thousand=60.0)
    assert alignment_cost([plan_run(recipe("mbert"), 0)], stages) is None


def test_a_budget_in_device_seconds_gives_a_row_the_steps_that_take_as_long_as_the_control(executor: Local) -> None:
    rows = [("mbert", ""), ("info-snt", ""), ("info-snt", "shuffled-pairs"), ("continued-mlm", "")]
    recipes = [
        with_rate(recipe(method, transform=pairs), 1e-4) if method != "mbert" else recipe(method)
        for method, pairs in rows
    ]
    alignments = plan_alignments(recipes)
    assert not alignments[0]
    run_trials({name: stage for row in alignments for name, stage in row.items()}, executor, RecordingDisplay())
    base, method, shuffled, control = match_seconds(recipes, alignments, executor.artifacts)
    assert base == recipes[0]
    assert control == recipes[3]
    costs = {}
    for (name, pairs), stages in zip(rows, alignments, strict=True):
        for stage in stages.values():
            if stage.kind == "align":
                found = stage.find(executor.artifacts)
                assert found is not None
                costs[name, pairs] = found.cost["device_seconds"]
    wanted = max(1, round(6 * costs["continued-mlm", ""] / costs["info-snt", ""]))
    assert method.align.steps == shuffled.align.steps == wanted, "a control has the steps of its method"
    assert method.align.model_copy(update={"steps": 6}) == recipes[1].align
    assert {stage.fingerprint for row in alignments for stage in row.values()} <= in_use(executor.artifacts, [])


def test_the_tables_name_methods_that_exist() -> None:
    ml_ctl = get_ablation("ml-ctl")
    pairs = {(row.method, row.transform) for row in ml_ctl.rows}
    assert {("mbert", ""), ("continued-mlm", ""), ("ml-ctl-cz", ""), ("ml-ctl-cz", "shuffled-pairs")} <= pairs
    for name in ("ml-ctl", "align-mlm"):
        for row in get_ablation(name).rows:
            METHODS.get(row.method).Config(**row.config)
    assert {row.method for row in get_ablation("all").rows} == set(METHODS.names())
    assert on_shuffled_pairs([AblationRow("ml-ctl", {"temperature": 0.1})]) == (
        AblationRow("ml-ctl", {"temperature": 0.1}, "shuffled-pairs"),
    )
    assert replace(ml_ctl, rows=()).title == ml_ctl.title


def test_a_method_is_put_beside_its_controls() -> None:
    base, control = AblationRow("mbert"), AblationRow("continued-mlm")
    assert get_ablation("info-snt").rows == (
        base,
        control,
        AblationRow("info-snt"),
        *on_shuffled_pairs([AblationRow("info-snt")]),
    )
    assert get_ablation("xlm-k").rows == (base, control, AblationRow("xlm-k")), "it reads no pairs"
    assert get_ablation("continued-mlm").rows == (base, control, *on_shuffled_pairs([control]))
    assert get_ablation("mbert").rows == (base,)
    assert len(get_ablation("ml-ctl").rows) > 4, "the paper's table goes before the method"


def test_rates_of_a_grid_are_unique() -> None:
    assert _rates_to_try("1e-4, 3e-4,1e-4", "mini", "matched") == (1e-4, 3e-4)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["ml-clt"], "did you mean"),
        (["nothing"], "align-mlm, all, amber, "),
        (["nothing"], "`alignboard ablation` lists them"),
        (["ml-ctl", "--grid", "1e-4,nan"], "the grid cannot be read"),
        (["ml-ctl", "--grid", "inf"], "the grid cannot be read"),
        (["ml-ctl", "--grid", "1e-4", "--recipe", "paper"], "a grid contradicts the paper recipe"),
        (["ml-ctl", "--grid", "1e-4,fast"], "the grid cannot be read"),
        (["ml-ctl", "--set", "align.learning_rate=7e-5"], "no effect where a grid of rates is tried"),
        (["ml-ctl", "--grid", "1e-4", "--set", "align.learning_rate=7e-5"], "give --grid 7e-05"),
        (["mbert", "--budget", "device-seconds"], "a budget in device seconds is that of continued masked LM"),
        (
            ["ml-ctl", "--budget", "device-seconds", "--set", "align.stop_step=3"],
            "align.stop_step contradicts a budget",
        ),
        (["ml-ctl", "--set", "config.temprature=1"], "unknown setting of these methods 'temprature'"),
        (["ml-ctl", "--set", "config.temperature=0"], "temperature='0': Input should be greater than 0"),
        (["ml-ctl", "--source", "folder:/no/such/folder"], "folder"),
    ],
)
def test_mistakes_are_told(
    words: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ALIGNBOARD_HOME", str(tmp_path))
    with pytest.raises(SystemExit) as ended:
        main(["ablation", *words])
    assert ended.value.code in (1, 2)
    assert told in capsys.readouterr().err
    assert not list(tmp_path.glob("*.db"))


def test_file_of_paper_settings_tries_no_grid(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.toml").write_text('kind = "paper"\n')
    with pytest.raises(SystemExit):
        main(["ablation", "ml-ctl", "--grid", "1e-4", "--recipe", str(tmp_path / "mine.toml")])
    assert "a grid contradicts the paper recipe" in capsys.readouterr().err


def test_the_command_ends_in_three_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ALIGNBOARD_HOME", str(tmp_path))
    others = ("tasks.pawsx.", "tasks.udpos.", "tasks.panx.")
    settings = [word for change in TINY if not change.startswith(others) for word in ("--set", change)]
    common = ["--suite", "xnli,tatoeba", "--source", WORLD, "--base", "init:1x64", "--seeds", "1", "--workers", "1"]
    table = get_ablation("ml-ctl")
    few = replace(table, rows=(AblationRow("mbert"), AblationRow("continued-mlm"), AblationRow("cz-snt")))
    monkeypatch.setattr("harness.experiments.ablation.get_ablation", lambda name: few)
    with pytest.raises(SystemExit) as ended:
        main(["ablation", "ml-ctl", *common, "--grid", "1e-4,1e-3", "--budget", "device-seconds", *settings])
    assert not ended.value.code
    out = capsys.readouterr().out
    assert "steps" in out
    assert "chosen" in out
    assert "cz-snt" in out
    assert "times continued-mlm" in out
    assert "1.00" in out


def test_changes_reach_the_rows_whose_method_has_the_setting() -> None:
    rows = (
        AblationRow("mbert"),
        AblationRow("ml-ctl"),
        AblationRow("ml-ctl", {"temperature": 0.2}),
        AblationRow("xlm"),
    )
    changed = with_changes(rows, {"temperature": 0.1, "mlm_weight": 0.5})
    assert changed == [
        AblationRow("mbert"),
        AblationRow("ml-ctl", {"temperature": 0.1, "mlm_weight": 0.5}),
        AblationRow("ml-ctl", {"temperature": 0.2, "mlm_weight": 0.5}),
        AblationRow("xlm", {"mlm_weight": 0.5}),
    ]


def test_settings_of_alignment_tell_no_untrained_runs_apart() -> None:
    common = {"base": "init:1x64", "source": WORLD, "suite": "xtreme-align", "protocol": "mini"}
    ways = (("align.steps=7", "sample.size=99", "contamination=remove"), ())
    assert len({make_recipe(method="mbert", changes=changes, **common).hash for changes in ways}) == 1
    assert len({make_recipe(method="xlm", changes=changes, **common).hash for changes in ways}) == 2
    with pytest.raises(UserError, match="nope"):
        make_recipe(method="mbert", changes=["align.nope=1"], **common)


def test_everything_leaves_out_what_the_source_has_no_corpus_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And says so, once for each method; the others go on."""
    monkeypatch.setenv("ALIGNBOARD_HOME", str(tmp_path))
    ran: list[str] = []
    monkeypatch.setattr("harness.cli.ablation._run", lambda recipes, *rest: ran.extend(r.method for r in recipes))
    has = Babel.manifest

    def without_entities(self: Any, specs: Any) -> Any:
        whole = has(self, specs)
        return replace(whole, corpora=tuple(c for c in whole.corpora if c.kind != Corpus.ENTITIES))

    monkeypatch.setattr(Babel, "manifest", without_entities)
    with pytest.raises(SystemExit) as ended:
        main(["ablation", "all", "--source", "babel:size=small,seed=3", "--recipe", "paper"])
    told = " ".join(capsys.readouterr().err.split())
    assert not ended.value.code
    assert set(ran) == set(METHODS.names()) - {"xlm-k"}
    assert told.count("left out") == 1
    assert "xlm-k needs entities; babel:size=small,seed=3 has none" in told
    assert "no published alignment settings are known for" in told
    assert "infoxlm" not in told.partition("settings are known for")[2]


def test_an_interrupted_grid_says_how_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(*anything: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setenv("ALIGNBOARD_HOME", str(tmp_path))
    monkeypatch.setattr("harness.cli.ablation._run", stopped)
    with pytest.raises(SystemExit) as ended:
        main(["ablation", "ml-ctl"])
    assert ended.value.code == 130
    assert "give the same command again" in capsys.readouterr().err
