"""TyDiQA-GoldP: questions in 9 languages, each with the passage that has the answer."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from harness.data.languages import XTREME
from harness.data.lines import shorten
from harness.data.prepare.archives import Selection
from harness.data.prepare.package import Converted, Download, Package, Raw
from harness.data.prepare.squad import article, copy_questions, questions, write_hidden
from harness.data.prepare.text import content_error, write_json

DEV = {"ar": 921, "bn": 113, "en": 440, "fi": 782, "id": 565, "ko": 276, "ru": 812, "sw": 499, "te": 669}
LANGUAGES = {XTREME[code].name.lower(): code for code in DEV}
TRAIN = "tydiqa-goldp-v1.1-train.json"
TRAIN_FOLDER, DEV_FOLDER = "tydiqa-goldp-v1.1-train", "tydiqa-goldp-v1.1-dev"


def convert(raw: Raw, out: Path, official: bool) -> Converted:
    """Training data by language, with ids reduced to the part after the last hyphen; dev files under their ISO names.

    `official` hides the answers of dev and keeps the whole training file beside its parts.
    """
    done = Converted()
    if TRAIN in raw:
        (out / TRAIN_FOLDER).mkdir()
        for language, count in _split_training(raw[TRAIN], out / TRAIN_FOLDER).items():
            done.items[f"{TRAIN_FOLDER}/tydiqa.goldp.{language}.train.json"] = count
        if official:
            shutil.copyfile(raw[TRAIN], out / TRAIN_FOLDER / TRAIN)
    for name, iso in LANGUAGES.items():
        if (source := raw.get(f"tydiqa-goldp-dev-{name}.json")) is not None:
            path = f"{DEV_FOLDER}/tydiqa.goldp.{iso}.dev.json"
            (out / DEV_FOLDER).mkdir(exist_ok=True)
            done.items[path] = (write_hidden if official else copy_questions)(source, out / path)
    return done


def _split_training(path: Path, out: Path) -> dict[str, int]:
    version, found = questions(path)
    articles: dict[str, list[dict[str, Any]]] = {}
    for question in found:
        language = LANGUAGES.get(question.id.split("-")[0])
        if language is None:
            expected = f"ids that begin with {', '.join(LANGUAGES)}"
            raise content_error(path, None, "an id of no language of TyDiQA", shorten(question.id), expected)
        name = question.id.split("-")[-1]
        articles.setdefault(language, []).append(article(question, name=name, answers=question.answers))
    for language, data in articles.items():
        write_json(out / f"tydiqa.goldp.{language}.train.json", {"data": data, "version": version})
    return {language: len(data) for language, data in articles.items()}


PACKAGE = Package(
    name="tydiqa",
    title="TyDiQA-GoldP",
    licence="Apache-2.0",
    downloads=(
        Download(
            names=(f"{TRAIN}.gz",),
            url=f"https://storage.googleapis.com/tydiqa/v1.1/{TRAIN}",
            selection=Selection.by_name(TRAIN),
            holds=(TRAIN,),
            sums={TRAIN: "cefc8e09ff2548d9b10a678d3a6bbbe5bc036be543f92418819ea676c97be23b"},
        ),
        Download(
            names=("tydiqa-goldp-v1.1-dev.tgz",),
            url="https://storage.googleapis.com/tydiqa/v1.1/tydiqa-goldp-v1.1-dev.tgz",
            selection=Selection.by_name(*(f"tydiqa-goldp-dev-{name}.json" for name in LANGUAGES)),
            holds=tuple(f"tydiqa-goldp-dev-{name}.json" for name in LANGUAGES),
            note="The archive, by language; the single file tydiqa-goldp-v1.1-dev.json will not do.",
        ),
    ),
    convert=convert,
    published={
        f"{TRAIN_FOLDER}/tydiqa.goldp.en.train.json": 3_696,
        **{f"{DEV_FOLDER}/tydiqa.goldp.{iso}.dev.json": count for iso, count in DEV.items()},
    },
)
