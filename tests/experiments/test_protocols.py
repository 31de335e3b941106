"""Settings by kind of base, and the protocol `alignboard`: rates chosen on dev, two selections, strong retrieval."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import XLMRobertaConfig

from harness.cli.verify import scores_from_statistics
from harness.errors import UsageError
from harness.experiments.bases import base_shape
from harness.experiments.executors.local import Local
from harness.experiments.exports import export
from harness.experiments.plan import RunPlan, plan_run
from harness.experiments.recipe import Recipe, make_recipe, pretrain_settings
from harness.experiments.runner import Runner
from harness.experiments.trials import choose, model_inputs, trials
from harness.modeling.encoder import Encoder
from harness.modeling.packing import pack
from harness.protocols import Shape, Suite
from harness.registry import SUITES, TASKS
from harness.storage.artifacts import Artifacts
from harness.storage.store import Store
from harness.task import TrainedSettings
from tasks.families.heads import PairHead
from tests.support.cli_calls import run_command
from tests.support.tiny_encoder import tiny_encoder
from tests.support.tiny_runs import WORLD, RecordingDisplay

NINE = SUITES.get("xtreme").tasks
LARGE, BASE, BERT = Shape("xlm-roberta", 24), Shape("xlm-roberta", 12), Shape("bert", 12)
TINY = (
    *("pretrain.steps=4", "pretrain.vocab_size=600", "pretrain.batch_tokens=500"),
    *(f"tasks.{task}.{name}=20" for task in ("xnli", "xquad") for name in ("max_train", "max_test")),
    *("tasks.xnli.max_dev=20", "tasks.xnli.epochs=2", "tasks.xquad.epochs=1", "tasks.xquad.warmup_steps=0"),
    "tasks.xnli.learning_rates=[0.001,0.003]",
)


def official(name: str, shape: Shape | None) -> TrainedSettings:
    settings: TrainedSettings = TASKS.get(name).spec.settings("official", shape)
    return settings


def recipe(suite: str = "xtreme", protocol: str = "alignboard", base: str = "init:1x64", changes: Any = ()) -> Recipe:
    return make_recipe(method="mbert", base=base, source=WORLD, suite=suite, protocol=protocol, changes=changes)


@pytest.mark.parametrize("name", [n for n in NINE if TASKS.get(n).spec.trained])
def test_every_official_update_reads_32_examples_and_large_models_read_them_in_twos(name: str) -> None:
    for shape in (None, BERT, BASE, LARGE):
        settings = official(name, shape)
        assert settings.batch_size * settings.accumulation == 32
    large = official(name, LARGE)
    assert large.batch_size == (4 if TASKS.get(name).spec.family.name == "qa" else 2)
    assert large.learning_rate == (2e-5 if name in ("pawsx", "udpos", "panx") else 3e-5)
    assert official(name, BERT) == official(name, None)


def test_official_layers_and_pieces_are_those_of_the_scripts() -> None:
    assert [official(name, LARGE).layer for name in ("tatoeba", "bucc2018")] == [14, 20]
    assert [official(name, shape).layer for name in ("tatoeba", "bucc2018") for shape in (BASE, BERT)] == [None] * 4
    for task in ("udpos", "panx"):
        assert [official(task, shape).separators for shape in (BASE, LARGE, BERT)] == [2, 2, 1]
        assert {official(task, shape).max_length for shape in (BASE, LARGE, BERT)} == {128}
    assert [official("xnli", shape).max_length for shape in (BASE, LARGE, BERT)] == [128] * 3


def test_mini_is_the_same_for_every_base() -> None:
    for name in NINE:
        spec = TASKS.get(name).spec
        assert "mini" not in spec.variants
        assert spec.settings("mini", LARGE) == spec.protocols["mini"]


@pytest.fixture
def large(tmp_path: Path) -> str:
    """The configuration of XLM-R large, which is all that a plan reads, and weights that are not read."""
    config = XLMRobertaConfig(num_hidden_layers=24, hidden_size=1024)
    config.save_pretrained(tmp_path / "large")
    return str(tmp_path / "large")


def test_the_plan_takes_the_settings_of_its_base_and_changes_win(large: str) -> None:
    made = recipe("xtreme-align", "official", large, ["tasks.tatoeba.layer=10"])
    assert base_shape(made) == LARGE
    plan = plan_run(made, 0)
    settings = {stage.task: stage.parameters["settings"] for stage in plan.stages if stage.kind == "score"}
    for name in ("xnli", "pawsx", "udpos", "panx", "bucc2018"):
        assert settings[name] == asdict(official(name, LARGE))
    assert settings["tatoeba"]["layer"] == 10
    assert all(
        stage.parameters["settings"] == settings[stage.task] for stage in plan.stages if stage.kind == "finetune"
    )


def test_a_new_encoder_is_a_bert_of_its_layers() -> None:
    made = recipe("xtreme-align", "official", "init:2x64")
    assert base_shape(made) == Shape("bert", 2)
    assert made.task_settings("xnli", base_shape(made)) == official("xnli", None)
    assert recipe().task_settings("xnli", Shape("bert", 2)).learning_rates == (1e-4, 3e-4, 1e-3)
    assert recipe().task_settings("xnli", BERT).learning_rates == (1e-5, 2e-5, 5e-5)


def test_kin_of_roberta_gets_a_new_pooler_with_dropout_before_it() -> None:
    bert = tiny_encoder()
    config = XLMRobertaConfig(
        vocab_size=bert.tokenizer.vocab_size,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        hidden_dropout_prob=0.5,
    )
    other = Encoder.fresh(config, bert.tokenizer)
    text = pack([[2, 5, 6, 3]])
    for encoder, own in ((bert, True), (other, False)):
        encoder.pooler = torch.nn.Linear(16, 16)
        head = PairHead(encoder, 3)
        assert (head.dense is None) == own
        head.dropout.p = 1.0  # of what is dropped nothing is left but biases
        with torch.no_grad():
            logits = head.train()(encoder.eval(), text)
        torch.testing.assert_close(logits, head.output.bias[None])
        reached: list[torch.Tensor] = []
        pooler = encoder.pooler if own else head.dense
        assert pooler is not None
        pooler.register_forward_hook(lambda _m, given, _o, reached=reached: reached.append(given[0]))
        with torch.no_grad():
            head(encoder, text)
        assert bool(reached[0].any()) == own


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunPlan]:
    """A run under `alignboard` of four tasks, one of each family but tagging."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        suite = Suite("four", "Four", ("xnli", "xquad", "bucc2018", "tatoeba"), "For this test.")
        patch.setattr(SUITES, "_local", {"four": (suite, None)})
        plan = plan_run(recipe("four", changes=TINY), 0)
    artifacts, store = Artifacts(home / "artifacts"), Store.open(home / "board.db", create=True)
    report = Runner(store, artifacts, Local(artifacts, 1, "cpu", threads=1, all_threads=1), RecordingDisplay()).run(
        [plan]
    )
    store.close()
    assert not report.failures, report.failures
    return home, plan


