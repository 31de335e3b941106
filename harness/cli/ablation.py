"""`alignboard ablation`: a named table of methods, each at its best learning rate."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from harness.cli.output import print_table
from harness.cli.run import (
    Base,
    Db,
    Device,
    Kind,
    Languages,
    Precision,
    Protocol,
    Seeds,
    Settings,
    Source,
    Suite,
    Workers,
    execute,
    plugins,
    tell_without_paper,
)
from harness.errors import UsageError
from harness.storage.home import artifacts_root, database_url

ROW = ("method", "config", "transform")


def ablation(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Which table or method; none lists the tables.")
    ] = None,
    suite: Suite = "xtreme-align",
    source: Source = "babel",
    base: Base = "init:4x128",
    protocol: Protocol = "mini",
    recipe: Kind = "matched",
    languages: Languages = "official",
    seeds: Seeds = 3,
    grid: Annotated[
        str, typer.Option(metavar="RATES", help="Learning rates to try, such as 1e-4,3e-4; a single one is taken.")
    ] = "",
    precision: Precision = "fp32",
    changes: Settings = None,
    workers: Workers = None,
    device: Device = "auto",
    db: Db = None,
) -> None:
    """Run a named table: its methods and their controls on one sample, under one budget, with several seeds.

    Under the matched recipe each row is first tried at every learning rate of the grid, with one seed, and judged by
    the pivot's dev sets alone; the best rate is then used for all seeds. Under the paper recipe each method keeps its
    paper's rate. NAME `all` is every registered method that the source has the corpora for; the name of a method that
    is no table's is that method, its controls, and itself on shuffled pairs. A setting such as --set config.x=1
    changes the rows whose method has x. What was stopped goes on when the command is given again.

    \b
    Examples:
      alignboard ablation
      alignboard ablation ml-ctl --source babel
      alignboard --plugin near_pairs.py ablation near-pairs
      alignboard ablation all --source babel --seeds 3 --grid 1e-4,3e-4,1e-3
    """
    if name is None:
        _list()
        return
    from harness.cli.failures import going_on
    from harness.experiments.ablation import named, with_changes
    from harness.experiments.recipe import given
    from harness.registry import EVERYTHING

    rates, asked = _rates(grid, protocol, recipe), given(recipe, changes or ())
    _check_rate(asked, rates)
    rows = with_changes(named(name).rows, asked.get("config", {}))
    common: dict[str, Any] = {
        "suite": suite,
        "source": source,
        "base": base,
        "protocol": protocol,
        "recipe": recipe,
        "languages": languages,
        "precision": precision,
    }
    recipes = [_recipe(row, common, changes or ()) for row in rows]
    recipes = _supported(recipes) if name == EVERYTHING else recipes
    tell_without_paper(recipes)
    with going_on("give the same command again to go on"):
        _run(recipes, rates, seeds, workers, device, db)


def _recipe(row: Any, common: Mapping[str, Any], changes: Sequence[str]) -> Any:
    """A row's recipe. The row's configuration holds the changes that concern its method."""
    from harness.experiments.recipe import make_recipe

    others = [change for change in changes if not change.strip().startswith("config.")]
    own = [f"config.{field}={json.dumps(value)}" for field, value in row.config.items()]
    return make_recipe(method=row.method, transform=row.transform, **common, changes=[*others, *own])


def _check_rate(asked: Mapping[str, Any], rates: Sequence[float]) -> None:
    """Raises UsageError for a learning rate that the grid would overrule."""
    rate = asked.get("align", {}).get("learning_rate")
    if rates and rate is not None:
        raise UsageError(
            "align.learning_rate has no effect where a grid of rates is tried",
            found=f"align.learning_rate={rate}",
            remedy=f"give --grid {rate}",
        )


def _supported(recipes: Sequence[Any]) -> list[Any]:
    """The recipes that the source has the corpora for; what is left out is told with its reason."""
    from harness.cli.failures import say
    from harness.experiments.ablation import lacking

    missing = [(recipe, lacking(recipe)) for recipe in recipes]
    for recipe, kinds in missing:
        if kinds:
            say("left out", f"{recipe.method} needs {', '.join(kinds)}, which {recipe.source} does not have", "yellow")
    return [recipe for recipe, kinds in missing if not kinds]


def _list() -> None:
    from harness.experiments.ablation import named
    from harness.registry import ABLATIONS, EVERYTHING

    tables = {name: named(name) for name in (*ABLATIONS.names(), EVERYTHING)}
    rows: list[Mapping[str, Any]] = [
        {"name": name, "rows": len(table.rows), "title": table.title, "reference": table.reference}
        for name, table in tables.items()
    ]
    print_table(("name", "rows", "title", "reference"), rows)


def _rates(grid: str, protocol: str, recipe: str) -> tuple[float, ...]:
    """The learning rates to try: those asked for or the protocol's, none under the paper recipe."""
    from harness.experiments.recipe import GRIDS

    if not grid:
        return GRIDS.get(protocol, ()) if recipe != "paper" else ()
    if recipe == "paper":
        raise UsageError(
            "a grid contradicts the paper recipe",
            found=f"--recipe paper --grid {grid}",
            expected="each method at its paper's rate",
            remedy="leave out --grid, or take --recipe matched",
        )
    try:
        rates = tuple(float(part) for part in grid.split(","))
    except ValueError:
        rates = ()
    if not rates or not all(math.isfinite(r) and r > 0 for r in rates) or len(set(rates)) < len(rates):
        raise UsageError("the grid is not understood", found=grid, expected="learning rates such as 1e-4,3e-4,1e-3")
    return rates


