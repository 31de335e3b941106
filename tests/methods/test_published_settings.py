"""`--recipe paper` gives every value that a paper or its released code states, in the optimiser and in the method."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest

from harness.errors import UsageError
from harness.experiments.cards import ablation_cards
from harness.experiments.plan import plan_run
from harness.experiments.recipe import full_config, make_recipe
from harness.layers import layer_marks
from harness.registry import METHODS
from harness.training.settings import AlignSettings
from tests.support.small_babel import MAX_LENGTH, encoder

DEPTH = 12  # of the published bases

# Each value with where it was read: the paper, the released code, or a public summary of either.
ML_CTL = {
    "align.batch_size": (64, "code"),
    "align.learning_rate": (2e-6, "code"),
    "align.schedule": ("constant", "code"),
    "align.clip": (None, "code"),
    "align.weight_decay": (0.0, "code"),
    "align.max_length": (128, "code"),
    "config.temperature": (0.07, "code"),
    "config.mlm_weight": (0.1, "code"),
    "config.mask_rate": (0.15, "code"),
    "config.first_layer": (1, "code"),
    "config.last_layer": (12, "code"),
    "config.symmetric": (True, "paper"),
}
FROM_SCRATCH = {
    "align.steps": (500_000, "code"),
    "align.batch_size": (128, "code"),
    "align.learning_rate": (1e-4, "code"),
    "align.warmup_steps": (10_000, "code"),
    "align.max_length": (512, "code"),
    "config.mask_rate": (0.15, "code"),
}
UNILM = {
    "align.steps": (200_000, "code"),
    "align.learning_rate": (2e-4, "code"),
    "align.schedule": ("linear", "code"),
    "align.warmup_steps": (10_000, "code"),
    "align.weight_decay": (0.01, "code"),
    "align.clip": (1.0, "code"),
    "align.adam_betas": ((0.9, 0.98), "code"),
    "align.adam_epsilon": (1e-6, "code"),
    "align.max_length": (512, "code"),
    "config.pooled_counts": (True, "code"),
    "config.dropout": (0.0, "code"),
}
PUBLISHED: dict[str, dict[str, tuple[Any, str]]] = {
    **dict.fromkeys(("info-snt", "cz-snt", "ml-ctl", "ml-ctl-cz"), ML_CTL),
    "align-mlm": {**FROM_SCRATCH, "config.align_weight": (10.0, "code")},
    "dict-mlm": {**FROM_SCRATCH, "config.exchange_rate": (0.5, "code")},
    "xlm": {
        "align.learning_rate": (1e-4, "code"),
        "align.batch_size": (32, "code"),
        "align.clip": (5.0, "code"),
        "align.weight_decay": (0.0, "code"),
        "align.adam_betas": ((0.9, 0.98), "code"),
        "align.max_length": (256, "code"),
        "config.target_first": (0.5, "code"),
        "config.reset_positions": (True, "summary"),
        "config.language_embeddings": (True, "summary"),
        "config.mask_rate": (0.15, "summary"),
    },
    "infoxlm": {
        **UNILM,
        "step": (4_096, "code"),  # pairs, which make 2,048 views
        "config.layer": (8, "code"),
        "config.temperature": (0.25, "code"),
        "config.normalize": (False, "code"),
        "config.queue": (131_072, "code"),
        "config.momentum": (0.9999, "code"),
        "config.fill_queue": (True, "code"),
        "config.xlco_weight": (1.0, "code"),
    },
    "xlm-align": {
        **UNILM,
        "step": (2_048, "code"),
        "config.layer": (10, "code"),
        "config.iterations": (2, "code"),
        "config.rounds": (2, "code"),
        "config.align_from": (0, "code"),
    },
    "xlm-e": {
        "align.steps": (125_000, "summary"),
        "config.mask_rate": (0.15, "summary"),
        "config.detection_weight": (50.0, "summary"),
    },
    "amber": {"align.steps": (1_000_000, "summary"), "step": (2_048, "summary")},
    "l2-align": {
        "align.steps": (31_250, "code"),
        "align.batch_size": (40, "code"),
        "align.learning_rate": (5e-5, "code"),
        "align.schedule": ("constant", "code"),
        "align.warmup_steps": (3_125, "code"),
        "align.clip": (None, "code"),
        "align.adam_betas": ((0.9, 0.98), "code"),
        "align.adam_epsilon": (1e-9, "code"),
        "config.form": ("released", "code"),
        "config.subword": ("last", "code"),
        "config.regulariser": (1.0, "code"),
    },
    "word-contrast": {
        "align.steps": (100_000, "code"),
        "align.batch_size": (128, "code"),
        "align.learning_rate": (1e-4, "code"),
        "align.schedule": ("linear", "code"),
        "align.warmup_steps": (4_000, "code"),
        "align.clip": (None, "code"),
        "align.max_length": (96, "code"),
        "config.temperature": (0.1, "code"),
        "config.width": (128, "code"),
        "config.subword": ("first", "code"),
        "config.regulariser": (1.0, "code"),
    },
    "msimcse": {
        "align.steps": (4_308, "code"),
        "align.batch_size": (128, "code"),
        "align.learning_rate": (1e-5, "code"),
        "align.max_length": (32, "code"),
        "config.temperature": (0.05, "code"),
    },
}
VALUES = [(method, field, *value) for method, values in PUBLISHED.items() for field, value in values.items()]


@cache
def paper_settings(method: str) -> dict[str, Any]:
    """The settings of the paper recipe by dotted name, with layers counted from 0 as on a published base."""
    recipe = make_recipe(
        method=method, base="some-base", source="babel:size=small", suite="xtreme-align", recipe="paper"
    )
    config, align = full_config(recipe), recipe.align
    assert align is not None
    settings = {f"config.{name}": value for name, value in config.items()}
    for name in layer_marks(METHODS.get(method).Config):
        layer = config[name]
        chosen = round(DEPTH * 2 / 3) if layer is None else layer
        settings[f"config.{name}"] = chosen if chosen >= 0 else DEPTH + 1 + chosen
    step = {"step": align.batch_size * align.accumulation}
    return {**settings, **{f"align.{name}": value for name, value in align.model_dump().items()}, **step}


@pytest.mark.parametrize(("method", "field", "value", "seen"), VALUES)
def test_the_paper_recipe_gives_what_was_published(method: str, field: str, value: Any, seen: str) -> None:
    assert paper_settings(method)[field] == value, f"read in the {seen}"


@pytest.mark.parametrize("name", METHODS.names())
def test_every_setting_of_a_paper_is_a_published_one(name: str) -> None:
    cls = METHODS.get(name)
    ours = {f"align.{field}" for field in cls.paper} | {f"config.{field}" for field in cls.paper_config}
    known = set(PUBLISHED.get(name, {}))
    if "step" in known:
        known |= {"align.batch_size", "align.accumulation"}
    assert ours <= known
    defaults = cls.Config()
    assert all(getattr(defaults, field) != value for field, value in cls.paper_config.items()), "no change"


def test_settings_of_the_user_win_over_those_of_the_paper() -> None:
    made = make_recipe(
        method="infoxlm",
        base="init:12x768",
        source="babel:size=small",
        suite="xtreme-align",
        recipe="paper",
        changes=("config.queue=64", "align.steps=20000"),
    )
    config = full_config(made)
    assert (config["queue"], config["momentum"]) == (64, 0.9999)
    assert made.align is not None
    assert (made.align.steps, made.align.learning_rate) == (20_000, 2e-4)
    matched = make_recipe(method="infoxlm", base="init:12x768", source="babel:size=small", suite="xtreme-align")
    assert matched.config == {}


def test_a_table_has_its_rows_under_the_paper_recipe_too() -> None:
    config = METHODS.get("xlm").paper_config
    assert "align-mlm" in ablation_cards("xlm", config, "", config)
    assert "align-mlm" not in ablation_cards("xlm", config, "")


@pytest.mark.parametrize(
    ("kind", "changes", "positions"),
    [
        ("matched", (), 128),
        ("matched", ("align.max_length=300",), 300),
        ("paper", (), 512),
        ("paper", ("pretrain.max_length=600",), 600),
    ],
)
def test_a_new_encoder_has_a_position_for_every_token(kind: str, changes: tuple[str, ...], positions: int) -> None:
    made = new_encoder_recipe(kind, *changes)
    assert made.pretrain is not None
    assert made.pretrain.max_length == positions
    assert made.align is not None
    assert made.align.max_length <= positions


def test_text_that_a_new_encoder_would_cut_is_refused() -> None:
    with pytest.raises(UsageError, match="longer text than the new encoder has positions for") as refused:
        new_encoder_recipe("paper", "pretrain.max_length=128")
    assert refused.value.found == "align.max_length=512, pretrain.max_length=128"
    assert "pretrain.max_length=512" in str(refused.value.remedy)


def test_a_base_with_fewer_positions_is_noted(tmp_path: Path) -> None:
    encoder().save(tmp_path)
    for length, notes in ((MAX_LENGTH, 0), (MAX_LENGTH + 1, 1)):
        made = make_recipe(
            method="continued-mlm",
            base=str(tmp_path),
            source="babel:size=small",
            suite="xtreme-align",
            protocol="mini",
            changes=(f"align.max_length={length}",),
        )
        found = [note for note in plan_run(made, 0).notes if "align.max_length" in note]
        assert len(found) == notes
        assert all(f"{length} is cut to {MAX_LENGTH}" in note for note in found)


def new_encoder_recipe(kind: str, *changes: str) -> Any:
    return make_recipe(
        method="align-mlm",
        base="init:8x512",
        source="babel:size=small",
        suite="xtreme-align",
        recipe=kind,
        changes=changes,
    )


def test_the_hint_of_align_mlm_is_the_released_shape() -> None:
    made = new_encoder_recipe("paper", "pretrain.steps=0", "pretrain.dropout=0.1")
    assert made.pretrain is not None
    assert (made.pretrain.layers, made.pretrain.hidden, made.pretrain.heads, made.pretrain.dropout) == (8, 512, 8, 0.1)
    hint = "--base init:8x512 --set pretrain.steps=0 --set pretrain.dropout=0.1"
    for name in ("align-mlm", "dict-mlm"):
        assert hint in (METHODS.get(name).__doc__ or "")
    assert AlignSettings.model_fields["max_length"].default == 128
