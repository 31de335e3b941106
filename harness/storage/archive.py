"""Runs in one file: their rows, as a small SQLite store, and their artifacts, in a plain tar with a list of digests.

    archive.json                 the runs, and size and SHA-256 of every other file; sealed by its own digest
    board.db                     the rows of the runs
    artifacts/objects/ab/abcd... the artifacts that they use

The tar is not compressed: weights and tables hardly shrink, and what a file says of its size cannot exceed the file.
"""

from __future__ import annotations

import io
import json
import shutil
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.errors import UsageError, UserError
from harness.faults import DiskError, disk_errors, quote
from harness.files import file_digest, seal, unseal, write_atomically
from harness.storage.artifacts import Artifacts, artifact_folder
from harness.storage.manifest import MANIFEST, File
from harness.storage.merging import put_run, read_run
from harness.storage.store import Store
from harness.storage.store.backup import join_files
from harness.storage.usage import lease

CONTENTS, BOARD, ARTIFACTS = "archive.json", "board.db", "artifacts"
FORMAT = 1
MOST_CONTENTS = 2**26  # bytes of the list of files
SPARE = 2**26  # bytes of the disk that an import leaves free
_REMEDY = "copy or export it again; nothing was imported"


def write_archive(file: Path, store: Store, artifacts: Artifacts, runs: Sequence[str]) -> int:
    """Writes the archive of some runs. Returns its bytes. Raises UserError where an artifact of theirs is damaged."""
    if file.exists():
        raise UsageError("there is a file already", file=file, remedy="give another name for the archive")
    folder = file.absolute().parent
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        scratch = tempfile.TemporaryDirectory(prefix=".part-", dir=folder)  # /tmp may be small, or in memory
    with scratch as place, store.snapshot() as source:
        rows = [read_run(source, run) for run in runs]
        fingerprints = sorted({name for own in rows for name in own.fingerprints})
        board = Path(place) / BOARD
        small = Store.open(board, create=True)
        with small.transaction() as connection:
            for own in rows:
                put_run(connection, own)
        small.close()
        join_files(board)
        with lease(artifacts, fingerprints):
            paths = {BOARD: board, **_artifact_files(artifacts, fingerprints)}
            files = {name: File(path.stat().st_size, file_digest(path))._asdict() for name, path in paths.items()}
            contents = {"format": FORMAT, "runs": list(runs), "files": files}
            write_atomically(file, lambda part: _write_tar(part, contents, paths))
    return file.stat().st_size


def _artifact_files(artifacts: Artifacts, fingerprints: Sequence[str]) -> dict[str, Path]:
    """The files of artifacts by their names in the archive."""
    paths: dict[str, Path] = {}
    for fingerprint in fingerprints:
        artifact = artifacts.find(fingerprint, verify=True)
        if artifact is None:
            raise UserError(
                "an artifact of these runs is missing or damaged",
                file=artifacts.root / artifact_folder(fingerprint),
                remedy="give the command of the run again, then export it",
            )
        for name in (MANIFEST, *artifact.files):
            paths[f"{ARTIFACTS}/{artifact_folder(fingerprint)}/{name}"] = artifact.path / name
    return paths


def _write_tar(part: Path, contents: Mapping[str, Any], paths: Mapping[str, Path]) -> None:
    text = json.dumps(seal(contents), ensure_ascii=False).encode()
    with tarfile.open(part, "w", format=tarfile.PAX_FORMAT) as tar:
        head = tarfile.TarInfo(CONTENTS)  # without the names and times of this machine, as all that follow
        head.size = len(text)
        tar.addfile(head, io.BytesIO(text))
        for name, path in paths.items():
            member = tarfile.TarInfo(name)
            member.size = path.stat().st_size
            with path.open("rb") as stream:
                tar.addfile(member, stream)


def unpack_archive(file: Path, folder: Path) -> None:
    """Unpacks an archive into an empty folder. Raises UserError unless every file is there, as large as listed and with
    its digest, and nothing else is."""
    try:
        with tarfile.open(file, "r:") as tar:
            listed = _read_list(tar, file)
            _check_size(file, sum(size for size, _ in listed.values()), folder)
            missing = dict(listed)
            while (member := tar.next()) is not None:
                expected = missing.pop(member.name, None)
                if expected is None or not member.isreg() or member.issparse() or member.size != expected.size:
                    raise _damage(file, f"{member.name!r} is not the file that the list has")
                tar.extract(member, folder, filter="data")
                if file_digest(folder / member.name) != expected.sha256:
                    raise _damage(file, f"the content of {member.name} has changed since it was written")
    except UserError:
        raise
    except (tarfile.TarError, ValueError) as error:  # ValueError: a header or a name that no file can have
        raise _damage(file, quote(error)) from error
    except FileNotFoundError as error:
        raise UserError("there is no such file", file=file) from error
    if missing:
        raise _damage(file, f"{len(missing)} of {len(listed)} files are not in it")


def _read_list(tar: tarfile.TarFile, file: Path) -> dict[str, File]:
    """The files that an archive says it has; its list is its first member."""
    head = tar.next()
    stream = tar.extractfile(head) if head and head.name == CONTENTS and head.size <= MOST_CONTENTS else None
    try:
        contents = unseal(json.loads(stream.read() if stream else ""))
        known = contents["format"] <= FORMAT
        listed = {name: File(int(entry["size"]), str(entry["sha256"])) for name, entry in contents["files"].items()}
        whole = BOARD in listed and all(each.size >= 0 for each in listed.values())
        names = all(name == BOARD or name.startswith(f"{ARTIFACTS}/objects/") for name in listed)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise _damage(file, f"no list of files ({CONTENTS}) that is whole") from error
    if not known:
        what, found = "an archive of a newer version of alignboard", f"format {contents['format']}"
        raise UserError(
            what, file=file, found=found, expected=f"format {FORMAT}", remedy="upgrade alignboard; nothing was imported"
        )
    if not names or not whole:
        raise _damage(file, "a list of other files")
    return listed


def _check_size(file: Path, size: int, folder: Path) -> None:
    """Raises an error where an archive claims to be larger than it is, or where the disk is too small for it."""
    if size > file.stat().st_size:
        raise _damage(file, f"{size:,} bytes listed, in a file of {file.stat().st_size:,}")
    free = shutil.disk_usage(folder).free - SPARE
    if 2 * size > free:
        found, remedy = f"{free / 2**20:.0f} MiB free", "free some space (`alignboard gc` helps); nothing was imported"
        what = f"the disk is too full to unpack {size / 2**20:.0f} MiB and copy them into place"
        raise DiskError(what, file=folder, found=found, remedy=remedy)


def _damage(file: Path, found: str) -> UserError:
    expected = "a whole archive, as `alignboard export` wrote it"
    return UserError(
        "not an archive of runs, or a damaged one", file=file, found=found, expected=expected, remedy=_REMEDY
    )
