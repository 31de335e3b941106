"""The checks of `alignboard doctor`. Each checks one thing and reports what it found and, if needed, a remedy."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable
from functools import partial
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Literal, NamedTuple

from packaging.requirements import Requirement

from harness import provenance
from harness.errors import UserError
from harness.experiments.method_card import method_card
from harness.registry import METHODS, OBJECTIVES, SOURCES, SUITES, TASKS
from harness.storage.home import database_url, home

WARN_BELOW, FAIL_BELOW = 10, 1  # GiB free: a suite takes a few with a small encoder, tens with mBERT


class MachineCheck(NamedTuple):
    """The result of one check. Only "failed" prevents work; `remedy` is empty where there is nothing to do."""

    name: str
    status: Literal["ok", "warning", "failed"]
    found: str
    remedy: str = ""


def run_checks() -> list[MachineCheck]:
    """The results of all checks, in the order in which problems are best fixed."""
    checks = (python, packages, device, home_folder, disk, database, plugins, shared_data)
    return [check() for check in checks]


def python() -> MachineCheck:
    found = sys.version.split()[0]
    if (3, 11) <= sys.version_info[:2] <= (3, 13):
        return MachineCheck("Python", "ok", found)
    return MachineCheck("Python", "failed", found, "use Python 3.11, 3.12 or 3.13")


def packages() -> MachineCheck:
    needed = [Requirement(line) for line in requires("alignboard") or []]
    problems = [text for need in needed if need.marker is None and (text := _package_problem(need)) is not None]
    if problems:
        return MachineCheck(
            "packages", "failed", "; ".join(problems), "install alignboard again: `make set-up` or `pip install`"
        )
    return MachineCheck("packages", "ok", ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers")))


def device() -> MachineCheck:
    gpus = ", ".join(f"{gpu.name} ({gpu.memory_bytes / 2**30:.0f} GiB)" for gpu in provenance.gpus())
    found = gpus or f"CPU, {provenance.cores()} cores; no CUDA device, so keep to small encoders"
    return MachineCheck("device", "ok", found)


def home_folder() -> MachineCheck:
    """Whether the home folder, or its nearest parent that exists, is writable."""
    folder = _existing_parent(home())
    try:
        with tempfile.TemporaryFile(dir=folder):
            return MachineCheck("home", "ok", str(home()))
    except OSError as error:
        return MachineCheck(
            "home", "failed", f"{folder}: {error.strerror}", "point ALIGNBOARD_HOME at a folder of your own"
        )


def disk() -> MachineCheck:
    free = shutil.disk_usage(_existing_parent(home())).free / 2**30
    found = f"{free:.1f} GiB free for {home()}"
    remedy = "free some space (`alignboard gc` deletes what no run needs), or set ALIGNBOARD_HOME"
    if free < FAIL_BELOW:
        return MachineCheck("disk", "failed", found, remedy)
    return MachineCheck("disk", "warning", found, remedy) if free < WARN_BELOW else MachineCheck("disk", "ok", found)


def database() -> MachineCheck:
    from harness.storage.store import Store
    from harness.storage.store.database import NoStoreError

    try:
        store = Store.open(database_url(), read_only=True)
        runs = len(store.names("id"))
    except NoStoreError as error:
        return MachineCheck("database", "ok", f"{error.file}: none yet; the first run creates it")
    except UserError as error:
        found = f"{error.file}: {error.what}" + (f" ({error.found})" if error.found else "")
        return MachineCheck("database", "failed", found, error.remedy or "")
    store.close()
    return MachineCheck("database", "ok", f"{store.place}, runs: {runs}")


def plugins() -> MachineCheck:
    registries = (METHODS, TASKS, SUITES, SOURCES, OBJECTIVES)
    loaders: list[tuple[Iterable[str], Callable[[str], object]]] = [
        *((METHODS, method_card), (OBJECTIVES, partial(method_card, registry=OBJECTIVES))),
        *((registry, registry.get) for registry in (TASKS, SUITES, SOURCES)),
    ]
    broken = [reason for names, load in loaders for reason in _load_errors(names, load)]
    if broken:
        return MachineCheck("plug-ins", "warning", "; ".join(broken), "fix or uninstall those packages")
    counts = ", ".join(f"{registry.kind}s {len(registry.names())}" for registry in registries)
    return MachineCheck("plug-ins", "ok", counts)


def shared_data() -> MachineCheck:
    """Real sentences for the tests: in the folder ALIGNBOARD_SHARED, or beside the checkout."""
    setting = os.environ.get("ALIGNBOARD_SHARED")
    place = Path(setting) if setting else Path(__file__).resolve().parents[2].parent / "shared"
    if (place / "data").is_dir():
        return MachineCheck("shared data", "ok", str(place))
    if setting:
        return MachineCheck(
            "shared data", "warning", f"{place}: no data folder there", "correct or unset ALIGNBOARD_SHARED"
        )
    return MachineCheck("shared data", "ok", "none; only tests on real sentences need it")


def _package_problem(need: Requirement) -> str | None:
    try:
        found = version(need.name)
    except PackageNotFoundError:
        return f"{need} is missing"
    return None if need.specifier.contains(found, prereleases=True) else f"{need} is needed, {found} is installed"


def _load_errors(names: Iterable[str], get: Callable[[str], object]) -> list[str]:
    reasons = []
    for name in names:
        try:
            get(name)
        except UserError as error:
            reasons.append(error.what)
    return reasons


def _existing_parent(path: Path) -> Path:
    return next(folder for folder in (path, *path.parents) if folder.exists())
