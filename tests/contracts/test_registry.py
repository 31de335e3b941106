"""Plug-ins come from entry points and loose files; a broken one is reported and does not affect others."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness import registry
from harness.cli.verify import wrong_scores
from harness.code import plugin_module
from harness.errors import UsageError, UserError
from harness.experiments.method_card import method_card
from harness.registry import ABLATIONS, Registry, load_plugin
from harness.storage.artifacts import Artifacts
from harness.storage.store import Store
from tests.support.package_install import install_package

PLUGINS = Path(__file__).parents[1] / "plugins"


def fresh() -> Registry[Any]:
    """A registry of methods that has not looked at the entry points yet."""
    return Registry("method", "alignboard.methods")


@pytest.fixture
def third_party(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    site = install_package(PLUGINS / "third_party_method", tmp_path / "site")
    monkeypatch.syspath_prepend(site)
    monkeypatch.delitem(sys.modules, "third_party_methods", raising=False)
    return site


def alignboard(*arguments: str, path: Path | None = None, home: Path | None = None) -> subprocess.CompletedProcess[str]:
    named = {"PYTHONPATH": path, "ALIGNBOARD_HOME": home, "ALIGNBOARD_DB": home and home / "board.db"}
    environment = os.environ | {name: str(value) for name, value in named.items() if value is not None}
    command = [sys.executable, "-c", "from harness.cli import main; main()", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)


def test_third_party_package_is_listed(tmp_path: Path) -> None:
    done = alignboard("methods", "--json", path=install_package(PLUGINS / "third_party_method", tmp_path))
    assert done.returncode == 0, done.stderr
    records = {record["name"]: record for record in json.loads(done.stdout)}
    assert records["squared-distance"] == {
        "name": "squared-distance",
        "status": "ok",
        "origin": "third_party_methods:SquaredDistance (third-party)",
        "reference": "",
        "objective": "|| x - y ||^2",
        "needs": ["parallel"],
        "control": "continued-mlm",
        "trains": True,
    }
    assert records["half-installed"]["status"] == "broken"
    assert "No module named 'third_party_methods_gpu'" in records["half-installed"]["reason"]
    assert "warning: the method 'half-installed' is broken" in done.stderr
    assert "mbert" in records


def test_class_of_a_package_may_keep_the_decorator_of_a_loose_file(tmp_path: Path) -> None:
    shutil.copytree(PLUGINS / "third_party_method", tmp_path / "package")
    file = tmp_path / "package" / "third_party_methods.py"
    decorated = file.read_text().replace(
        "class SquaredDistance", '@register("squared-distance")\nclass SquaredDistance'
    )
    file.write_text(decorated.replace("PairMethod, Term", "PairMethod, Term, register"))
    done = alignboard("methods", "--json", path=install_package(tmp_path / "package", tmp_path / "site"))
    records = {record["name"]: record["status"] for record in json.loads(done.stdout)}
    assert records["squared-distance"] == "ok", done.stderr


@pytest.mark.long
def test_third_party_method_runs_on_babel(tmp_path: Path) -> None:
    site, home = install_package(PLUGINS / "third_party_method", tmp_path / "site"), tmp_path / "home"
    chosen = ["--source", "babel:size=small", "--base", "init:1x64", "--protocol", "mini", "--seeds", "1"]
    sizes = {"pretrain.steps": 2, "pretrain.vocab_size": 500, "align.steps": 2, "sample.size": 100}
    for task in ("xnli", "pawsx", "udpos", "panx"):
        sizes |= {f"tasks.{task}.{name}": 20 for name in ("max_train", "max_dev", "max_test")}
    settings = [word for field, value in sizes.items() for word in ("--set", f"{field}={value}")]
    done = alignboard("run", "squared-distance", *chosen, *settings, "--workers", "1", path=site, home=home)
    assert done.returncode == 0, done.stderr
    assert "squared-distance" in done.stdout
    scores = Store.open(home / "board.db").scores(split="test")
    assert set(scores["task"]) == {"xnli", "pawsx", "udpos", "panx", "bucc2018", "tatoeba"}
    assert not list(wrong_scores(scores, Artifacts(home / "artifacts")))


def test_loaded_class_has_its_registered_name(third_party: Path) -> None:
    assert fresh().get("squared-distance").name == "squared-distance"


def test_listing_names_imports_nothing(third_party: Path) -> None:
    assert {"squared-distance", "half-installed"} <= set(fresh().names())
    assert "third_party_methods" not in sys.modules


def test_broken_plugin_names_its_package(third_party: Path) -> None:
    with pytest.raises(UserError, match="half-installed") as caught:
        fresh().get("half-installed")
    assert caught.value.found == "third_party_methods_gpu:HalfInstalled (third-party)"
    assert caught.value.exit_code == 1


def test_duplicate_name_lists_both_origins(third_party: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(install_package(PLUGINS / "third_party_method", tmp_path / "other", name="impostor"))
    with pytest.raises(UsageError) as caught:
        fresh().get("squared-distance")
    assert caught.value.found is not None
    assert "(third-party)" in caught.value.found
    assert "(impostor)" in caught.value.found


def test_same_package_on_two_paths_is_no_duplicate(
    third_party: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(install_package(PLUGINS / "third_party_method", tmp_path / "again"))
    assert fresh().get("squared-distance").__name__ == "SquaredDistance"


def test_unknown_name_suggests_similar_ones(third_party: Path) -> None:
    with pytest.raises(UsageError) as caught:
        fresh().get("squared-distanse")
    assert caught.value.remedy == "did you mean 'squared-distance'? `alignboard methods` lists them"
    assert caught.value.exit_code == 2


@pytest.fixture
def methods(monkeypatch: pytest.MonkeyPatch) -> Registry[Any]:
    """Stands in for the registry of methods, so that loose files leave no trace in it."""
    own = fresh()
    monkeypatch.setattr(registry, "METHODS", own)
    monkeypatch.setattr(registry, "_plugins", [])
    return own


def test_loose_file_registers_its_method(methods: Registry[Any]) -> None:
    load_plugin(PLUGINS / "loose.py")
    assert methods.get("loose-method").name == "loose-method"
    assert str(methods.origin("loose-method")) == f"{PLUGINS / 'loose.py'} (plug-in file)"


def test_loose_file_can_be_loaded_twice(methods: Registry[Any]) -> None:
    load_plugin(PLUGINS / "loose.py")
    load_plugin(PLUGINS / "loose.py")
    assert "loose-method" in methods


def test_loose_file_cannot_reuse_a_name(methods: Registry[Any], tmp_path: Path) -> None:
    taken = tmp_path / "taken.py"
    taken.write_text((PLUGINS / "loose.py").read_text(encoding="utf-8").replace("loose-method", "mbert"), "utf-8")
    with pytest.raises(UsageError, match="two methods are registered as 'mbert'") as caught:
        load_plugin(taken)
    assert caught.value.found is not None
    assert "(alignboard)" in caught.value.found
    assert str(taken) in caught.value.found


@pytest.mark.parametrize(
    ("file", "message"),
    [("broken.py", "no_such_package"), ("nothing.py", "neither a Method nor a Task"), ("absent.py", "missing")],
)
def test_unusable_loose_file_is_an_error(methods: Registry[Any], file: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_plugin(PLUGINS / file)


LOOSE = """from alignboard import Corpus, Method, PairMethod, Task, register
from harness.registry import ABLATIONS, Origin


