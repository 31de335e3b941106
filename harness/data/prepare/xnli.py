"""XNLI: development and test sets in 15 languages, English training data from MultiNLI."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from harness.data.lines import shorten
from harness.data.prepare.archives import Selection
from harness.data.prepare.package import Converted, Download, Package, Raw
from harness.data.prepare.text import content_error, lines, split_fields, write_rows
from harness.data.readers import OLD_LABELS

LANGUAGES = ("ar", "bg", "de", "el", "en", "es", "fr", "hi", "ru", "sw", "th", "tr", "ur", "vi", "zh")
TRAIN = "multinli.train.en.tsv"
EVALUATED = {"dev": "xnli.dev.tsv", "test": "xnli.test.tsv"}


def convert(raw: Raw, out: Path, official: bool) -> Converted:
    """The official conversion: fields stripped, `contradictory` renamed, one csv file per language."""
    done = Converted()
    if TRAIN in raw:
        fields = _fields(raw[TRAIN], 3)
        pairs = ((first, second, OLD_LABELS.get(label, label)) for _, (first, second, label, *_) in fields)
        done.items["train-en.tsv"] = write_rows(out / "train-en.tsv", pairs)
    for split, name in EVALUATED.items():
        if name in raw:
            for language, rows in _rows_by_language(raw[name], labels=not (official and split == "test")).items():
                path = f"{split}-{language}.tsv"
                done.items[path] = write_rows(out / path, rows)
    return done


def _rows_by_language(path: Path, *, labels: bool) -> dict[str, list[tuple[str, ...]]]:
    rows: dict[str, list[tuple[str, ...]]] = {}
    for number, found in _fields(path, 8):
        language, label = found[0], OLD_LABELS.get(found[1], found[1])
        if language not in LANGUAGES:
            raise content_error(path, number, "not a language of XNLI", shorten(language), ", ".join(LANGUAGES))
        rows.setdefault(language, []).append((found[6], found[7], label) if labels else (found[6], found[7]))
    return rows


def _fields(path: Path, needed: int) -> Iterator[tuple[int, list[str]]]:
    """The stripped fields of each line after the first, which has the names of the columns."""
    for number, text in lines(path):
        if number > 1:
            yield number, [field.strip() for field in split_fields(path, number, text, needed)]


PACKAGE = Package(
    name="xnli",
    title="XNLI",
    licence="CC BY-NC 4.0 (dev, test); OANC and others (MultiNLI, training)",
    downloads=(
        Download(
            names=("XNLI-1.0.zip",),
            url="https://dl.fbaipublicfiles.com/XNLI/XNLI-1.0.zip",
            selection=Selection.by_name(*EVALUATED.values()),
            holds=tuple(EVALUATED.values()),
            sums={"XNLI-1.0.zip": "4ba1d5e1afdb7161f0f23c66dc787802ccfa8a25a3ddd3b165a35e50df346ab1"},
        ),
        Download(
            names=("XNLI-MT-1.0.zip",),
            url="https://dl.fbaipublicfiles.com/XNLI/XNLI-MT-1.0.zip",
            selection=Selection.by_name(TRAIN),
            holds=(TRAIN,),
            sums={"XNLI-MT-1.0.zip": "f732517ba2fb1d550e9f3c2aabaef6017c91ee2dcec90e878f138764d224db05"},
            note="466 MB, of which the English training file is used. The older addresses (www.nyu.edu/projects/bowman/"
            "xnli, s3.amazonaws.com/xnli) gave broken archives.",
        ),
    ),
    convert=convert,
    published={
        "train-en.tsv": 392_702,
        **{f"dev-{language}.tsv": 2_490 for language in LANGUAGES},
        **{f"test-{language}.tsv": 5_010 for language in LANGUAGES},
    },
)
