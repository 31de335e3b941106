"""System calls that fail from a moment on, as on a disk that breaks: a filter in the kernel (seccomp) answers them.

So the fault reaches what compiled code writes, too: SQLite, safetensors, Arrow, NumPy. Linux alone has such filters.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from pathlib import Path

CALLS = {  # kind of call -> the numbers of its system calls on x86-64 and on 64-bit ARM
    "write": {"x86_64": (1, 18, 20, 40, 77, 285, 296, 326), "aarch64": (46, 47, 64, 66, 68, 70, 71, 285)},
    "flush": {"x86_64": (26, 74, 75), "aarch64": (82, 83, 227)},
    "rename": {"x86_64": (82, 264, 316), "aarch64": (38, 276)},
    "create": {"x86_64": (2, 83, 257, 258), "aarch64": (34, 56)},
    "read": {"x86_64": (0, 17), "aarch64": (63, 67)},
}
OPEN = {"x86_64": {2: 1, 257: 2}, "aarch64": {56: 2}}  # calls that may create a file -> the argument with their flags
SECCOMP = {"x86_64": 317, "aarch64": 277}
FAIL, ALLOW, ALL_THREADS, NO_NEW_PRIVILEGES = 0x00050000, 0x7FFF0000, 1, 38
LOAD, SKIP_UNLESS_EQUAL, SKIP_UNLESS_SET, RETURN = 0x20, 0x15, 0x45, 0x06


class Program(ctypes.Structure):
    """The filter as the kernel takes it."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def can_fail() -> bool:
    """Whether this machine can have its calls fail."""
    return platform.system() == "Linux" and platform.machine() in SECCOMP


def fail_calls(kind: str, number: int) -> None:
    """Has all calls of a kind fail with an error number, in every thread of this process, until it ends."""
    machine = platform.machine()
    content = b"".join(
        struct.pack("HBBI", *instruction)
        for call in CALLS[kind][machine]
        for instruction in _fail(call, OPEN[machine].get(call), number)
    )
    content += struct.pack("HBBI", RETURN, 0, 0, ALLOW)
    program, libc = Program(len(content) // 8, content), ctypes.CDLL(None, use_errno=True)
    zeros = [ctypes.c_ulong(0)] * 3
    if libc.prctl(NO_NEW_PRIVILEGES, ctypes.c_ulong(1), *zeros):
        raise RuntimeError(os.strerror(ctypes.get_errno()))
    if libc.syscall(SECCOMP[machine], 1, ALL_THREADS, ctypes.byref(program)):
        raise RuntimeError(os.strerror(ctypes.get_errno()))


def _fail(call: int, flags: int | None, number: int) -> list[tuple[int, int, int, int]]:
    """Instructions that make one call fail; where it has flags, if they allow to write."""
    end = (RETURN, 0, 0, FAIL | number)
    if flags is None:
        return [(LOAD, 0, 0, 0), (SKIP_UNLESS_EQUAL, 0, 1, call), end]
    writes = os.O_WRONLY | os.O_RDWR | os.O_CREAT
    load_flags, skip_unless_writes = (LOAD, 0, 0, 16 + 8 * flags), (SKIP_UNLESS_SET, 0, 1, writes)
    return [(LOAD, 0, 0, 0), (SKIP_UNLESS_EQUAL, 0, 3, call), load_flags, skip_unless_writes, end]


def call_error(kind: str, folder: Path) -> int:
    """The number of the error with which a call of a kind fails in a folder; 0 where it succeeds."""
    own = Path(__file__)
    tries = {
        "write": lambda: os.pwrite(os.memfd_create("probe"), b"1", 0),
        "flush": lambda: os.fsync(os.open(own, os.O_RDONLY)),
        "rename": lambda: (folder / "missing").rename(folder / "absent"),
        "create": lambda: os.close(os.open(folder / "probe", os.O_WRONLY | os.O_CREAT)),
        "read": lambda: os.read(os.open(own, os.O_RDONLY), 1),
    }
    try:
        tries[kind]()
    except OSError as error:
        return error.errno or 0
    return 0