"""


def loose(folder: Path, code: str) -> Path:
    """A loose plug-in file."""
    file = folder / "mine.py"
    file.write_text(LOOSE + code, encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("class Mine(PairMethod):\n    def loss(self, encoder, batch, step): ...\n", "registers nothing"),
        ("@register\nclass Mine(PairMethod):\n    trains = False\n", "@register has no name"),
        ('@register("mine")\nclass Mine(PairMethod):\n    pass\n', "'mine' trains and lacks loss"),
        (
            '@register("mine")\nclass Mine(Method):\n    def collate(self, examples, rng): ...\n',
            "'mine' trains and lacks examples, loss",
        ),
        ('@register("mine")\nclass Mine(Method):\n    trains, control = False, 7\n', "'mine' has a control that is no"),
        ('@register("mine")\nclass Mine(Task):\n    pass\n', "the task 'mine' has no spec"),
        ('@register("")\nclass Mine(Method):\n    trains = False\n', "@register has a name that cannot be used"),
        ('@register("a,b")\nclass Mine(Method):\n    trains = False\n', "@register has a name that cannot be used"),
        ('@register("../b")\nclass Mine(Method):\n    trains = False\n', "@register has a name that cannot be used"),
        ('@register("mine")\ndef loss(encoder, batch, step): ...\n', "above the function loss, which is no class"),
    ],
)
def test_mistake_in_a_loose_file_is_reported_on_load(
    methods: Registry[Any], tmp_path: Path, code: str, message: str
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        load_plugin(loose(tmp_path, code))
    assert caught.value.remedy or caught.value.expected
    assert not registry.loaded_plugins()
    assert "mine" not in methods


def test_loose_file_can_add_an_ablation(
    methods: Registry[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ABLATIONS, "_local", {})
    file = loose(tmp_path, 'ABLATIONS.add("mine", object(), Origin("plug-in file", __file__))\n')
    load_plugin(file)
    assert registry.loaded_plugins() == [file]


CONTROLLED = """@register("mine")
class Mine(Method):
    trains, control = False, "{control}"


