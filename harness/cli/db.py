"""`alignboard db`: the database of scores."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import Db, Json
from harness.cli.output import print_fields, print_json
from harness.errors import UsageError, counted, unknown
from harness.storage.home import artifacts_root, database_url
from harness.storage.store import Store
from harness.storage.store.schema import REVISION

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="""Check, copy, merge or upgrade the database of scores.

    The database is an SQLite file, given by its path, or a PostgreSQL URL such as postgresql://user@host/board. The
    first run creates it, and commands that write upgrade its schema, so these commands are seldom needed.

    \b
    Examples:
      alignboard db status
      alignboard db backup board-copy.db
      alignboard db merge /home/ben/.alignboard
      alignboard db upgrade --db postgresql://ann@localhost/board
      alignboard db delete RUN
    """,
)


@app.command()
def status(db: Db = None, as_json: Json = False) -> None:
    """Print the location, schema and size of the database."""
    store = Store.open(db or database_url(), read_only=True)
    counts = dict(Counter(row["status"] for row in store.runs(["id", "status"])).most_common())
    record = {"place": store.place, "schema": REVISION, "runs": counts, "scores": store.count_scores()}
    if as_json:
        print_json(record)
        return
    print_fields({**record, "runs": ", ".join(f"{count} {name}" for name, count in counts.items()) or "none"})


@app.command()
def upgrade(db: Db = None) -> None:
    """Upgrade the database to this version, or create it."""
    store = Store.open(db or database_url(), create=True)
    typer.echo(f"{store.place}: schema {REVISION}")


@app.command()
def delete(
    run: Annotated[str, typer.Argument(help="The run's id, from `alignboard show --format json`.")],
    db: Db = None,
) -> None:
    """Delete one run and its scores. Its artifacts stay until `alignboard gc`."""
    store = Store.open(db or database_url())
    known = store.names("id")
    if run not in known:
        raise unknown("run", run, known)
    store.delete_run(run)
    typer.echo(f"{store.place}: deleted {run}")


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The copy to write, a new file.")],
    db: Db = None,
) -> None:
    """Copy the database into one SQLite file, as it is at one moment, while runs may be writing.

    The copy of a PostgreSQL database is an SQLite file, too. `--db FILE` uses a copy; `alignboard db merge FILE --db
    URL` brings it back to a server. Artifacts are not copied.
    """
    from harness.storage.store.backup import back_up

    back_up(Store.open(db or database_url(), read_only=True), file)
    typer.echo(f"{file}: {file.stat().st_size / 2**20:.1f} MiB")


@app.command()
def check(db: Db = None, as_json: Json = False) -> None:
    """Check the database: damaged pages, rows without their run, runs without scores, averages or artifacts.

    Reads all rows, but no artifact; `alignboard verify` reads these. The exit code is 1 if there is a problem.
    """
    from harness.storage.shared import open_artifacts
    from harness.storage.store.backup import find_faults

    store, artifacts = Store.open(db or database_url(), read_only=True), open_artifacts()
    faults = find_faults(store)
    if not faults:
        lost = artifacts.absent(store.used_stages())
        users = Counter(store.links(fingerprint=sorted(lost))["run"]) if lost else Counter()
        faults = [f"run {run}: {counted(number, 'artifact')} missing; run it again" for run, number in users.items()]
    if as_json:
        print_json({"place": store.place, "problems": faults})
    else:
        typer.echo("\n".join([*faults, f"{store.place}: {counted(len(faults), 'problem')}"]))
    if faults:
        raise typer.Exit(1)


@app.command()
def merge(
    other: Annotated[str, typer.Argument(metavar="OTHER", help="Home folder or database to copy runs from.")],
    artifacts: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Its artifacts. Default: beside it, else those of this home.")
    ] = None,
    db: Db = None,
) -> None:
    """Add all runs of another store, with the artifacts that they use.

    A run is identified by its recipe, seeds, base and data, so merging twice changes nothing. A score or an artifact
    that differs from the one here is reported and not overwritten; the exit code is then 1.

    \b
    Examples:
      alignboard db merge /home/ben/.alignboard
      alignboard db merge postgresql://ann@localhost/board --artifacts /shared/artifacts
    """
    from harness.cli.transfer import report_merge
    from harness.storage import merging
    from harness.storage.artifacts import Artifacts
    from harness.storage.shared import open_artifacts

    home = Path(other)
    place = str(home / "board.db") if home.is_dir() else other
    theirs = Store.open(place, read_only=True)
    beside = Path(theirs.location).parent / "artifacts"
    folder = artifacts or (beside if beside.is_dir() else artifacts_root())
    store = Store.open(db or database_url(), create=True)
    if theirs.location == store.location:
        raise UsageError("a store cannot be merged into itself", found=theirs.place)
    report_merge(merging.merge(store, open_artifacts(), theirs, Artifacts(folder)))
