"""`alignboard verify`: checks artifacts against their checksums, and scores against the stored item statistics."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import typer

from harness.cli.options import Db, Json
from harness.cli.output import print_json, print_message
from harness.evaluation.item_statistics import read_ratios
from harness.experiments.stored import changed_sources
from harness.files import STATISTICS
from harness.statistics import TOLERANCE
from harness.storage.artifacts import Artifacts
from harness.storage.home import database_url
from harness.storage.shared import open_artifacts
from harness.storage.store import Store
from harness.storage.usage import lease, used_by


class ArtifactProblem(NamedTuple):
    """What is wrong with the artifact of a stage."""

    fingerprint: str
    what: str


class ScoreKey(NamedTuple):
    """Identifies a score within its score stage."""

    selection: str
    view: str
    metric: str


def verify(
    db: Db = None,
    as_json: Json = False,
) -> None:
    """Check artifacts and recompute the stored scores.

    Compares the SHA-256 of every file of every artifact that a run uses with the one recorded when it was written, and
    the inputs that it was made from with those that are here. What is damaged, or was made from another version of its
    input, is set aside, and the next run computes it again. Then recomputes every score from the stored item statistics
    and compares it with the database. Takes about as long as reading the artifacts. The exit code is 1 if there is a
    problem. Runs whose source data have changed since are listed too; this does not count as a problem.

    \b
    Examples:
      alignboard verify
      alignboard verify --json
    """
    store = Store.open(db or database_url(), read_only=True)
    artifacts = open_artifacts()
    stages, scores = store.stages(), store.scores(split="test", kind=["trained", "external"])
    stages = stages[stages["fingerprint"].isin(used_by(store))]  # gc may have deleted the others
    with lease(artifacts, stages["fingerprint"]):
        problems = [*damaged_artifacts(stages, artifacts), *wrong_scores(scores, artifacts)]
    counts = {"artifacts": len(stages), "scores": len(scores)}
    runs = store.runs(kind="trained", status="done")
    changed = changed_sources(runs)
    if as_json:
        print_json({**counts, "problems": [problem._asdict() for problem in problems], "changed data": changed})
    else:
        for line in changed:
            print_message("note", line)
        for problem in problems:
            typer.echo(f"{problem.fingerprint[:12]}  {problem.what}")
        typer.echo(f"artifacts {counts['artifacts']}, scores {counts['scores']}, problems {len(problems)}")
    if problems:
        raise typer.Exit(1)


def damaged_artifacts(stages: pd.DataFrame, artifacts: Artifacts) -> Iterator[ArtifactProblem]:
    """The stages whose artifact cannot be used. It is set aside."""
    for stage in stages.to_dict("records"):
        fault = artifacts.fault(stage["fingerprint"])
        if fault is not None:
            title = " ".join(part for part in (stage["kind"], stage["task"]) if isinstance(part, str) and part)
            yield ArtifactProblem(stage["fingerprint"], f"{fault}: {title}")


def wrong_scores(scores: pd.DataFrame, artifacts: Artifacts) -> Iterator[ArtifactProblem]:
    """The scores that differ from the metric of their summed statistics. Missing artifacts are skipped."""
    known: dict[str, dict[ScoreKey, float]] = {}
    for row in scores.to_dict("records"):
        stage, key = row["stage"], ScoreKey(row["selection"], row["view"], row["metric"])
        artifact = None if stage in known else artifacts.find(stage)
        if artifact is not None:
            known[stage] = scores_from_statistics(artifact.path)
        if stage not in known:
            continue
        expected = known[stage].get(key)
        if expected is None or not math.isclose(expected, row["value"], rel_tol=0.0, abs_tol=TOLERANCE):
            where = " ".join(filter(None, (row["run"], row["task"], *key)))
            yield ArtifactProblem(stage, f"{where}: {row['value']} in the database, {expected} from the statistics")


def scores_from_statistics(folder: Path) -> dict[ScoreKey, float]:
    """Every score of a score stage, recomputed from the item statistics in its artifact, as the ratios that they
    declare."""
    ratios = read_ratios(folder / STATISTICS)
    table = pd.read_parquet(folder / STATISTICS)
    columns = [name for name in table.columns if name not in ("selection", "view", "item", "cluster")]
    scores: dict[ScoreKey, float] = {}
    for selection, view in dict.fromkeys(zip(table["selection"], table["view"], strict=True)):
        part = table[(table["selection"] == selection) & (table["view"] == view)]
        sums = {name: float(part[name].to_numpy().sum()) for name in columns}
        scores |= {
            ScoreKey(selection, view, name): ratio.value(sums)
            for name, ratio in ratios.items()
            if ratio.columns <= sums.keys()
        }
    return scores
