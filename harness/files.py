"""Files on disk: digests, JSON, and writes that leave the new content or the old one."""

from __future__ import annotations

import errno
import gzip
import hashlib
import json
import os
import shutil
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, cast

from harness.barriers import reach
from harness.errors import UserError
from harness.faults import disk_errors

# Files of stages that the board reads, named here because it imports none of the modules that write them.
PREDICTIONS = "predictions.json"  # selection -> view -> final predictions, calibration, step of the model
STATISTICS = "statistics.parquet"  # one row per item: selection, view, item, cluster and the task's own columns
EXAMPLES = "examples.parquet"  # the first items of each view: text, gold and prediction
TRACE = "trace.json"  # the record of a training loop; after alignment also the weights that the base lacked
LOG = "stage.log"  # what a stage printed while it ran
COST = "cost.json"  # time, memory and device of a stage
PROJECTION = "projection.json"  # intrinsic measures and the points of maps
DIGEST = "digest"  # the key of a sealed object's own digest
INTRINSIC = "intrinsic"  # the split of measures that need no task; averages and tables of scores leave it out

_LFS = b"version https://git-lfs"
_CHUNK = 2**20  # bytes
_UMASK = os.umask(0o077)  # it cannot be read without being set
os.umask(_UMASK)
NEW_FOLDER = 0o777 & ~_UMASK  # the mode that new folders have


def text_digest(text: str) -> str:
    """Hexadecimal SHA-256 of a text in UTF-8."""
    return hashlib.sha256(text.encode()).hexdigest()


def short_digest(text: str) -> bytes:
    """A 16-byte digest of a text, for sets of more texts than memory holds."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def file_digest(path: Path, advance: Callable[[int], None] | None = None) -> str:
    """Hexadecimal SHA-256 of a file's content; `advance` gets the number of bytes of each chunk read."""
    digest = hashlib.sha256()
    with _named(path), path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
            if advance is not None:
                advance(len(chunk))
    return digest.hexdigest()


def json_digest(value: Any) -> str:
    """Hexadecimal SHA-256 of a JSON-like value, independent of the order of keys."""
    return text_digest(json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str))


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Adds the file's name to an error of the disk inside the block: reading an open file gives none."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


@contextmanager
def open_binary(path: Path) -> Iterator[BinaryIO]:
    """Opens a file, decompressed where its name ends in `.gz`. Raises UserError where that is damaged."""
    try:
        with _named(path), gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            yield cast(BinaryIO, stream)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        remedy = "fetch the file again"
        raise UserError("a compressed file that is damaged", file=path, found=str(error), remedy=remedy) from error


def is_lfs_pointer(file: Path) -> bool:
    """Whether a file is what Git LFS leaves where the content was not fetched."""
    with _named(file), file.open("rb") as stream:
        return stream.read(len(_LFS)) == _LFS


def lfs_pointer_error(file: Path) -> UserError:
    """The error for a pointer of Git LFS."""
    return UserError(
        "a pointer of Git LFS in place of the file itself",
        file=file,
        found="version https://git-lfs...",
        remedy="fetch the content with `git lfs pull`, or download the file",
    )


