"""Question answering in SQuAD's JSON: removal of answers, and data sets that are copied unchanged."""

from __future__ import annotations

import re
import shutil
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from harness.data.lines import shorten
from harness.data.prepare.archives import Selection
from harness.data.prepare.package import Converted, Download, Package, Raw
from harness.data.prepare.text import content_error, read_json, write_json

XQUAD = ("ar", "de", "el", "en", "es", "hi", "ru", "th", "tr", "vi", "zh")
MLQA = ("ar", "de", "en", "es", "hi", "vi", "zh")
MLQA_TEST = {"ar": 5_335, "de": 4_517, "en": 11_590, "es": 5_253, "hi": 4_918, "vi": 5_495, "zh": 5_137}
MLQA_DEV = {"ar": 517, "de": 512, "en": 1_148, "es": 500, "hi": 507, "vi": 511, "zh": 504}
_MLQA_NAME = re.compile(rf"((?:dev|test)-context-(?:{'|'.join(MLQA)})-question-(?:{'|'.join(MLQA)})\.json)")
HIDDEN = [{"answer_start": 0, "text": ""}]


class SquadQuestion(NamedTuple):
    """A question with its context; `answers` are objects with `answer_start` and `text`."""

    context: str
    id: str
    text: str
    answers: list[dict[str, Any]]


def questions(path: Path) -> tuple[str, list[SquadQuestion]]:
    """The version and the questions of a file in SQuAD's layout.

    Raises UserError if the layout is another one, or if the context does not have an answer at its offset.
    """
    content = read_json(path)
    try:
        paragraphs = [paragraph for document in content["data"] for paragraph in document["paragraphs"]]
        found = [
            SquadQuestion(p["context"], q["id"], q["question"], q["answers"]) for p in paragraphs for q in p["qas"]
        ]
        for question, answer in ((q, answer) for q in found for answer in q.answers):
            start, text = answer["answer_start"], answer["text"]
            if question.context[start : start + len(text)] != text:
                wrong, what = f"{shorten(str(question.id))}: {shorten(text)}", "an answer that is not at its place"
                raise content_error(path, None, what, wrong, f"at {start}")
        return content["version"], found
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        what = f"{type(error).__name__}: {error}"
        expected = "version and data[].paragraphs[].qas[]"
        raise content_error(path, None, "this is not SQuAD's layout", what, expected) from error


def article(question: SquadQuestion, *, name: str, answers: list[dict[str, Any]]) -> dict[str, Any]:
    """A question as a separate article, without title, in the official order of keys."""
    entry = {"answers": answers, "question": question.text, "id": name}
    return {"paragraphs": [{"context": question.context, "qas": [entry]}]}


def write_hidden(source: Path, target: Path) -> int:
    """Writes a file in which every answer is `` at 0, as the official scripts do. Returns the number of questions."""
    version, found = questions(source)
    write_json(target, {"data": [article(q, name=q.id, answers=HIDDEN) for q in found], "version": version})
    return len(found)


def copy_questions(source: Path, target: Path) -> int:
    """Copies a file that is in SQuAD's layout. Returns the number of its questions."""
    count = len(questions(source)[1])
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    return count


def convert(raw: Raw, out: Path, official: bool, *, hidden: str | None = None, folder: str = "") -> Converted:
    """Copies files to `folder`, a pattern with {split}. `official` hides the answers where a name begins with `hidden`.

    Of MLQA these are the 49 pairs of languages of dev and test.
    """
    done = Converted()
    for name, path in sorted(raw.items()):
        target = folder.format(split=name.split("-")[0]) + name
        (out / target).parent.mkdir(parents=True, exist_ok=True)
        hides = official and hidden is not None and name.startswith(hidden)
        done.items[target] = (write_hidden if hides else copy_questions)(path, out / target)
    return done


SQUAD = Package(
    name="squad",
    title="SQuAD v1.1, the training set of xquad and mlqa",
    licence="CC BY-SA 4.0",
    downloads=tuple(
        Download(
            names=(f"{name}.gz",),
            url=f"https://raw.githubusercontent.com/rajpurkar/SQuAD-explorer/master/dataset/{name}",
            selection=Selection.by_name(name),
            holds=(name,),
            sums={name: digest},
        )
        for name, digest in (
            ("train-v1.1.json", "3527663986b8295af4f7fcdff1ba1ff3f72d07d61a20f487cb238a6ef92fd955"),
            ("dev-v1.1.json", "95aa6a52d5d6a735563366753ca50492a658031da74f301ac5238b03966972c9"),
        )
    ),
    convert=convert,
    published={"train-v1.1.json": 87_599, "dev-v1.1.json": 10_570},
)
XQUAD_PACKAGE = Package(
    name="xquad",
    title="XQuAD",
    licence="CC BY-SA 4.0",
    downloads=(
        Download(
            names=("xquad*.zip", "xquad*.tar.gz"),
            url="https://github.com/google-deepmind/xquad (xquad.ar.json, ... or archive/refs/heads/master.zip)",
            selection=Selection.by_name(*(f"xquad.{language}.json" for language in XQUAD)),
            holds=tuple(f"xquad.{language}.json" for language in XQUAD),
        ),
    ),
    convert=partial(convert, hidden=""),
    published={f"xquad.{language}.json": 1_190 for language in XQUAD},
    also=("squad",),
)
MLQA_PACKAGE = Package(
    name="mlqa",
    title="MLQA",
    licence="CC BY-SA 3.0",
    downloads=(
        Download(
            names=("MLQA_V1.zip",),
            url="https://dl.fbaipublicfiles.com/MLQA/MLQA_V1.zip",
            selection=Selection.by_pattern(_MLQA_NAME),
            holds=tuple(f"{split}-context-{xx}-question-{xx}.json" for split in ("dev", "test") for xx in MLQA),
            sums={"MLQA_V1.zip": "246e8089933d13007fe80684d5c5c0713d6834cf8b3b4a0ec7c66f0a0d2baac8"},
        ),
    ),
    convert=partial(convert, hidden="test", folder="MLQA_V1/{split}/"),
    published={
        f"MLQA_V1/{split}/{split}-context-{xx}-question-{xx}.json": count
        for split, counts in (("dev", MLQA_DEV), ("test", MLQA_TEST))
        for xx, count in counts.items()
    },
    also=("squad",),
)
