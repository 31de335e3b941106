"""Content-addressed folders: each holds the output of one stage and is named by the fingerprint of its inputs.

An artifact appears whole or not at all: it is written in a temporary folder of the same file system, listed with sizes
and SHA-256 in its manifest, flushed to disk and renamed into place. Published folders are never changed again. Whoever
looks for an artifact gets it only if every file has its digest, which is computed again where a file's inode, size or
times have changed since; and only if the inputs that it was made from are still the ones that are here.

    objects/ab/abcd...   published         work/abcd...   checkpoints of a stage in progress
    staging/             being written     damaged/       set aside, each with a note         locks/
    checked/             which files have been checked
    parts/ab..           some files of an artifact that is elsewhere, see harness/storage/shared.py
    stores/  leases/  trials/              who uses the artifacts, see harness/storage/usage.py
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from harness.barriers import reach
from harness.errors import UserError
from harness.faults import DiskError, disk_errors
from harness.files import (
    NEW_FOLDER,
    file_digest,
    folder_size,
    publish_folder,
    read_json,
    remove_parts,
    sync_folder,
    write_json,
    write_text,
)
from harness.storage.locks import StageClaim, claimed, fence, locked, try_flock, try_locked
from harness.storage.manifest import MANIFEST, Artifact, DamageError, read_manifest, write_manifest

WRITING_SECONDS = 3600.0  # a temporary file is written in less
SETTLED = 50_000_000  # nanoseconds after which a change of a file shows in its times
_PUBLISHED, _WORK = "objects/*/[!.]*", "work/[!.]*"  # not what file systems and desktops add, such as .nfs0001
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


def artifact_folder(fingerprint: str) -> str:
    """The folder of a published artifact, relative to the root of artifacts."""
    return f"objects/{fingerprint[:2]}/{fingerprint}"


def work_folder(fingerprint: str) -> str:
    """The folder of a stage in progress, or of one that failed, relative to the root of artifacts."""
    return f"work/{fingerprint}"


class Collected(NamedTuple):
    """What a garbage collection removed: artifacts by fingerprint, and the bytes of everything removed."""

    fingerprints: tuple[str, ...]
    size: int


class Artifacts:
    """The artifacts under one root folder, which is made on the first write. Safe for several processes at once.

    `SharedArtifacts` also has those that other machines have uploaded; what only it needs does nothing here.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root).absolute()

    def find(self, fingerprint: str, *, verify: bool = False, files: Collection[str] | None = None) -> Artifact | None:
        """The artifact with this fingerprint, or None where it is missing, damaged or made from another version of its
        inputs; `verify` also reads the files that were checked before. `files`: those that the caller is going to read,
        if not all; its folder may have no others where the artifact is elsewhere, too.

        What cannot be used is moved to `damaged/` with a note of what is wrong.
        """
        found = self._open(fingerprint, verify=verify)
        return found if isinstance(found, Artifact) else None

    def fault(self, fingerprint: str) -> str | None:
        """What is wrong with an artifact, after reading all of it; it is set aside as by `find`."""
        found = self._open(fingerprint, verify=True)
        return None if isinstance(found, Artifact) else found

    def absent(self, fingerprints: Iterable[str]) -> set[str]:
        """Those of some artifacts that are nowhere, whatever the files of the others are."""
        return {name for name in fingerprints if not self._object(name).is_dir()}

    def prefetch(self, fingerprints: Iterable[str]) -> None:
        """Prepares looking for many artifacts, so that it takes as long as for one."""

    def share(self, artifact: Artifact) -> None:
        """Makes sure that all machines have an artifact that `find` has returned."""

    def shared_copies(self) -> Artifacts | None:
        """What is shared, to list and collect it; None where nothing is."""
        return None

    def on_node(self) -> Artifacts:
        """These artifacts as another machine, or another process, has them."""
        return self

    def is_seen(self, lease: Path) -> bool:
        """Whether this machine has the artifacts of the machine that holds a lease on them."""
        return lease.is_file()

    def listed(self, fingerprint: str) -> Artifact | None:
        """The artifact as its manifest says, whatever its files are; None where it has none. Changes nothing."""
        with suppress(DamageError):
            return read_manifest(self._object(fingerprint), fingerprint)
        return None

    def find_file(self, fingerprint: str, name: str) -> Path | None:
        """One file of an artifact for a reader; None where it is missing or not as its manifest says. Changes nothing.

        Where the manifest itself is missing, the file is given as it is; `find` sets such an artifact aside.
        """
        path = self._object(fingerprint)
        if (path / MANIFEST).exists():
            try:
                artifact = read_manifest(path, fingerprint)
                self._check_files(artifact, {name} & artifact.files.keys())
            except DamageError:
                return None
        return path / name if (path / name).is_file() else None

    def _open(self, fingerprint: str, *, verify: bool) -> Artifact | str:
        path = self._object(fingerprint)
        if not path.is_dir():
            return "missing or damaged"
        try:
            artifact = read_manifest(path, fingerprint)
            self._check_files(artifact, artifact.files, verify=verify)
            self._check_inputs(artifact)
        except DamageError as damage:
            if path.is_dir():  # gone when another process collected or set it aside meanwhile
                self._set_aside(path, str(damage))
            return damage.kind
        return artifact

    def _check_files(self, artifact: Artifact, names: Collection[str], *, verify: bool = False) -> None:
        """Raises DamageError for a file that is not as the manifest says. Remembers what was read."""
        memory = self._memory(artifact.fingerprint)
        known = _read_memory(memory)
        seen: dict[str, list[Any]] = {}
        for name in names:
            expected = artifact.files[name]
            state = _file_state(artifact.path / name, name)
            mark = [*state, expected.sha256]
            if state.size != expected.size:
                raise DamageError(f"{name} has {state.size} bytes, expected {expected.size}")
            if (verify or known.get(name) != mark) and _read_digest(artifact.path / name, name) != expected.sha256:
                raise DamageError(f"the content of {name} has changed since it was written")
            if time.time_ns() - max(state.content_changed, state.inode_changed) > SETTLED:
                seen[name] = mark
        if any(known.get(name) != mark for name, mark in seen.items()):
            with suppress(OSError, DiskError):  # a disk that is full or read-only: it is read again next time
                write_json(memory, {**known, **seen})

    def _check_inputs(self, artifact: Artifact) -> None:
        """Raises DamageError where an input is there in another version than the one that was read."""
        for name, content in artifact.inputs.items():
            found = self.listed(name)  # None: the input is missing, or will be found damaged by whoever needs it
            if found is not None and found.content != content:
                raise DamageError(
                    f"it was made from another version of its input {name}", "made from another version of its input"
                )

    @contextmanager
    def create(
        self,
        fingerprint: str,
        kind: str,
        meta: Mapping[str, Any],
        inputs: Mapping[str, str] | None = None,
        claim: StageClaim | None = None,
    ) -> Iterator[Path]:
        """Yields an empty folder to fill, and publishes it when the block ends; on any exception nothing is left.

        `meta` and `inputs`, the contents of the artifacts that were read, are used at the end of the block, so they may
        be completed inside it. Where another process published the same artifact first, that one stays. Raises
        DiskError where the disk cannot be written, and LostClaimError where another process took over the `claim`.
        """
        final = self._object(fingerprint)
        with disk_errors(self.root), self.staging(fingerprint) as folder:
            yield folder
            write_manifest(folder, fingerprint, kind, meta, inputs or {})
            reach("manifest written")
            sync_folder(folder)
            reach("artifact flushed")
            with fence(claim.path) if claim else nullcontext():
                if claim:
                    claim.check()
                self._publish(folder, final)
            reach("artifact published")
        shutil.rmtree(self._work(fingerprint), ignore_errors=True)
        self._share_new(fingerprint)

    def _share_new(self, fingerprint: str) -> None:
        """What follows the publication of an artifact."""

    def work(self, fingerprint: str) -> Path:
        """A folder for checkpoints of the stage in progress: kept when the process ends, deleted on publication."""
        path = self._work(fingerprint)
        with disk_errors(self.root):
            path.mkdir(parents=True, exist_ok=True)
        return path

    @contextmanager
    def lock(self, fingerprint: str, on_wait: Callable[[], None] | None = None) -> Iterator[StageClaim]:
        """Claims the stage for this process; the system releases the claim when the process dies.

        Waits while another process holds it, after calling `on_wait` once. Check for the artifact again inside.
        """
        with claimed(self.root / "locks" / _check_name(fingerprint), on_wait) as claim:
            yield claim

    def fingerprints(self) -> list[str]:
        """The fingerprints of all published artifacts, sorted."""
        return sorted(path.name for path in self.root.glob(_PUBLISHED))

    def gc(self, keep: Callable[[], Collection[str]]) -> Collected:
        """Removes artifacts and work folders that are not among the fingerprints which `keep` returns, what dead
        processes were writing, and damaged artifacts.

        `keep` is called under the lock of collections. A stage that another process has locked is skipped.
        """
        removed, size = [], 0
        with self.collection_lock():
            kept = keep()
            paths = [path for place in (_PUBLISHED, _WORK, "parts/[!.]*") for path in self.root.glob(place)]
            for path in (path for path in paths if path.name not in kept):
                with try_locked(self.root / "locks" / path.name) as held:
                    if held:
                        size += self._remove(path)
                        removed.append(path.name)
            size += sum(map(self._remove, self.root.glob("damaged/*")))
            places = ("tokens", "checked", "leases", "stores", "trials", "parts")
            size += sum(remove_parts(self.root / place, WRITING_SECONDS) for place in places)
        return Collected(tuple(sorted(set(removed))), size + self.sweep())

    def sweep(self) -> int:
        """Removes what processes that have died were writing. Returns its bytes."""
        size = 0
        with locked(self.root / "locks" / ".staging"):
            for folder in self.root.glob("staging/*"):
                with try_flock(folder) as abandoned:
                    if abandoned:
                        size += folder_size(folder)
                        shutil.rmtree(folder)
        for folder in self.root.glob(_WORK):  # of stages that were published just before their process died
            if self._object(folder.name).is_dir():
                with try_locked(self.root / "locks" / folder.name) as held:
                    size += self._remove(folder) if held else 0
        return size

    @contextmanager
    def collection_lock(self) -> Iterator[None]:
        """Held while artifacts are collected, and while a process says which ones it needs."""
        with locked(self.root / "locks" / ".collection"):
            yield

    def _object(self, fingerprint: str) -> Path:
        return self.root / artifact_folder(_check_name(fingerprint))

    def _memory(self, fingerprint: str) -> Path:
        return self.root / "checked" / f"{fingerprint}.json"

    def _work(self, fingerprint: str) -> Path:
        return self.root / work_folder(_check_name(fingerprint))

    def _new_folder(self, place: str, name: str) -> Path:
        parent = self.root / place
        parent.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f"{name}.", dir=parent))

    @contextmanager
    def staging(self, name: str) -> Iterator[Path]:
        """A temporary folder beside the artifacts; `sweep` removes it where this process dies."""
        with locked(self.root / "locks" / ".staging"):  # so that no sweep sees the folder before it is locked
            folder = self._new_folder("staging", name)
            held = os.open(folder, os.O_RDONLY)
            fcntl.flock(held, fcntl.LOCK_EX)
        try:
            folder.chmod(NEW_FOLDER)
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(held)

    def _publish(self, folder: Path, final: Path) -> None:
        while not publish_folder(folder, final):
            if isinstance(self._open(final.name, verify=False), Artifact):
                return

    def _set_aside(self, path: Path, damage: str) -> None:
        place = self._note_damage(path.name, damage)
        with suppress(FileNotFoundError):
            path.rename(place / path.name)
        self._memory(path.name).unlink(missing_ok=True)

    def _note_damage(self, name: str, damage: str) -> Path:
        """A new folder for what is set aside, with a note of what is wrong."""
        place = self._new_folder("damaged", name)
        note = f"{name}\nset aside {datetime.now(UTC).isoformat(timespec='seconds')}\n{damage}\n"
        write_text(place / "note.txt", note)
        return place

    def _remove(self, path: Path) -> int:
        """Deletes a folder so that no reader ever sees half of it. Returns its bytes."""
        size = folder_size(path)
        self._memory(path.name).unlink(missing_ok=True)
        with self.staging("removed") as temporary:
            path.rename(temporary / path.name)
        return size


def _check_name(fingerprint: str) -> str:
    if not _NAME.fullmatch(fingerprint):  # from a database that is damaged
        raise UserError("not the name of an artifact", found=repr(fingerprint), remedy="restore a copy of the database")
    return fingerprint


class _FileState(NamedTuple):
    """What changes whenever a file does; the times are in nanoseconds."""

    inode: int
    size: int
    content_changed: int
    inode_changed: int


def _file_state(path: Path, name: str) -> _FileState:
    try:
        state = path.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DamageError(f"{name} is missing") from error
    if not stat.S_ISREG(state.st_mode):
        raise DamageError(f"{name} is missing")
    return _FileState(state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)


def _read_digest(path: Path, name: str) -> str:
    try:
        return file_digest(path)
    except OSError as error:
        if error.errno not in (errno.EIO, errno.ENOENT):
            raise
        raise DamageError(f"{name} cannot be read: {error.strerror}") from error


def _read_memory(file: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        if isinstance(known := read_json(file), dict):
            return known
    return {}
