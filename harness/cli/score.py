"""`alignboard score`: scores prediction files by XTREME's official rules, or lists their problems."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import typer

from harness.cli.options import Json
from harness.cli.output import print_json, print_table
from harness.errors import UsageError, UserError

VERSIONS = ("1.2.2", "0.0.12")


def score(
    predictions: Annotated[Path, typer.Argument(help="Folder of predictions: <task>/test-<language>.tsv or .json.")],
    labels: Annotated[Path, typer.Argument(help="Folder of labels in the same layout.")],
    suite: Annotated[str, typer.Option(help="Suite of tasks to look for.")] = "xtreme",
    seqeval: Annotated[
        str,
        typer.Option(help="Span rules for tagging: seqeval 1.2.2, or 0.0.12 as in XTREME's expected scores."),
    ] = VERSIONS[0],
    languages: Annotated[
        str, typer.Option(help="official: all languages are required; available: those that have labels.")
    ] = "official",
    as_json: Json = False,
) -> None:
    """Score predictions in XTREME's official layout by its official rules.

    All files are checked first. If there are problems, each is reported with its file and line, nothing is scored, and
    the exit code is 1. Tasks that are missing from one of the folders are skipped, and then there is no overall score.
    docs/scoring.md describes the layout and the checks.

    \b
    Examples:
      alignboard score predictions labels
      alignboard score predictions labels --json --seqeval 0.0.12
    """
    from harness.registry import SUITES
    from harness.results.submissions import score as score_folder

    if seqeval not in VERSIONS:
        raise UsageError("unknown version of the seqeval rules", found=seqeval, expected=" or ".join(VERSIONS))
    if languages not in ("official", "available"):
        raise UsageError("unknown choice of languages", found=languages, expected="official or available")
    import_metrics()
    available = languages == "available"
    report = score_folder(predictions, labels, SUITES.get(suite), f"seqeval-{seqeval}", available=available)
    raise_problems(report, predictions, "nothing was scored")
    if as_json:
        print_json({"overall": report.overall(), "detailed": report.detailed()})
    else:
        _print(report)


def import_metrics() -> None:
    """Imports `evaluate` without its evaluators, which bring SciPy, transformers and torch, and which no metric needs.

    Only for a command that does nothing but score: in its process there are no evaluators.
    """
    if "evaluate" in sys.modules:
        return

    def nothing(name: str) -> None:
        if name.startswith("__"):
            raise AttributeError(name)

    for part in ("evaluate.evaluator", "evaluate.evaluation_suite"):
        sys.modules[part] = ModuleType(part)
        sys.modules[part].__dict__["__getattr__"] = nothing
    importlib.import_module("evaluate")


def raise_problems(report: Any, predictions: Path, outcome: str) -> None:
    """Prints all notices and problems. Raises UserError if there are problems, or if no task was found."""
    for note in report.notices:
        typer.echo(note, err=True)
    if report.problems:
        for problem in report.problems:
            typer.echo(str(problem), err=True)
        files = len({problem.file for problem in report.problems})
        raise UserError(f"{len(report.problems):,} problems in {files:,} files: {outcome}")
    if not report.tasks:
        raise UserError(
            "there is nothing to score",
            file=predictions,
            expected=f"folders such as {', '.join(report.suite.tasks)}, with predictions and with labels",
        )


def _print(report: Any) -> None:
    rows = [
        {
            "task": name,
            "languages": len(next(iter(scores.values()))),
            "score": f"{report.task_score(name):.2f}",
            "metrics": ", ".join(f"{metric} {details[f'avg_{metric}']:.2f}" for metric in scores),
        }
        for name, scores, details in ((n, s, report.detailed()[n]) for n, s in report.tasks.items())
    ]
    print_table(("task", "languages", "score", "metrics"), rows)
    overall = [
        {"mean of": name.replace("all_task", "all tasks"), "score": f"{v:.2f}"} for name, v in report.overall().items()
    ]
    if overall:
        print_table(("mean of", "score"), overall)
