"""`alignboard study`: a grid of runs and its analysis, as a report."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.execution import run_plans
from harness.cli.options import ExecutionOptions, RecipeOptions
from harness.cli.output import print_message
from harness.errors import UsageError
from harness.storage.home import artifacts_root
from harness.storage.store import AVERAGE

RECIPE, EXECUTION = RecipeOptions(protocol="mini"), ExecutionOptions()


class StudyName(StrEnum):
    A_A = "a-a"


def study(
    name: Annotated[
        StudyName, typer.Argument(help="a-a: a method under disjoint sets of seeds, and against its weaker self.")
    ],
    method: Annotated[str, typer.Option(help="The method that is compared with itself.")] = "ml-ctl-cz",
    recipe: RecipeOptions = RECIPE,
    seeds: Annotated[int, typer.Option(min=6, max=1000, help="Seeds that the sets are drawn from.")] = 12,
    size: Annotated[int, typer.Option(min=3, help="Seeds in a set.")] = 3,
    draws: Annotated[int, typer.Option(min=10, max=100_000, help="Comparisons.")] = 500,
    weaker: Annotated[
        str, typer.Option(metavar="FIELD=VALUE", help="The setting of the weaker self, such as align.steps=10.")
    ] = "",
    out: Annotated[Path, typer.Option(help="Folder of the report.")] = Path("study"),
    execution: ExecutionOptions = EXECUTION,
) -> None:
    """Run a study and write its report, as Markdown with figures. Finished stages are reused, so that an interrupted
    study is resumed by the same command.

    a-a: sets of seeds of one method are compared with each other; about 5% of the verdicts may call them different.
    With --weaker, the method is also compared with itself under one changed setting, and the share of verdicts says how
    often such a loss is found.

    \b
    Examples:
      alignboard study a-a --method ml-ctl --seeds 12 --size 3 --out study-a-a
      alignboard study a-a --method ml-ctl --seeds 10 --size 5 --weaker align.steps=100
    """
    from harness.experiments.plan import plan_runs
    from harness.registry import loaded_plugins
    from harness.results.calibration import count_verdicts, write_study
    from harness.results.item_reader import ItemReader, SelectedRun
    from harness.results.tables import HEADLINE

    if 2 * size > seeds:
        raise UsageError(
            "too few seeds for two disjoint sets", found=f"{seeds} seeds, sets of {size}", remedy="raise --seeds"
        )
    changes = list(recipe.changes or ())
    recipes = [recipe.build(method), *([recipe.build(method, changes=[*changes, weaker])] if weaker else [])]
    plans = [plan_runs([one], range(seeds), loaded_plugins()) for one in recipes]
    run_plans([plan for own in plans for plan in own], execution)
    store = execution.open_store()
    runs = [[SelectedRun(plan.id, HEADLINE) for plan in own] for own in plans]
    ids = [run.run for own in runs for run in own]
    summaries = store.summaries(split="test", run=ids)
    reader = ItemReader(store, artifacts_root(), summaries, ids)
    tasks = [task for task in dict.fromkeys(summaries["task"]) if task != AVERAGE]
    same = count_verdicts(reader, tasks, runs[0], runs[0], size, draws)
    found = count_verdicts(reader, tasks, runs[0], runs[1], size, draws) if weaker else []
    store.close()
    for path in write_study(out, method, size, same, found, weaker):
        print_message("written", str(path))
