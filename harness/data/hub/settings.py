"""The settings of the source: `hub:google/xtreme@REVISION,nli=facebook/xnli,parallel=Helsinki-NLP/un_pc,bucc=PATH`."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from harness.data.babel.settings import parse_pairs
from harness.errors import UsageError, unknown
from harness.files import expand_user

NLI_CONFIGS = {"nyu-mll/multi_nli": "default", "facebook/xnli": "en"}  # English MultiNLI, 392,702 rows in both
PARALLEL = ("Helsinki-NLP/opus-100", "Helsinki-NLP/un_pc")
NONE = "none"


class Named(NamedTuple):
    """A data set on the hub and a revision: a commit, tag or branch."""

    repo: str
    revision: str = "main"

    def __str__(self) -> str:
        return self.repo if self.revision == "main" else f"{self.repo}@{self.revision}"


@dataclass(frozen=True)
class HubSettings:
    """The data sets to read. `parallel_size` is the maximal number of sentence pairs per language."""

    xtreme: Named
    nli: Named | None
    parallel: Named | None
    parallel_size: int
    bucc: Path | None
    label: str  # the settings as the board shows them


def parse_settings(location: str) -> HubSettings:
    """Settings from `REPO@REVISION,name=value,...`. Raises UsageError for an unknown setting or value."""
    parts = [part.strip() for part in location.split(",") if part.strip()]
    first = _parse_name("the data set", parts.pop(0)) if parts and "=" not in parts[0] else Named("google/xtreme")
    given = parse_pairs("hub", parts, "bucc=PATH")
    known = [f.name for f in dataclasses.fields(HubSettings) if f.name not in ("xtreme", "label")]
    for name in given:
        if name not in known:
            raise unknown("setting of hub", name, known)
    shown = [str(first)] * (first != Named("google/xtreme")) + [f"{k}={v}" for k, v in given.items() if k != "bucc"]
    return HubSettings(
        first,
        _parse_choice("nli", given.get("nli"), tuple(NLI_CONFIGS)),
        _parse_choice("parallel", given.get("parallel"), PARALLEL),
        _parse_count(given.get("parallel_size", "100000")),
        expand_user(given["bucc"]) if "bucc" in given else None,
        f"hub:{','.join(shown)}" if shown else "hub",
    )


def _parse_name(what: str, text: str) -> Named:
    repo, at, revision = text.partition("@")
    if repo.count("/") != 1 or not all(repo.split("/")) or (at and not revision):
        raise UsageError(
            f"{what} is written OWNER/NAME or OWNER/NAME@REVISION", found=repr(text), expected="google/xtreme@COMMIT"
        )
    return Named(repo, revision or "main")


def _parse_choice(name: str, text: str | None, known: tuple[str, ...]) -> Named | None:
    if text == NONE:
        return None
    named = Named(known[0]) if text is None else _parse_name(name, text)
    if named.repo not in known:
        raise unknown(f"data set for {name} of hub", named.repo, [*known, NONE])
    return named


def _parse_count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text)):
        raise UsageError("parallel_size of hub is a whole number from 1 on", found=repr(text))
    return int(text)
