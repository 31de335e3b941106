"""The one place that turns what Python and the libraries raise for a user's mistake, or for a disk, into a UserError.

`explain` knows the kinds of error that can come up anywhere. What only one reader meets, such as weights that cannot be
read, is explained there, where the file is known.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.errors import UserError

LONGEST_QUOTE = 2000  # characters
UNKNOWN_FAULT = "a file cannot be read or written"  # an OSError without a number that the system gave
_CHOOSE = "choose another folder (ALIGNBOARD_HOME)"
_FREE = f"free some space (`alignboard gc` helps) or {_CHOOSE}, then run the same command again: what is finished stays"
_ALLOW = f"change the permissions, or {_CHOOSE}"
_LOCAL = "put the artifacts and the database on a local disk (ALIGNBOARD_HOME), or have the locks of the mount enabled"
_SHORTER = "give a shorter path"
_FAULTS = {  # what can be done about a failure of the disk; the first four are looked for in other libraries' words too
    errno.ENOSPC: ("the disk is full", _FREE),
    errno.EDQUOT: ("the disk quota is used up", _FREE),
    errno.EFBIG: ("the limit on the size of a file is reached", "raise the limit (`ulimit -f unlimited`), then rerun"),
    errno.EIO: ("the disk cannot be read or written", f"check the disk, or {_CHOOSE}"),
    errno.EROFS: ("the disk is read-only", _CHOOSE),
    errno.EACCES: ("permission denied", _ALLOW),
    errno.EPERM: ("operation not permitted", _ALLOW),
    errno.ENOTDIR: ("a file is where a folder is expected", _CHOOSE),
    errno.EISDIR: ("a folder is where a file is expected", "give the path of a file"),
    errno.ENOLCK: ("files cannot be locked here", _LOCAL),
    errno.ENOTSUP: ("the file system does not support what is needed here, such as locks", _LOCAL),
    errno.ENOSYS: ("the file system does not support what is needed here, such as locks", _LOCAL),
    errno.ESTALE: ("the network file system has lost the file", f"rerun, or {_CHOOSE}"),
    errno.ENAMETOOLONG: ("the path is too long", _SHORTER),
    errno.EMFILE: ("too many files are open", "raise the limit (`ulimit -n`), or use fewer --workers"),
}
_IN_WORDS = tuple(_FAULTS)[:4]
_MEMORY = re.compile(r"can't allocate memory|not enough memory|out of memory|cannot allocate memory", re.IGNORECASE)
_ELSEWHERE = re.compile(r"[^.!?]*\b(?:look at the above|see above|report above)[^.!?]*[.!?]?", re.IGNORECASE)


class DiskError(UserError):
    """The disk is full, over quota, broken or cannot be written."""


def explain(error: BaseException, folder: Path = Path()) -> UserError | None:
    """The UserError that an exception amounts to; None where it is a bug of ours, whose traceback is needed.

    `folder` is named where a failure of the disk names no file.
    """
    if isinstance(error, UserError):
        return error
    if (disk := disk_error(error, folder)) is not None:
        return disk
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and _MEMORY.search(str(error))):
        remedy = "use smaller batches (--set align.batch_size=N), a smaller base, or fewer --workers"
        return UserError("the memory is not enough", found=quote(error), remedy=remedy)
    if isinstance(error, UnicodeError):
        remedy = "write the text, or the name of the file, in UTF-8"
        return UserError("a text that UTF-8 cannot hold", found=quote(error), remedy=remedy)
    match f"{type(error).__module__.partition('.')[0]}.{type(error).__name__}":
        case "concurrent.BrokenProcessPool":
            remedy = "often the memory is not enough: use fewer --workers, then give the same command again"
            return UserError("a worker process was killed", remedy=remedy)
        case "pyarrow.ArrowInvalid":
            remedy = "`alignboard verify` finds artifacts that are damaged, and the next run computes them again"
            return UserError("a table that cannot be read", found=quote(error), remedy=remedy)
        case "pydantic_core.ValidationError":
            remedy = "give the command of the run again"
            return UserError("stored settings that this version cannot read", found=quote(error), remedy=remedy)
    return None


def disk_error(error: BaseException, folder: Path = Path()) -> DiskError | None:
    """What to report where an error comes from the disk; None for any other error."""
    number, words = (error.errno if isinstance(error, OSError) else None), str(error)
    if number is None and not isinstance(error, UserError):
        # writers in compiled code (safetensors, tokenizers) and shutil pass on the system's words without its number
        likely = _FAULTS if isinstance(error, OSError) else _IN_WORDS
        number = next((n for n in likely if os.strerror(n) in words), None)
    if number is None and isinstance(error, OSError):
        if not re.search(r"\d requested and \d+ written", words):  # what NumPy says of a full disk
            remedy = "check that file; `alignboard verify` finds artifacts that are damaged"
            return DiskError(UNKNOWN_FAULT, found=quote(error), remedy=remedy)
        number = errno.ENOSPC
    if number is None or number == errno.EPIPE:  # the reader of our output is gone, which the command line handles
        return None
    what, remedy = _FAULTS.get(number, (os.strerror(number).lower(), "check that path, then give the command again"))
    file = Path(os.fsdecode(getattr(error, "filename", None) or folder))
    known = str(file)[:300] if remedy == _SHORTER else None if file == Path() else file
    found = f"{_free_bytes(file) / 2**20:.0f} MiB free" if remedy == _FREE and known else None
    if number not in _FAULTS and known is None:  # such as that there is no usable folder for temporary files
        found = quote(error)
    return DiskError(what, file=known, found=found, remedy=remedy)


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Turns a failure of the disk inside the block into a DiskError, about `folder` where the error names no file."""
    try:
        yield
    except Exception as error:
        if (explained := disk_error(error, folder)) is None:
            raise
        raise explained from error


def quote(error: BaseException) -> str:
    """What a library's error says: all of it, on one line, without pointers to reports that are not shown."""
    text = " ".join(_ELSEWHERE.sub("", str(error)).split()) or type(error).__name__
    return text if len(text) <= LONGEST_QUOTE else f"{text[:LONGEST_QUOTE]}…"


def _free_bytes(file: Path) -> int:
    existing = next(path for path in (file.absolute(), *file.absolute().parents) if path.exists())
    return shutil.disk_usage(existing).free
