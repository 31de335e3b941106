"""`alignboard submit`: predictions from elsewhere as a row of the board, marked external."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Annotated, Any

import typer

from harness.cli.output import print_table
from harness.cli.score import VERSIONS, refuse_faults
from harness.errors import UsageError, UserError
from harness.storage.home import artifacts_root, database_url


def submit(
    predictions: Annotated[Path, typer.Argument(help="Folder of predictions: <task>/test-<language>.tsv or .json.")],
    name: Annotated[str, typer.Option(help="The name of the row.")],
    labels: Annotated[Path | None, typer.Argument(help="Folder of labels in the same layout; or give --like.")] = None,
    like: Annotated[
        str | None, typer.Option(metavar="RUN", help="Score on the items of this run, and stand in its table.")
    ] = None,
    suite: Annotated[str | None, typer.Option(help="The tasks of the row. Default: xtreme.")] = None,
    seqeval: Annotated[str | None, typer.Option(help="Spans in tagging, as in `score`. Default: 1.2.2.")] = None,
    languages: Annotated[
        str | None, typer.Option(help="official, or available: those that have labels. Default: official.")
    ] = None,
    base: Annotated[str | None, typer.Option(help="The encoder behind it. Default: that of --like, or none.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Its random seed, where several are submitted.")] = None,
    by: Annotated[str | None, typer.Option(help="Who submits. Default: your login name.")] = None,
    note: Annotated[str, typer.Option(help="What it is, in a line.")] = "",
    url: Annotated[str, typer.Option(help="Where it is described.")] = "",
    replace: Annotated[bool, typer.Option("--replace", help="Take the place of what has this name.")] = False,
    db: Annotated[str | None, typer.Option(help="Database: a path or URL. Default: ALIGNBOARD_DB, or home.")] = None,
) -> None:
    """Put predictions from elsewhere on the board, marked external.

    They are checked and scored as `alignboard score` does; with a single problem nothing is written, and the exit code
    is 1. Tasks may be left out: the row then tells what is missing, and has no average. With --like the items are those
    of a stored run, the row stands in that run's table, and item-level statistics can be paired with it. The same
    files under the same name change nothing; other files are refused without --replace.

    \b
    Examples:
      alignboard submit predictions labels --name our-system --url https://example.org/paper
      alignboard submit predictions --name our-system --like mbert --seed 1
    """
    from harness.experiments.external import Claim, check
    from harness.experiments.external import submit as put
    from harness.storage.artifacts import Artifacts
    from harness.storage.store import Store

    if (labels is None) == (like is None):
        raise UsageError(
            "the gold is not clear" if labels is None else "a folder of labels contradicts --like",
            expected="either a folder of labels after the predictions, or --like RUN",
        )
    claim = Claim(name, _login() if by is None else by, note, url, seed)
    if labels is not None:
        target = _of_labels(labels, suite, seqeval, languages, base)
    else:
        for option, value in (("--suite", suite), ("--seqeval", seqeval), ("--languages", languages)):
            if value is not None:
                raise UsageError(f"{option} has no effect beside --like", found=value, remedy="leave it out")
        target = _of_run(str(like), base, db)
    report = check(predictions, target)
    refuse_faults(report, predictions, "nothing is written")
    store = Store.open(db or database_url(), create=True)
    outcome = put(store, Artifacts(artifacts_root()), predictions, target, claim, report, replace=replace)
    typer.echo(f"{claim.name} (external), run {outcome.run}: {outcome.change}")
    _print(report, target)


def _of_labels(labels: Path, suite: str | None, seqeval: str | None, languages: str | None, base: str | None) -> Any:
    from harness.experiments.external import labels_target
    from harness.registry import SUITES

    version, listed = seqeval or VERSIONS[0], languages or "official"
    if version not in VERSIONS:
        raise UsageError("unknown version of seqeval's rules", found=version, expected=" or ".join(VERSIONS))
    if listed not in ("official", "available"):
        raise UsageError("languages are not understood", found=listed, expected="official or available")
    if not labels.is_dir():
        raise UserError("the folder is missing", file=labels, expected="a folder with xnli/, pawsx/, ...")
    available = listed == "available"
    return labels_target(
        labels, SUITES.get(suite or "xtreme"), f"seqeval-{version}", available=available, base=base or ""
    )


def _of_run(like: str, base: str | None, db: str | None) -> Any:
    from harness.cli.run import plugins
    from harness.experiments.external import run_target
    from harness.experiments.plan import plan_run
    from harness.experiments.projector import finished
    from harness.experiments.recipe import Recipe
    from harness.registry import SUITES
    from harness.storage.store import Store

    store = Store.open(db or database_url())
    rows = finished(store, [like])
    store.close()
    tables = {(row["recipe_hash"], row["source"], row["data_fingerprint"]) for row in rows}
    if len(tables) > 1:
        raise UsageError(
            f"{len(tables)} kinds of runs are meant by this",
            found=like,
            expected=", ".join(f"{row['id']} ({row['suite']}, {row['protocol']}, {row['source']})" for row in rows),
            remedy="give the id of one",
        )
    recipe = Recipe.model_validate(rows[0]["recipe"])
    plan = plan_run(recipe, int(rows[0]["align_seed"]), plugins())
    return run_target(plan, rows[0], SUITES.get(recipe.suite), base)


def _print(report: Any, target: Any) -> None:
    """What stands on the board now, gaps told."""
    rows = []
    for task, views in target.expected.items():
        have = len(report.made.get(task, ()))
        score = f"{report.task_score(task):.2f}" if task in report.tasks else ""
        rows.append({"task": task, "languages": f"{have}/{len(views)}", "score": score})
    print_table(("task", "languages", "score"), rows)
    overall = report.overall().get("all_task")
    missing = [row["task"] for row in rows if not row["score"]]
    typer.echo(f"average {overall:.2f}" if overall is not None else f"no average: {', '.join(missing)} missing")


def _login() -> str:
    """The name of the account, or nothing where the system has none for it."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""
