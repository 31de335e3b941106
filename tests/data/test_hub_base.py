"""A base encoder by its hub name goes through the hub's own client: tried against a local server."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.support.hub_server import Hub, serving
from tests.support.tiny_encoder import tiny_encoder

NAME = "google-bert/tiny"
_LOAD = """
import sys, torch
from harness.cli.failures import report_errors
from harness.modeling.encoder import Encoder
with report_errors():
    encoder = Encoder.load(sys.argv[1])
    torch.save(encoder.model.state_dict(), sys.argv[2])
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    folder = tmp_path_factory.mktemp("tiny")
    tiny_encoder().save(folder)
    with serving(Hub({NAME: {path.name: path.read_bytes() for path in folder.iterdir()}})) as running:
        yield running


def load(server: Hub, tmp_path: Path, name: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Loads an encoder as a command would, in a process of its own: the host's name is read at import."""
    environment = {**os.environ, "HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path / "home"), **settings}
    command = [sys.executable, "-c", _LOAD, name, str(tmp_path / "weights.pt")]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100)


@pytest.mark.long
def test_base_is_loaded_by_hub_name_and_cached(server: Hub, tmp_path: Path) -> None:
    done = load(server, tmp_path, NAME)
    assert done.returncode == 0, done.stderr
    weights = torch.load(tmp_path / "weights.pt")
    expected = tiny_encoder().model.state_dict()
    assert all(torch.equal(weights[name], expected[name]) for name in expected)
    asked = len(server.requests)
    assert load(server, tmp_path, NAME, HF_HUB_OFFLINE="1").returncode == 0
    assert len(server.requests) == asked


def test_a_name_that_the_hub_does_not_know(server: Hub, tmp_path: Path) -> None:
    done = load(server, tmp_path, "google-bert/tinny")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    for words in ("google-bert/tinny", "no encoder", "found:", "remedy:", "hub name"):
        assert words in done.stderr
