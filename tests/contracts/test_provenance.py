"""Versions of code and host, and source hashes that change with exactly what they cover."""

from __future__ import annotations

import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest

from harness.errors import UserError
from harness.provenance import code_version, host, module_closure, package_versions, source_hash

CORE = "def nce(x): return x\n"
FILES = {
    "toymethods/__init__.py": "",
    "toymethods/objectives/__init__.py": "",
    "toymethods/objectives/contrast.py": CORE,
    "toymethods/objectives/words.py": "from . import contrast\n",
    "toymethods/direct.py": "import numpy\nfrom toymethods.objectives.contrast import nce\n",
    "toymethods/through.py": "def build():\n    from toymethods.objectives import words\n    return words\n",
    "toymethods/typed.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import toymethods.direct\n",
    "toymethods/loop.py": "from .loop2 import b\na = 1\n",
    "toymethods/loop2.py": "from .loop import a\nb = 1\n",
    "toymethods/public.py": "from alignboard import Method, register\nfrom harness.errors import UserError\n",
}
NAMES = [f"toymethods.{name}" for name in ("direct", "through", "typed", "loop", "public")]
WITHIN = ("toymethods",)


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    from harness import provenance

    provenance._find.cache_clear()
    return tmp_path


def test_closure_follows_imports_under_the_prefixes_only() -> None:
    core = "toymethods.objectives.contrast"
    assert module_closure("toymethods.direct", WITHIN) == ["toymethods.direct", core]
    words = "toymethods.objectives.words"
    assert module_closure("toymethods.through", WITHIN) == ["toymethods.through", core, words]
    assert module_closure("toymethods.typed", WITHIN) == ["toymethods.typed"]
    assert module_closure("toymethods.loop", WITHIN) == ["toymethods.loop", "toymethods.loop2"]
    assert module_closure("toymethods.direct", ()) == ["toymethods.direct"]


def test_closure_of_public_names_reaches_their_homes() -> None:
    found = module_closure("toymethods.public", ("harness",))
    assert {"harness.method", "harness.registry", "harness.errors"} <= set(found)
    assert "harness" not in found


def test_closure_of_a_loose_file(package: Path) -> None:
    path = package / "loose.py"
    path.write_text("from toymethods import direct\n")
    assert module_closure(str(path), WITHIN)[1:] == ["toymethods.direct", "toymethods.objectives.contrast"]


def test_editing_an_objective_changes_exactly_the_methods_that_import_it(package: Path) -> None:
    def hashes() -> dict[str, str]:
        return {name: source_hash(module_closure(name, WITHIN)) for name in NAMES}

    before = hashes()
    (package / "toymethods/objectives/contrast.py").write_text(CORE + "# sharper\n")
    after = hashes()
    assert {name for name in NAMES if before[name] != after[name]} == {"toymethods.direct", "toymethods.through"}


def test_source_hash_ignores_order_place_and_line_ends(package: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    assert source_hash(NAMES) == source_hash(reversed(NAMES * 2))
    here, there = package / "plug.py", tmp_path_factory.mktemp("other") / "plug.py"
    here.write_bytes(b"a = 1\nb = 2\n")
    there.write_bytes(b"a = 1\r\nb = 2\r\n")
    assert source_hash([str(here)]) == source_hash([str(there)])
    there.write_bytes(b"a = 1\nb = 3\n")
    assert source_hash([str(here)]) != source_hash([str(there)])


def test_module_without_source_is_named() -> None:
    with pytest.raises(UserError, match=r"toymethods\.gone"):
        source_hash(["toymethods.gone"])


def git(root: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    subprocess.run(["git", *identity, *arguments], cwd=root, check=True, capture_output=True)


def test_code_version_of_a_checkout(package: Path) -> None:
    assert code_version(package) == (None, None)
    git(package, "init")
    git(package, "add", ".")
    git(package, "commit", "-m", "first")
    commit, dirty = code_version(package)
    assert commit is not None
    assert (len(commit), dirty) == (40, False)
    (package / "toymethods/direct.py").write_text("")
    assert code_version(package) == (commit, True)
    assert code_version(package / "toymethods") == (None, None)  # somebody else's repository


def test_package_versions_are_those_installed() -> None:
    versions = package_versions()
    assert versions["SQLAlchemy"] == version("SQLAlchemy")
    assert {"alignboard", "torch", "transformers", "numpy"} <= set(versions)


def test_host_is_described_without_its_name() -> None:
    import socket

    described = host()
    assert described["cores"] >= 1
    assert described["memory_bytes"] > 2**27
    assert described["cpu"]
    assert isinstance(described["accelerators"], list)
    assert socket.gethostname() not in str(described["name"])
