"""The command line as a whole: help without heavy imports, error messages, exit codes, JSON output."""

from __future__ import annotations

import errno
import importlib.util
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from harness.cli import board, checks, failures
from harness.cli.app import COMMANDS, load_command, main
from harness.cli.options import ExecutionOptions
from harness.errors import UsageError, UserError
from harness.storage.home import database_url, home
from harness.storage.store import RunRow, Store

PLUGINS = Path(__file__).parents[1] / "plugins"
HEAVY = ("torch", "transformers", "pandas", "pydantic", "streamlit", "sqlalchemy", "scipy", "pyarrow")


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALIGNBOARD_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("ALIGNBOARD_DB", raising=False)
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)  # main() puts its own in place


def run(*arguments: str) -> int:
    """Runs the command line in this process and returns the exit code."""
    with pytest.raises(SystemExit) as stop:
        main(list(arguments))
    return int(stop.value.code or 0)


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=120)


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom harness.cli import main\n"
        "try: main(['--help'])\n"
        f"except SystemExit: print('LOADED', [name for name in {HEAVY} if name in sys.modules])"
    )
    done = python(code)
    assert done.stdout.splitlines()[-1] == "LOADED []", done.stderr
    assert all(name in done.stdout for name in COMMANDS)


def test_help_lists_every_command_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--help") == 0
    listed = capsys.readouterr().out
    width = max(map(len, COMMANDS))
    for name, entry in COMMANDS.items():
        assert f"{name:<{width}}  {entry.summary}\n" in listed


@pytest.mark.parametrize("name", COMMANDS)
def test_command_help_has_examples(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(name, "--help") == 0
    text = capsys.readouterr().out
    assert f"Usage: alignboard {name}" in text
    assert f"  alignboard {name}" in text.partition("Example")[2]


def test_every_command_loads() -> None:
    assert {load_command(name).name for name in COMMANDS} == set(COMMANDS)


def test_version_option_prints_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version") == 0
    assert capsys.readouterr().out == "alignboard 0.1.0\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["metods"], "Did you mean 'methods'"),
        (["methods", "--jsno"], "--json"),
        (["methods", "continued-mln"], "did you mean 'continued-mlm'"),
        (["tasks", "xnil"], "did you mean 'xnli'?"),
        (["sources", "bable"], "did you mean 'babel'?"),
        (["board", "--name", "leaderbord"], "did you mean 'leaderboard'?"),
        (["board", "--port", "0"], "--port"),
        (["show", "--db", ""], "--db is empty"),
        (["resume", "--source", " "], "--source is empty"),
        (["--plugin", "absent.py", "methods"], "the plug-in file is missing"),
    ],
)
def test_wrong_usage_prints_an_error_and_exits_with_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert "Traceback" not in printed.err
    assert printed.out == ""


def test_user_error_prints_all_fields_and_exits_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    long = "x" * 300
    with pytest.raises(SystemExit) as stop, failures.report_errors():
        raise UserError("a label outside the set", file="dev-de.tsv", line=7, found=long, remedy="correct [the] line")
    assert stop.value.code == 1
    assert capsys.readouterr().err == (
        f"error: dev-de.tsv:7: a label outside the set\n  found:    {long}\n  remedy:   correct [the] line\n"
    )


