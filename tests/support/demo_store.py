"""A store that the command line made, as a user makes it: the demo at its smallest, a failure, and maps."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.cli_calls import run_command
from tests.support.small_babel import isolated
from tests.support.tiny_runs import TINY

SIZES = "nli=64,paraphrase=64,pos=48,ner=48,dev=12,test=40,parallel=100,mono=60,alignment=40,entities=20"
CHANGES = (
    *TINY,
    "align.steps=16",
    "align.learning_rate=0.01",
    "pretrain.steps=40",
    *(f"tasks.{task}.epochs=1" for task in ("xnli", "pawsx", "udpos", "panx")),
    *(f"tasks.{task}.max_test=40" for task in ("xnli", "pawsx", "udpos", "panx")),
)
SETTINGS = (
    *("--suite", "xtreme-align", "--source", f"babel:size=small,{SIZES}", "--protocol", "mini", "--base", "init:1x32"),
    *("--workers", "1"),
    *(word for change in CHANGES for word in ("--set", change)),
)
METHODS = ("mbert", "continued-mlm", "ml-ctl")
RATE = ("--set", "align.learning_rate=0.001")  # the second value of a field of the recipe
WRONG = "the loss of never-trains is not written yet"
PLUGIN = f'''"""A method that fails while it trains."""

from alignboard import Batch, Encoder, PairMethod, Term, register


@register("never-trains")
class NeverTrains(PairMethod):
    """Fails at its first step.

    Reference: none.
    Objective: none.
    Inputs: parallel pairs of the sample.
    """

    objective = "none"

    def loss(self, encoder: Encoder, batch: Batch, step: int) -> dict[str, Term]:
        raise RuntimeError("{WRONG}")
'''


def run_demo(home: Path) -> Path:
    """The demo's controls and methods with two seeds, the shuffled control, another learning rate, a method that fails,
    and maps of two methods."""
    plugin = home / "never_trains.py"
    plugin.write_text(PLUGIN, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch, isolated():
        patch.setenv("ALIGNBOARD_HOME", str(home))
        patch.delenv("ALIGNBOARD_DB", raising=False)
        assert run_command("run", *METHODS, *SETTINGS, "--seeds", "2") == 0
        assert run_command("run", "ml-ctl", *SETTINGS, "--seeds", "1", "--transform", "shuffled-pairs") == 0
        assert run_command("run", "ml-ctl", *SETTINGS, *RATE, "--seeds", "1") == 0
        assert run_command("--plugin", str(plugin), "run", "never-trains", *SETTINGS, "--seeds", "1") == 1
        assert run_command("project", "mbert", "continued-mlm", "--workers", "1") == 0
    return home / "board.db"
