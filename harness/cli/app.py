"""The `alignboard` command. Each subcommand is imported only when it is called.

Typer builds every command of a group before it parses the arguments, and the modules behind them import torch and
pandas. So the group holds stubs with a one-line summary, and the command that was called is loaded in place of its
stub.
"""

from __future__ import annotations

import importlib
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from harness.cli import failures
from harness.cli.options import flatten
from harness.experiments.executors.parents import end_with_parent, torchrun_rank
from harness.stopping import exit_on_signals

# OpenMP threads wait for each other by spinning. On cores that are shared, this takes time from the thread they wait
# for (docs/benchmarks.md); on free cores a short spin is as fast.
SPIN_COUNT = "10000"


class LazyCommand(NamedTuple):
    """Where a command is defined, as `module:function` or `module:typer_app`, and its line in the list of commands."""

    target: str
    summary: str


COMMANDS: dict[str, LazyCommand] = {
    "run": LazyCommand("harness.cli.run:run", "Train methods, score a suite of tasks, fill the board."),
    "ablation": LazyCommand("harness.cli.ablation:ablation", "Run a table of methods, each tuned on dev."),
    "resume": LazyCommand("harness.cli.resume:resume", "Resume unfinished runs from their last checkpoints."),
    "pretrain": LazyCommand("harness.cli.pretrain:pretrain", "Train a small base encoder and its tokenizer."),
    "show": LazyCommand("harness.cli.show:show", "Print scores by task or by language."),
    "compare": LazyCommand("harness.cli.compare:compare", "Print how two rows differ, with a verdict."),
    "report": LazyCommand("harness.cli.report:report", "Write results as a page and LaTeX tables."),
    "study": LazyCommand("harness.cli.study:app", "Run a study and write its report."),
    "board": LazyCommand("harness.cli.board:board", "Open the leaderboard in a browser."),
    "project": LazyCommand("harness.cli.project:project", "Measure and map the sentences of finished runs."),
    "methods": LazyCommand("harness.cli.methods:methods", "List the alignment methods, or describe one."),
    "new-method": LazyCommand("harness.cli.new_method:new_method", "Create a working method to start from."),
    "tasks": LazyCommand("harness.cli.tasks:tasks", "List the tasks, or describe one."),
    "new-task": LazyCommand("harness.cli.new_task:new_task", "Create a working task to start from."),
    "sources": LazyCommand("harness.cli.sources:sources", "List the data sources, or what one provides."),
    "export-predictions": LazyCommand(
        "harness.cli.export_predictions:export_predictions", "Export a run's predictions in XTREME's layout."
    ),
    "export": LazyCommand("harness.cli.transfer:export_runs", "Export runs as one file for another machine."),
    "import": LazyCommand("harness.cli.transfer:import_runs", "Import runs that were exported elsewhere."),
    "score": LazyCommand("harness.cli.score:score", "Score prediction files with XTREME's official rules."),
    "submit": LazyCommand("harness.cli.submit:submit", "Add external predictions to the board."),
    "prepare": LazyCommand("harness.cli.prepare:prepare", "Convert downloaded data sets into a folder source."),
    "doctor": LazyCommand("harness.cli.doctor:doctor", "Check this machine, the database and the plug-ins."),
    "verify": LazyCommand("harness.cli.verify:verify", "Check artifacts and recompute the stored scores."),
    "gc": LazyCommand("harness.cli.gc:gc", "Delete artifacts that no run needs."),
    "db": LazyCommand("harness.cli.db:app", "Check, copy, merge or upgrade the database."),
}


class LazyGroup(TyperGroup):
    """A group of stubs. `resolve_command` loads the command that was called."""

    def __init__(self, **attrs: Any) -> None:
        super().__init__(**attrs)
        for name, command in COMMANDS.items():
            self.add_command(TyperCommand(name, help=command.summary))

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, stub, rest = super().resolve_command(ctx, args)
        return name, stub if name is None else load_command(name), rest


def load_command(name: str) -> Any:
    """Imports the command `name`."""
    module, _, attribute = COMMANDS[name].target.partition(":")
    target = getattr(importlib.import_module(module), attribute)
    if isinstance(target, typer.Typer):
        command = get_command(target)
        command.name = name
        return command
    single = typer.Typer(add_completion=False, rich_markup_mode=None)
    single.command(name)(flatten(target))
    return get_command(single)


app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _print_version(requested: bool) -> None:
    if requested:
        import harness

        typer.echo(f"alignboard {harness.__version__}")
        raise typer.Exit


@app.callback()
def root(
    plugin: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Load a Python file whose @register calls add methods or tasks. Repeatable."),
    ] = None,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Benchmark alignment methods for multilingual encoders.

    Train methods and their controls, score them on XTREME tasks with several seeds, and compare them on a leaderboard.
    Artifacts and the database are kept in the folder ALIGNBOARD_HOME (default: .alignboard in your home folder).

    \b
    Examples:
      alignboard methods
      alignboard run mbert continued-mlm ml-ctl-cz --suite xtreme-align --source babel --base init:4x128 --seeds 3
      alignboard show --by language
      alignboard COMMAND --help
    """
    if plugin:
        from harness.registry import load_plugin

        for file in plugin:
            load_plugin(file)


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line and exits: 0 success, 1 failure, 2 wrong usage, 75 stopped by SIGTERM or SIGUSR1, 130
    interrupted."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed: whatever opens a file next would get its number
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files, and terminals that are not UTF-8
    failures.shorten_warnings()
    if "OMP_WAIT_POLICY" not in os.environ:  # set before torch is imported; worker processes inherit it
        os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)
    with failures.report_errors(), exit_on_signals(), first_of_torchrun() as first:
        if first:
            get_command(app)(args=sys.argv[1:] if arguments is None else arguments, prog_name="alignboard")


@contextmanager
def first_of_torchrun() -> Iterator[bool]:
    """Whether this process runs the command. Of those that torchrun has started the first one does; the others take
    part in its training stages until the block ends there."""
    rank = torchrun_rank()
    if rank is None:
        yield True
        return
    end_with_parent(os.getppid())
    from harness.experiments.executors.ranks import serve_environment, torchrun_ranks

    if rank != 0:
        serve_environment()
        yield False
        return
    ranks = torchrun_ranks()
    try:
        yield True
    finally:
        ranks.end()
