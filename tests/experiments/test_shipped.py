"""What comes with the package for a first table: the encoder babel-4x128 and the recipe demo."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.experiments.bases import SHIPPED, base_fingerprint, base_name, resolve_base
from harness.experiments.recipe import make_recipe
from harness.files import file_digest
from harness.modeling.encoder import Encoder
from harness.registry import SUITES

DIGEST = "2902332fe6ed8f45c9103b8986529b9c701b1346d9c7d14b0e895169241f5159"


def test_the_shipped_encoder_is_the_one_that_was_measured() -> None:
    assert file_digest(SHIPPED / "babel-4x128" / "model.safetensors") == DIGEST


def test_the_shipped_encoder_is_found_by_name_and_loads() -> None:
    base = resolve_base("babel-4x128")
    assert base_name(base) == "babel-4x128"
    assert base_fingerprint(base) == base_fingerprint(str(SHIPPED / "babel-4x128"))
    encoder = Encoder.load(base)
    assert (encoder.depth, encoder.width, encoder.initialised) == (4, 128, ())


def test_a_folder_of_the_same_name_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "babel-4x128").mkdir()
    assert resolve_base("babel-4x128") == str(tmp_path / "babel-4x128")


def test_recipe_demo_is_mini_with_smaller_budgets() -> None:
    options = {
        "method": "ml-ctl",
        "base": "babel-4x128",
        "source": "babel",
        "suite": "xtreme-align",
        "protocol": "mini",
    }
    demo, mini = make_recipe(recipe="demo", **options), make_recipe(recipe="matched", **options)
    assert demo.kind == mini.kind == "matched"
    assert demo.align is not None
    assert mini.align is not None
    assert demo.align.steps < mini.align.steps
    assert demo.sample is not None
    assert demo.sample.size == demo.align.steps * demo.align.batch_size
    for task in ("xnli", "pawsx", "udpos", "panx"):
        small, usual = demo.task_settings(task), mini.task_settings(task)
        assert small.epochs < usual.epochs
    with pytest.raises(UsageError, match="demo"):
        make_recipe(recipe="dem", **options)


def test_listed_tasks_make_one_suite_in_any_order() -> None:
    options = {"method": "mbert", "base": "init:4x128", "source": "babel", "protocol": "mini"}
    hashes = {make_recipe(suite=s, **options).hash for s in ("udpos,tatoeba", " tatoeba, udpos,tatoeba")}  # type: ignore[arg-type]
    assert len(hashes) == 1
    assert SUITES.get("udpos,udpos").name == "udpos"


def test_recipe_demo_serves_any_suite() -> None:
    options = {"method": "ml-ctl", "base": "babel-4x128", "source": "babel", "protocol": "mini"}
    recipe = make_recipe(recipe="demo", suite="tatoeba,udpos", **options)
    assert list(recipe.tasks) == ["udpos"]
    with pytest.raises(UsageError, match="xnli"):
        make_recipe(recipe="demo", suite="tatoeba,udpos", changes=["tasks.xnli.epochs=1"], **options)
