"""Commands of `alignboard` run in this process."""

from __future__ import annotations

import pytest

from harness.cli.app import main
from tests.support.tiny_runs import WORLD

MBERT_RUN = ("run", "mbert", "--base", "init:1x64", "--source", WORLD, "--protocol", "mini", "--seeds", "1")


def run_command(*arguments: str) -> int:
    """The exit status of a command."""
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return int(ended.value.code or 0)


def printed_by(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    """What a command prints that ends with an exit status."""
    status = run_command(*arguments)
    printed = capsys.readouterr()
    assert status == code, printed
    return printed.out