def _run(
    recipes: Sequence[Any], rates: tuple[float, ...], seeds: int, workers: int | None, device: str, db: str | None
) -> None:
    from rich.console import Console

    from harness.cli.progress import Show
    from harness.experiments.ablation import search, tune
    from harness.experiments.executors.local import Local
    from harness.experiments.plan import plan_runs
    from harness.storage.artifacts import Artifacts

    executor = Local.on(Artifacts(artifacts_root()), workers, device)
    searches = [search(recipe, rates, plugins=plugins()) for recipe in recipes]
    stages = {fingerprint: stage for row in searches for fingerprint, stage in row.stages.items()}
    console = Console(file=sys.stderr)
    tried = sum(len(row.trials) for row in searches)
    if tried:
        console.print(f"Trying {len(rates)} learning rates on the pivot's dev sets: {tried} alignments")
    with Show({fingerprint: stage.title for fingerprint, stage in stages.items()}, console) as display:
        tuned = tune(searches, executor, display)
    if tried:
        print_table((*ROW, *map(_named, rates), "taken"), [_trial_row(row) for row in tuned])
    plans = plan_runs([row.recipe for row in tuned], range(seeds), plugins())
    execute(plans, workers, device, db)
    _print_costs(plans, db)


def _named(rate: float) -> str:
    return f"{rate:g}"


def _row_name(recipe: Any) -> dict[str, str]:
    config = ", ".join(f"{field}={value}" for field, value in recipe.config.items())
    return {"method": recipe.method, "config": config, "transform": recipe.transform}


def _trial_row(row: Any) -> dict[str, Any]:
    from harness.experiments.ablation import rate_of

    taken = _named(rate_of(row.recipe)) if row.scores else None
    scores = {_named(rate): f"{score:.1f}" for rate, score in row.scores.items()}
    return {**_row_name(row.recipe), **scores, "taken": taken}


def _print_costs(plans: Sequence[Any], db: str | None) -> None:
    """What each row's alignment cost, beside the control that reads the same text."""
    from harness.experiments.ablation import CONTROL, alignment_cost
    from harness.storage.store import Store

    store = Store.open(db or database_url())
    stages: dict[str, Any] = {row["fingerprint"]: row for row in store.stages().to_dict("records")}
    store.close()
    rows: dict[str, list[Any]] = {}
    for plan in plans:
        rows.setdefault(plan.recipe.hash, []).append(plan)
    costs = [(same[0].recipe, alignment_cost(same, stages)) for same in rows.values()]
    control = next(
        (cost for recipe, cost in costs if cost and (recipe.method, recipe.transform) == (CONTROL, "")), None
    )
    records = [
        {
            **_row_name(recipe),
            "tokens_seen": f"{cost.tokens:,.0f}",
            "seconds_per_1,000_pairs": f"{cost.seconds:.2f}",
            f"times_{CONTROL}": f"{cost.seconds / control.seconds:.2f}" if control else None,
        }
        for recipe, cost in costs
        if cost is not None
    ]
    if records:
        print_table((*ROW, "tokens_seen", "seconds_per_1,000_pairs", f"times_{CONTROL}"), records)
