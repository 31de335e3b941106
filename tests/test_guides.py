"""Guides: the methods in README and docs/adding-a-method.md load as plug-ins and train, and links have targets."""

from __future__ import annotations

import math
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness import registry
from harness.registry import Registry, load_plugin
from tests.support.package_install import install_package
from tests.support.tiny_training import train_briefly

ROOT = Path(__file__).resolve().parent.parent
GUIDES = ("README.md", "docs/adding-a-method.md")


def files(guide: str) -> list[str]:
    """The code blocks that are whole files: those that register a method."""
    text = (ROOT / guide).read_text(encoding="utf-8")
    return [block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "@register(" in block]


@pytest.mark.parametrize(("guide", "number"), [(guide, n) for guide in GUIDES for n in range(len(files(guide)))])
def test_method_from_a_guide_trains(guide: str, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own: Registry[Any] = Registry("method", "alignboard.methods")
    monkeypatch.setattr(registry, "METHODS", own)
    monkeypatch.setattr(registry, "_plugins", [])
    before = set(own.names())
    plugin = tmp_path / f"guide_{number}.py"
    plugin.write_text(files(guide)[number], encoding="utf-8")
    load_plugin(plugin)
    (name,) = set(own.names()) - before
    cls = own.get(name)
    assert cls.reference
    assert cls.objective
    for losses in train_briefly(cls):
        assert all(math.isfinite(value) for value in losses.values())


def test_guides_contain_methods() -> None:
    assert [len(files(guide)) for guide in GUIDES] == [1, 2]


def test_readme_method_has_at_most_40_lines() -> None:
    code = [line for line in files("README.md")[0].splitlines() if line.strip()]
    assert len(code) <= 40


def test_third_party_method_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(install_package(Path(__file__).parent / "plugins" / "third_party_method", tmp_path))
    own: Registry[Any] = Registry("method", "alignboard.methods")
    assert "distance" in train_briefly(own.get("squared-distance"))[-1]


def test_links_in_docs_have_targets() -> None:
    for page in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert target.startswith("http") or (page.parent / target).exists(), f"{page.name}: {target}"


def test_files_for_clusters_are_well_formed() -> None:
    folder = ROOT / "docs" / "clusters"
    scripts, tables = sorted(folder.glob("*.sh")), sorted(folder.glob("*.yaml"))
    assert len(scripts) == 2
    assert len(tables) == 2
    for script in scripts:
        subprocess.run(["bash", "-n", str(script)], check=True)
    documents = [document for table in tables for document in yaml.safe_load_all(table.read_text())]
    assert [document.get("kind") for document in documents] == [None, "RayCluster", "Job"]
    heads = [documents[1]["spec"]["headGroupSpec"]["rayStartParams"]["num-cpus"], documents[0]["available_node_types"]]
    assert (heads[0], heads[1]["head"]["resources"]) == ("0", {"CPU": 0}), "no stage runs on a head"


def test_architecture_page_names_existing_files() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    paths = [name for name in re.findall(r"`([\w/.]+)`", page) if "/" in name]
    assert len(paths) > 20
    missing = [path for path in paths if not any((ROOT / room / path).exists() for room in ("", "harness"))]
    assert not missing
