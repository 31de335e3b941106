"""What a source must hold before a run is planned: the views to score, training sets, corpora of the method."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from harness.data.source import Manifest, Source, TaskCell
from harness.errors import UserError, unique_names
from harness.experiments.method_card import method_card
from harness.experiments.recipe import Recipe
from harness.task import TaskSpec


def check_languages(recipe: Recipe, source: Source, manifest: Manifest, specs: Iterable[TaskSpec]) -> None:
    """Raises UsageError for a listed language that no task of the suite has, officially or in this source."""
    if isinstance(recipe.languages, str):
        return
    known = {view for spec in specs for view in manifest.views(spec.name, "test")}
    if not source.own_languages:
        known |= {language for spec in specs for language in spec.languages}
    unique_names("language", recipe.languages, known)


def scored_views(recipe: Recipe, source: Source, manifest: Manifest, spec: TaskSpec) -> tuple[str, ...]:
    """The views of a task that a run is scored on: the official list, what is available, or those listed.

    Raises UserError where test, training or dev data are missing, or where test labels are withheld.
    """
    have = manifest.views(spec.name, "test")
    chosen = recipe.languages
    if chosen == "available":
        wanted: tuple[str, ...] = have
    elif chosen == "official" and source.own_languages:
        wanted = tuple(v for v in have if "." not in v)  # XTREME scores no questions in another language
    elif chosen == "official":
        wanted = tuple(dict.fromkeys(spec.languages))
    else:
        wanted = tuple(v for v in chosen if v in spec.languages or v in have)
    missing = [v for v in wanted if v not in have]
    if missing or not wanted:
        raise missing_data(recipe, source, spec, "test", missing, have)
    if spec.trained:
        for split in (s for s in spec.splits if s != "test"):
            if manifest.cell(spec.name, source.pivot, split) is None:
                raise missing_data(recipe, source, spec, split, [source.pivot], manifest.views(spec.name, split))
    cells = [cell_of(manifest, spec.name, v, "test") for v in wanted]
    unlabelled = [cell.view for cell in cells if cell.count and not cell.labelled]
    if unlabelled:
        raise UserError(
            f"{spec.name} cannot be scored: its test labels are withheld",
            file=recipe.source,
            found=f"no labels for {', '.join(unlabelled)}",
            expected="labelled test files",
            remedy="export predictions for the leaderboard instead, or give a source with labels",
        )
    return wanted


def missing_data(
    recipe: Recipe, source: Source, spec: TaskSpec, split: str, missing: Sequence[str], have: Sequence[str]
) -> UserError:
    """The error for data of a task that the source lacks: its own error about the first missing view, where it has
    one."""
    remedy = f"complete the data, or choose another source or a suite without {spec.name}"
    if split == "test" and have and recipe.languages != "available":
        remedy = "complete the data, or give --languages available to score what is there"
    if missing:
        try:
            source.task(spec, missing[0], split)
        except UserError as error:
            error.remedy = error.remedy or remedy
            return error
    return UserError(
        f"the source has no {split} data for {spec.name}",
        file=recipe.source,
        found=", ".join(have) or "nothing",
        expected=", ".join(missing) or f"at least one of {', '.join(spec.languages)}",
        remedy=remedy,
    )


def check_corpora(recipe: Recipe, manifest: Manifest) -> None:
    """Raises UserError where the source lacks a corpus that the method needs."""
    lacking = manifest.lacking(method_card(recipe.method).corpora)
    if lacking:
        raise UserError(
            f"{recipe.method} needs a corpus that the source does not have",
            file=recipe.source,
            found=", ".join(sorted({c.kind for c in manifest.corpora})) or "no corpus",
            expected=", ".join(lacking),
            remedy="choose another source, or add the corpus to it",
        )


def cell_of(manifest: Manifest, task: str, view: str, split: str) -> TaskCell:
    cell = manifest.cell(task, view, split)
    assert cell is not None, (task, view, split)
    return cell
