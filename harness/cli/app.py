"""The shape of the `alignboard` command: a table of commands, each imported only when it is called.

Typer builds every command of a group before it parses a word, and the modules behind them import torch and pandas. So
the group holds stubs that carry a one-line summary, and the command that was asked for is loaded in its place.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from harness.cli import failures

# Threads of OpenMP wait for each other by spinning. On cores that others use too this burns the time that the thread
# they wait for would need (docs/benchmarks.md); a short spin is as fast on free cores.
SPINS = "10000"


class Entry(NamedTuple):
    """Where a command lives, as `module:function` or `module:typer_app`, and its line in the list of commands."""

    target: str
    summary: str


COMMANDS: dict[str, Entry] = {
    "run": Entry("harness.cli.run:run", "Train methods, score a suite of tasks, fill the board."),
    "ablation": Entry("harness.cli.ablation:ablation", "Run a named table of methods, each at its best rate."),
    "resume": Entry("harness.cli.run:resume", "Go on with an interrupted run, from its checkpoints."),
    "pretrain": Entry("harness.cli.run:pretrain", "Train a small base encoder and its tokenizer."),
    "show": Entry("harness.cli.show:show", "Print the scores, by task or by language."),
    "board": Entry("harness.cli.board:board", "Open the leaderboard in a browser."),
    "project": Entry("harness.cli.project:project", "Map the sentences of finished runs for the board."),
    "methods": Entry("harness.cli.methods:methods", "List the alignment methods, or describe one."),
    "new-method": Entry("harness.cli.new_method:new_method", "Write a method of your own that already runs."),
    "tasks": Entry("harness.cli.tasks:tasks", "List the tasks, or describe one."),
    "sources": Entry("harness.cli.sources:sources", "List the kinds of data source, or what one holds."),
    "export-predictions": Entry("harness.cli.export:export_predictions", "Write a run's predictions as files."),
    "score": Entry("harness.cli.score:score", "Score anyone's predictions by the official rules."),
    "submit": Entry("harness.cli.submit:submit", "Put predictions from elsewhere on the board."),
    "prepare": Entry("harness.cli.prepare:prepare", "Turn downloaded data sets into a folder to run on."),
    "doctor": Entry("harness.cli.doctor:doctor", "Check this machine, the database and the plug-ins."),
    "verify": Entry("harness.cli.verify:verify", "Check artifacts, compute all stored scores again."),
    "gc": Entry("harness.cli.gc:gc", "Remove artifacts that no run needs."),
    "db": Entry("harness.cli.db:db", "Create, upgrade or describe the database of scores."),
}


class LazyGroup(TyperGroup):
    """A group of stubs: `resolve_command` puts the real command in the place of the stub that was called."""

    def __init__(self, **attrs: Any) -> None:
        super().__init__(**attrs)
        for name, entry in COMMANDS.items():
            self.add_command(TyperCommand(name, help=entry.summary))

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, stub, rest = super().resolve_command(ctx, args)
        return name, stub if name is None else load_command(name), rest


def load_command(name: str) -> Any:
    """The command registered as `name`, imported now."""
    module, _, attribute = COMMANDS[name].target.partition(":")
    found = getattr(importlib.import_module(module), attribute)
    if isinstance(found, typer.Typer):
        command = get_command(found)
        command.name = name
        return command
    single = typer.Typer(add_completion=False, rich_markup_mode=None)
    single.command(name)(found)
    return get_command(single)


app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _print_version(asked: bool) -> None:
    if asked:
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
    """Does an alignment method really help a multilingual encoder, on which tasks, in which languages, at what cost?

    Train methods and their controls, score them on XTREME tasks with several seeds, and read the result on a board.
    Artifacts and the database live in the folder ALIGNBOARD_HOME (default: .alignboard in your home folder).

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
    """Runs the command line and exits: 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
    failures.install_warnings()
    if "OMP_WAIT_POLICY" not in os.environ:  # workers inherit it; it must stand before torch is imported
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
    with failures.told():
        get_command(app)(args=sys.argv[1:] if arguments is None else arguments, prog_name="alignboard")
