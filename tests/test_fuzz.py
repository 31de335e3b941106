"""Whatever a user gives, a reader or a command ends in its result or in a message: never in a traceback.

Each property is tried on a few inputs here, and on thousands with `pytest -m long tests/test_fuzz.py`.
"""

from __future__ import annotations

import io
import json
import sqlite3
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import chdir, closing, redirect_stderr, redirect_stdout, suppress
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from harness.cli.app import COMMANDS, load_command, main
from harness.data.folder import Folder
from harness.errors import UserError
from harness.experiments.bases import base_fingerprint
from harness.experiments.external import Claim, check, labels_target, submit
from harness.experiments.plan import plan_run
from harness.experiments.recipe import make_recipe
from harness.files import DIGEST, seal
from harness.modeling.encoder import Encoder
from harness.registry import SUITES, TASKS
from harness.storage.archive import CONTENTS, write_archive
from harness.storage.artifacts import Artifacts
from harness.storage.store import Store
from harness.training.finetuning import sweep
from tests.support import fake_store
from tests.support.downloads import tar_of, unpacked
from tests.support.odd_inputs import FILES, LABELS, PREDICTIONS, damaged, folders, json_values, texts
from tests.support.scored_store import make_scored_store
from tests.support.small_babel import isolated
from tests.support.tiny_encoder import tiny_encoder

