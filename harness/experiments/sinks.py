"""Loss curves for TensorBoard, Weights & Biases or trackio: `--log-to KIND:PLACE`, off by default.

The place is a folder (tensorboard) or a project (wandb, trackio). Each training stage is one run there, named after its
title and fingerprint, with a point for every update of its loss. The choice reaches worker processes through the
environment. A sink that fails is reported once and closed; the stage goes on.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from harness.errors import UsageError, unknown

if TYPE_CHECKING:
    from harness.training.loop import Rate

LOG_TO = "ALIGNBOARD_LOG_TO"  # in the environment: KIND:PLACE


class Writer(NamedTuple):
    """An open run of a sink."""

    log: Callable[[Mapping[str, float], int], object]
    close: Callable[[], object]


def choose_sink(choice: str) -> None:
    """Makes all stages of this command and its workers write to a sink. Raises UsageError where that is impossible."""
    kind, colon, place = choice.partition(":")
    if kind not in _OPEN:
        raise unknown("sink", kind, list(_OPEN))
    if not colon or not place.strip():
        raise UsageError("--log-to names no place", found=choice, expected=f"{kind}:FOLDER_OR_PROJECT")
    if importlib.util.find_spec(kind) is None:
        raise UsageError(f"--log-to {kind} needs a package", remedy=f"pip install {kind}")
    os.environ[LOG_TO] = choice


class StageSink:
    """What a training stage writes to the chosen sink: nothing where none is chosen, and nothing before the first
    losses."""

    def __init__(self, title: str, fingerprint: str) -> None:
        self.kind, _, self.place = os.environ.get(LOG_TO, "").partition(":")
        self.title, self.fingerprint = title, fingerprint
        self._writer: Writer | None = None

    def update(self, rate: Rate) -> None:
        if not self.kind or not rate.losses:
            return
        speed = {"steps_per_second": rate.steps_per_second, "tokens_per_second": rate.tokens_per_second}
        self._guard(lambda: self._open().log({**rate.losses, **speed}, rate.step))

    def close(self) -> None:
        if self._writer is not None:
            self._guard(self._writer.close)
        self._writer = None

    def _guard(self, write: Callable[[], object]) -> None:
        try:
            write()
        except Exception as error:  # libraries of others, and their servers
            print(f"nothing more is logged to {self.kind}: {error}", file=sys.stderr)
            self.kind, self._writer = "", None

    def _open(self) -> Writer:
        if self._writer is None:
            name = f"{self.title} {self.fingerprint[:8]}"
            self._writer = _OPEN[self.kind](self.place, name, self.fingerprint[:32])
        return self._writer


def _open_tensorboard(folder: str, name: str, identifier: str) -> Writer:
    from torch.utils.tensorboard import SummaryWriter

    writer: Any = SummaryWriter(str(Path(folder) / name.replace(" ", "-")))

    def log(values: Mapping[str, float], step: int) -> None:
        for key, value in values.items():
            writer.add_scalar(key, value, step)

    return Writer(log, writer.close)


def _open_wandb(project: str, name: str, identifier: str) -> Writer:
    wandb: Any = importlib.import_module("wandb")
    run = wandb.init(project=project, name=name, id=identifier, resume="allow")
    return Writer(lambda values, step: run.log(dict(values), step=step), run.finish)


def _open_trackio(project: str, name: str, identifier: str) -> Writer:
    trackio: Any = importlib.import_module("trackio")
    trackio.init(project=project, name=name, resume="allow")
    return Writer(lambda values, step: trackio.log(dict(values), step=step), trackio.finish)


# by the kind of sink, which is also the name of its package
_OPEN = {"tensorboard": _open_tensorboard, "wandb": _open_wandb, "trackio": _open_trackio}
