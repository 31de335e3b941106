"""`alignboard verify`: are the artifacts what was written, and do the scores follow from the stored statistics?"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, NamedTuple

import pandas as pd
import typer

from harness.cli.gc import needed
from harness.cli.output import print_json
from harness.files import STATISTICS
from harness.registry import TASKS
from harness.storage.artifacts import Artifacts
from harness.storage.home import artifacts_root, database_url
from harness.storage.store import Store

TOLERANCE = 1e-9  # percent: sums of the same numbers in the same order, by perhaps another version of numpy


class Problem(NamedTuple):
    """What is wrong with the artifact of a stage."""

    fingerprint: str
    what: str


class Key(NamedTuple):
    """Which score of a score stage."""

    selection: str
    view: str
    metric: str


def verify(
    db: Annotated[str | None, typer.Option(help="Database: a path or URL. Default: ALIGNBOARD_DB, or home.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: counts, and a list of problems.")] = False,
) -> None:
    """Check all artifacts, compute all stored scores again.

    Reads every file of every artifact that a run used and compares its SHA-256 with the one noted when it was written;
    a damaged artifact is set aside, and the next run makes it again. Then sums the stored statistics of every item
    anew and compares the scores that follow with the ones in the database. Takes about as long as reading the
    artifacts. The exit code is 1 where anything is wrong.

    \b
    Examples:
      alignboard verify
      alignboard verify --json
    """
    store = Store.open(db or database_url(), read_only=True)
    artifacts = Artifacts(artifacts_root())
    stages, scores = store.stages(), store.scores(split="test", kind=["trained", "external"])
    stages = stages[stages["fingerprint"].isin(needed(store, artifacts))]  # what no run needs may be gone
    problems = [*damaged(stages, artifacts), *wrong_scores(scores, artifacts)]
    counts = {"artifacts": len(stages), "scores": len(scores)}
    if as_json:
        print_json({**counts, "problems": [problem._asdict() for problem in problems]})
    else:
        for problem in problems:
            typer.echo(f"{problem.fingerprint[:12]}  {problem.what}")
        typer.echo(f"artifacts {counts['artifacts']}, scores {counts['scores']}, problems {len(problems)}")
    if problems:
        raise typer.Exit(1)


def damaged(stages: pd.DataFrame, artifacts: Artifacts) -> Iterator[Problem]:
    """The stages whose artifact is missing or differs from its manifest; the latter are set aside."""
    titles = stages["kind"].str.cat(stages["task"], sep=" ", na_rep="").str.strip()
    for fingerprint, title in zip(stages["fingerprint"], titles, strict=True):
        if artifacts.find(fingerprint, verify=True) is None:
            yield Problem(fingerprint, f"missing or damaged: {title}")


def wrong_scores(scores: pd.DataFrame, artifacts: Artifacts) -> Iterator[Problem]:
    """The scores that differ from the metric of their summed statistics; a missing artifact is told by `damaged`."""
    known: dict[str, dict[Key, float]] = {}
    for row in scores.to_dict("records"):
        stage, key = row["stage"], Key(row["selection"], row["view"], row["metric"])
        artifact = None if stage in known else artifacts.find(stage)
        if artifact is not None:
            known[stage] = recomputed(row["task"], artifact.path)
        if stage not in known:
            continue
        found = known[stage].get(key)
        if found is None or not math.isclose(found, row["value"], rel_tol=0.0, abs_tol=TOLERANCE):
            where = " ".join(filter(None, (row["run"], row["task"], *key)))
            yield Problem(stage, f"{where}: {row['value']} in the database, {found} from the statistics")


def recomputed(task: str, folder: Path) -> dict[Key, float]:
    """Every score of a score stage's artifact, from its statistics of every item."""
    metric = TASKS.get(task)().metric
    table = pd.read_parquet(folder / STATISTICS)
    columns = [name for name in table.columns if name not in ("selection", "view", "item", "cluster")]
    again: dict[Key, float] = {}
    for selection, view in dict.fromkeys(zip(table["selection"], table["view"], strict=True)):
        part = table[(table["selection"] == selection) & (table["view"] == view)]
        sums = {name: float(part[name].to_numpy().sum()) for name in columns}
        again |= {Key(selection, view, name): value for name, value in metric(sums).items()}
    return again
