"""What `prepare` knows of a data set: the files it looks for, where they can be had, and how they are converted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.data.prepare.archives import Selection

Raw = Mapping[str, Path]  # published files by the name that their package gives them -> where they lie


@dataclass(frozen=True)
class Download:
    """Something to fetch: an archive, or the files that are in it.

    `names` are file names of the archive, any one of which will do, and `parts` of archives that are all used; both may
    hold `*`. Where there is none, the files themselves are looked for at any depth. `selection` names what is used of
    it, by its path in the archive or below the folder of downloads, and `holds` are the names that should be found.
    `sums` are the SHA-256 by file name where one is on record: in the data cards that Hugging Face's script versions of
    these sets kept of what they downloaded, from the addresses given here.
    """

    names: tuple[str, ...]
    url: str
    selection: Selection
    holds: tuple[str, ...]
    parts: tuple[str, ...] = ()
    sums: Mapping[str, str] = field(default_factory=dict)
    note: str = ""  # what is to know before downloading: dead links, mirrors, by hand


@dataclass
class Converted:
    """What a conversion wrote: the number of items by relative path, and what the user should know."""

    items: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Package:
    """A data set that can be prepared. `convert(raw, out, official)` writes its folder; with `official`, the very files
    of the official scripts, test labels removed. `published` are the numbers of items by relative path, where known."""

    name: str
    title: str
    licence: str
    downloads: tuple[Download, ...]
    convert: Callable[[Raw, Path, bool], Converted]
    published: Mapping[str, int] = field(default_factory=dict)
    also: tuple[str, ...] = ()  # packages that a user of this one needs as well
