"""Tatoeba: up to 1,000 sentences in each of 36 languages with English translations, as LASER distributes them."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from harness.data.languages import ISO3, XTREME
from harness.data.prepare.archives import Selection
from harness.data.prepare.package import Converted, Download, Package, Raw
from harness.data.prepare.text import lines, write_lines
from harness.data.readers import check_parallel

CODES = {ISO3[code]: code for code in XTREME if code not in ("en", "ms", "my", "yo")}
SMALL = {"jv": 205, "te": 234, "ta": 307, "sw": 390, "th": 548, "kk": 575, "ml": 687, "ka": 746}
_NAME = re.compile(rf"(tatoeba\.(?:{'|'.join(rf'{code}-eng.(?:{code}|eng)' for code in CODES)}))")


def convert(raw: Raw, out: Path, official: bool) -> Converted:
    """Copies both sides. `official` strips the English lines and sorts them by code point, which hides the labels."""
    done = Converted()
    for code, language in CODES.items():
        source, target = (raw.get(f"tatoeba.{code}-eng.{side}") for side in (code, "eng"))
        if source is None or target is None:
            continue
        check_parallel(source, target)
        foreign, english = out / f"{language}-en.{language}", out / f"{language}-en.en"
        shutil.copyfile(source, foreign)
        count = sum(1 for _ in lines(source))
        if official:
            write_lines(english, sorted(text.strip() for _, text in lines(target)))
        else:
            shutil.copyfile(target, english)
        done.items |= {foreign.name: count, english.name: count}
    return done


PACKAGE = Package(
    name="tatoeba",
    title="Tatoeba",
    licence="CC BY 2.0 FR",
    downloads=(
        Download(
            names=("LASER*.zip", "LASER*.tar.gz", "main.zip", "master.zip"),
            url="https://github.com/facebookresearch/LASER (folder data/tatoeba/v1)",
            selection=Selection.by_pattern(_NAME),
            holds=tuple(f"tatoeba.{code}-eng.{side}" for code in CODES for side in (code, "eng")),
            note="LASER renamed its branch to main, so the official script's archive/master.zip is dead: take "
            "archive/refs/heads/main.zip, or only the files of data/tatoeba/v1.",
        ),
    ),
    convert=convert,
    published={f"{xx}-en.{side}": SMALL.get(xx, 1_000) for xx in CODES.values() for side in (xx, "en")},
)
