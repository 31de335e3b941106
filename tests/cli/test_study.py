"""`alignboard study`: what is refused before anything runs, and how the runs of a study are set up."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.cli.study import PROPERTIES, SCRATCH, _changed
from harness.experiments.loss_study import batch_changes
from harness.experiments.recipe import make_recipe
from tests.support.cli_calls import run_command


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("cz-nce", "--methods", "info-snt"), "two methods are compared"),
        (("cz-nce", "--batch-sizes", "4,many"), "the batch sizes cannot be read"),
        (("cz-nce", "--batch-sizes", "1"), "the batch sizes cannot be read"),
        (("cz-nce", "--methods", "mbert,ml-ctl"), "this study is of contrastive methods"),
        (("cz-nce", "--methods", "continued-mlm,xlm"), "this study is of contrastive methods"),
        (("align-mlm", "--suite", "udpos"), "the suite has no alignment or no task"),
        (("align-mlm", "--methods", "mbert,xlm"), "does not train"),
        (("a-a", "--seeds", "6", "--size", "4"), "too few seeds for two disjoint sets"),
    ],
)
def test_options_that_make_no_study_are_refused(
    arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command("study", *arguments) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("command", [("study", "cz-nce"), ("report",)])
def test_file_in_place_of_the_report_is_refused_before_anything_runs(
    command: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "study").touch()
    assert run_command(*command, "--out", str(tmp_path / "study")) == 2
    assert "is a file" in capsys.readouterr().err


def test_batch_sizes_train_on_equally_many_pairs() -> None:
    recipe = make_recipe(method="cz-snt", base="babel-4x128", source="babel", suite="tatoeba", protocol="mini")
    assert recipe.align is not None
    pairs = recipe.align.steps * recipe.align.batch_size
    for size in (4, 16, 64):
        batch, steps = (int(change.partition("=")[2]) for change in batch_changes(recipe, size))
        assert (batch, batch * steps) == (size, pairs)


def test_each_property_changes_the_language_alone() -> None:
    recipes = {name: _changed(SCRATCH, "align-mlm", "qab", *changes) for name, changes in PROPERTIES.items()}
    transforms = ["", "script:qab", "inversion:qab", "permutation:qab", "script:qab"]
    assert [one.transform for one in recipes.values()] == transforms
    assert recipes["script + inversion"].source == "transformed:inversion:qab,subset:qab,babel"
    assert all(one.pretrain is not None and one.pretrain.steps == 0 for one in recipes.values()), "from scratch"
