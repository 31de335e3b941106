"""Puts a sample package on a path the way that pip does: its modules beside a dist-info with its entry points."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path


def install_package(package: Path, site: Path, *, name: str | None = None) -> Path:
    """Installs `package` (a folder with a pyproject.toml and modules) in the folder `site`, which is returned."""
    project = tomllib.loads((package / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    distribution = name or project["name"]
    info = site / f"{distribution.replace('-', '_')}-{project['version']}.dist-info"  # up to the hyphen: the name
    info.mkdir(parents=True)
    head = f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {project['version']}\n"
    (info / "METADATA").write_text(head, encoding="utf-8")
    groups = [
        f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in points.items())
        for group, points in project["entry-points"].items()
    ]
    (info / "entry_points.txt").write_text("\n".join(groups), encoding="utf-8")
    for module in package.glob("*.py"):
        shutil.copy(module, site)
    return site
