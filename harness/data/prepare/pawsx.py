"""PAWS-X: paraphrases in 7 languages, English training data."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from harness.data.prepare.archives import Selection
from harness.data.prepare.package import Converted, Download, Package, Raw
from harness.data.prepare.text import lines, split_fields, write_rows

LANGUAGES = ("de", "en", "es", "fr", "ja", "ko", "zh")
FILES = {"train": "train.tsv", "dev": "dev_2k.tsv", "test": "test_2k.tsv"}
_PATH = re.compile(
    r"(?:x-final|pawsx|paws-x)[^/]*/(?:.*/)?"
    rf"(?:({'|'.join(LANGUAGES)})/(dev_2k\.tsv|test_2k\.tsv)|(en)/(train\.tsv))"
)


def convert(raw: Raw, out: Path, official: bool) -> Converted:
    """The official conversion: the columns after the id, stripped, as csv. The placeholder `NS` is kept."""
    done = Converted()
    for language in LANGUAGES:
        for split, file in FILES.items():
            if (name := f"{language}/{file}") in raw:
                path = f"{split}-{language}.tsv"
                rows = _rows(raw[name], labels=not (official and split == "test"))
                done.items[path] = write_rows(out / path, rows)
    return done


def _rows(path: Path, *, labels: bool) -> Iterator[tuple[str, ...]]:
    for number, text in lines(path):
        if number > 1:  # the first line has the column names
            _, first, second, label = split_fields(path, number, text, 4)[:4]
            pair = (first.strip(), second.strip())
            yield (*pair, label) if labels else pair


PACKAGE = Package(
    name="pawsx",
    title="PAWS-X",
    licence="free for any purpose, with acknowledgement of Google LLC",
    downloads=(
        Download(
            names=("x-final.tar.gz",),
            url="https://storage.googleapis.com/paws/pawsx/x-final.tar.gz",
            selection=Selection.by_pattern(_PATH, "/"),  # `x-final/de/dev_2k.tsv` -> `de/dev_2k.tsv`
            holds=("en/train.tsv", *(f"{xx}/{file}" for xx in LANGUAGES for file in ("dev_2k.tsv", "test_2k.tsv"))),
            sums={"x-final.tar.gz": "4146db499101d66e68ae4c8ed3cf9dadecd625f44b7d8cf3d4a0fe93afc4fd9f"},
        ),
    ),
    convert=convert,
    published={
        "train-en.tsv": 49_401,
        **{f"{split}-{language}.tsv": 2_000 for split in ("dev", "test") for language in LANGUAGES},
    },
)
