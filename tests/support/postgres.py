"""A PostgreSQL server for tests, where one is installed."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url


class Server:
    """A PostgreSQL server on a socket in a temporary folder, run by a user who may."""

    def __init__(self, programs: Path, owner: str | None) -> None:
        self.programs, self.owner = programs, owner
        self.folder = Path(tempfile.mkdtemp(prefix="pg-"))
        if owner is not None:
            shutil.chown(self.folder, owner)
        self._run("initdb", "-D", f"{self.folder}/data", "-U", "alignboard", "--auth=trust", "--no-sync")
        self.start()

    def start(self) -> None:
        options = f"-c listen_addresses='' -c unix_socket_directories={self.folder} -c fsync=off"
        self._run("pg_ctl", "-D", f"{self.folder}/data", "-l", f"{self.folder}/log", "-w", "-o", options, "start")

    def stop_now(self) -> None:
        """Ends every connection without a word, as a crash does."""
        self._run("pg_ctl", "-D", f"{self.folder}/data", "-m", "immediate", "stop")

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self.programs / program), *arguments]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run(command, user=self.owner, cwd=self.folder, check=True, timeout=60, **quiet)  # type: ignore[call-overload]

    def url(self, name: str) -> URL:
        return make_url(f"postgresql+psycopg://alignboard@/{name}?host={self.folder}")

    def fresh(self) -> str:
        """The URL of a new, empty database."""
        name = f"d{os.urandom(6).hex()}"
        engine = sa.create_engine(self.url("postgres"), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(sa.text(f"CREATE DATABASE {name}"))
        engine.dispose()
        return self.url(name).render_as_string(hide_password=False)

    def stop(self) -> None:
        self.stop_now()
        shutil.rmtree(self.folder)


def running_server() -> Iterator[Server]:
    """Yields a server and stops it afterwards. Skips the test, saying why, where none can be had."""
    pytest.importorskip("psycopg", reason="PostgreSQL's driver is not installed: pip install 'psycopg[binary]'")
    known = [Path(found).resolve() for found in [shutil.which("initdb")] if found]
    known += sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)
    if not known:
        pytest.skip("no PostgreSQL server is installed (Debian: apt-get install postgresql)")
    owner = None
    if os.getuid() == 0:
        names = {entry.pw_name for entry in pwd.getpwall()}
        owner = next((name for name in ("postgres", "nobody") if name in names), None)
        if owner is None:
            pytest.skip("PostgreSQL refuses to run as root, and there is no unprivileged user")
    running = Server(known[0].parent, owner)
    yield running
    running.stop()
