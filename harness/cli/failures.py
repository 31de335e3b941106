"""How a command ends when something goes wrong: a message and an exit code for what the user can fix, a traceback
for our own bugs."""

from __future__ import annotations

import shlex
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from harness.cli.output import print_message
from harness.faults import explain

INTERRUPTED = 130  # 128 + SIGINT, as shells report it


class ReportedExit(SystemExit):
    """The exit of a command that has already printed why."""


@contextmanager
def report_errors() -> Iterator[None]:
    """Turns errors that the user can fix, and Ctrl-C, into a message on stderr and an exit code."""
    try:
        yield
    except Exception as error:
        if (explained := explain(error)) is None:
            raise
        print_message("error", str(explained))
        sys.exit(explained.exit_code)
    except KeyboardInterrupt:
        _exit_interrupted()
    except ReportedExit:
        raise
    except SystemExit as stop:
        if stop.code == INTERRUPTED:  # the command-line library has already turned Ctrl-C into an exit
            _exit_interrupted()
        raise


@contextmanager
def interrupt_hint(hint: str) -> Iterator[None]:
    """Prints `hint` after Ctrl-C in the block, instead of the one about `alignboard resume`."""
    try:
        yield
    except KeyboardInterrupt:
        print_message("interrupted", hint)
        raise ReportedExit(INTERRUPTED) from None


def shorten_warnings() -> None:
    """Prints our own warnings, such as that of a broken plug-in, as one line on stderr."""
    default = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        if category is UserWarning:
            print_message("warning", str(message))
        else:
            default(message, category, *place, **more)

    warnings.showwarning = show


def _exit_interrupted() -> None:
    from harness.registry import loaded_plugins

    plugins = "".join(f" --plugin {shlex.quote(str(file))}" for file in loaded_plugins())
    print_message("interrupted", f"resume with `alignboard{plugins} resume`")
    sys.exit(INTERRUPTED)