@pytest.mark.parametrize(
    ("number", "what"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "the disk quota is used up"),
        (errno.EIO, "the disk cannot be read or written"),
        (errno.EACCES, "permission denied"),
        (errno.EROFS, "the disk is read-only"),
    ],
)
def test_disk_errors_name_the_path_and_a_remedy(number: int, what: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop, failures.report_errors():
        raise OSError(number, os.strerror(number), "/store/objects/ab")
    assert stop.value.code == 1
    printed = capsys.readouterr().err
    assert printed.startswith(f"error: /store/objects/ab: {what}\n")
    assert "ALIGNBOARD_HOME" in printed


def test_disk_error_without_a_path_keeps_its_words(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit), failures.report_errors():
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']")
    assert "No usable temporary directory found in ['/tmp']" in capsys.readouterr().err


def test_memory_of_a_stage_is_a_number() -> None:
    with pytest.raises(UsageError, match="--memory-per-stage is no number of GiB"):
        ExecutionOptions(memory_per_stage=float("nan")).make_executor()


def test_internal_error_keeps_its_traceback() -> None:
    done = python("from harness.cli import failures\nwith failures.report_errors(): raise RuntimeError('ours')")
    assert done.returncode == 1
    assert "Traceback" in done.stderr


INTERRUPT = """
import os, signal, sys, types
signal.signal(signal.SIGINT, signal.default_int_handler)
from harness.cli import app
module = types.ModuleType("slow")
def slow():
    os.kill(os.getpid(), signal.SIGINT)
    signal.pause()
module.slow = slow
sys.modules["slow"] = module
app.COMMANDS["doctor"] = app.LazyCommand("slow:slow", "Waits.")
app.main(["doctor"])
"""


def test_ctrl_c_exits_with_130_and_a_hint() -> None:
    done = python(INTERRUPT)
    assert done.returncode == 130
    assert done.stderr == "interrupted: resume with `alignboard resume`\n"


def test_closed_pipe_prints_no_traceback() -> None:
    command = [sys.executable, "-c", "from harness.cli import main; main()", "sources", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        errors = process.stderr.read().decode()
    assert process.returncode == 1
    assert "Traceback" not in errors
    assert "BrokenPipe" not in errors


def test_closed_standard_streams_print_no_traceback() -> None:
    command = [sys.executable, "-c", "from harness.cli import main; main()", "sources"]
    for closed in ("1", "2"):
        done = subprocess.run(["sh", "-c", f'exec "$@" {closed}>&-', "sh", *command], capture_output=True, check=False)
        assert done.returncode == 0
        assert not done.stderr


def test_tasks_json_has_all_tasks(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("tasks", "--json") == 0
    records = {record["name"]: record for record in json.loads(capsys.readouterr().out)}
    assert {"xnli", "pawsx", "udpos", "panx", "bucc2018", "tatoeba"} <= set(records)
    assert records["xnli"]["status"] == "ok", records["xnli"]
    assert records["xnli"]["family"] == "classification"
    assert {"official", "mini"} <= set(records["xnli"]["protocols"])
    assert records["xnli"]["licence"]


def test_method_description_has_docstring_and_settings(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("methods", "ml-ctl", "--json") == 0
    record = json.loads(capsys.readouterr().out)
    defaults = {field["field"]: field["default"] for field in record["config"]}
    assert defaults["temperature"] == 0.07
    assert "temperature" in record["config_description"]
    assert record["control"] == "continued-mlm"
    assert "Chen et al." in record["description"]
    assert run("methods", "ml-ctl") == 0
    assert "0.07" in capsys.readouterr().out


def test_tables_are_not_truncated_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("methods") == 0
    listed = capsys.readouterr().out
    assert "…" not in listed
    assert "InfoNCE over [sentence; word] vectors, 2n-2 negatives, + 0.1 masked LM" in listed


def test_source_manifest_lists_tasks_and_corpora(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("sources", "babel", "--json") == 0
    record = json.loads(capsys.readouterr().out)
    assert {cell["task"] for cell in record["tasks"]} >= {"xnli", "bucc2018"}
    assert {cell["kind"] for cell in record["corpora"]} >= {"parallel", "dictionary"}


def test_home_and_database_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert home() == tmp_path / "home"
    assert database_url() == f"sqlite:///{tmp_path / 'home' / 'board.db'}"
    monkeypatch.delenv("ALIGNBOARD_HOME")
    assert home() == Path.home() / ".alignboard"
    monkeypatch.setenv("ALIGNBOARD_DB", "postgresql://ann@host/board")
    assert database_url() == "postgresql://ann@host/board"


def test_doctor_passes_on_this_machine(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("doctor", "--json") == 0
    found = {check["name"]: check["status"] for check in json.loads(capsys.readouterr().out)}
    assert list(found) == ["Python", "packages", "device", "home", "disk", "database", "plug-ins", "shared data"]
    assert found["packages"] == found["home"] == found["database"] == "ok"


def test_doctor_fails_if_home_cannot_be_created(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("ALIGNBOARD_HOME", str(tmp_path / "file" / "home"))
    assert run("doctor") == 1
    assert "remedy: point ALIGNBOARD_HOME at a folder of your own" in capsys.readouterr().out


def test_doctor_reports_a_broken_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "notes.txt").write_text("not a database " * 100)
    monkeypatch.setenv("ALIGNBOARD_DB", str(tmp_path / "notes.txt"))
    check = checks.database()
    assert check.status == "failed"
    assert "not a database" in check.found
    assert check.remedy


def test_doctor_warns_about_missing_shared_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALIGNBOARD_SHARED", str(tmp_path))
    assert checks.shared_data().status == "warning"
    (tmp_path / "data").mkdir()
    assert checks.shared_data() == checks.MachineCheck("shared data", "ok", str(tmp_path))


def test_db_upgrade_status_and_delete(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = str(tmp_path / "board.db")
    assert run("db", "status", "--db", file) == 1
    assert "there is no store here yet" in capsys.readouterr().err
    assert run("db", "upgrade", "--db", file) == 0
    store = Store.open(file)
    store.add_run(RunRow(id="r1", method="mbert", suite="xtreme-align", protocol="mini"))
    capsys.readouterr()
    assert run("db", "status", "--db", file, "--json") == 0
    assert json.loads(capsys.readouterr().out)["runs"] == {"planned": 1}
    assert run("db", "delete", "r2", "--db", file) == 2
    assert run("db", "delete", "r1", "--db", file) == 0
    assert not store.runs()


def test_board_command_is_built_without_importing_streamlit() -> None:
    command = board.load_board("leaderboard")("sqlite:////somewhere/board.db", 8600, "/board")
    assert all(isinstance(word, str) for word in command)
    assert any("8600" in word for word in command)


def test_broken_board_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "other-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[alignboard.boards]\nother = no_such_board:command\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert importlib.util.find_spec("no_such_board") is None
    with pytest.raises(UserError, match="no_such_board"):
        board.load_board("other")
    with pytest.raises(UsageError):
        board.load_board("another")
