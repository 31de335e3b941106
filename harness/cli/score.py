"""`alignboard score`: the official figures of anyone's predictions, or everything that is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from harness.cli.output import print_json, print_table
from harness.errors import UsageError, UserError

VERSIONS = ("1.2.2", "0.0.12")


def score(
    predictions: Annotated[Path, typer.Argument(help="Folder of predictions: <task>/test-<language>.tsv or .json.")],
    labels: Annotated[Path, typer.Argument(help="Folder of labels in the same layout.")],
    suite: Annotated[str, typer.Option(help="The tasks that are looked for.")] = "xtreme",
    seqeval: Annotated[
        str, typer.Option(help="Whose spans to count in tagging: 1.2.2, or 0.0.12 as in the official expected figures.")
    ] = VERSIONS[0],
    languages: Annotated[
        str, typer.Option(help="official: every language must be there; available: those that have labels.")
    ] = "official",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: overall and detailed scores.")] = False,
) -> None:
    """Score predictions in XTREME's official layout, by its official rules.

    Everything is checked first, and every problem is told with its file and line; with a problem nothing is scored, and
    the exit code is 1. Tasks that only one of the folders has are left out, and then there is no overall score. The
    layout and the checks are described in docs/scoring.md.

    \b
    Examples:
      alignboard score predictions labels
      alignboard score predictions labels --json --seqeval 0.0.12
    """
    from harness.registry import SUITES
    from harness.results.submissions import score as scored

    if seqeval not in VERSIONS:
        raise UsageError("unknown version of seqeval's rules", found=seqeval, expected=" or ".join(VERSIONS))
    if languages not in ("official", "available"):
        raise UsageError("languages are not understood", found=languages, expected="official or available")
    available = languages == "available"
    report = scored(predictions, labels, SUITES.get(suite), f"seqeval-{seqeval}", available=available)
    refuse_faults(report, predictions, "nothing is scored")
    if as_json:
        print_json({"overall": report.overall(), "detailed": report.detailed()})
    else:
        _print(report)


def refuse_faults(report: Any, predictions: Path, outcome: str) -> None:
    """Tells every notice and problem. Raises UserError where there are problems, or where no task was found."""
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
            expected=f"folders {', '.join(report.suite.tasks)}, here and with labels",
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
