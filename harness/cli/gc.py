"""`alignboard gc`: deletes artifacts that no run needs."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from harness.cli.options import Db
from harness.errors import UsageError
from harness.storage.artifacts import Artifacts
from harness.storage.home import database_url
from harness.storage.shared import open_artifacts
from harness.storage.store import Store
from harness.storage.store.database import NoStoreError, hide_secrets
from harness.storage.usage import collect, forget_store, in_use, registered_stores


def gc(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be deleted, and delete nothing.")] = False,
    unknown: Annotated[
        bool, typer.Option("--unknown", help="Also delete artifacts that none of these databases knows.")
    ] = False,
    trials: Annotated[
        bool, typer.Option("--trials", help="Also delete the trials of ablations and what `pretrain` left.")
    ] = False,
    forget: Annotated[
        list[str] | None,
        typer.Option(metavar="DB", help="Forget a database, so that its runs no longer keep artifacts. Repeatable."),
    ] = None,
    shared: Annotated[
        bool, typer.Option("--shared", help="Also delete at the URL of ALIGNBOARD_ARTIFACTS, for all machines.")
    ] = False,
    db: Db = None,
) -> None:
    """Delete artifacts that no run needs.

    Deletes the artifacts of deleted runs and of earlier versions of code and data, damaged ones, and files that killed
    processes left unfinished. Prints the freed space in MiB.

    Keeps what a run in any database used with these artifacts needs, what running commands use, the trials of
    ablations, what `pretrain` needs to go on, and, while any run is unfinished, checkpoints. An artifact that none of
    these databases knows may belong to one on another machine; it is kept unless --unknown is given. Artifacts that
    machines share at the URL of ALIGNBOARD_ARTIFACTS are kept unless --shared is given. Give it only on a machine that
    knows all databases of the runs that use them.

    \b
    Examples:
      alignboard gc --dry-run
      alignboard gc
    """
    artifacts = open_artifacts()
    for location in dict.fromkeys(forget or ()):
        forget_store(artifacts, location)
    locations = _databases(artifacts, db)
    if len(locations) > 1:
        typer.echo(f"databases: {', '.join(map(hide_secrets, locations))}")
    copies = {"shared artifacts": _shared_copies(artifacts)} if shared else {}
    places = {**copies, "artifacts": artifacts}  # in this order, since the last one forgets the trials
    for what, place in places.items():
        keep = partial(in_use, place, locations, trials=not trials, unknown=unknown)
        if dry_run:
            with place.collection_lock():  # as a collection does: no process takes a lease meanwhile
                kept = keep()
            doomed = [found for name in place.fingerprints() if name not in kept and (found := place.listed(name))]
            for artifact in doomed:
                typer.echo(f"{artifact.fingerprint[:12]}  {artifact.kind:<9} {artifact.size / 2**20:8.1f} MiB")
            typer.echo(f"{what} to remove: {len(doomed)}, {sum(found.size for found in doomed) / 2**20:.1f} MiB")
        else:
            gone = collect(place, locations, trials=trials, unknown=unknown) if place is artifacts else place.gc(keep)
            typer.echo(f"{what} removed: {len(gone.fingerprints)}, {gone.size / 2**20:.1f} MiB")


def _shared_copies(artifacts: Artifacts) -> Artifacts:
    copies = artifacts.shared_copies()
    if copies is None:
        remedy = "set it to the URL where machines share artifacts, or leave --shared out"
        raise UsageError("--shared has no effect without ALIGNBOARD_ARTIFACTS", remedy=remedy)
    return copies


def _databases(artifacts: Artifacts, db: str | None) -> list[str]:
    """The databases of these artifacts: those registered, and the one that this command names or defaults to."""
    registered = registered_stores(artifacts)
    try:
        store = Store.open(db or database_url(), read_only=True)
    except NoStoreError:
        if db or not registered:
            raise
        return registered
    store.close()
    return [db or database_url(), *(location for location in registered if location != store.location)]
