"""Arrays that are computed in parts, kept on disk and memory-mapped.

Every finished part is kept, so that a computation which was killed resumes after it. Content is checked whenever it is
read: parts by the checksums of their archive, the joined arrays by their digests. What is damaged is computed again.
"""

from __future__ import annotations

import fcntl
import math
import os
import shutil
import struct
import sys
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import numpy as np

from harness.files import file_digest, read_json, remove_parts, seal, unseal, write_atomically, write_json

Arrays = Mapping[str, np.ndarray]
NAMES = "names of the arrays"  # an array of each part, by which it is known to be whole
INDEX = "index.json"  # type, shape and digest of each array; a folder without it is unfinished
QUIET, PAUSE = 10.0, 30.0  # seconds before the first line of progress, and between two


class Progress:
    """Prints how far a long computation got, and its rate, to standard error. A short one prints nothing."""

    def __init__(self, title: str, unit: str, total: int | None = None) -> None:
        self.title, self.unit, self.total = title, unit, total
        self._computed = 0
        self._start = time.monotonic()
        self._next = self._start + QUIET

    def advance(self, count: int, done: int) -> None:
        """Counts what was just computed; `done` includes what an earlier process finished."""
        self._computed += count
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + PAUSE
        rate = self._computed / (now - self._start)
        if self.total is None:
            line = f"{self.title}: {done:,} {self.unit}, {rate:,.0f}/s"
        else:
            minutes = (self.total - done) / rate / 60
            line = f"{self.title}: {done:,} of {self.total:,} {self.unit}, {rate:,.0f}/s, {minutes:.1f} min left"
        print(line, file=sys.stderr, flush=True)


def cached_arrays(folder: Path | None, parts: int, compute: Callable[[int], Arrays]) -> Arrays:
    """The arrays of `compute(0)` to `compute(parts - 1)`, joined along their first axis.

    With `folder` they are computed once and then memory-mapped, read-only. Of several processes that need the same
    folder one computes and the others wait.
    """
    if folder is None:
        made = [compute(part) for part in range(parts)]
        return {name: np.concatenate([arrays[name] for arrays in made]) for name in made[0]}
    while (arrays := _open(folder)) is None:
        unfinished = folder.with_name(f"{folder.name}.unfinished")
        with _locked(unfinished) as held:
            if held and _open(folder) is None:
                shutil.rmtree(folder, ignore_errors=True)
                remove_parts(unfinished)
                paths = [unfinished / f"part-{part:06}.npz" for part in range(parts)]
                for part, path in enumerate(paths):
                    cached_part(path, partial(compute, part))
                _join(paths, unfinished)
                for path in paths:
                    path.unlink()
                unfinished.rename(folder)
            elif held:
                shutil.rmtree(unfinished)
    return arrays


def cached_part(path: Path, compute: Callable[[], Arrays]) -> Arrays:
    """The arrays of one file, computed unless the file is there and intact."""
    arrays = read_part(path)
    if arrays is None:
        arrays = compute()
        write_part(path, arrays)
    return arrays


def read_part(path: Path) -> Arrays | None:
    """The arrays of one file; None where it is missing or damaged."""
    try:
        with np.load(path) as archive:
            if archive.zip.testzip() is not None:  # numpy reads no further than the shape says that it has to
                return None
            return {name: archive[name] for name in archive[NAMES].tolist()}
    except (OSError, ValueError, EOFError, LookupError, RuntimeError, zipfile.BadZipFile, zlib.error, struct.error):
        return None


def write_part(path: Path, arrays: Arrays) -> None:
    """Writes arrays to one file, with a checksum of each."""
    write_atomically(path, lambda part: np.savez(part, allow_pickle=False, **arrays, **{NAMES: np.array([*arrays])}))


def _join(parts: list[Path], folder: Path) -> None:
    """Appends the arrays of each part to one file for each array, and writes the index."""
    dtypes: dict[str, np.dtype] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    with ExitStack() as stack:
        files = {}
        for path in parts:
            with np.load(path) as archive:
                for name in archive[NAMES].tolist():
                    array = archive[name]
                    if name not in files:
                        files[name] = stack.enter_context((folder / name).open("wb"))
                        dtypes[name], shapes[name] = array.dtype, (0, *array.shape[1:])
                    files[name].write(np.ascontiguousarray(array, dtypes[name]).data)
                    shapes[name] = (shapes[name][0] + len(array), *shapes[name][1:])
    index = {
        name: {"dtype": dtype.str, "shape": shapes[name], "sha256": file_digest(folder / name)}
        for name, dtype in dtypes.items()
    }
    write_json(folder / INDEX, seal(index))


def _open(folder: Path) -> Arrays | None:
    """The arrays of a finished folder, or None where there is none or it is damaged."""
    try:
        index = unseal(read_json(folder / INDEX))
        if any(file_digest(folder / name) != entry["sha256"] for name, entry in index.items()):
            raise ValueError("damaged")
    except (OSError, ValueError):
        return None
    return {
        name: np.memmap(folder / name, entry["dtype"], "r", shape=tuple(entry["shape"]))
        if math.prod(entry["shape"])
        else np.empty(entry["shape"], entry["dtype"])  # an empty file cannot be mapped
        for name, entry in index.items()
    }


@contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Holds a folder for this process, after waiting for others; False where another one renamed it meanwhile."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        yield False
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield folder.is_dir() and os.path.samestat(os.fstat(handle), folder.stat())
    finally:
        os.close(handle)
