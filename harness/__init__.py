"""Alignboard's public names: all that a stranger's method or task imports. Each is loaded on first use."""

from __future__ import annotations

import importlib
from typing import Any

_HOME = {
    "Batch": "harness.method",
    "Corpora": "harness.method",
    "Corpus": "harness.records",
    "Encoder": "harness.modeling.encoder",
    "Family": "harness.records",
    "LayerOf": "harness.method",
    "Layout": "harness.modeling.attention",
    "Method": "harness.method",
    "MethodConfig": "harness.method",
    "PackedText": "harness.modeling.packing",
    "PairMethod": "harness.pair_method",
    "Pairs": "harness.method",
    "SamplePair": "harness.method",
    "Source": "harness.data.source",
    "Statistics": "harness.task",
    "Task": "harness.task",
    "TaskSettings": "harness.task",
    "TaskSpec": "harness.task",
    "Term": "harness.method",
    "Tokens": "harness.method",
    "TrainedSettings": "harness.task",
    "UserError": "harness.errors",
    "attend": "harness.modeling.attention",
    "gather": "harness.training.distributed",
    "pack": "harness.modeling.packing",
    "register": "harness.registry",
}

__all__ = list(_HOME)
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'harness' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*_HOME, "__version__"])
