"""Versions of code, packages and host."""

from __future__ import annotations

import subprocess
from importlib.metadata import version
from pathlib import Path

from harness.provenance import code_version, host, package_versions


def git(root: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    subprocess.run(["git", *identity, *arguments], cwd=root, check=True, capture_output=True)


def test_code_version_of_a_checkout(tmp_path: Path) -> None:
    package = tmp_path
    (package / "toymethods").mkdir()
    (package / "toymethods/direct.py").write_text("a = 1\n")
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
