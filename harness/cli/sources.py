"""`alignboard sources`: where data can come from, and what one source holds."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from harness.cli.output import print_json, print_table
from harness.data.source import Manifest, open_source
from harness.errors import UserError
from harness.registry import SOURCES, TASKS
from harness.task import TaskSpec


def sources(
    source: Annotated[
        str | None, typer.Argument(metavar="SOURCE", help="Tell what this source holds, such as folder:PATH.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the kinds of data source, or what one source holds.

    A source is written KIND or KIND:LOCATION. With SOURCE: its manifest, which names every task, view and split with
    the number of items in it, and every corpus with its number of records per language. What is not in the manifest
    cannot be asked for in a run.

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
    manifest = opened.manifest(_specs())
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
        "notes": list(manifest.notes),
    }


def _print_manifest(name: str, manifest: Manifest) -> None:
    record = manifest_record(manifest)
    typer.echo(f"{name}, pivot {manifest.pivot}\n\nTasks, in items:")
    print_table(("task", "view", "split", "count", "labelled"), record["tasks"])
    typer.echo("Corpora, in records:")
    print_table(("kind", "language", "count"), record["corpora"])
    for task, training in manifest.training.items():
        typer.echo(f"{task} is trained on {training}")
    for note in manifest.notes:
        typer.echo(f"note: {note}")


def _specs() -> list[TaskSpec]:
    """The specs of the tasks that load; a broken one is warned of and left out."""
    broken = TASKS.broken()
    found = [TASKS.get(name).spec for name in TASKS if name not in broken]
    if not found:
        raise UserError("no task can be loaded", remedy="`alignboard tasks` tells why")
    return found
