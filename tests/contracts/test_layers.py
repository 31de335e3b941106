"""Settings that number a layer: refused when the run is planned, or where the base is read, and not in a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.experiments.plan import plan_run
from harness.experiments.recipe import make_recipe
from harness.layers import LayerOf, check_layers, layer_marks
from harness.registry import METHODS
from tests.support.small_babel import encoder, method_class

MARKED = {
    (name, field)
    for name in METHODS.names()
    for field, info in METHODS.get(name).Config.model_fields.items()
    if any(isinstance(mark, LayerOf) for mark in info.metadata)
}


def planned(method: str, setting: str, base: str = "init:2x64") -> None:
    recipe = make_recipe(
        method=method, base=base, source="babel:size=small", suite="xtreme-align", protocol="mini", changes=(setting,)
    )
    plan_run(recipe, 0)


def test_every_field_named_after_a_layer_is_marked() -> None:
    named = {
        (name, field)
        for name in METHODS.names()
        for field in METHODS.get(name).Config.model_fields
        if field.endswith(("layer", "generator_layers"))
    }
    assert named == MARKED
    assert ("amber", "layer") in MARKED


@pytest.mark.parametrize("layer", [0, 3, -3])
def test_a_layer_that_the_base_lacks_is_refused_by_the_plan(layer: int) -> None:
    with pytest.raises(UsageError, match=r"config.layer is no layer") as refused:
        planned("amber", f"config.layer={layer}")
    assert refused.value.exit_code == 2
    assert f"layer={layer}, a base of 2 layers" in str(refused.value)
    assert "1 to 2, or -2 to -1" in str(refused.value)


def test_the_layers_of_a_folder_are_read(tmp_path: Path) -> None:
    encoder().save(tmp_path)
    planned("amber", "config.layer=2", str(tmp_path))
    with pytest.raises(UsageError, match="a base of 2 layers"):
        planned("amber", "config.layer=3", str(tmp_path))


@pytest.mark.parametrize(("name", "field"), sorted(MARKED))
def test_layers_of_the_base_are_accepted_and_others_are_refused(name: str, field: str) -> None:
    config = method_class(name).Config
    lowest = layer_marks(config)
    for layer in (1, 4, -1, -4):
        check_layers(config(**{field: layer}).model_dump(), lowest, 4)
    check_layers(config().model_dump(), lowest, 1)
    for layer in (5, -6):
        with pytest.raises(UsageError, match=f"config.{field} is no layer"):
            check_layers(config(**{field: layer}).model_dump(), lowest, 4)
