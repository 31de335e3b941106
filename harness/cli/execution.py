"""Running plans from the command line: progress on stderr, then the table of their scores on stdout."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console

from harness.cli.options import ExecutionOptions
from harness.cli.output import print_message, print_rich
from harness.errors import UserError, counted

if TYPE_CHECKING:
    from harness.experiments.plan import RunPlan
    from harness.experiments.recipe import Recipe


def run_plans(plans: Sequence[RunPlan], options: ExecutionOptions) -> None:
    """Runs the plans and prints the tables of their runs. Raises UserError where a stage failed, after all others."""
    from harness.cli.progress import StageProgress
    from harness.experiments.logs import duration
    from harness.experiments.runner import Runner
    from harness.results.marks import judged_tables
    from harness.results.rendering import TerminalTable
    from harness.results.tables import HEADLINE

    for note in dict.fromkeys(note for plan in plans for note in plan.notes):
        print_message("note", note)
    executor = options.make_executor()
    store = options.open_store(create=True)
    console = Console(file=sys.stderr)
    with StageProgress({s.fingerprint: s.title for plan in plans for s in plan.stages}, console) as progress:
        report = Runner(store, executor.artifacts, executor, progress).run(plans)
    console.print(
        f"{report.computed} stages computed, {report.reused} reused, {duration(progress.elapsed)} in total; "
        f"{report.finished} of {len(plans)} runs complete"
    )
    summaries = store.summaries(run=[plan.id for plan in plans], split="test")
    for table in judged_tables(store, summaries, executor.artifacts.root, HEADLINE):
        print_rich(TerminalTable(table))
    if report.failures:
        reasons = "\n".join(failure.message for failure in report.failures)
        fixable = all(failure.fixable for failure in report.failures)
        then = "when that is corrected, `alignboard resume` continues" if fixable else "please report this as a bug"
        raise UserError(f"{counted(len(report.failures), 'stage')} failed; {then}\n{reasons}")


def note_missing_paper_settings(recipes: Sequence[Recipe]) -> None:
    """Names the methods that have no published alignment settings: for them `paper` uses those of the protocol."""
    from harness.experiments.method_card import method_card

    methods = {recipe.method: method_card(recipe.method) for recipe in recipes if recipe.kind == "paper"}
    names = [name for name, method in methods.items() if method.trains and not (method.paper or method.paper_config)]
    if names:
        print_message(
            "note", f"no published alignment settings are known for {', '.join(names)}; using the protocol's settings"
        )
