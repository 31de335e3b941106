"""How failures are told: a message and an exit code for what a person can mend, a traceback for what we must mend."""

from __future__ import annotations

import errno
import shlex
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from harness.errors import UserError

INTERRUPTED = 130  # 128 + SIGINT, as shells report it
_MENDABLE = {
    errno.ENOSPC: "free some space, or point ALIGNBOARD_HOME at another disk; `alignboard resume` then continues",
    errno.EDQUOT: "free some of your quota, or point ALIGNBOARD_HOME elsewhere; `alignboard resume` then continues",
    errno.EACCES: "change the permissions, or point ALIGNBOARD_HOME at a folder of your own",
    errno.EROFS: "point ALIGNBOARD_HOME at a folder that can be written",
}


class Told(SystemExit):
    """The end of a command that has said why."""


@contextmanager
def told() -> Iterator[None]:
    """Turns mistakes that a person can mend, and Ctrl-C, into a message on stderr and an exit code."""
    try:
        yield
    except UserError as error:
        say("error", str(error), "bold red")
        sys.exit(error.exit_code)
    except OSError as error:
        if error.errno not in _MENDABLE:
            raise
        say("error", str(_os_error(error)), "bold red")
        sys.exit(UserError.exit_code)
    except KeyboardInterrupt:
        _interrupted()
    except Told:
        raise
    except SystemExit as stop:
        if stop.code == INTERRUPTED:  # the command-line library has turned Ctrl-C into this already
            _interrupted()
        raise


def say(label: str, message: str, style: str) -> None:
    """Writes `label: message` to stderr, the label in colour on a terminal, and no line of it wrapped or cut."""
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(Text.assemble((f"{label}: ", style), message))


def install_warnings() -> None:
    """Shows our own warnings, such as that of a broken plug-in, as one line on stderr."""
    ordinary = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        if category is UserWarning:
            say("warning", str(message), "yellow")
        else:
            ordinary(message, category, *place, **more)

    warnings.showwarning = show


@contextmanager
def going_on(words: str) -> Iterator[None]:
    """Says after Ctrl-C in the block how it goes on, in place of the hint at `alignboard resume`."""
    try:
        yield
    except KeyboardInterrupt:
        say("interrupted", words, "bold")
        raise Told(INTERRUPTED) from None


def _interrupted() -> None:
    from harness.registry import loaded_plugins

    files = "".join(f" --plugin {shlex.quote(str(file))}" for file in loaded_plugins())
    say("interrupted", f"`alignboard{files} resume` continues", "bold")
    sys.exit(INTERRUPTED)


def _os_error(error: OSError) -> UserError:
    assert error.errno is not None
    what = (error.strerror or errno.errorcode[error.errno]).lower()
    return UserError(what, file=error.filename, remedy=_MENDABLE[error.errno])
