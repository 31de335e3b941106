"""Opening a database: SQLite by path, PostgreSQL by URL; migrated up in process, or refused with a reason."""

from __future__ import annotations

import json
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, Engine, make_url

from harness.errors import UsageError, UserError
from harness.faults import quote
from harness.storage.store import schema

MIGRATIONS = Path(__file__).resolve().parent / "migrations"
BUSY_SECONDS = 60
MOUNTS = Path("/proc/self/mounts")  # of Linux
NETWORK = (  # disks on which machines see no common memory
    *("nfs", "nfs4", "cifs", "smbfs", "smb2", "smb3", "afs", "lustre", "gpfs", "beegfs", "panfs"),
    *("ceph", "fuse.ceph", "fuse.glusterfs", "fuse.sshfs"),
)
_DAMAGED = "the file is damaged: restore a copy, or move it away and run again (artifacts are kept)"
_FIRST_ROW = "`alignboard run METHOD --suite SUITE --source SOURCE` makes the first rows"


_PASSWORD = re.compile(
    r"((?:password|passwd|pwd|passfile|secret|token|key)\s*=\s*)(?:'[^']*'|[^\s&'\"]*)", re.IGNORECASE
)
_USER_PART = re.compile(r"(/[^\s/:@?'\"]*:).*@", re.DOTALL)  # what stands before the last @, however it is written
_BARE_USER = re.compile(r"((?:^|[\s'\"])[^\s/:@?'\"]+:)(?!/)[^\s'\"]*@")  # of a URL without its slashes


_MISTAKEN = re.compile(r"^\s*(host|hostaddr|port|dbname|user|password|service)\s*=|^\W*postgres\w*(?!.*://).*@")


class NoStoreError(UserError):
    """There is no database here yet, or it is empty."""


class LostConnectionError(UserError):
    """The server cannot be reached, or has ended the connection; it may come back."""


def parse(location: str | Path) -> URL:
    """The URL of a store given as a path of an SQLite file, or as an `sqlite:` or `postgresql:` URL."""
    text = str(location)
    if _MISTAKEN.search(text):
        found = repr(hide_secrets(text))
        raise UsageError("not a database URL", found=found, expected="a path, or postgresql://USER@HOST/DATABASE")
    if "://" not in text:
        return URL.create("sqlite", database=text)
    try:
        url = make_url(text)
    except (sa.exc.ArgumentError, ValueError) as error:
        found = repr(hide_secrets(text))
        raise UsageError("not a database URL", found=found, expected="a path or postgresql://...") from error
    if "@" in (url.host or ""):
        found = repr(hide_secrets(text))
        raise UsageError(
            "not a database URL", found=found, remedy="in a password write %40 for @, %2F for /, %3A for :"
        )
    backend = url.drivername.partition("+")[0]
    if backend == "postgres" or url.drivername == "postgresql":
        return url.set(drivername="postgresql+psycopg")
    if backend not in ("sqlite", "postgresql"):
        raise UsageError("unsupported kind of database", found=backend, expected="an SQLite path, or postgresql://...")
    return url


def display_url(url: URL) -> str:
    """The store's place for messages: the file's path, or the URL without its password."""
    return hide_secrets(url.database or "" if url.get_backend_name() == "sqlite" else str(url))


def hide_secrets(text: str) -> str:
    """A text, such as a URL in any form, with three asterisks for each password."""
    text = _PASSWORD.sub(r"\1***", text)
    return _BARE_USER.sub(r"\1***@", _USER_PART.sub(r"\1***@", text))


def connect(url: URL, *, create: bool, read_only: bool) -> Engine:
    """An engine for a database with the current schema. Raises UserError, with a remedy, where there is none."""
    if url.get_backend_name() == "sqlite":
        _check_file(url, create=create and not read_only)
        if not read_only:
            _check_disk(Path(str(url.database)))
    engine = _engine(url, read_only=read_only)
    try:
        with database_errors(url):
            found = _revision(engine, url)
            if found != schema.REVISION:
                _upgrade(engine, url, found, create=create, read_only=read_only)
            if url.get_backend_name() == "sqlite" and not read_only:
                _write_ahead(engine)
    except BaseException:
        engine.dispose()
        raise
    return engine