@register("later")
class Later(Method):
    trains, control = False, None
"""


def test_control_can_be_registered_after_its_method(methods: Registry[Any], tmp_path: Path) -> None:
    load_plugin(loose(tmp_path, CONTROLLED.format(control="later")))
    assert methods.get("mine").control == "later"


def test_unregistered_control_breaks_its_method_alone(methods: Registry[Any], tmp_path: Path) -> None:
    load_plugin(loose(tmp_path, CONTROLLED.format(control="continued-mln")))
    with pytest.raises(UserError, match="'mine' is broken: its control 'continued-mln' is not registered") as caught:
        methods.get("mine")
    assert "did you mean 'continued-mlm'" in str(caught.value.remedy)
    assert methods.get("later").control is None


def test_packaged_method_without_loss_is_broken(third_party: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = third_party / "third_party_methods.py"
    file.write_text(file.read_text(encoding="utf-8").replace("def loss(", "def los("), encoding="utf-8")
    with pytest.raises(UserError, match="'squared-distance' is broken: it trains and lacks loss"):
        fresh().get("squared-distance")


def test_loose_file_is_listed_by_its_command() -> None:
    done = alignboard("--plugin", str(PLUGINS / "loose.py"), "methods", "loose-method", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["description"] == "Trains nothing."


WRONG = """@register("mine")
class Mine(Method):
    trains, control, {} = False, None, None
"""


@pytest.mark.parametrize("declared", ["needs", "formula", "Config", "reference"])
def test_declaration_of_a_wrong_type_breaks_its_method_alone(
    declared: str, methods: Registry[Any], tmp_path: Path
) -> None:
    load_plugin(loose(tmp_path, WRONG.format(declared)))
    with pytest.raises(UserError, match="the method 'mine' is broken") as caught:
        method_card("mine", methods)
    assert "mine.py" in str(caught.value.found)


def test_files_of_one_name_in_two_folders_are_two_modules(methods: Registry[Any], tmp_path: Path) -> None:
    files = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        code = f'@register("{name}")\nclass Mine(Method):\n    trains, control = False, None\n'
        files.append(loose(tmp_path / name, code))
        load_plugin(files[-1])
    assert [plugin_module(methods.get(name)) for name in ("one", "two")] == list(map(str, files))


def test_package_that_exits_or_registers_something_else_is_broken(third_party: Path) -> None:
    file = third_party / "third_party_methods.py"
    for code, words in (
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("SquaredDistance = 7", "no class derived from Method"),
    ):
        file.write_text(code, encoding="utf-8")
        sys.modules.pop("third_party_methods", None)
        with pytest.raises(UserError, match=words):
            fresh().get("squared-distance")
