"""The state of modules and optimisers as named tensors, for safetensors, and plain values, for JSON; no pickle."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

from torch import Tensor, nn


def unique_tensors(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state with each tied tensor once, under its first name, and contiguous, as safetensors needs it."""
    seen: set[tuple[int, tuple[int, ...]]] = set()
    kept: dict[str, Tensor] = {}
    for name, tensor in state.items():
        key = (tensor.data_ptr(), tuple(tensor.shape))
        if tensor.numel() and key in seen:
            continue
        seen.add(key)
        kept[name] = tensor.detach().contiguous()
    return kept


def load_tensors(module: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Loads the result of `unique_tensors`. Raises RuntimeError where a tensor that is not tied is missing."""
    expected = set(unique_tensors(module.state_dict()))
    if expected != set(tensors):
        raise RuntimeError(f"the checkpoint does not fit: {sorted(expected ^ set(tensors))[:5]}")
    module.load_state_dict(tensors, strict=False)


def discard_damaged(checkpoint: Path) -> None:
    """Removes a checkpoint, a folder or one file, that is not as it was written."""
    print(f"{checkpoint}: the checkpoint is damaged, so what it holds is computed again", file=sys.stderr)
    if checkpoint.is_dir():
        shutil.rmtree(checkpoint)
    else:
        checkpoint.unlink()


def flatten(state: dict[int, dict[str, Any]]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """An optimiser's per-parameter state as named tensors and named plain values."""
    tensors: dict[str, Tensor] = {}
    plain: dict[str, Any] = {}
    for number, values in state.items():
        for name, value in values.items():
            if isinstance(value, Tensor):
                tensors[f"{number}.{name}"] = value
            else:
                plain[f"{number}.{name}"] = value
    return tensors, plain


def unflatten(tensors: dict[str, Tensor], plain: dict[str, Any]) -> dict[int, dict[str, Any]]:
    """The inverse of `flatten`."""
    state: dict[int, dict[str, Any]] = {}
    for key, value in {**tensors, **plain}.items():
        number, _, name = key.partition(".")
        state.setdefault(int(number), {})[name] = value
    return state
