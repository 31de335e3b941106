"""Registered objects as plain records, for the commands that list them."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from harness.errors import UserError
from harness.registry import Registry

Record = dict[str, Any]


def registry_records(registry: Registry[Any], read: Callable[[str], Record]) -> list[Record]:
    """One record per registered name, in alphabetical order. A broken plug-in gives a warning, and its record says
    why it cannot be loaded."""
    records: list[Record] = []
    for name in registry:
        try:
            record = read(name)
        except UserError as error:
            warnings.warn(error.what, stacklevel=2)
            records.append({"name": name, "status": "broken", "reason": error.what, "origin": error.found})
        else:
            records.append({"name": name, "status": "ok", "origin": str(registry.origin(name)), **record})
    return records