def rows(done: tuple[Path, RunPlan], **where: Any) -> list[dict[str, Any]]:
    store = Store.open(done[0] / "board.db")
    found: list[dict[str, Any]] = store.scores(**where).to_dict("records")
    store.close()
    return found


def test_every_rate_is_tried_and_the_pivots_dev_set_chooses(done: tuple[Path, RunPlan]) -> None:
    home, plan = done
    tried = {s.fingerprint: s for s in plan.stages if s.kind == "finetune" and s.task == "xnli"}
    assert [s.parameters["settings"]["learning_rate"] for s in tried.values()] == [0.001, 0.003]
    pivot = next(iter(tried.values())).parameters["pivot"]
    dev = rows(done, task="xnli", split="dev", view=pivot)
    best = {name: max(r["value"] for r in dev if r["selection"] == f"curve {name}") for name in ("0.001", "0.003")}
    predict = next(s for s in plan.stages if s.kind == "predict" and s.task == "xnli")
    artifact = Artifacts(home / "artifacts").find(predict.fingerprint)
    assert artifact is not None
    choice = json.loads((artifact.path / "choice.json").read_text())
    assert {rate: score for rate, _, score in choice} == best
    assert choice[0][2] == max(best.values())
    chosen = [r for r in dev if r["selection"] == "curve"]
    assert {r["stage"] for r in chosen} == {choice[0][1]}
    assert {(r["step"], r["value"]) for r in chosen} == {
        (r["step"], r["value"]) for r in dev if r["selection"] == f"curve {choice[0][0]}"
    }