@contextmanager
def database_errors(url: URL) -> Iterator[None]:
    """Turns what a user can fix (not a database, unreachable, locked, full, damaged) into a UserError."""
    try:
        yield
    except (sa.exc.DatabaseError, sqlite3.Error) as error:
        cause = error if isinstance(error, sqlite3.Error) else error.orig
        remedy = _remedy(str(cause), error)
        if remedy is None:
            raise
        lost = isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError) and url.get_backend_name() != "sqlite"
        kind = LostConnectionError if lost else UserError
        found = hide_secrets(quote(cause or error))
        raise kind("the store cannot be used", file=display_url(url), found=found, remedy=remedy) from error
    except (ValueError, RecursionError) as error:  # in the text of a column: JSON, a time
        if isinstance(error, UserError | UnicodeError):
            raise
        found = quote(error)
        raise UserError("the store cannot be read", file=display_url(url), found=found, remedy=_DAMAGED) from error


def _remedy(reason: str, error: sa.exc.DatabaseError | sqlite3.Error) -> str | None:
    known = {
        "not a database": "give the path of a store; this file is something else or is damaged",
        "malformed": _DAMAGED,
        "disk is full": "free some space, then rerun; nothing was half written",
        "disk I/O error": "check the disk, free some space, raise the limit on file sizes (`ulimit -f unlimited`), or "
        "give a database on a local disk (--db), then rerun; nothing was half written",
        "locking protocol": "the file system does not lock files: give a database on a local disk (--db)",
        "locked": f"another process has locked the store for {BUSY_SECONDS} seconds; wait for it or stop it",
        "readonly": "make the file and its folder writable",
        "unable to open": "check that the folder exists and that you may read and write in it",
    }
    for words, remedy in known.items():
        if words in reason:
            return remedy
    cause = error.orig if isinstance(error, sa.exc.DatabaseError) else error
    if isinstance(cause, sqlite3.Error):
        return _DAMAGED if isinstance(cause, sqlite3.OperationalError) else None
    unreachable = isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError)
    return "check the URL, that the server runs, and that you may connect" if unreachable else None


def _check_file(url: URL, *, create: bool) -> None:
    if not url.database or url.database == ":memory:":
        raise UsageError(
            "an SQLite store is a file", found=hide_secrets(str(url)), expected="a path, or sqlite:///PATH"
        )
    path = Path(url.database)
    if path.is_dir():
        raise UsageError("the store is a folder", file=path, expected="a file", remedy=f"try {path / 'alignboard.db'}")
    if path.exists():
        return
    if not create:
        raise NoStoreError("there is no store here yet", file=hide_secrets(str(path)), remedy=_FIRST_ROW)
    path.parent.mkdir(parents=True, exist_ok=True)


def _check_disk(path: Path) -> None:
    """Raises UserError for a file on a disk of the network: SQLite's log of writes needs memory that all who write
    share, and two machines would damage the file."""
    try:
        lines = MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return
    kinds = {mount[1].replace("\\040", " "): mount[2] for line in lines if len(mount := line.split()) > 2}
    place = path.resolve()
    kind = next((kinds[str(folder)] for folder in (place, *place.parents) if str(folder) in kinds), "")
    if kind in NETWORK:
        raise UserError(
            "an SQLite store on a disk of the network",
            file=path,
            found=kind,
            expected="a disk of this machine, or PostgreSQL",
            remedy="give one with --db or ALIGNBOARD_DB; artifacts may stay where they are, and a former database is "
            "copied with `alignboard db backup FILE`",
        )


def _engine(url: URL, *, read_only: bool) -> Engine:
    if url.get_backend_name() == "sqlite":
        return _sqlite(url, read_only=read_only)
    options = {"options": "-c timezone=utc" + (" -c default_transaction_read_only=on" if read_only else "")}
    arguments = {"connect_args": options | {"connect_timeout": 10}, "json_deserializer": _parse_json}
    try:
        return sa.create_engine(url, pool_pre_ping=True, **arguments)
    except sa.exc.NoSuchModuleError as error:
        raise UsageError("unsupported kind of database", found=url.drivername, expected="postgresql://...") from error
    except ModuleNotFoundError as error:
        raise UserError(
            f"PostgreSQL needs the package {error.name}", remedy="pip install 'alignboard[postgres]'"
        ) from error


