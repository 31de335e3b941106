"""Where a result comes from: the version of the code, of the packages and of the machine."""

from __future__ import annotations

import os
import platform
import re
import resource
import socket
import subprocess
import sys
import time
from functools import cache
from importlib.metadata import PackageNotFoundError, entry_points, requires, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from harness.files import text_digest

if TYPE_CHECKING:
    import torch

_ROOT = Path(__file__).resolve().parent.parent
_OPTIONAL = ("nvidia-ml-py", "ray")
_DRIVERS = ("/dev/nvidiactl", "/dev/nvmap", "/dev/dxg", "/dev/kfd")  # one is there wherever Linux can use a GPU


class CodeVersion(NamedTuple):
    """The commit of the checkout and whether it has changes; both None where the package is no checkout."""

    commit: str | None
    dirty: bool | None


def code_version(root: Path = _ROOT) -> CodeVersion:
    """The version of the checkout at `root`. An installed copy inside somebody else's repository is no checkout."""
    top = _git(root, "rev-parse", "--show-toplevel")
    if top is None or Path(top).resolve() != root.resolve():
        return CodeVersion(None, None)
    commit, status = _git(root, "rev-parse", "HEAD"), _git(root, "status", "--porcelain")
    if commit is None or status is None:
        return CodeVersion(None, None)
    return CodeVersion(commit, bool(status))


def package_versions() -> dict[str, str]:
    """Installed versions of alignboard, of what it requires, and of the packages that plug into it."""
    names = {"alignboard", *_OPTIONAL, *_plugins()}
    names |= {re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0] for line in _requirements()}
    found = {name: _version(name) for name in sorted(names, key=str.lower)}
    return {name: value for name, value in found.items() if value is not None}


@cache
def host() -> dict[str, Any]:
    """The machine: hashed name, CPU model, usable cores, memory in bytes, Python, platform, names of accelerators."""
    return {
        "name": text_digest(socket.gethostname())[:12],  # a shared board shows no host names
        "cpu": _cpu(),
        "cores": cores(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "accelerators": [gpu.name for gpu in gpus()],
    }


class Gpu(NamedTuple):
    """A device that torch calls CUDA."""

    name: str
    memory_bytes: int


@cache
def gpus() -> tuple[Gpu, ...]:
    """The GPUs of this machine. torch, which takes seconds to import, is asked only where there can be one."""
    if sys.platform == "darwin" or (sys.platform == "linux" and not any(map(os.path.exists, _DRIVERS))):
        return ()
    import torch

    found = map(torch.cuda.get_device_properties, range(torch.cuda.device_count() if torch.cuda.is_available() else 0))
    return tuple(Gpu(one.name, one.total_memory) for one in found)


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def device_name(kind: str) -> str:
    """The name of the first GPU for "cuda", else of the CPU."""
    return gpus()[0].name if kind == "cuda" else _cpu()


def device_clock(device: torch.device) -> float:
    """Seconds that the device has worked for this process.

    A GPU is taken to be ours alone, so its seconds are wall-clock seconds. CPU cores are shared with other programs:
    theirs are the process's CPU seconds divided by its threads.
    """
    import torch

    return time.perf_counter() if device.type == "cuda" else time.process_time() / torch.get_num_threads()


def peak_memory(device: torch.device | None = None) -> int:
    """Bytes: the peak of torch on a GPU, else the process's largest resident set so far."""
    if device is not None and device.type == "cuda":
        import torch

        return int(torch.cuda.max_memory_allocated(device))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):  # no git, no repository, or one that git does not trust
        return None
    return done.stdout.strip()


def _requirements() -> list[str]:
    try:
        return [line for line in requires("alignboard") or [] if "extra ==" not in line]
    except PackageNotFoundError:
        return []


def _plugins() -> set[str]:
    groups = ("alignboard.methods", "alignboard.tasks", "alignboard.suites", "alignboard.sources")
    points = [point for group in groups for point in entry_points(group=group)]
    return {point.dist.name for point in points if point.dist is not None}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        match = re.search(r"^model name\s*:\s*(.+)$", info.read_text(errors="replace"), re.MULTILINE)
        if match:
            return match[1].strip()
    return platform.processor() or platform.machine()
