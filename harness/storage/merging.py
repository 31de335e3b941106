"""Bringing the runs of another store, with their artifacts, into this one.

A run is identified by its id, a hash of its recipe, seeds, base and data. Nothing is overwritten: a score with
another value and an artifact with another content are reported. Artifacts are copied before the rows,
which are one transaction, so that a merge that was killed is completed by another one.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from harness.errors import UserError, counted, list_first
from harness.files import file_digest
from harness.statistics import TOLERANCE
from harness.storage.artifacts import Artifacts
from harness.storage.manifest import Artifact, is_inside
from harness.storage.store import Store, schema
from harness.storage.store.averages import put_averages
from harness.storage.store.leases import lives
from harness.storage.store.schema import AVERAGE, UNFINISHED
from harness.storage.store.statements import insert_new
from harness.storage.usage import lease, register_store

Row = Mapping[str, Any]
_PARTS = (schema.run_stage, schema.score, schema.summary)
_CURVE = ("task", "view", "split", "selection", "metric")  # the scores of one stage in a run


@dataclass
class Merged:
    """What a merge did: runs by their names, artifacts and their bytes; `refused` says what was left out, and why."""

    added: list[str] = field(default_factory=list)
    completed: list[str] = field(default_factory=list)
    known: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    artifacts: int = 0
    size: int = 0


class RunRows(NamedTuple):
    """The rows of one run."""

    run: Row
    stages: Sequence[Row]
    links: Sequence[Row]
    scores: Sequence[Row]
    summaries: Sequence[Row]

    @property
    def name(self) -> str:
        return run_title(self.run)

    @property
    def fingerprints(self) -> list[str]:
        return [link["fingerprint"] for link in self.links]


def run_title(run: Row) -> str:
    """A run in messages: "ml-ctl seed 0 (3f2a91c0...)"."""
    seed = "" if run["align_seed"] is None else f" seed {run['align_seed']}"
    return f"{run['method']}{seed} ({run['id']})"


def merge(store: Store, artifacts: Artifacts, other: Store, others: Artifacts) -> Merged:
    """Adds the runs of `other`, whose artifacts are `others`, with all that they need."""
    merged = Merged()
    register_store(artifacts, store)
    with other.snapshot() as source:
        names = run_ids(source)
        stages = sa.select(schema.run_stage.c.fingerprint).distinct()
        with lease(artifacts, source.execute(stages).scalars()):
            accepted = [name for name in names if _bring_artifacts(artifacts, source, others, name, merged)]
            with store.transaction() as target:
                for name in accepted:
                    _merge_run(target, read_run(source, name), merged)
    return merged


def run_ids(connection: Connection) -> list[str]:
    """All runs in the order in which they were added."""
    return list(connection.execute(sa.select(schema.run.c.id).order_by(schema.run.c.serial, schema.run.c.id)).scalars())


def read_run(connection: Connection, run: str) -> RunRows:
    """The rows of a run, as they are stored."""
    (own,) = _rows(connection, schema.run, schema.run.c.id == run)
    others = (_rows(connection, table, table.c.run == run) for table in _PARTS)
    return RunRows(own, _stages(connection, run), *others)


def _stages(connection: Connection, run: str) -> list[Row]:
    used = sa.select(schema.run_stage.c.fingerprint).where(schema.run_stage.c.run == run)
    return _rows(connection, schema.stage, schema.stage.c.fingerprint.in_(used))


def _rows(connection: Connection, table: sa.Table, where: sa.ColumnElement[bool]) -> list[Row]:
    return [dict(row) for row in connection.execute(sa.select(table).where(where)).mappings()]


def put_run(connection: Connection, rows: RunRows) -> None:
    """Adds a run that is not there yet, as the newest. One whose process has died is interrupted."""
    last = connection.execute(sa.select(sa.func.max(schema.run.c.serial))).scalar() or 0
    status = "interrupted" if rows.run["status"] == "running" else rows.run["status"]
    own = {**rows.run, "serial": last + 1, "owner": "", "heartbeat": None, "status": status}
    connection.execute(sa.insert(schema.run), [own])
    insert_new(connection, schema.stage, rows.stages)
    for table, added in zip(_PARTS, (rows.links, rows.scores, rows.summaries), strict=True):
        insert_new(connection, table, added)


def _bring_artifacts(artifacts: Artifacts, source: Connection, others: Artifacts, name: str, merged: Merged) -> bool:
    """Copies the artifacts of a run that are not here. Whether the run can be merged."""
    run, stages = _rows(source, schema.run, schema.run.c.id == name)[0], _stages(source, name)
    title = run_title(run)
    if run["status"] == "running" and lives(run["owner"], run["heartbeat"]):
        merged.refused.append(f"{title}: it is still being computed there; merge again when it has ended")
        return False
    wanted: list[Artifact] = []
    for stage in stages:
        here, there = artifacts.find(stage["fingerprint"]), others.listed(stage["fingerprint"])
        words = " ".join(filter(None, (stage["kind"], stage["task"], stage["fingerprint"][:12])))
        if here and there and here.content != there.content:
            merged.refused.append(
                f"{title}: the artifact {words} has another content here, as two machines may compute it; "
                "give the command of the run here"
            )
            return False
        if here is None and there is None:
            merged.refused.append(f"{title}: the artifact {words} is missing or damaged there; run it again there")
            return False
        if here is None and there is not None:
            wanted.append(there)
    for artifact in wanted:
        copy_artifact(artifact, artifacts)
        merged.artifacts += 1
        merged.size += artifact.size
    return True


def copy_artifact(artifact: Artifact, artifacts: Artifacts) -> None:
    """Publishes a copy of an artifact of another folder. Raises UserError where a file is not as its manifest says."""
    fingerprint, kind, inputs = artifact.fingerprint, artifact.kind, artifact.inputs
    with artifacts.create(fingerprint, kind, artifact.meta, inputs) as folder:
        for name, file in artifact.files.items():
            inside = is_inside(name)
            if inside:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(artifact.path / name, folder / name)
            if not inside or file_digest(folder / name) != file.sha256:
                raise UserError(
                    "an artifact that is damaged",
                    file=artifact.path / name,
                    expected=f"a file inside the artifact with SHA-256 {file.sha256[:12]}...",
                    remedy="`alignboard verify` there finds what is damaged; nothing of it was copied",
                )


def _merge_run(target: Connection, theirs: RunRows, merged: Merged) -> None:
    """Adds a run, or what the one here lacks."""
    known = target.execute(sa.select(schema.run.c.id).where(schema.run.c.id == theirs.run["id"])).scalar()
    if known is None:
        put_run(target, theirs)
        merged.added.append(theirs.name)
        return
    ours = read_run(target, known)
    values = {_cell(row): row["value"] for row in ours.scores}
    curves = {tuple(row[name] for name in _CURVE) for row in ours.scores}
    new = [row for row in theirs.scores if tuple(row[name] for name in _CURVE) not in curves]
    differing = list(_differing_scores(values, theirs.scores))
    links = [link for link in theirs.links if link["fingerprint"] not in set(ours.fingerprints)]
    ends = theirs.run["status"] == "done" and ours.run["status"] in UNFINISHED
    if differing:
        listed = list_first(differing, 3, "; ")
        merged.refused.append(f"{theirs.name}: {counted(len(differing), 'score')} of another value, kept: {listed}")
    elif links and ours.run["kind"] == "external" and ours.run["status"] == "done":
        merged.refused.append(f"{theirs.name}: other predictions with the same scores; those that are here stay")
    elif not (new or links or ends):
        merged.known.append(theirs.name)
    elif ours.run["version"] != theirs.run["version"]:
        merged.refused.append(
            f"{theirs.name}: it is {ours.run['status']} here and {theirs.run['status']} there, by other code; to have "
            "that one, `alignboard db delete` this one and merge again"
        )
    elif ours.run["status"] == "running" and lives(ours.run["owner"], ours.run["heartbeat"]):
        merged.refused.append(f"{theirs.name}: it is being computed here; merge again when it has ended")
    else:
        _complete_run(target, ours, theirs, new, links, ends)
        merged.completed.append(theirs.name)


def _complete_run(
    target: Connection, ours: RunRows, theirs: RunRows, new: Sequence[Row], links: Sequence[Row], ends: bool
) -> None:
    insert_new(target, schema.stage, theirs.stages)
    insert_new(target, schema.run_stage, links)
    insert_new(target, schema.score, new)
    run = theirs.run
    names = ("status", "error", "finished", "host", "packages", "code_version", "dirty") if ends else ()
    values = {name: run[name] for name in names}
    values["views"] = ours.run["views"] or run["views"]
    values["alignment"] = {**run["alignment"], **ours.run["alignment"]}
    target.execute(sa.update(schema.run).where(schema.run.c.id == run["id"]).values(values))
    means = [row for row in (*ours.summaries, *theirs.summaries) if row["task"] != AVERAGE]
    if means and values["views"]:
        put_averages(target, run["id"], values["views"], {row["task"]: row["metric"] for row in means})


def _cell(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in schema.SCORE_KEY)


def _differing_scores(values: Mapping[tuple[Any, ...], float], theirs: Sequence[Row]) -> Iterator[str]:
    for row in theirs:
        ours = values.get(_cell(row), row["value"])
        if abs(ours - row["value"]) > TOLERANCE:
            words = (row["task"], row["view"], row["split"], row["selection"], row["metric"])
            step = f" at step {row['step']}" if row["split"] == "dev" else ""
            yield f"{' '.join(filter(None, words))}{step}: {ours:.4f} here, {row['value']:.4f} there"
