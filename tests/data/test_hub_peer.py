"""The rows that the `datasets` library reads from a server that answers as the hub does, held against ours."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support import hub_world
from tests.support.hub_server import Hub, serving

PEER = """
import datasets, json
def rows(config, split, *columns):
    read = datasets.load_dataset("google/xtreme", config, split=split)
    inner = {name: getattr(feature, "feature", None) for name, feature in read.features.items()}
    named = {name: feature.names for name, feature in inner.items() if isinstance(feature, datasets.ClassLabel)}
    return [[[named[c][i] for i in row[c]] if c in named else row[c] for c in columns] for row in read]
found = {
    "pawsx": rows("PAWS-X.en", "train", "sentence1", "sentence2", "label"),
    "udpos": rows("udpos.Arabic", "test", "tokens", "pos_tags"),
    "xquad": rows("XQuAD.ar", "validation", "id", "question", "context", "answers"),
    "tatoeba": rows("tatoeba.swh", "validation", "source_sentence", "target_sentence"),
}
print(json.dumps(found))
"""
OURS = """
import json
from harness.registry import TASKS
from harness.data.hub import Hub
def rows(task, view, split):
    return Hub.open("").task(TASKS.get(task).spec, view, split)
pool = rows("tatoeba", "sw", "test")
found = {
    "pawsx": [(r.first, r.second, r.label) for r in rows("pawsx", "en", "train")],
    "udpos": [(r.words, r.tags) for r in rows("udpos", "ar", "test")],
    "xquad": [(r.id, r.question, r.context, [a.text for a in r.answers]) for r in rows("xquad", "ar", "test")],
    "tatoeba": [(r.id, r.text) for r in pool],
}
print(json.dumps(found))
"""


def test_datasets_reads_the_same_rows(tmp_path: Path) -> None:
    with serving(Hub(hub_world.hub_files())) as server:
        environment = {**os.environ, "HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path)}
        peer, ours = _printed(PEER, environment), _printed(OURS, environment)
    assert len(peer["pawsx"]) == hub_world.ROWS
    assert ours["pawsx"] == peer["pawsx"]
    assert ours["udpos"] == [[[_first_part(word) for word in words], tags] for words, tags in peer["udpos"]]
    assert ours["xquad"] == [[ident, q, context, answers["text"]] for ident, q, context, answers in peer["xquad"]]
    texts = {text.rstrip("\n") for row in peer["tatoeba"] for text in row}
    assert {text for _, text in ours["tatoeba"]} == texts


def _first_part(word: str) -> str:
    """What the official reader takes of a word with a blank inside."""
    return word.split()[0]


def _printed(code: str, environment: dict[str, str]) -> dict[str, Any]:
    """What a program prints as JSON, in a process of its own: the clients read the host's name at import."""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found
