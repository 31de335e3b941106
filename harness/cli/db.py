"""`alignboard db`: the database of scores."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.cli.options import Db, Json
from harness.cli.output import print_fields, print_json
from harness.errors import unknown
from harness.storage.home import database_url
from harness.storage.store import Store
from harness.storage.store.schema import REVISION

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="""Create, upgrade or describe the database of scores.

    The database is an SQLite file, given by its path, or a PostgreSQL URL such as postgresql://user@host/board. The
    first run creates it, and commands that write upgrade its schema, so these commands are seldom needed.

    \b
    Examples:
      alignboard db status
      alignboard db upgrade --db postgresql://ann@localhost/board
      alignboard db delete RUN
    """,
)


@app.command()
def status(db: Db = None, as_json: Json = False) -> None:
    """Print the place, schema and size of the database."""
    store = Store.open(db or database_url(), read_only=True)
    runs = store.runs()
    counts = {name: int(count) for name, count in runs["status"].value_counts().items()}
    record = {"place": store.place, "schema": REVISION, "runs": counts, "scores": len(store.scores())}
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
    known = list(store.runs()["id"])
    if run not in known:
        raise unknown("run", run, known)
    store.delete_run(run)
    typer.echo(f"{store.place}: deleted {run}")
