"""Reads the golden values in tests/golden; its README says how each was made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

GOLDEN = Path(__file__).parents[1] / "golden"


def cases(name: str) -> Any:
    """A JSON file of golden values, such as "bucc_f1/cases.json"."""
    return json.loads((GOLDEN / name).read_text(encoding="utf-8"))


def arrays(name: str) -> dict[str, NDArray[Any]]:
    """An .npz file of golden arrays. Embeddings are stored as int8: they come as float32."""
    with np.load(GOLDEN / name) as stored:
        return {key: a.astype(np.float32) if a.dtype == np.int8 else a for key, a in stored.items()}
