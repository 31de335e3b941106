"""Questions from files in the shape of SQuAD v1.1: articles, paragraphs, questions with answers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from harness.data.lines import SURROGATE, once_per_file, shorten
from harness.errors import UserError
from harness.files import open_binary, read_json
from harness.records import Answer, Question

_SHAPE = '{"data": [{"paragraphs": [{"context": ..., "qas": [{"id": ..., "question": ..., "answers": [...]}]}]}]}'


class _Paragraph(NamedTuple):
    """A context and its questions, with the position of the paragraph in the file, such as data[3].paragraphs[0]."""

    place: str
    context: str
    questions: tuple[Any, ...]


def read_questions(path: Path, prefix: str, language: str, *, repeated_ids: bool) -> Iterator[Question]:
    """The questions of a file, with text unchanged. Answers that are all empty are withheld ones.

    Questions of a paragraph share a cluster, which is named after the first of their ids in order, so that XQuAD's
    parallel paragraphs share theirs. TyDiQA's training ids repeat: `repeated_ids` allows it. Raises UserError with the
    place in the file for anything that is missing or of another type.
    """
    seen: set[str] = set()
    for paragraph in _paragraphs(path):
        rows = [_question(path, f"{paragraph.place}.qas[{i}]", qa) for i, qa in enumerate(paragraph.questions)]
        cluster = f"{prefix}-{min(name for name, _, _ in rows)}" if rows else ""
        for number, (name, question, answers) in enumerate(rows):
            if name in seen and not repeated_ids:
                raise _error(path, f"{paragraph.place}.qas[{number}].id", "an id that occurs twice", name)
            seen.add(name)
            yield Question(
                name, question, paragraph.context, locate_answers(answers, paragraph.context), cluster, language
            )


def line_of_question(path: Path, name: str) -> int | None:
    """The line on which a question's id is written; None where it is written in an unusual way."""
    with open_binary(path) as stream:
        text = stream.read().decode("utf-8-sig")
    for written in (json.dumps(name, ensure_ascii=False), json.dumps(name)):
        if found := re.search(rf'"id"\s*:\s*{re.escape(written)}', text):
            return text.count("\n", 0, found.start()) + 1
    return None


class QuestionFile(NamedTuple):
    """What a file holds: questions, those with a non-empty answer (XTREME's download empties the answers of the test
    sets), and those none of whose answers is at its place in the context."""

    questions: int
    answered: int
    misplaced: int


@once_per_file
def scan_questions(path: Path) -> QuestionFile:
    """Counts of a file."""
    answers = [question.answers for question in read_questions(path, "", "", repeated_ids=True)]
    answered = [given for given in answers if given]
    return QuestionFile(len(answers), len(answered), sum(all(one.start < 0 for one in given) for given in answered))


def locate_answers(answers: list[tuple[str, int]], context: str) -> tuple[Answer, ...]:
    """Answers with their start, or -1 where they are not there; none where all of them are empty."""
    if not any(text for text, _ in answers):
        return ()
    found = ((text, start, start >= 0 and context.startswith(text, start)) for text, start in answers)
    return tuple(Answer(text, start if there else -1) for text, start, there in found)


def _paragraphs(path: Path) -> Iterator[_Paragraph]:
    content = read_json(path, expected=_SHAPE)
    if half := SURROGATE.search(json.dumps(content, ensure_ascii=False)):
        found = f"{half[0]!a} after {half.string[max(0, half.start() - 20) : half.start()]!r}"
        remedy = "write the whole character, or \\ufffd in its place"
        raise UserError("half of a character (a lone surrogate)", file=path, found=found, remedy=remedy)
    articles = content.get("data") if isinstance(content, dict) else content
    for a, article in enumerate(_typed(path, "data", articles, list)):
        paragraphs = _field(path, f"data[{a}]", article, "paragraphs", list)
        for p, paragraph in enumerate(paragraphs):
            place = f"data[{a}].paragraphs[{p}]"
            context = _field(path, place, paragraph, "context", str)
            yield _Paragraph(place, context, tuple(_field(path, place, paragraph, "qas", list)))


def _question(path: Path, place: str, qa: Any) -> tuple[str, str, list[tuple[str, int]]]:
    answers = []
    for i, answer in enumerate(_field(path, place, qa, "answers", list)):
        where = f"{place}.answers[{i}]"
        answers.append((_field(path, where, answer, "text", str), _field(path, where, answer, "answer_start", int)))
    return _field(path, place, qa, "id", str), _field(path, place, qa, "question", str), answers


def _field(path: Path, place: str, record: Any, name: str, kind: type) -> Any:
    value = record.get(name) if isinstance(record, dict) else None
    return _typed(path, f"{place}.{name}", value, kind)


def _typed(path: Path, place: str, value: Any, kind: type) -> Any:
    if not isinstance(value, kind) or isinstance(value, bool):
        names = {list: "a list", str: "a text", int: "a whole number"}
        problem = "something is missing" if value is None else f"this is not {names[kind]}"
        raise _error(path, place, problem, "nothing" if value is None else shorten(json.dumps(value)), names[kind])
    return value


def _error(path: Path, place: str, problem: str, found: str, expected: str = "") -> UserError:
    return UserError(
        f"{problem} in a file of questions",
        file=path,
        found=f"{shorten(found)} at {place}",
        expected=expected or _SHAPE,
        remedy="fetch the file again; its shape is that of SQuAD v1.1",
    )
