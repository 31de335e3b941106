"""The checks of `alignboard doctor`: each looks at one thing and says what it found and, if need be, what to do."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Literal, NamedTuple

from packaging.requirements import Requirement

from harness.errors import UserError
from harness.registry import METHODS, OBJECTIVES, SOURCES, SUITES, TASKS
from harness.storage.home import database_url, home

FREE_LITTLE, FREE_TOO_LITTLE = 10, 1  # GiB: a suite on a small encoder fits in a few, one on mBERT takes tens


class Check(NamedTuple):
    """What one check found; only "failed" stops work, and `remedy` is empty where nothing is to be done."""

    name: str
    status: Literal["ok", "warning", "failed"]
    found: str
    remedy: str = ""


def all_checks() -> list[Check]:
    """Every check, in the order in which problems are best mended."""
    checks: list[Callable[[], Check]] = [python, packages, device, folder, disk, database, plugins, shared]
    return [check() for check in checks]


def python() -> Check:
    found = sys.version.split()[0]
    if (3, 11) <= sys.version_info[:2] <= (3, 13):
        return Check("Python", "ok", found)
    return Check("Python", "failed", found, "use Python 3.11, 3.12 or 3.13")


def packages() -> Check:
    needed = [Requirement(line) for line in requires("alignboard") or []]
    wrong = [text for need in needed if need.marker is None and (text := _wrong(need)) is not None]
    if wrong:
        return Check("packages", "failed", "; ".join(wrong), "install alignboard again: `make set-up` or `pip install`")
    return Check("packages", "ok", ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers")))


def device() -> Check:
    import torch

    if torch.cuda.is_available():
        gpus = (torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count()))
        return Check("device", "ok", ", ".join(f"{gpu.name} ({gpu.total_memory / 2**30:.0f} GiB)" for gpu in gpus))
    return Check("device", "ok", f"CPU, {torch.get_num_threads()} threads; no CUDA device, so keep to small encoders")


def folder() -> Check:
    """Whether the home folder, or the nearest folder above it that exists, can be written."""
    place = _existing(home())
    try:
        with tempfile.TemporaryFile(dir=place):
            return Check("home", "ok", str(home()))
    except OSError as error:
        return Check("home", "failed", f"{place}: {error.strerror}", "point ALIGNBOARD_HOME at a folder of your own")


def disk() -> Check:
    free = shutil.disk_usage(_existing(home())).free / 2**30
    found = f"{free:.1f} GiB free for {home()}"
    remedy = "free some space (`alignboard gc` removes what no run needs), or set ALIGNBOARD_HOME"
    if free < FREE_TOO_LITTLE:
        return Check("disk", "failed", found, remedy)
    return Check("disk", "warning", found, remedy) if free < FREE_LITTLE else Check("disk", "ok", found)


def database() -> Check:
    from harness.storage.store import Store
    from harness.storage.store.database import NoStoreError

    try:
        store = Store.open(database_url(), read_only=True)
    except NoStoreError as error:
        return Check("database", "ok", f"{error.file}: none yet, the first run makes it")
    except UserError as error:
        found = f"{error.file}: {error.what}" + (f" ({error.found})" if error.found else "")
        return Check("database", "failed", found, error.remedy or "")
    runs = len(store.runs())
    store.close()
    return Check("database", "ok", f"{store.place}, runs: {runs}")


def plugins() -> Check:
    registries = (METHODS, TASKS, SUITES, SOURCES, OBJECTIVES)
    broken = [reason for registry in registries for reason in _broken(registry.names(), registry.get)]
    if broken:
        return Check("plug-ins", "warning", "; ".join(broken), "repair or uninstall those packages")
    counts = ", ".join(f"{registry.kind}s {len(registry.names())}" for registry in registries)
    return Check("plug-ins", "ok", counts)


def shared() -> Check:
    """Real data for the tests: a checkout has it beside it, or in the folder that ALIGNBOARD_SHARED names."""
    named = os.environ.get("ALIGNBOARD_SHARED")
    place = Path(named) if named else Path(__file__).resolve().parents[2].parent / "shared"
    if (place / "data").is_dir():
        return Check("shared data", "ok", str(place))
    if named:
        return Check("shared data", "warning", f"{place}: no data folder there", "mend or unset ALIGNBOARD_SHARED")
    return Check("shared data", "ok", "none; only the tests on real sentences need it")


def _wrong(need: Requirement) -> str | None:
    try:
        found = version(need.name)
    except PackageNotFoundError:
        return f"{need} is missing"
    return None if need.specifier.contains(found, prereleases=True) else f"{need} is needed, {found} is there"


def _broken(names: list[str], get: Callable[[str], object]) -> list[str]:
    reasons = []
    for name in names:
        try:
            get(name)
        except UserError as error:
            reasons.append(error.what)
    return reasons


def _existing(path: Path) -> Path:
    return next(place for place in (path, *path.parents) if place.exists())
