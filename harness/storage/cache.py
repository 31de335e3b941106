"""Values that take seconds to compute, kept in the home folder as long as everything that decides them is the same."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from harness.errors import UserError
from harness.files import json_digest, read_json, text_digest, write_json
from harness.storage.home import home


def cached_json(subject: str, key: Any, compute: Callable[[], Any]) -> Any:
    """The JSON value of `compute()`; the one kept for `subject` where that was computed under the same `key`.

    A file that is damaged, stale, or cannot be written costs time alone: its value counts only with its checksum.
    """
    name = text_digest(f"{sys.prefix}\n{subject}")  # each environment its own: their packages differ
    file = home() / "cache" / f"{name[:40]}.json"
    digest = json_digest(key)
    if (kept := _read(file)) is not None and kept.get("key") == digest:
        return kept["value"]
    value = json.loads(json.dumps(compute(), default=str))
    with suppress(OSError, UserError):
        write_json(file, {"key": digest, "value": value, "check": json_digest([digest, value])})
    return value


def _read(file: Path) -> dict[str, Any] | None:
    """The content of a file, if it is what was written."""
    try:
        kept = read_json(file)
        return kept if kept["check"] == json_digest([kept["key"], kept["value"]]) else None
    except (OSError, UserError, TypeError, KeyError, UnicodeEncodeError, RecursionError):
        return None
