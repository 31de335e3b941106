"""The declaration of a data set for `prepare`: its downloads, their addresses, and the conversion."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.data.prepare.archives import Selection

Raw = Mapping[str, Path]  # paths of published files by the name that their package gives them


@dataclass(frozen=True)
class Download:
    """A download: an archive, or the files in it.

    `names` are alternative file names of the archive, `parts` are archives that are all used; both may contain `*`.
    Without an archive, the files themselves are searched at any depth. `selection` selects files by their path in the
    archive or below the folder of downloads, and `holds` are the names that should be there. `sums` are recorded
    SHA-256 by file name: those in the data cards of Hugging Face's script versions of these sets, for the addresses
    given here.
    """

    names: tuple[str, ...]
    url: str
    selection: Selection
    holds: tuple[str, ...]
    parts: tuple[str, ...] = ()
    sums: Mapping[str, str] = field(default_factory=dict)
    note: str = ""  # advice on downloading: dead links, mirrors, manual steps


@dataclass
class Converted:
    """The result of a conversion: the number of items by relative path, and notes for the user."""

    items: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Package:
    """A data set that can be prepared. `convert(raw, out, official)` writes its folder: with `official` the exact files
    of the official scripts, without test labels. `published` has the known numbers of items by relative path."""

    name: str
    title: str
    licence: str
    downloads: tuple[Download, ...]
    convert: Callable[[Raw, Path, bool], Converted]
    published: Mapping[str, int] = field(default_factory=dict)
    also: tuple[str, ...] = ()  # other packages that this one needs
