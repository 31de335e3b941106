"""`alignboard sources`: lists the data sources, or what one provides."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from harness.cli.options import Json
from harness.cli.output import print_json, print_table
from harness.data.source import Manifest, open_source
from harness.errors import UserError
from harness.registry import SOURCES, TASKS
from harness.task import TaskSpec


def sources(
    source: Annotated[
        str | None, typer.Argument(metavar="SOURCE", help="Show what this source provides, such as folder:PATH.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List the kinds of data source, or what one source provides.

    A source is written KIND or KIND:LOCATION. With SOURCE, prints its manifest: every task, view and split with its
    number of items, and every corpus with its number of records per language. A run can use only what the manifest
    lists.

    \b
    Examples:
      alignboard sources
      alignboard sources babel
      alignboard sources folder:data/xtreme --json
    """
    if source is None:
        records = [{"kind": kind, "origin": str(SOURCES.origin(kind))} for kind in SOURCES]
        print_json(records) if as_json else print_table(("kind", "origin"), records)
        return
    opened = open_source(source)
    manifest = opened.manifest(loadable_specs())
    if as_json:
        print_json({"name": opened.name, "pivot": opened.pivot, **manifest_record(manifest)})
    else:
        _print_manifest(opened.name, manifest)


def manifest_record(manifest: Manifest) -> dict[str, Any]:
    """A manifest as plain JSON values."""
    return {
        "tasks": [asdict(cell) for cell in manifest.tasks],
        "corpora": [{**asdict(cell), "kind": str(cell.kind)} for cell in manifest.corpora],
        "training": dict(manifest.training),
        "notes": [*manifest.notes, *manifest.unread],
    }


def _print_manifest(name: str, manifest: Manifest) -> None:
    record = manifest_record(manifest)
    typer.echo(f"{name}, pivot {manifest.pivot}\n\nTasks (items):")
    print_table(("task", "view", "split", "count", "labelled"), record["tasks"])
    typer.echo("Corpora (records):")
    print_table(("kind", "language", "count"), record["corpora"])
    for task, training in manifest.training.items():
        typer.echo(f"{task} is trained on {training}")
    for note in record["notes"]:
        typer.echo(f"note: {note}")


def loadable_specs() -> list[TaskSpec]:
    """The specs of all tasks that load. A broken task gives a warning and is left out."""
    broken = TASKS.broken()
    specs = [TASKS.get(name).spec for name in TASKS if name not in broken]
    if not specs:
        raise UserError("no task can be loaded", remedy="`alignboard tasks` shows why")
    return specs
