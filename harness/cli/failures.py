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
from harness.stopping import INTERRUPTED, PREEMPTED, StopRequest


class ReportedExit(SystemExit):
    """The exit of a command that has already printed why."""


@contextmanager
def report_errors() -> Iterator[None]:
    """Turns errors that the user can fix, Ctrl-C and signals of a cluster into a message on stderr and an exit code."""
    try:
        yield
    except Exception as error:
        if (explained := explain(error)) is None:
            raise
        print_message("error", str(explained))
        sys.exit(explained.exit_code)
    except KeyboardInterrupt:
        _exit_stopped(INTERRUPTED)
    except ReportedExit:
        raise
    except SystemExit as stop:
        if stop.code in (INTERRUPTED, PREEMPTED):  # the command-line library has already turned Ctrl-C into an exit
            _exit_stopped(stop.code)
        raise


@contextmanager
def interrupt_hint(hint: str) -> Iterator[None]:
    """Prints `hint` after Ctrl-C in the block, instead of the one about `alignboard resume`."""
    try:
        yield
    except (KeyboardInterrupt, StopRequest) as stop:
        print_message("interrupted", hint)
        raise ReportedExit(stop.code if isinstance(stop, StopRequest) else INTERRUPTED) from None


def shorten_warnings() -> None:
    """Prints our own warnings, such as that of a broken plug-in, as one line on stderr."""
    default = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        if category is UserWarning:
            print_message("warning", str(message))
        else:
            default(message, category, *place, **more)

    warnings.showwarning = show


def _exit_stopped(code: Any) -> None:
    from harness.registry import loaded_plugins

    plugins = "".join(f" --plugin {shlex.quote(str(file))}" for file in loaded_plugins())
    print_message("interrupted", f"resume with `alignboard{plugins} resume`")
    sys.exit(code)
