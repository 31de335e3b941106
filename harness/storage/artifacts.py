"""Content-addressed folders: each holds the output of one stage and is named by the fingerprint of its inputs.

An artifact appears whole or not at all: it is written in a temporary folder of the same file system, listed with sizes
and SHA-256 in its manifest, flushed to disk and renamed into place. Published folders are never changed again.

    objects/ab/abcd...   published         work/abcd...   checkpoints of a stage in progress
    staging/             being written     damaged/       set aside, each with a note         locks/
    stores/  leases/  trials/              who uses the artifacts, see harness/storage/usage.py
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from harness.errors import UserError
from harness.faults import disk_errors
from harness.files import file_digest, folder_size, publish_folder, read_json, sync_folder

MANIFEST = "manifest.json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


class File(NamedTuple):
    """A file of an artifact: its size in bytes and the hexadecimal SHA-256 of its content."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Artifact:
    """A published folder; `files` maps relative POSIX paths to what the manifest says of them."""

    fingerprint: str
    kind: str
    path: Path
    meta: Mapping[str, Any]
    files: Mapping[str, File]

    @property
    def size(self) -> int:
        """Bytes of all files, without the manifest."""
        return sum(file.size for file in self.files.values())


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
    """The artifacts under one root folder, which is made on the first write. Safe for several processes at once."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root).absolute()

    def find(self, fingerprint: str, *, verify: bool = False) -> Artifact | None:
        """The artifact with this fingerprint, or None. Files must be there with their sizes; `verify` also hashes them.

        A damaged artifact is moved to `damaged/` with a note of what is wrong, and counts as missing.
        """
        path = self._object(fingerprint)
        if not path.is_dir():
            return None
        try:
            artifact = _read_manifest(path, fingerprint)
            _check_files(artifact, verify=verify)
        except _DamageError as damage:
            if path.is_dir():  # gone when another process collected or set it aside meanwhile
                self._set_aside(path, str(damage))
            return None
        return artifact

    @contextmanager
    def create(self, fingerprint: str, kind: str, meta: Mapping[str, Any]) -> Iterator[Path]:
        """Yields an empty folder to fill, and publishes it when the block ends; on any exception nothing is left.

        `meta` is read at the end of the block, so it may be completed inside it. Where another process published the
        same artifact first, that one stays. Raises DiskError where the disk cannot be written.
        """
        final = self._object(fingerprint)
        with disk_errors(self.root), self._staging(fingerprint) as folder:
            yield folder
            _write_manifest(folder, fingerprint, kind, meta)
            sync_folder(folder)
            self._publish(folder, final)
        shutil.rmtree(self._work(fingerprint), ignore_errors=True)

    def work(self, fingerprint: str) -> Path:
        """A folder for checkpoints of the stage in progress: kept when the process ends, deleted on publication."""
        path = self._work(fingerprint)
        with disk_errors(self.root):
            path.mkdir(parents=True, exist_ok=True)
        return path

    @contextmanager
    def lock(self, fingerprint: str, on_wait: Callable[[], None] | None = None) -> Iterator[None]:
        """Locks the stage for this process; the system releases the lock when the process dies.

        Waits while another process holds it, after calling `on_wait` once. Check for the artifact again inside.
        """
        path = self.root / "locks" / _check_name(fingerprint)
        with _locked(path, on_wait):
            yield

    def fingerprints(self) -> list[str]:
        """The fingerprints of all published artifacts, sorted."""
        return sorted(path.name for path in self.root.glob("objects/*/*"))

    def gc(self, keep: Callable[[], Collection[str]]) -> Collected:
        """Removes artifacts and work folders that are not among the fingerprints which `keep` returns, what dead
        processes were writing, and damaged artifacts.

        `keep` is called under the lock of collections. A stage that another process has locked is skipped.
        """
        removed, size = [], 0
        with self.collection_lock():
            kept = keep()
            for path in [*self.root.glob("objects/*/*"), *self.root.glob("work/*")]:
                if path.name in kept:
                    continue
                with _try_locked(self.root / "locks" / path.name) as held:
                    if held:
                        size += self._remove(path)
                        removed.append(path.name)
            size += self._sweep_staging()
            for path in self.root.glob("damaged/*"):
                size += self._remove(path)
        return Collected(tuple(sorted(set(removed))), size)

    @contextmanager
    def collection_lock(self) -> Iterator[None]:
        """Held while artifacts are collected, and while a process says which ones it needs."""
        with _locked(self.root / "locks" / ".collection"):
            yield

    def _object(self, fingerprint: str) -> Path:
        return self.root / artifact_folder(_check_name(fingerprint))

    def _work(self, fingerprint: str) -> Path:
        return self.root / work_folder(_check_name(fingerprint))

    @contextmanager
    def _staging(self, fingerprint: str) -> Iterator[Path]:
        parent = self.root / "staging"
        parent.mkdir(parents=True, exist_ok=True)
        with _locked(self.root / "locks" / ".staging"):  # so that no sweep sees the folder before it is locked
            folder = Path(tempfile.mkdtemp(prefix=f"{fingerprint}.", dir=parent))
            held = os.open(folder, os.O_RDONLY)
            fcntl.flock(held, fcntl.LOCK_EX)
        try:
            folder.chmod(0o755)
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(held)

    def _publish(self, folder: Path, final: Path) -> None:
        while not publish_folder(folder, final):
            if self.find(final.name) is not None:
                return

    def _set_aside(self, path: Path, damage: str) -> None:
        parent = self.root / "damaged"
        parent.mkdir(parents=True, exist_ok=True)
        place = Path(tempfile.mkdtemp(prefix=f"{path.name}.", dir=parent))
        with suppress(FileNotFoundError):
            path.rename(place / path.name)
        note = f"{path.name}\nset aside {datetime.now(UTC).isoformat(timespec='seconds')}\n{damage}\n"
        (place / "note.txt").write_text(note, encoding="utf-8")

    def _remove(self, path: Path) -> int:
        """Deletes a folder so that no reader ever sees half of it. Returns its bytes."""
        size = folder_size(path)
        parent = self.root / "staging"
        parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix="removed.", dir=parent))
        path.rename(temporary / path.name)
        shutil.rmtree(temporary)
        return size

    def _sweep_staging(self) -> int:
        size = 0
        with _locked(self.root / "locks" / ".staging"):
            for folder in self.root.glob("staging/*"):
                with _try_flock(folder) as abandoned:
                    if abandoned:
                        size += folder_size(folder)
                        shutil.rmtree(folder)
        return size


class _DamageError(Exception):
    """An artifact is damaged; the message says how."""


def _check_name(fingerprint: str) -> str:
    if not _NAME.fullmatch(fingerprint):  # from a database that is damaged
        raise UserError("not the name of an artifact", found=repr(fingerprint), remedy="restore a copy of the database")
    return fingerprint


def _read_manifest(path: Path, fingerprint: str) -> Artifact:
    try:
        content = read_json(path / MANIFEST)
        files = {name: File(int(entry["size"]), str(entry["sha256"])) for name, entry in content["files"].items()}
        artifact = Artifact(content["fingerprint"], content["kind"], path, content["meta"], files)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _DamageError(f"{MANIFEST} cannot be read: {type(error).__name__}: {error}") from error
    if artifact.fingerprint != fingerprint:
        raise _DamageError(f"{MANIFEST} belongs to {artifact.fingerprint}")
    return artifact


def _check_files(artifact: Artifact, *, verify: bool) -> None:
    for name, expected in artifact.files.items():
        path = artifact.path / name
        if not path.is_file():
            raise _DamageError(f"{name} is missing")
        size = path.stat().st_size
        if size != expected.size:
            raise _DamageError(f"{name} has {size} bytes, expected {expected.size}")
        if verify and file_digest(path) != expected.sha256:
            raise _DamageError(f"the content of {name} has changed since it was written")


def _write_manifest(folder: Path, fingerprint: str, kind: str, meta: Mapping[str, Any]) -> None:
    assert not (folder / MANIFEST).exists(), f"{MANIFEST} is written by the store"
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    files = {p.relative_to(folder).as_posix(): File(p.stat().st_size, file_digest(p))._asdict() for p in paths}
    content = {"fingerprint": fingerprint, "kind": kind, "meta": dict(meta), "files": files}
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")


@contextmanager
def _locked(path: Path, on_wait: Callable[[], None] | None = None) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = _acquire(path, on_wait)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)


def _acquire(path: Path, on_wait: Callable[[], None] | None) -> int:
    notified = on_wait is None
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            if not notified and not _flock(handle, wait=False):
                notified = True
                assert on_wait is not None
                on_wait()
            _flock(handle, wait=True)
            if _is_same_file(handle, path):
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)  # the previous holder removed this file, so a lock on it excludes nobody


@contextmanager
def _try_locked(path: Path) -> Iterator[bool]:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        held = _flock(handle, wait=False) and _is_same_file(handle, path)
        yield held
        if held:
            path.unlink(missing_ok=True)
    finally:
        os.close(handle)


@contextmanager
def _try_flock(folder: Path) -> Iterator[bool]:
    handle = os.open(folder, os.O_RDONLY)
    try:
        yield _flock(handle, wait=False)
    finally:
        os.close(handle)


def _flock(handle: int, *, wait: bool) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True


def _is_same_file(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False
