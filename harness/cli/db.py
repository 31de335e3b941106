"""`alignboard db`: the database of scores."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.cli.output import print_fields, print_json
from harness.errors import unknown
from harness.storage.home import database_url
from harness.storage.store import Store
from harness.storage.store.schema import REVISION

Database = Annotated[
    str | None, typer.Option("--db", help="Database: a path or URL. Default: ALIGNBOARD_DB, or board.db in home.")
]

db = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="""Create, upgrade or describe the database of scores.

    A database is the path of an SQLite file, or a PostgreSQL URL such as postgresql://user@host/board. The first run
    makes it, and every command that writes upgrades it to this version's schema; so these commands are seldom needed.

    \b
    Examples:
      alignboard db status
      alignboard db upgrade --db postgresql://ann@localhost/board
      alignboard db delete RUN
    """,
)


@db.command()
def status(
    location: Database = None, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False
) -> None:
    """Tell where the database is, its schema, and how many runs and scores it holds. Changes nothing."""
    store = Store.open(location or database_url(), read_only=True)
    runs = store.runs()
    counts = {name: int(count) for name, count in runs["status"].value_counts().items()}
    record = {"place": store.place, "schema": REVISION, "runs": counts, "scores": len(store.scores())}
    if as_json:
        print_json(record)
        return
    told = ", ".join(f"{count} {name}" for name, count in counts.items()) or "none"
    print_fields({**record, "runs": told})


@db.command()
def upgrade(location: Database = None) -> None:
    """Bring the database to this version's schema; make it where there is none. Safe to repeat."""
    store = Store.open(location or database_url(), create=True)
    typer.echo(f"{store.place}: schema {REVISION}")


@db.command()
def delete(
    run: Annotated[str, typer.Argument(help="The run's id, as `alignboard show --format json` tells it.")],
    location: Database = None,
) -> None:
    """Remove one run with its scores. Its artifacts stay until `alignboard gc`."""
    store = Store.open(location or database_url())
    known = list(store.runs()["id"])
    if run not in known:
        raise unknown("run", run, known)
    store.delete_run(run)
    typer.echo(f"{store.place}: removed {run}")
