"""BUCC 2018: the sample sets, which XTREME uses as dev, and the training sets, which it uses as test."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from harness.data.prepare.archives import Selection
from harness.data.prepare.package import Converted, Download, Package, Raw
from harness.data.prepare.text import lines

LANGUAGES = ("de", "fr", "ru", "zh")
SPLITS = {"sample": "dev", "training": "test"}
GOLD = {
    "dev": {"de": 1_038, "fr": 929, "ru": 2_374, "zh": 257},
    "test": {"de": 9_580, "fr": 9_086, "ru": 14_435, "zh": 1_899},
}
_SUMS = {
    "de-en.training": "766e0fdebbd1438fb87c21254828eb13c8b997d8fbab002103dd060dcac50c5c",
    "de-en.sample": "8e16ba8b02ef8d648b06adfbd6dfb188f43524e18f97b2b12a14a086caac62f3",
    "fr-en.training": "53c0d0e7dd97dc89593a2db25a26c5f0ccdc7113e8451263bb0c80e4c4c7dc30",
    "fr-en.sample": "df9eb3966954e163c9264076f7c9c1eb56d9d8a91855f9d3afbf2c0fdaef0a08",
    "ru-en.training": "1895df56e936ca3d4f5b12299ceffe0b7ff4806584c40bdaa3ae1d445f25afa5",
    "ru-en.sample": "fce3cabc7ee50ddb4b18aa6fb090e2669c8383d2a29fc97eed6ae70fed9a23e5",
    "zh-en.training": "3facb71798277c8f44dc78c1f8ae2110f254d0e14799f3508eedd54b4236877a",
    "zh-en.sample": "a3425be5c0320ee131a0927b66c3e29befb3b481ebf1b87257e660e514bc16ac",
}


def convert(raw: Raw, out: Path, official: bool) -> Converted:
    """Copies the files under the name of their split; `official` omits the gold pairs of test."""
    done = Converted()
    for name, source in sorted(raw.items()):
        pair, original, side = name.split(".")
        split = SPLITS[original]
        if official and (split, side) == ("test", "gold"):
            continue
        target = f"{pair}.{split}.{side}"
        shutil.copyfile(source, out / target)
        done.items[target] = sum(1 for _ in lines(source))
    return done


def _download(language: str, original: str) -> Download:
    stem = f"{language}-en.{original}"
    archive = f"bucc2018-{stem}-gold.tar.bz2"
    pattern = re.compile(rf"({re.escape(stem)}\.(?:{language}|en|gold))")
    return Download(
        names=(archive,),
        url=f"https://comparable.limsi.fr/bucc2018/{archive}",
        selection=Selection.by_pattern(pattern),
        holds=tuple(f"{stem}.{side}" for side in (language, "en", "gold")),
        sums={archive: _SUMS[stem]},
    )


PACKAGE = Package(
    name="bucc2018",
    title="BUCC 2018",
    licence="none is stated; sentences of Wikipedia (CC BY-SA) and of News Commentary",
    downloads=tuple(_download(language, original) for language in LANGUAGES for original in SPLITS),
    convert=convert,
    published={f"{xx}-en.{split}.gold": count for split, counts in GOLD.items() for xx, count in counts.items()},
)