def test_english_and_oracle_are_rows_of_their_own_from_their_own_steps(done: tuple[Path, RunPlan]) -> None:
    _, plan = done
    test, dev = rows(done, task="xnli", split="test"), rows(done, task="xnli", split="dev", selection="curve")
    views = set(plan.expected["xnli"])
    pivot = next(s for s in plan.stages if s.kind == "finetune").parameters["pivot"]
    for selection in ("english", "oracle"):
        of = [r for r in test if r["selection"] == selection]
        assert sorted(r["view"] for r in of) == sorted(views)
        for row in of:
            judge = pivot if selection == "english" else row["view"]
            curve = sorted((r for r in dev if r["view"] == judge), key=lambda r: r["step"])
            assert row["step"] == max(curve, key=lambda r: r["value"])["step"]
    assert {r["selection"] for r in test} == {"english", "oracle"}


def test_strong_figures_stand_beside_the_official_ones(done: tuple[Path, RunPlan]) -> None:
    for task, metric in (("tatoeba", "accuracy"), ("bucc2018", "f1")):
        found = rows(done, task=task, split="test")
        for view in done[1].expected[task]:
            values = {r["metric"]: r["value"] for r in found if r["view"] == view}
            assert values[f"strong_{metric}"] <= values[metric]
        assert {r["selection"] for r in found} == {""}


def test_both_averages_are_complete_and_the_row_tells_its_settings(done: tuple[Path, RunPlan]) -> None:
    store = Store.open(done[0] / "board.db")
    summaries = store.summaries(task="average", split="test")
    (run,) = store.runs()
    store.close()
    assert {row["selection"]: row["complete"] for row in summaries} == {"english": True, "oracle": True}
    assert {r["selection"] for r in rows(done, task="xquad", split="test")} == {""}
    told = run["card"]["settings"]
    assert told["xnli"]["learning_rates"] == [0.001, 0.003]
    assert told["xnli"]["dev_languages"] == "all"
    assert told["bucc2018"]["pooling"] == "mean"
    assert told["bucc2018"]["strong"]


def test_nothing_but_prediction_and_scoring_reads_a_test_set(done: tuple[Path, RunPlan]) -> None:
    reading = {s.kind for s in done[1].stages if any(cell.endswith("/test") for cell in s.data)}
    assert reading == {"predict", "embed", "score"}


def test_strong_predictions_are_exported_in_the_official_layout_and_their_scores_follow_from_the_statistics(
    done: tuple[Path, RunPlan], tmp_path: Path
) -> None:
    home, plan = done
    artifacts = Artifacts(home / "artifacts")
    made_by = {str(s.task): s.fingerprint for s in plan.stages if s.kind in ("predict", "embed")}
    export(plan, made_by, artifacts, tmp_path / "made", tmp_path / "gold")
    found = (line for file in (tmp_path / "made" / "tatoeba").iterdir() for line in file.read_text().splitlines())
    assert all(line.isdecimal() for line in found)
    pairs = (line for file in (tmp_path / "made" / "bucc2018").iterdir() for line in file.read_text().splitlines())
    assert {line.count("\t") for line in pairs} <= {1}
    for stage in (s for s in plan.stages if s.kind == "score"):
        artifact = artifacts.find(stage.fingerprint)
        assert artifact is not None
        stored = {
            (r["selection"], r["view"], r["metric"]): r["value"] for r in rows(done, task=stage.task, split="test")
        }
        assert scores_from_statistics(artifact.path) == pytest.approx(stored, abs=1e-9, rel=0)


