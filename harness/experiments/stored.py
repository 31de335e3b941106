"""Stored runs on the current data and bases: planned again, and compared with what they were made from.

Stored predictions, encoders and checkpoints may be combined only with the data and the base that they come from. Every
command that reads both asks here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from harness.data.source import absolute_uri, cached_source
from harness.errors import UsageError, UserError, list_first
from harness.experiments.plan import RunPlan, plan_run, source_uri
from harness.experiments.recipe import Recipe
from harness.registry import TASKS, loaded_plugins
from harness.results.versions import data_cells, shorten_fingerprints
from harness.storage.store import Store

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Moved:
    """Where the source and the base of stored runs are today; empty where they are still where the run found them."""

    source: str = ""
    base: str = ""


class PlannedRun(NamedTuple):
    """A stored run and its plan on the current data and base."""

    row: Row
    plan: RunPlan


def finished_runs(store: Store, names: Sequence[str], kinds: Sequence[str] = ("trained",)) -> list[Row]:
    """The finished runs of some kinds, chosen by ids, beginnings of ids or methods; all where no name is given.

    Raises UserError for a name without a run.
    """
    rows = store.runs(kind=list(kinds), status="done")
    for name in names:
        if not any(_matches(row, name) for row in rows):
            listed = ", ".join(f"{row['id'][:8]} ({run_name(row)})" for row in rows)
            raise UserError(
                "no finished run has this id or method", found=name, expected=listed or "a run in the store"
            )
    return [row for row in rows if not names or any(_matches(row, name) for name in names)]


def recipe_of(store: Store, name: str) -> Recipe:
    """The recipe of the runs with this id, beginning of an id, or method, whatever became of them.

    Raises UserError where there is none, or more than one recipe.
    """
    rows = [row for row in store.runs(kind="trained") if _matches(row, name)]
    if not rows:
        raise UserError(
            "no run has this id or method",
            file=store.place,
            found=name,
            remedy="`alignboard show --format json` has ids",
        )
    if len({(row["recipe_hash"], row["base"], row["source"]) for row in rows}) > 1:
        listed = ", ".join(f"{row['id'][:12]} ({run_name(row)}, {row['suite']}, {row['protocol']})" for row in rows)
        raise UsageError("runs of several recipes match", found=name, expected=listed, remedy="give the id of one")
    return _read_recipe(rows[-1])


def _read_recipe(row: Row) -> Recipe:
    try:
        return Recipe.model_validate(row["recipe"])
    except ValidationError as error:
        raise UserError(
            f"the settings of {run_name(row)} are not known to this version",
            found=str(error.errors()[0]["msg"]),
            remedy="give the command of the run again",
        ) from error


def _matches(row: Row, name: str) -> bool:
    return bool(name) and (row["id"].startswith(name) or row["method"] == name)


def run_name(row: Row) -> str:
    """A run in messages: "ml-ctl seed 0"; predictions from elsewhere may have no seed."""
    return f"{row['method']}" + ("" if row["align_seed"] is None else f" seed {row['align_seed']}")


def plan_again(row: Row, moved: Moved = Moved()) -> RunPlan:
    """The plan of a stored run on what is in the places that `moved` names or, where that is not what the run was made
    from, in those where the run found it.

    A plan whose id is that of the run is on the same data and base. Raises UserError where nothing can be planned.
    """
    places = dict.fromkeys((moved, Moved()))
    plans: list[RunPlan] = []
    errors: list[UserError] = []
    for place in places:
        try:
            plans.append(_plan_at(row, place))
        except UserError as error:
            errors.append(error)
        else:
            if plans[-1].id == row["id"]:
                return plans[-1]
    if not plans:
        raise errors[0]
    return plans[0]


def _plan_at(row: Row, place: Moved) -> RunPlan:
    recipe = _read_recipe(row)
    if place.base and recipe.pretrain is not None:
        raise UsageError("--base has no effect on a run that trains its own base", found=recipe.base)
    source = absolute_uri(place.source) if place.source else recipe.source
    recipe = recipe.model_copy(update={"source": source, "base": place.base or recipe.base})
    kind, _, path = recipe.source.partition(":")
    for name, option, folder in (("source", f"--source {kind}:PATH", path), ("base", "--base PATH", recipe.base)):
        if Path(folder).is_absolute() and not Path(folder).exists():
            raise UserError(
                f"the {name} of {run_name(row)} is no longer there",
                file=folder,
                remedy=f"put it back, or say where it is today: {option}",
            )
    return plan_run(recipe, int(row["align_seed"]), loaded_plugins())


def changed_cells(row: Row, plan: RunPlan) -> list[str]:
    """The cells of the data that are not what the run has read: changed, gone, or new since; "" where it is not known
    which they are."""
    if row["data_fingerprint"] == plan.data_fingerprint:
        return []
    former, today = data_cells(row), shorten_fingerprints(plan.data)
    if "" in former:
        return [""]
    return sorted(cell for cell in {*former, *today} if former.get(cell) != today.get(cell)) or [""]


def changed_sources(rows: Sequence[Row]) -> list[str]:
    """A line for each run whose source has other data today than those that the run has read, or cannot be read."""
    today: dict[str, Mapping[str, str] | UserError] = {}
    lines = []
    for row in rows:
        uri, own = source_uri(str(row["recipe"].get("source", "")), row["transform"]), data_cells(row)
        if not own or "" in own:  # what it has read was not recorded
            continue
        if uri not in today:
            today[uri] = _cells_today(uri)
        found = today[uri]
        if isinstance(found, UserError):
            lines.append(f"{run_name(row)}: its data cannot be read today: {found.what}")
        elif found and (changed := [cell for cell, digest in own.items() if found.get(cell) != digest]):
            lines.append(f"{run_name(row)}: its data in {uri} have changed since: {list_first(changed)}")
    return lines


def _cells_today(uri: str) -> Mapping[str, str] | UserError:
    """The fingerprints of all cells of a source as cards record them; none where it makes its data itself."""
    try:
        source = cached_source(uri)
        manifest = None if source.generated else source.manifest([TASKS.get(name).spec for name in TASKS.names()])
    except UserError as error:
        return error
    if manifest is None:
        return {}
    tasks = {cell.name: cell.fingerprint for cell in manifest.tasks}
    return shorten_fingerprints({**tasks, **{cell.name: cell.fingerprint for cell in manifest.corpora}})


def describe_changes(row: Row, plan: RunPlan) -> str:
    """What has changed since a run was planned whose current plan has another id."""
    cells = changed_cells(row, plan)
    named = list_first([cell for cell in cells if cell])
    changes = [f"its data have changed{': ' if named else ''}{named}"] if cells else []
    if row["base_fingerprint"] != plan.base_fingerprint:
        what = "the code or the text that trains its base has" if plan.recipe.pretrain else "its base has"
        changes.append(f"{what} changed: {row['base']}")
    return "; ".join(changes) or "its settings have another meaning in this version"


def check_test_data(row: Row, plan: RunPlan) -> None:
    """Raises UserError where the test data are not those that the run was scored on."""
    changed = [cell for cell in changed_cells(row, plan) if not cell or cell.endswith("/test")]
    if changed:
        raise UserError(
            "the data of this run have changed since it was scored",
            file=plan.recipe.source,
            found=f"run {row['id']} ({run_name(row)}): {list_first([cell or 'other content' for cell in changed])}",
            expected="the test data that the run was scored on",
            remedy="put them back, say where they are today with --source, or give the command of the run again",
        )


def check_base(row: Row, plan: RunPlan) -> None:
    """Raises UserError where the base is not the one that the run was made from."""
    if row["base_fingerprint"] != plan.base_fingerprint:
        raise UserError(
            "the base of this run has changed since",
            file=plan.recipe.base,
            found=f"run {row['id']} ({run_name(row)}): fingerprint {plan.base_fingerprint[:12]}",
            expected=f"fingerprint {row['base_fingerprint'][:12]}",
            remedy="put it back, say where it is today with --base, or give the command of the run again",
        )


def prefer_current(runs: Sequence[PlannedRun]) -> list[PlannedRun]:
    """Those of several runs whose base and settings are also unchanged, if there are any."""
    return [run for run in runs if run.plan.id == run.row["id"]] or list(runs)


def plan_unchanged(
    rows: Sequence[Row],
    moved: Moved = Moved(),
) -> tuple[list[PlannedRun], list[UserError]]:
    """The runs that were scored on the current test data, with their plans; for each other run the reason.

    Raises the last of these reasons where no run is left.
    """
    current: list[PlannedRun] = []
    refused: list[UserError] = []
    for row in rows:
        try:
            plan = plan_again(row, moved)
            check_test_data(row, plan)
        except UserError as error:
            refused.append(error)
        else:
            current.append(PlannedRun(row, plan))
    if refused and not current:
        raise refused[-1]
    return current, refused
