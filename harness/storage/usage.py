"""Who uses artifacts: databases, processes at work and the trials of ablations. `collect` keeps what they use.

stores/NAME.json   a database whose runs have artifacts here
leases/NAME.json   what a process is computing or reading; the lease ends with the process
trials/NAME.json   the stages of an ablation's trials, which no run has
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from harness.errors import UserError, unknown
from harness.files import json_digest, read_json, text_digest, write_json
from harness.storage.artifacts import Artifacts, Collected
from harness.storage.store import Store
from harness.storage.store.database import hide_secrets
from harness.storage.store.schema import UNFINISHED


def register_store(artifacts: Artifacts, store: Store) -> None:
    """Remembers that the runs of a database use these artifacts; its password is not stored."""
    location, home = store.location, artifacts.root.parent
    if "://" not in location and Path(location).is_relative_to(home):
        location = str(Path(location).relative_to(home))  # so that the home folder can be moved
    write_json(artifacts.root / "stores" / f"{text_digest(location)[:16]}.json", {"store": location})


def registered_stores(artifacts: Artifacts) -> list[str]:
    """The databases that use these artifacts: absolute paths, and URLs without passwords."""
    return sorted(set(_entries(artifacts).values()))


def forget_store(artifacts: Artifacts, location: str) -> None:
    """Forgets a database, so that its runs no longer keep artifacts. Raises UsageError where it is not registered."""
    known = _entries(artifacts)
    place = location if "://" in location else str(Path(location).absolute())
    if place not in known.values():
        raise unknown("database of these artifacts", hide_secrets(location), known.values())
    for entry in (entry for entry, name in known.items() if name == place):
        entry.unlink(missing_ok=True)


@contextmanager
def lease(artifacts: Artifacts, fingerprints: Iterable[str]) -> Iterator[Path]:
    """Keeps artifacts from being collected inside the block, whether or not they exist yet. Yields the lease's file.

    Waits for a collection that is under way. A lease ends when its process dies.
    """
    names = sorted(fingerprints)
    path = artifacts.root / "leases" / f"{os.getpid()}-{json_digest([names, os.urandom(8).hex()])[:16]}.json"
    with artifacts.collection_lock():
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        fcntl.flock(handle, fcntl.LOCK_EX)
        path.write_text(json.dumps(names), encoding="utf-8")
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)


def keep_trials(artifacts: Artifacts, fingerprints: Iterable[str]) -> None:
    """Keeps stages that belong to no run, with their checkpoints: the trials of an ablation, and pre-trained encoders.
    The same command reuses them."""
    names = sorted(fingerprints)
    if names:
        write_json(artifacts.root / "trials" / f"{json_digest(names)[:16]}.json", names)


def used_by(store: Store) -> set[str]:
    """The stages that the runs of a database have used, and those that unfinished runs are going to use."""
    runs = store.runs(["card"], status=list(UNFINISHED))
    return store.used_stages() | {str(stage[0]) for run in runs for stage in run["card"].get("stages", ())}


def in_use(artifacts: Artifacts, locations: Sequence[str], *, trials: bool = True, unknown: bool = True) -> set[str]:
    """All fingerprints that a collection keeps: of the databases at `locations`, of processes at work, and of `trials`;
    without `unknown` also of what no database has recorded.

    Checkpoints are kept while any run is unfinished. Raises UserError where a database cannot be read.
    """
    files = {name for file in _files(artifacts, "trials") for name in _read_names(file)}
    kept = files if trials else set()
    recorded = set(files)
    for file in _files(artifacts, "leases"):
        kept |= _leased(file)
    for location in locations:
        try:
            store = Store.open(location, read_only=True)
        except UserError as error:
            raise UserError(
                f"nothing was deleted, since a database that uses these artifacts cannot be read: {error.what}",
                file=error.file or hide_secrets(location),
                found=error.found,
                remedy=f"{error.remedy}; or give --forget {hide_secrets(location)} to delete what only its runs need",
            ) from error
        kept |= used_by(store)
        recorded |= store.stage_names()
        if store.runs(["id"], newest=1, status=list(UNFINISHED)):
            kept |= {folder.name for folder in artifacts.root.glob("work/*")}
        store.close()
    return kept if unknown else kept | (set(artifacts.fingerprints()) - recorded)


def collect(artifacts: Artifacts, locations: Sequence[str], *, trials: bool = False, unknown: bool = True) -> Collected:
    """Deletes the artifacts that nothing uses; with `trials` those that only the trials of ablations use, and with
    `unknown` those that no database has recorded.

    What is in use is read while no process can take a lease, immediately before anything is deleted.
    """
    known = _files(artifacts, "trials") if trials else []  # an ablation may add more meanwhile
    collected = artifacts.gc(lambda: in_use(artifacts, locations, trials=not trials, unknown=unknown))
    for file in known:
        file.unlink(missing_ok=True)
    return collected


def _entries(artifacts: Artifacts) -> dict[Path, str]:
    """The databases that use these artifacts, by the file that says so."""
    found = {}
    for entry in _files(artifacts, "stores"):
        content = read_json(entry)
        text = content.get("store") if isinstance(content, dict) else None
        if not isinstance(text, str):
            remedy = "delete this file; the next run with that database writes it again"
            raise UserError("this file should name a database of these artifacts", file=entry, remedy=remedy)
        found[entry] = text if "://" in text else str(artifacts.root.parent / text)
    return found


def _read_names(file: Path) -> set[str]:
    """The fingerprints that a file lists."""
    names = read_json(file)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        remedy = "delete this file, if no ablation is to reuse its trials"
        raise UserError("this file should list artifacts", file=file, remedy=remedy)
    return set(names)


def _files(artifacts: Artifacts, kind: str) -> list[Path]:
    return sorted(artifacts.root.glob(f"{kind}/[!.]*.json"))


def _leased(file: Path) -> set[str]:
    """The fingerprints of a lease; none, with the file deleted, where its process is gone."""
    with suppress(FileNotFoundError), file.open("rb") as stream:  # its process may end meanwhile
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return _read_names(file)
        file.unlink()
    return set()
