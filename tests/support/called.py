"""The command line called in this process, and a home where a run is finished."""

from __future__ import annotations

import pytest

from harness.cli.app import main

MBERT = ["run", "mbert", "--base", "init:1x64", "--source", "babel:size=small", "--protocol", "mini", "--seeds", "1"]


def called(*arguments: str) -> int:
    """The exit status of a command."""
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return int(ended.value.code or 0)
