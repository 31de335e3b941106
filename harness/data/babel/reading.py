"""Questions on passages in the languages of the world: three tasks from one generator.

`qa` has the same passages in every language, as XQuAD does; `qa_crossed` has them too, with questions in the passage's
language or in another one, as MLQA does; `qa_native` has passages of its own in each language, with a question each, as
TyDiQA does. `qa` and `qa_crossed` share a training set.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from harness.data.babel.grammar import Word, extent, realise, text
from harness.data.babel.lexicon import Lexicon, asking
from harness.data.babel.passages import Asked, Passage, passages
from harness.data.babel.settings import Settings
from harness.records import Answer, Question


class Reading(NamedTuple):
    """What sets a task apart: whose training set it takes, how many questions a passage has, whether each language has
    its own passages, and whether questions come in other languages too."""

    trained_on: str
    each: int
    native: bool = False
    crossed: bool = False


READINGS = {
    "qa": Reading("qa", each=3),
    "qa_crossed": Reading("qa", each=3, crossed=True),
    "qa_native": Reading("qa_native", each=1, native=True),
}


class Sentence(NamedTuple):
    """A sentence of a context and the code point at which it begins."""

    words: tuple[Word, ...]
    start: int


def questions(settings: Settings, task: str, view: str, split: str, count: int) -> list[Question]:
    """`count` questions. The view `qab.qac` has contexts in `qab` and questions in `qac`; languages that share their
    passages share the clusters."""
    reading = READINGS[task]
    context, _, asked = view.partition(".")
    told, posed = (asking(settings.seed, settings.languages[code]) for code in (context, asked or context))
    purpose = reading.trained_on if split == "train" else task
    stem = f"{task}-{split}-{context}" if reading.native else f"{task}-{split}"
    own = f"{purpose}/{context}" if reading.native else purpose
    found: list[Question] = []
    for p, passage in enumerate(passages(settings.seed, own, split, count, reading.each)):
        sentences = _sentences(passage, told)
        body = " ".join(text(sentence.words) for sentence in sentences)
        for one in passage.questions:
            name = f"{task}-{split}-{view}-{len(found):06}"
            wording = text(realise(one.event, posed, one.style, "?"))
            answer = _answer(body, sentences, one)
            found.append(Question(name, wording, body, (answer,), f"{stem}-p{p:06}", context))
    return found


def _sentences(passage: Passage, words: Lexicon) -> list[Sentence]:
    found: list[Sentence] = []
    start = 0
    for event, style in passage.statements:
        sentence = realise(event, words, style)
        found.append(Sentence(sentence, start))
        start += len(text(sentence)) + 1
    return found


def _answer(body: str, sentences: Sequence[Sentence], asked: Asked) -> Answer:
    words, offset = sentences[asked.statement]
    start, end = extent(words, *answering(words, asked.role))
    return Answer(body[offset + start : offset + end], offset + start)


def answering(sentence: Sequence[Word], role: str) -> tuple[int, int]:
    """The first and the last word of the phrase in this role, without its adposition."""
    mine = [i for i, word in enumerate(sentence) if word.slot.partition(".")[0] == role and word.slot != f"{role}.adp"]
    assert mine == list(range(mine[0], mine[-1] + 1)), "a phrase is told in one piece"
    return mine[0], mine[-1]
