"""Records as lines of text, for digests that pin the data of babel."""

from __future__ import annotations

import dataclasses


def record_line(record: object) -> str:
    """The values of a record in the order of its fields, separated by tabs; sets are sorted."""
    parts = []
    for field in dataclasses.fields(record):  # type: ignore[arg-type]
        value = getattr(record, field.name)
        parts.append(repr(sorted(value) if isinstance(value, frozenset) else value))
    return "\t".join(parts)