def folder_size(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def expand_user(path: str | Path) -> Path:
    """The path with the home folder in the place of `~`; unchanged where there is no such user."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Calls `write` on a temporary file beside `path`, flushes it to disk, renames it to `path` and flushes the folder.

    Missing parent folders are made. Whatever happens, `path` holds the whole new content or what it held before.
    """
    part = path.with_name(f".part-{os.getpid()}-{threading.get_ident()}-{path.name}")
    with disk_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            write(part)
            sync(part)
            reach("file written")
            part.replace(path)
            sync(path.parent)
            reach("file renamed")
        finally:
            part.unlink(missing_ok=True)


def remove_parts(folder: Path, age: float = 0.0) -> int:
    """Removes temporary files of `write_atomically` below a folder that are older than `age` seconds, left by processes
    that were killed. Returns their bytes."""
    size = 0
    for part in folder.rglob(".part-*"):
        with suppress(FileNotFoundError):  # its writer has finished meanwhile
            state = part.stat()
            if time.time() - state.st_mtime >= age:
                part.unlink()
                size += state.st_size
    return size


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 text atomically, line ends as they are."""
    write_atomically(path, lambda part: part.write_text(text, encoding="utf-8", newline=""))


def read_json(path: Path, *, expected: str = "JSON in UTF-8") -> Any:
    """The value of a JSON file. Raises UserError where it is not JSON in UTF-8, or is nested too deeply to be read."""
    if is_lfs_pointer(path):
        raise lfs_pointer_error(path)
    try:
        with open_binary(path) as stream:
            text = stream.read().decode("utf-8-sig")
        return json.loads(text)
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        found = f"byte 0x{error.object[error.start]:02x} at byte offset {error.start:,}"
        raise UserError("bytes that are not UTF-8", file=path, line=line, found=found, expected=expected) from error
    except json.JSONDecodeError as error:
        found = f"{error.msg}, column {error.colno}" if text.strip() else "an empty file"
        what = "this is not JSON" if text.strip() else "the file is empty"
        raise UserError(what, file=path, line=error.lineno, found=found, expected=expected) from error
    except RecursionError as error:
        raise UserError("JSON that is nested too deeply", file=path, expected=expected) from error
    except ValueError as error:  # a number of thousands of digits
        raise UserError("a number that is too long", file=path, found=str(error), expected=expected) from error


def write_json(path: Path, value: Any, *, indent: int | None = None) -> None:
    """Writes a value as JSON atomically, with a line end."""
    write_text(path, json.dumps(value, indent=indent, ensure_ascii=False) + "\n")


def seal(value: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON object with its own digest, by which `unseal` notices damage."""
    content = json.loads(json.dumps(value))  # as it will be read
    return {**content, DIGEST: json_digest(content)}


def unseal(value: Any) -> dict[str, Any]:
    """The object that was sealed. Raises ValueError where its content is not what was written."""
    content = {name: part for name, part in value.items() if name != DIGEST} if isinstance(value, dict) else {}
    if not content or value.get(DIGEST) != json_digest(content):
        raise ValueError("the content has changed since it was written")
    return content


def file_digests(folder: Path) -> dict[str, str]:
    """The digests of all files below a folder, by relative POSIX path."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): file_digest(path) for path in files}


def replace_folder(new: Path, old: Path) -> None:
    """Flushes `new` and puts it in the place of `old`, if there is one. `restore_folder` repairs an interruption."""
    with disk_errors(old.parent):
        sync_folder(new)
        aside = _aside(old)
        shutil.rmtree(aside, ignore_errors=True)
        if old.exists():
            old.rename(aside)
        reach("folder set aside")
        new.rename(old)
        sync(old.parent)
        reach("folder replaced")
        shutil.rmtree(aside, ignore_errors=True)


def restore_folder(folder: Path) -> None:
    """Finishes or undoes a `replace_folder` that was killed, so that one whole folder is there."""
    if folder.is_dir():
        shutil.rmtree(_aside(folder), ignore_errors=True)
    elif _aside(folder).is_dir():
        _aside(folder).rename(folder)


def publish_folder(new: Path, final: Path) -> bool:
    """Renames `new` to `final`; False, with `new` left as it is, where another process was first."""
    final.parent.mkdir(parents=True, exist_ok=True)
    try:
        new.rename(final)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        return False
    sync(final.parent)
    return True


def sync(path: Path) -> None:
    """Waits until a file, or the list of a folder's files, is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_folder(folder: Path) -> None:
    """Waits until a folder and all below it are on the disk. Files get the mode that new files have: safetensors lets
    nobody but the owner read what it writes, and artifacts may be shared."""
    for path in [*folder.rglob("*"), folder]:
        if path.is_file():
            path.chmod(0o666 & ~_UMASK)
        sync(path)


def _aside(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.old")
