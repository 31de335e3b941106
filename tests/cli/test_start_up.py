"""Commands that do not train load neither torch nor transformers, and cards of methods are never out of date."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from harness import code
from harness.errors import UserError
from harness.experiments.method_card import MethodCard, method_card, method_config
from harness.registry import METHODS, OBJECTIVES, Registry
from tests.support.cli_calls import MBERT_RUN, run_command
from tests.support.tiny_runs import TINY

HEAVY = ("torch", "transformers")
RUN = (*MBERT_RUN, *(word for change in TINY for word in ("--set", change)), "--workers", "1")
LIGHT = (  # in this order: labels are exported before they are scored
    ("--version",),
    ("--help",),
    ("methods",),
    ("methods", "ml-ctl-cz"),
    ("tasks",),
    ("tasks", "mlqa"),
    ("sources",),
    ("sources", "babel:size=small"),
    ("doctor",),
    ("ablation",),
    ("show",),
    ("show", "--by", "language"),
    ("compare", "mbert", "mbert"),
    ("db", "status"),
    ("verify",),
    ("gc", "--dry-run"),
    ("export-predictions", "mbert", "predictions", "--labels", "labels"),
    ("score", "predictions", "labels", "--suite", "xtreme-align", "--languages", "available"),
    ("submit", "predictions", "--like", "mbert", "--name", "theirs"),
    RUN,
)

# Runs each command in one new interpreter, in which importing a heavy package fails, and prints its exit code and what
# it asked for. Packages that can do without them go on.
PROGRAM = """
import builtins, contextlib, io, json, sys

heavy, commands = json.loads(sys.argv[1])
asked, import_module = set(), builtins.__import__

def refuse(name, globals=None, locals=None, fromlist=(), level=0):
    top = name.partition(".")[0]
    if level == 0 and top in heavy:
        asked.add(top)
        raise ImportError(f"{name} is refused")
    return import_module(name, globals, locals, fromlist, level)

builtins.__import__ = refuse
from harness.cli import main
for command in commands:
    asked.clear()
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        try:
            main(command)
            status = 0
        except SystemExit as stop:
            status = int(stop.code or 0)
    found = sorted(asked | {name for name in heavy if name in sys.modules})
    print(json.dumps([" ".join(command), status, found, printed.getvalue()[-2000:]]))
"""


@pytest.fixture(scope="module")
def answers(finished_home: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, list[str], str]]:
    """The exit code of each command, the heavy packages that it asked for, and what it printed."""
    place = tmp_path_factory.mktemp("light")
    shutil.copytree(finished_home, place / "home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALIGNBOARD_HOME", str(place / "home"))
        for registry in (METHODS, OBJECTIVES):
            patch.setattr(registry, "_loaded", {})  # as in a new process, so that the cards are kept
        assert run_command("doctor") == 0
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, json.dumps([HEAVY, LIGHT])],
            cwd=place,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            timeout=300,
        )
    assert done.returncode == 0, done.stderr
    return {name: (status, asked, said) for name, status, asked, said in map(json.loads, done.stdout.splitlines())}


@pytest.mark.parametrize("command", LIGHT, ids=lambda command: " ".join(command[:2]))
def test_commands_that_do_not_train_import_no_torch(
    command: tuple[str, ...], answers: dict[str, tuple[int, list[str], str]]
) -> None:
    status, asked, said = answers[" ".join(command)]
    assert (status, asked) == (0, []), said


METHOD = """
from alignboard import PairMethod, Term
from third_words import OBJECTIVE

class Third(PairMethod):
    objective = OBJECTIVE
    def loss(self, encoder, batch, step): return {}
"""


class ThirdParty:
    """A method of another package, whose declarations are in a module of its own, and the cards of new processes."""

    def __init__(self, root: Path, patch: pytest.MonkeyPatch) -> None:
        self.root, self.patch = root, patch
        self.imported = 0
        patch.syspath_prepend(str(root))
        (root / "third_method.py").write_text(METHOD)
        self.declare("first")

    def declare(self, objective: str) -> None:
        (self.root / "third_words.py").write_text(f"OBJECTIVE = {objective!r}\n")

    def card(self) -> MethodCard:
        for name in ("third_method", "third_words"):
            self.patch.delitem(sys.modules, name, raising=False)
        code.clear_caches()
        registry: Registry[Any] = Registry("method", "none")
        point = EntryPoint("third", "third_method:Third", "none")
        registry.__dict__["_points"] = {"third": [point], "continued-mlm": [point]}
        card = method_card("third", registry)
        self.imported += "third_method" in sys.modules
        return card


@pytest.fixture
def third(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ThirdParty:
    monkeypatch.setenv("ALIGNBOARD_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "package").mkdir()
    return ThirdParty(tmp_path / "package", monkeypatch)


def kept_file(third: ThirdParty) -> Path:
    (file,) = (third.root.parent / "home" / "cache").iterdir()
    return file


def test_a_card_is_kept_until_a_module_that_it_is_made_from_changes(third: ThirdParty) -> None:
    assert [third.card().objective for _ in range(3)] == ["first"] * 3
    assert third.imported == 1
    third.declare("other")  # in another top-level module than the method's
    assert third.card().objective == "other"
    assert third.imported == 2
    third.declare("first")
    assert third.card().objective == "first"


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: text.replace("first", "worst"),
        lambda text: text.replace('"trains": true', '"trains": false'),
        lambda text: "",
        lambda text: "[]",
        lambda text: "[" * 100_000,
        lambda text: '{"key": 1, "value": 2, "check": 3}',
        lambda text: "\0" * 50,
    ],
)
def test_a_damaged_card_is_made_anew(third: ThirdParty, damage: Callable[[str], str]) -> None:
    whole = third.card()
    kept_file(third).write_text(damage(kept_file(third).read_text()))
    assert third.card() == whole
    assert third.card() == whole
    assert third.imported == 2


def test_a_home_that_cannot_be_written_costs_only_time(third: ThirdParty) -> None:
    (third.root.parent / "home").write_text("a file")
    assert [third.card().objective for _ in range(2)] == ["first"] * 2
    assert third.imported == 2


def test_a_method_that_does_not_import_is_tried_again(third: ThirdParty) -> None:
    (third.root / "third_words.py").write_text("raise RuntimeError('broken')")
    for _ in range(2):
        with pytest.raises(UserError, match="RuntimeError: broken"):
            third.card()
    third.declare("repaired")
    assert third.card().objective == "repaired"


def test_wrong_declarations_are_reported(third: ThirdParty) -> None:
    (third.root / "third_words.py").write_text("OBJECTIVE = 3")
    with pytest.raises(UserError, match="the method 'third' is broken: objective"):
        third.card()


def test_an_installation_makes_cards_anew(third: ThirdParty) -> None:
    site = third.root.parent / "site-packages"
    site.mkdir()
    third.patch.syspath_prepend(str(site))
    first = code.definition_key("third_method")
    assert code.definition_key("third_method") == first
    os.utime(site, ns=(0, 0))  # as when a package is added, replaced or removed
    assert code.definition_key("third_method") != first


def test_cards_say_what_the_classes_declare() -> None:
    for name in METHODS.names():
        cls, card = METHODS.get(name), method_card(name)
        for field in ("reference", "objective", "symbols", "control", "trains"):
            assert getattr(card, field) == getattr(cls, field)
        assert card.corpora == cls.needs
        assert [card.paper, card.paper_config] == json.loads(json.dumps([cls.paper, cls.paper_config]))
        assert [setting.field for setting in card.settings] == list(cls.Config.model_fields)
        assert method_config(name, {}) == cls.Config().model_dump(mode="json")