FEW = 6  # examples of each property; in the long test, these, which are 10,000 together
MANY = {
    "data files": 2000,
    "submissions": 1000,
    "recipes": 2000,
    "store": 1000,
    "checkpoints": 500,
    "archives": 500,
    "downloads": 300,
    "command lines": 2700,
}
JSON_COLUMNS = ("config", "recipe", "languages", "packages", "card", "views", "alignment")
READS = (["show"], ["show", "--by", "language"], ["show", "--group", "family"], ["show", "--format", "json"])
READS = (*READS, ["db", "status"], ["resume"], ["verify"], ["project"], ["export-predictions", "mbert", "out"])
SAFE = dict.fromkeys(("run", "ablation", "pretrain", "study"), "folder:empty")  # nothing to train on
RECIPE = """kind = "matched"
languages = ["de", "en"]
align.steps = 10
[sample]
size = 100
[tasks.xnli]
batch_size = 8
learning_rates = [1e-5, 2e-5]
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A home and a current folder of the test's own, and no network."""
    monkeypatch.setenv("ALIGNBOARD_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("ALIGNBOARD_DB", raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with isolated(), tempfile.TemporaryDirectory() as folder, chdir(folder):
        yield


def write(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    root.mkdir(exist_ok=True)
    return root


@cache
def scratch() -> Path:
    return Path(tempfile.mkdtemp())


def command(arguments: list[str]) -> None:
    """Runs a command, which must end with an exit code of its own."""
    errors = io.StringIO()
    with redirect_stdout(io.StringIO()), redirect_stderr(errors), pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code in (0, 1, 2, None), (arguments, ended.value.code)
    assert "Traceback" not in errors.getvalue(), (arguments, errors.getvalue())


def read_folder(files: dict[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder, suppress(UserError):
        source = Folder.open(str(write(Path(folder) / "f", files)))
        specs = [TASKS.get(name).spec for name in ("xnli", "panx", "tatoeba", "bucc2018", "xquad")]
        manifest = source.manifest(specs)
        for cell in manifest.tasks:
            with suppress(UserError):
                source.task(TASKS.get(cell.task).spec, cell.view, cell.split)
        for corpus in manifest.corpora:
            with suppress(UserError):
                source.corpus(corpus.kind, [corpus.language])


def score_submission(files: tuple[dict[str, bytes], dict[str, bytes]]) -> None:
    with tempfile.TemporaryDirectory() as folder, suppress(UserError):
        predictions, labels = (write(Path(folder) / name, part) for name, part in zip("pl", files, strict=True))
        target = labels_target(labels, SUITES.get("xtreme"), "seqeval-1.2.2", available=True)
        report = check(predictions, target)
        if report.tasks and not report.problems:
            with closing(Store.open(Path(folder) / "board.db", create=True)) as store:
                submit(store, Artifacts(Path(folder) / "artifacts"), predictions, target, Claim("name"), report)


def plan_recipe(given: tuple[bytes, list[tuple[str, Any]], str]) -> None:
    toml, changes, languages = given
    with tempfile.TemporaryDirectory() as folder, suppress(UserError):
        source = write(Path(folder) / "f", {name: text.encode() for name, text in FILES.items()})
        (Path(folder) / "recipe.toml").write_bytes(toml)
        recipe = make_recipe(
            method="ml-ctl-cz",
            base="init:1x64",
            source=f"folder:{source}",
            suite="xnli",
            protocol="mini",
            recipe=f"{folder}/recipe.toml",
            languages=languages,
            changes=[f"{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in changes],
        )
        plan_run(recipe, 0)


@cache
def checkpoint() -> dict[str, bytes]:
    """The files of a small base."""
    with tempfile.TemporaryDirectory() as folder:
        tiny_encoder(layers=1, hidden=8).save(Path(folder))
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


@st.composite
def checkpoints(draw: st.DrawFn) -> dict[str, bytes]:
    """A checkpoint of which one file is damaged, often near its start, where the header of the weights is."""
    files = dict(checkpoint())
    name = draw(st.sampled_from(sorted(files)))
    head = draw(st.sampled_from((20, 300, len(files[name]))))
    return {**files, name: draw(damaged(files[name][:head])) + files[name][head:]}


def load_checkpoint(files: dict[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder, suppress(UserError):
        base_fingerprint(str(write(Path(folder), files)))
        encoder = Encoder.load(folder)
        list(sweep(encoder, lambda text: encoder(text).tokens(), encoder.tokenizer.encode(["a moon", "ß"], 16).ids))


def read_store(given: tuple[str, Any, list[str]]) -> None:
    column, value, arguments = given
    file = scratch() / "board.db"
    if not (scratch() / "whole.db").exists():
        fake_store.write_store(scratch() / "whole.db")
    file.write_bytes((scratch() / "whole.db").read_bytes())
    text = value if isinstance(value, str) else json.dumps(value)
    with closing(sqlite3.connect(file)) as connection, connection, suppress(UnicodeEncodeError):
        connection.execute(f"UPDATE run SET {column} = ? WHERE rowid % 2 = 0", (text,))
    command([*arguments, "--db", str(file)])


@cache
def archive() -> dict[str, bytes]:
    """The members of an archive of one run."""
    home = scratch() / "exporter"
    home.mkdir()
    store = make_scored_store(home)
    store.refresh_summary("r", {"xnli": ("de", "sw")}, {"xnli": "accuracy"})
    write_archive(home / "run.tar", store, Artifacts(home / "artifacts"), ["r"])
    with tarfile.open(home / "run.tar") as tar:
        return {member.name: tar.extractfile(member).read() for member in tar.getmembers()}  # type: ignore[union-attr]


@st.composite
def archives(draw: st.DrawFn) -> bytes:
    """An archive of which some bytes are damaged, or in whose list of files, which is sealed again, a value is odd."""
    members = dict(archive())
    if draw(st.booleans()):
        return draw(damaged(tar_of(members)))
    listed = {name: value for name, value in json.loads(members[CONTENTS]).items() if name != DIGEST}
    key = draw(st.sampled_from(sorted(listed)))
    if key == "files" and draw(st.booleans()):
        name = draw(st.sampled_from(sorted(listed["files"])))
        listed["files"][name] = draw(json_values() | st.fixed_dictionaries({"size": json_values(), "sha256": texts()}))
    else:
        listed[key] = draw(json_values())
    with suppress(UnicodeEncodeError):  # as `export` cannot write it either
        members[CONTENTS] = json.dumps(seal(listed)).encode()
    return tar_of(members)


def import_archive(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "run.tar")
        file.write_bytes(content)
        command(["import", str(file), "--db", f"{folder}/board.db"])


@st.composite
def downloads(draw: st.DrawFn) -> dict[str, bytes]:
    """Downloads as they are published, but for one to three files that are damaged or missing."""
    every = {f"{name}/{path}": text for name, files in unpacked().items() for path, text in files.items()}
    content = {name: text if isinstance(text, bytes) else text.encode() for name, text in every.items()}
    for name in draw(st.lists(st.sampled_from(sorted(content)), min_size=1, max_size=3, unique=True)):
        part = content.pop(name)
        if draw(st.integers(0, 4)):
            content[name] = draw(damaged(part))
    return content


def prepare_downloads(files: dict[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        source, target = write(Path(folder) / "from", files), f"{folder}/to"
        command(["prepare", "--from", str(source), "--to", target, "--any-release"])
        assert not list(Path(folder).rglob(".part-*"))


def run_command_line(arguments: list[str]) -> None:
    Path("empty").mkdir(exist_ok=True)
    command(arguments)


@st.composite
def command_lines(draw: st.DrawFn) -> list[str]:
    """A command with odd values for some of its options and arguments."""
    name = draw(st.sampled_from(sorted(set(COMMANDS) - {"board"})))
    values = texts().map(lambda text: text.replace("\0", "").lstrip("/"))
    arguments, loaded = [name], load_command(name)
    if hasattr(loaded, "commands"):
        child = draw(st.sampled_from(sorted(loaded.commands)))
        arguments, loaded = [name, child], loaded.commands[child]
    for option in draw(st.lists(st.sampled_from(loaded.params), max_size=5)):
        is_flag = getattr(option, "is_flag", False)
        flag = [option.opts[0]] if option.opts[0].startswith("-") else []
        arguments += [*flag, *([] if is_flag else [draw(values)])]
    arguments += draw(st.lists(values, max_size=2))
    return [*arguments, "--source", SAFE[name]] if name in SAFE else arguments


FIELDS = (
    "align.steps",
    "align.learning_rate",
    "align.clip",
    "sample.size",
    "sample.balance",
    "languages",
    "contamination",
)
FIELDS = (*FIELDS, "config.temperature", "config.layer", "tasks.xnli.max_length", "tasks.xnli.learning_rates", "tuning")
FIELDS = (
    *FIELDS,
    "tasks.xnli.dev_languages",
    "tasks.xnli.seed",
    "pretrain.layers",
    "pretrain.seed",
    "base",
    "tasks",
    "",
)
Property = tuple[Callable[[Any], None], st.SearchStrategy[Any]]
PROPERTIES: dict[str, Property] = {
    "data files": (read_folder, folders(FILES)),
    "submissions": (
        score_submission,
        st.tuples(
            folders(PREDICTIONS), folders(LABELS) | st.just({name: text.encode() for name, text in LABELS.items()})
        ),
    ),
    "recipes": (
        plan_recipe,
        st.tuples(
            damaged(RECIPE) | st.just(b""),
            st.lists(st.tuples(st.sampled_from(FIELDS), json_values()), max_size=3),
            texts() | st.just("available"),
        ),
    ),
    "store": (read_store, st.tuples(st.sampled_from(JSON_COLUMNS), json_values(), st.sampled_from(READS))),
    "checkpoints": (load_checkpoint, checkpoints()),
    "archives": (import_archive, archives()),
    "downloads": (prepare_downloads, downloads()),
    "command lines": (run_command_line, command_lines()),
}


def try_property(name: str, examples: int) -> None:
    check_one, strategy = PROPERTIES[name]
    wanted = settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    seed(0)(wanted(given(strategy)(check_one)))()


@pytest.mark.parametrize("name", PROPERTIES)
def test_odd_input_ends_in_a_message(name: str) -> None:
    try_property(name, FEW)


@pytest.mark.long
@pytest.mark.parametrize("name", PROPERTIES)
def test_thousands_of_odd_inputs_end_in_a_message(name: str) -> None:
    try_property(name, MANY[name])
