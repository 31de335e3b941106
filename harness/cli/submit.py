"""`alignboard submit`: adds external predictions to the board."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Annotated, Any

import typer

from harness.cli.options import Db
from harness.cli.output import print_table
from harness.cli.score import VERSIONS, import_metrics, raise_problems
from harness.errors import UsageError, UserError
from harness.storage.home import database_url


def submit(
    predictions: Annotated[Path, typer.Argument(help="Folder of predictions: <task>/test-<language>.tsv or .json.")],
    name: Annotated[str, typer.Option(help="Name of the row.")],
    labels: Annotated[Path | None, typer.Argument(help="Folder of labels, unless --like is given.")] = None,
    like: Annotated[
        str | None, typer.Option(metavar="RUN", help="Score on this run's items and put the row in its table.")
    ] = None,
    suite: Annotated[str | None, typer.Option(help="Suite of tasks. Default: xtreme.")] = None,
    seqeval: Annotated[str | None, typer.Option(help="Span rules for tagging, as in `score`. Default: 1.2.2.")] = None,
    languages: Annotated[
        str | None, typer.Option(help="official, or available: those that have labels. Default: official.")
    ] = None,
    base: Annotated[str | None, typer.Option(help="Base encoder. Default: that of --like, else none.")] = None,
    source: Annotated[str | None, typer.Option(help="New location of the data of --like, if they have moved.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, max=2**32 - 1, help="Random seed, if you submit several.")] = None,
    by: Annotated[str | None, typer.Option(help="Name of the submitter. Default: your login name.")] = None,
    note: Annotated[str, typer.Option(help="One-line description.")] = "",
    url: Annotated[str, typer.Option(help="Web page about it.")] = "",
    replace: Annotated[bool, typer.Option("--replace", help="Replace the row of this name.")] = False,
    db: Db = None,
) -> None:
    """Add external predictions to the board, marked as external.

    The files are checked and scored as by `alignboard score`. If there is any problem, nothing is written and the exit
    code is 1. Tasks may be missing: the row then lists them and has no average. With --like, the predictions are scored
    on the items of a stored run, and the row joins that run's table and can be compared with it item by item.
    Submitting the same files again changes nothing. Different files under the same name need --replace.

    \b
    Examples:
      alignboard submit predictions labels --name our-system --url https://example.org/paper
      alignboard submit predictions --name our-system --like mbert --seed 1
    """
    from harness.experiments.external import Claim, check
    from harness.experiments.external import submit as store_submission
    from harness.storage.shared import open_artifacts
    from harness.storage.store import Store

    if (labels is None) == (like is None):
        raise UsageError(
            "labels are missing" if labels is None else "a folder of labels contradicts --like",
            expected="a folder of labels after the predictions, or --like RUN",
        )
    claim = Claim(name, _login() if by is None else by, note, url, seed)
    if labels is not None:
        if source is not None:
            raise UsageError("--source has no effect without --like", found=source, remedy="leave it out")
        target = _labels_target(labels, suite, seqeval, languages, base)
    else:
        for option, value in (("--suite", suite), ("--seqeval", seqeval), ("--languages", languages)):
            if value is not None:
                raise UsageError(f"{option} has no effect beside --like", found=value, remedy="leave it out")
        target = _run_target(str(like), base, source, db)
    import_metrics()
    report = check(predictions, target)
    raise_problems(report, predictions, "nothing was written")
    store = Store.open(db or database_url(), create=True)
    outcome = store_submission(store, open_artifacts(), predictions, target, claim, report, replace=replace)
    typer.echo(f"{claim.name} (external), run {outcome.run}: {outcome.change}")
    _print_scores(report, target)


def _labels_target(
    labels: Path, suite: str | None, seqeval: str | None, languages: str | None, base: str | None
) -> Any:
    from harness.experiments.external import labels_target
    from harness.registry import SUITES

    version, listed = seqeval or VERSIONS[0], languages or "official"
    if version not in VERSIONS:
        raise UsageError("unknown version of the seqeval rules", found=version, expected=" or ".join(VERSIONS))
    if listed not in ("official", "available"):
        raise UsageError("unknown choice of languages", found=listed, expected="official or available")
    if not labels.is_dir():
        raise UserError("the folder is missing", file=labels, expected="a folder with xnli/, pawsx/, ...")
    available = listed == "available"
    return labels_target(
        labels, SUITES.get(suite or "xtreme"), f"seqeval-{version}", available=available, base=base or ""
    )


def _run_target(like: str, base: str | None, source: str | None, db: str | None) -> Any:
    from harness.experiments.external import run_target
    from harness.experiments.stored import Moved, finished_runs, plan_unchanged, prefer_current
    from harness.registry import SUITES
    from harness.storage.store import Store

    store = Store.open(db or database_url())
    rows = finished_runs(store, [like])
    store.close()
    unchanged, _ = plan_unchanged(rows, Moved(source or ""))
    runs = prefer_current(unchanged)
    same = ("recipe_hash", "base", "base_fingerprint", "source", "data_fingerprint")
    tables = {tuple(row[name] for name in same): (row, plan) for row, plan in reversed(runs)}
    if len(tables) > 1:
        raise UsageError(
            f"runs of {len(tables)} different tables match",
            found=like,
            expected=", ".join(f"{row['id']} ({row['suite']}, {row['protocol']}, {row['source']})" for row, _ in runs),
            remedy="give the id of one",
        )
    row, plan = runs[0]
    return run_target(plan, row, SUITES.get(plan.recipe.suite), base)


def _print_scores(report: Any, target: Any) -> None:
    """Prints the scores of the row and its missing tasks."""
    rows = []
    for task, views in target.expected.items():
        have = len(report.views.get(task, ()))
        score = f"{report.task_score(task):.2f}" if task in report.tasks else ""
        rows.append({"task": task, "languages": f"{have}/{len(views)}", "score": score})
    print_table(("task", "languages", "score"), rows)
    overall = report.overall().get("all_task")
    missing = [row["task"] for row in rows if not row["score"]]
    typer.echo(f"average {overall:.2f}" if overall is not None else f"no average; missing: {', '.join(missing)}")


def _login() -> str:
    """The name of the account; "" if the system has none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""