@pytest.mark.parametrize("name", NINE)
def test_tasks_tells_the_settings_of_every_protocol_and_kind_of_base(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command("tasks", name) == 0
    out, spec = capsys.readouterr().out, TASKS.get(name).spec
    assert all(protocol in out for protocol in ("official", "mini", "alignboard"))
    for protocol, variants in spec.variants.items():
        for variant in variants:
            (line,) = (line for line in out.splitlines() if line.startswith(f"- {protocol}, {variant.name}: "))
            assert all(setting in line for setting in variant.changes)
    assert all(f"- {choice.name}: {choice.here}. Official: {choice.official}" in out for choice in spec.choices)
    assert run_command("tasks", name, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert [c["name"] for c in told["choices"]] == [c.name for c in spec.choices]
    assert {p: [v["name"] for v in vs] for p, vs in told["variants"].items()} == {
        p: [v.name for v in vs] for p, vs in spec.variants.items()
    }


def test_a_single_rate_is_the_stage_of_a_run_at_that_rate() -> None:
    one = TrainedSettings(learning_rates=(3e-5,))
    assert one.trials() == (TrainedSettings(learning_rate=3e-5),)
    assert model_inputs([(one.trials()[0], "f")]) == {"model": "f"}
    both = TrainedSettings(learning_rates=(1e-5, 3e-5)).trials()
    inputs = {"encoder": "e", **model_inputs([(both[0], "f"), (both[1], "g")])}
    assert trials(inputs) == {"1e-05": "f", "3e-05": "g"}


def test_of_equal_rates_the_first_is_chosen() -> None:
    def fit(*values: float) -> dict[str, Any]:
        curve = [{"step": n, "view": "en", "metrics": {"f1": value}} for n, value in enumerate(values)]
        other = [{"step": n, "view": "de", "metrics": {"f1": 99.0}} for n in range(len(values))]
        return {"kept": {"english": values.index(max(values))}, "pivot": "en", "curve": [*other, *curve]}

    fits = {"1": fit(10, 30), "2": fit(40, 20), "3": fit(5, 40)}
    assert [t.rate for t in choose(fits, {"1": "a", "2": "b", "3": "c"}, "f1")] == ["2", "3", "1"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("tasks.xnli.learning_rates=[1e-5,1e-5]", "cannot be tried"),
        ("tasks.xnli.learning_rates=[0]", "cannot be tried"),
        ("tasks.xnli.learning_rate=1e-5", "no effect"),
        ("tasks.tydiqa.learning_rates=[1e-5,2e-5]", "no dev set"),
        ("tasks.tatoeba.learning_rates=[1e-5,2e-5]", "unknown field of tasks.tatoeba"),
    ],
)
def test_rates_that_cannot_be_chosen_among_are_refused(change: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        recipe(changes=[change])


@pytest.mark.parametrize("change", ["method=xlm", "suite=xnli", "protocol=mini", "base=x", "kind=paper", "tuning.x=1"])
def test_what_has_an_option_of_its_own_is_no_setting(change: str) -> None:
    with pytest.raises(UsageError, match="is no setting of a recipe") as refused:
        recipe(changes=[change])
    assert refused.value.remedy


@pytest.mark.parametrize("change", ["align=3", "align=null", "config=[]", "tasks=x", "sample=null"])
def test_part_of_a_recipe_has_settings(change: str) -> None:
    part = change.partition("=")[0]
    with pytest.raises(UsageError, match=f"{part} has settings"):
        recipe(changes=[change])


def test_shape_is_given_once() -> None:
    for build in (
        lambda: recipe(base="init:4x128", changes=["pretrain.layers=9"]),
        lambda: pretrain_settings("4x128", ["hidden=64"]),
    ):
        with pytest.raises(UsageError, match="given twice"):
            build()


@pytest.mark.parametrize(
    ("change", "field"),
    [("xnli.doc_stride=5", "learning_rate"), ("tatoeba.neighbours=8", "pooling"), ("bucc2018.epochs=2", "margin")],
)
def test_a_setting_of_another_family_is_refused(change: str, field: str) -> None:
    with pytest.raises(UsageError, match=f"unknown field of tasks.{change.partition('.')[0]}") as refused:
        recipe(changes=[f"tasks.{change}"])
    assert field in str(refused.value.expected), "the fields that exist are listed"
