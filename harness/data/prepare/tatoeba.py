"""Tatoeba: up to 1,000 sentences in each of 36 languages with English translations, as LASER distributes them."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from harness.data.prepare.archives import Selection
from harness.data.prepare.package import Converted, Download, Package, Raw
from harness.data.prepare.text import lines, write_lines
from harness.data.readers import check_parallel

CODES = {
    **{"afr": "af", "ara": "ar", "bul": "bg", "ben": "bn", "deu": "de", "ell": "el", "spa": "es", "est": "et"},
    **{"eus": "eu", "pes": "fa", "fin": "fi", "fra": "fr", "heb": "he", "hin": "hi", "hun": "hu", "ind": "id"},
    **{"ita": "it", "jpn": "ja", "jav": "jv", "kat": "ka", "kaz": "kk", "kor": "ko", "mal": "ml", "mar": "mr"},
    **{"nld": "nl", "por": "pt", "rus": "ru", "swh": "sw", "tam": "ta", "tel": "te", "tha": "th", "tgl": "tl"},
    **{"tur": "tr", "urd": "ur", "vie": "vi", "cmn": "zh"},
}
SMALL = {"jv": 205, "te": 234, "ta": 307, "sw": 390, "th": 548, "kk": 575, "ml": 687, "ka": 746}
_NAME = re.compile(r"(?:^|.*/)(tatoeba\.([a-z]{3})-eng\.(?:\2|eng))")


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


def _pick(path: str) -> str | None:
    match = _NAME.fullmatch(path)
    return match[1] if match and match[2] in CODES else None


PACKAGE = Package(
    name="tatoeba",
    title="Tatoeba",
    licence="CC BY 2.0 FR",
    downloads=(
        Download(
            names=("LASER*.zip", "LASER*.tar.gz", "main.zip", "master.zip"),
            url="https://github.com/facebookresearch/LASER (folder data/tatoeba/v1)",
            selection=Selection(_pick),
            holds=tuple(f"tatoeba.{code}-eng.{side}" for code in CODES for side in (code, "eng")),
            note="LASER renamed its branch to main, so the official script's archive/master.zip is dead: take "
            "archive/refs/heads/main.zip, or only the files of data/tatoeba/v1.",
        ),
    ),
    convert=convert,
    published={f"{xx}-en.{side}": SMALL.get(xx, 1_000) for xx in CODES.values() for side in (xx, "en")},
)
