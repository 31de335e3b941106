"""The code part of a fingerprint: import closures, and which stages miss when a module is edited."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness import code
from harness.code import NEUTRAL, closure, code_hash
from harness.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
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


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    code._find.cache_clear()
    code.clear_caches()
    return tmp_path


def test_closure_follows_imports_of_the_own_package(package: Path) -> None:
    core, words = "toymethods.objectives.contrast", "toymethods.objectives.words"
    assert closure(["toymethods.direct"]) == {"toymethods.direct", core}
    assert closure(["toymethods.through"]) == {"toymethods.through", core, words}
    assert closure(["toymethods.typed"]) == {"toymethods.typed"}
    assert closure(["toymethods.loop"]) == {"toymethods.loop", "toymethods.loop2"}


def test_closure_of_public_names_reaches_the_modules_that_define_them(package: Path) -> None:
    found = closure(["toymethods.public"])
    assert "harness.method" in found
    assert not {"harness", "harness.registry", "harness.errors"} & found  # the package itself, and neutral modules


def test_closure_of_a_loose_file(package: Path) -> None:
    path = package / "loose.py"
    path.write_text("from harness.evaluation.retrieval import nearest\n")
    assert closure([str(path)]) == {str(path), "harness.evaluation.retrieval"}


def test_editing_an_objective_changes_exactly_the_methods_that_import_it(package: Path) -> None:
    before = {name: code_hash(name) for name in NAMES}
    (package / "toymethods/objectives/contrast.py").write_text(CORE + "SHARPER = True\n")
    code.clear_caches()
    after = {name: code_hash(name) for name in NAMES}
    assert {name for name in NAMES if before[name] != after[name]} == {"toymethods.direct", "toymethods.through"}


def test_hash_ignores_order_place_and_line_ends(package: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    assert code_hash(*NAMES) == code_hash(*reversed(NAMES * 2))
    here, there = package / "plug.py", tmp_path_factory.mktemp("other") / "plug.py"
    here.write_bytes(b"a = 1\nb = 2\n")
    there.write_bytes(b"a = 1\r\nb = 2\r\n")
    assert code_hash(str(here)) == code_hash(str(there))
    there.write_bytes(b"a = 1\nb = 3\n")
    code.clear_caches()
    assert code_hash(str(here)) != code_hash(str(there))


WORDED = '''"""A loss."""

import math  # for exp


class Loss:
    """Formula: x."""

    scale = 2.0  # as in the paper
    """A field."""

    def value(self, x):
        # first the scale
        return math.exp(x * self.scale)

    def name(self):
        return """
# no comment
"""
'''


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("A loss.", "A contrastive loss.\n\nWith a longer text.\n", True),
        ("Formula: x.", 'Formula: "y".', True),
        ("        # first the scale\n", "", True),
        ("  # as in the paper", "  # as in 'the' paper", True),
        ("import math  # for exp\n", "import math\n\n", True),
        ("A field.", "A field, of which no one reads.", True),
        ("scale = 2.0", "scale = 3.0", False),
        ("# no comment", "# none", False),
        ("    scale", "    tail = '#'  # a text\n    scale", False),
        ("def name(self):\n", "def name(self):\n        'words'; self.x = 1\n", False),
    ],
)
def test_hash_ignores_docstrings_and_comments_alone(package: Path, old: str, new: str, same: bool) -> None:
    path = package / "worded.py"
    path.write_text(WORDED)
    before = code_hash(str(path))
    assert WORDED.count(old) == 1
    path.write_text(WORDED.replace(old, new))
    code.clear_caches()
    assert (code_hash(str(path)) == before) is same


def test_a_module_without_source_is_an_error(package: Path) -> None:
    with pytest.raises(UserError, match=r"toymethods\.gone"):
        code_hash("toymethods.gone")


def test_neutral_modules_exist_and_have_a_reason() -> None:
    assert all(code._find(name) is not None and reason for name, reason in NEUTRAL.items())


@pytest.fixture(scope="module")
def edits(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, list[str]]]:
    """Each module of a copy of the code, edited in turn: the stages whose closure holds it, and those that miss."""
    copy = tmp_path_factory.mktemp("copy")
    for name in ("harness", "methods", "tasks", "alignboard", "tests"):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "golden"))
    environment = {**os.environ, "PYTHONPATH": str(copy)}
    command = [sys.executable, "-m", "tests.support.edit_modules", str(copy)]
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, dict[str, list[str]]] = json.loads(done.stdout)
    return found


def test_exactly_the_stages_miss_whose_closure_holds_the_edited_module(
    edits: dict[str, dict[str, list[str]]],
) -> None:
    assert len(edits) > 150
    wrong = {name: found for name, found in edits.items() if found["missed"] != found["expected"]}
    assert not wrong


AFTER_ALIGN = ["embed tatoeba", "finetune pawsx", "predict pawsx", "score pawsx", "score tatoeba"]


@pytest.mark.parametrize(
    ("module", "kinds"),
    [
        ("harness.data.transforms", {"align"}),
        ("harness.data.corpora", {"align", "finetune"}),
        ("harness.method", {"align", "finetune"}),
        ("harness.task", {"finetune", "predict", "embed", "score"}),
        ("harness.training.finetuning", {"finetune", "predict", "embed"}),
        ("harness.data.matching", {"sample"}),
        ("harness.data.contamination", {"overlap"}),
        ("harness.training.loop", {"pretrain", "align", "finetune"}),
    ],
)
def test_modules_that_decide_a_result_are_in_its_closure(
    edits: dict[str, dict[str, list[str]]], module: str, kinds: set[str]
) -> None:
    holding = {stage.split()[1] for stage in edits[module]["holding"]}
    assert kinds <= holding


@pytest.mark.parametrize("prefix", ["harness.cli", "harness.results", "harness.storage", "harness.experiments.plan"])
def test_modules_that_cannot_change_a_result_make_no_stage_miss(
    edits: dict[str, dict[str, list[str]]], prefix: str
) -> None:
    found = {name: edit["missed"] for name, edit in edits.items() if name.startswith(prefix)}
    assert found
    assert not any(found.values())


def test_an_objective_belongs_to_the_methods_that_use_it_alone(edits: dict[str, dict[str, list[str]]]) -> None:
    missed = edits["methods.objectives.contrastive"]["missed"]
    assert {stage.split()[0] for stage in missed} == {"ml-ctl-cz"}
    assert {stage.split()[1] for stage in missed} == {"align", "finetune", "predict", "embed", "score"}
