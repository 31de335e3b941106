"""Errors that a person can act on.

A user's mistake raises `UserError` (exit code 1) or `UsageError` (exit code 2); both name what was found, what was
expected and what to do. Our own invariants are `assert`s.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple


class UserError(ValueError):
    """A mistake in the user's data or settings, reported with file, line, found, expected and remedy."""

    exit_code = 1

    def __init__(
        self,
        what: str,
        *,
        file: str | Path | None = None,
        line: int | None = None,
        found: str | None = None,
        expected: str | None = None,
        remedy: str | None = None,
    ) -> None:
        self.what, self.file, self.line = what, file, line
        self.found, self.expected, self.remedy = found, expected, remedy
        super().__init__(str(self))

    def __str__(self) -> str:
        place = "" if self.file is None else f"{self.file}{'' if self.line is None else f':{self.line}'}: "
        parts = [f"{place}{self.what}"]
        for name in ("found", "expected", "remedy"):
            value = getattr(self, name)
            if value is not None:
                parts.append(f"  {name + ':':<9} {value}")
        return "\n".join(parts)


class UsageError(UserError):
    """A wrong command: an unknown name, an option without effect, a contradiction between settings."""

    exit_code = 2


class GoldFault(NamedTuple):
    """What keeps an item, or a whole set, from being trained on or scored."""

    what: str
    found: str
    expected: str
    remedy: str = "correct the item, or remove it"

    def error(self, where: str, file: str | Path | None = None, line: int | None = None) -> UserError:
        what = f"{self.what} {where}"
        return UserError(what, file=file, line=line, found=self.found, expected=self.expected, remedy=self.remedy)


def unknown(kind: str, name: str, known: Iterable[str], remedy: str | None = None) -> UsageError:
    """The error for a name that is not registered, with the nearest known ones."""
    names = sorted(known)
    folded = {known.casefold(): known for known in names}
    close = difflib.get_close_matches(name[:200].casefold(), folded, n=3, cutoff=0.5)
    guess = f"did you mean {' or '.join(repr(folded[c]) for c in close)}?" if close else None
    hint = " ".join(filter(None, (guess, remedy))) or None
    shown = name if len(name) <= 200 else f"{name[:200]}…"
    return UsageError(f"unknown {kind} {shown!r}", expected=", ".join(names) or f"no {kind} is registered", remedy=hint)


def unique_names(kind: str, texts: Iterable[str], known: Iterable[str] | None = None) -> list[str]:
    """The names that a user listed, in one text with commas or in several: stripped, each once, in their order.

    Raises UsageError for a blank between two commas, and for a name that is not among `known`.
    """
    names = list(dict.fromkeys(part.strip() for text in texts for part in text.split(",")))
    if "" in names:
        raise UsageError(f"a {kind} without a name", found=", ".join(map(repr, names)), expected="names such as a,b")
    everything = names if known is None else set(known)
    for name in names:
        if name not in everything:
            raise unknown(kind, name, everything)
    return names


def list_first(names: Sequence[str], limit: int = 5, separator: str = ", ") -> str:
    """The first names of a list, and how many more there are."""
    more = f" and {len(names) - limit:,} more" if len(names) > limit else ""
    return separator.join(names[:limit]) + more


def counted(number: int, thing: str) -> str:
    """ "1 stage", "2 stages"."""
    return f"{number} {thing}{'' if number == 1 else 's'}"
