"""Outputs of models that are kept while a stage predicts, so that a stage which was killed resumes where it was."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from harness import stopping
from harness.files import remove_parts
from harness.modeling.array_cache import read_part, write_part
from harness.training import loop
from harness.training.checkpoint import discard_damaged


class Outputs:
    """The outputs of a stage's batches, numbered in the order in which the stage needs them.

    What was computed is written every `loop.CHECKPOINT_SECONDS`, to one file that is named by its first batch; a stage
    that takes less writes nothing. A damaged file costs its own batches.
    """

    def __init__(self, folder: Path) -> None:
        remove_parts(folder)
        self.folder = folder
        self._files = {int(path.stem): path for path in folder.glob("*.npz")}
        self._stored: dict[str, np.ndarray] = {}  # of the file that was opened last, what is still to be used
        self._new: dict[str, np.ndarray] = {}  # not yet written
        self._count = self._first_new = 0
        self._saved = time.monotonic()

    def get(self, rows: np.ndarray, compute: Callable[[], Tensor]) -> Tensor:
        """The output of the next batch, which has these rows: the one that was kept, or else computed."""
        number, self._count = self._count, self._count + 1
        if number in self._files:
            self.save()
            self._stored = self._read(self._files[number])
        stored = self._stored.pop(f"{number} output", None)
        if stored is not None and np.array_equal(self._stored.pop(f"{number} rows"), rows):
            return torch.from_numpy(stored)
        output = compute()
        if not self._new:
            self._first_new = number
        self._new |= {f"{number} rows": rows, f"{number} output": output.numpy().copy()}
        if time.monotonic() - self._saved >= loop.CHECKPOINT_SECONDS:
            self.save()
        if stopping.requested():
            stopping.leave(self.save)
        return output

    def save(self) -> None:
        """Writes what was computed since the last time."""
        if self._new:
            write_part(self.folder / f"{self._first_new:08}.npz", self._new)
        self._new, self._saved = {}, time.monotonic()

    def _read(self, file: Path) -> dict[str, np.ndarray]:
        arrays = read_part(file)
        if arrays is None:
            discard_damaged(file)
        return dict(arrays or {})


_outputs: ContextVar[Outputs | None] = ContextVar("outputs", default=None)


@contextmanager
def keep_outputs(folder: Path) -> Iterator[None]:
    """Inside, the outputs of sweeps are kept in this folder and taken from it; the caller removes it.

    All that decides an output has to be the same whenever the folder is used: models, data, order of the sweeps, and
    the kind of device.
    """
    token = _outputs.set(Outputs(folder))
    try:
        yield
    finally:
        _outputs.reset(token)


def kept_outputs() -> Outputs | None:
    """The outputs that are kept at the moment, or None."""
    return _outputs.get()