@lru_cache(maxsize=1000)
def _parse_json(text: str) -> Any:
    """The value of a JSON text, which runs with equal cards and recipes share: never change it."""
    return json.loads(text)


def _sqlite(url: URL, *, read_only: bool) -> Engine:
    assert url.database is not None
    mode = "ro" if read_only else "rwc"
    file = Path(url.database).absolute().as_uri() + f"?mode={mode}"

    def open_file() -> sqlite3.Connection:
        connection = sqlite3.connect(file, uri=True, timeout=BUSY_SECONDS, check_same_thread=False)
        connection.isolation_level = None  # the driver's own BEGIN comes too late to be exclusive
        connection.execute("PRAGMA foreign_keys = ON")
        return connection

    engine = sa.create_engine("sqlite://", creator=open_file, poolclass=sa.NullPool, json_deserializer=_parse_json)
    sa.event.listen(engine, "begin", _begin)
    return engine


def _write_ahead(engine: Engine) -> None:
    """Lets readers work beside a writer. The mode is stored in the file, so never call it on another's database.

    The switch needs exclusive access. SQLite refuses it at once where another connection is open, without the timeout
    of other statements, so this function waits itself.
    """
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        connection = engine.raw_connection()
        try:
            connection.cursor().execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):
                raise
            if time.monotonic() > deadline:
                raise sa.exc.OperationalError("PRAGMA journal_mode", None, error) from error
        finally:
            connection.close()
        time.sleep(0.05)


def _begin(connection: Connection) -> None:
    # a transaction that starts as a reader and then writes fails at once where another writer was faster
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _revision(engine: Engine, url: URL) -> str | None:
    """The schema revision of the database; None where it is empty."""
    with engine.connect() as connection:
        return _revision_of(connection, url)


def _revision_of(connection: Connection, url: URL) -> str | None:
    tables = sa.inspect(connection).get_table_names()
    if {"alembic_version", schema.run.name} <= set(tables):  # other programs have versions, too
        return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
    if tables:
        raise UserError(
            "this database belongs to another program",
            file=display_url(url),
            found=f"tables {', '.join(sorted(tables)[:5])}",
            expected="a store of alignboard",
            remedy="give another path or database",
        )
    return None


def _upgrade(engine: Engine, url: URL, found: str | None, *, create: bool, read_only: bool) -> None:
    if found is None and (read_only or not create):
        raise NoStoreError("the store is empty", file=display_url(url), remedy=_FIRST_ROW)
    if found is not None and found > schema.REVISION:
        raise UserError(
            "the store was written by a newer version of alignboard",
            file=display_url(url),
            found=f"schema revision {found}",
            expected=f"schema revision {schema.REVISION} or older",
            remedy="`pip install --upgrade alignboard`, or use another store",
        )
    if read_only:
        raise UserError(
            "the store was written by an older version of alignboard",
            file=display_url(url),
            found=f"schema revision {found}",
            expected=f"schema revision {schema.REVISION}",
            remedy="`alignboard show` with this store upgrades it",
        )
    _migrate(engine, url)


def _migrate(engine: Engine, url: URL) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    with engine.connect().execution_options(writes=True) as connection, _without_foreign_keys(connection).begin():
        if connection.dialect.name == "postgresql":
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(hashtext('alignboard'))"))
        if _revision_of(connection, url) == schema.REVISION:  # another process was faster
            return
        config.attributes["connection"] = connection
        command.upgrade(config, schema.REVISION)


def _without_foreign_keys(connection: Connection) -> Connection:
    """The connection, which on SQLite deletes no rows of other tables while a migration copies a table."""
    if connection.dialect.name == "sqlite":
        driver: Any = connection.connection.driver_connection
        driver.execute("PRAGMA foreign_keys = OFF")  # without effect inside a transaction
    return connection
