"""Questions on passages in the made-up languages: three tasks from one generator.

`qa` has the same passages in every language, like XQuAD. `qa_crossed` has the same passages too, with questions in the
passage's language or in another one, like MLQA. `qa_native` has different passages in each language, with one question
each, like TyDiQA. `qa` and `qa_crossed` share a training set.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from harness.data.babel.grammar import Word, character_span, realise, text
from harness.data.babel.lexicon import BabelLexicon, question_lexicon
from harness.data.babel.passages import Passage, PassageQuestion, passages
from harness.data.babel.settings import BabelSettings
from harness.records import Answer, Question


class Reading(NamedTuple):
    """A reading task: the task whose training set it uses, the number of questions per passage, whether each language
    has its own passages, and whether questions are in other languages too."""

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


def questions(settings: BabelSettings, task: str, view: str, split: str, count: int) -> list[Question]:
    """`count` questions. The view `qab.qac` has contexts in `qab` and questions in `qac`. Languages with the same
    passages have the same clusters."""
    reading = READINGS[task]
    context, _, asked = view.partition(".")
    context_words, question_words = (
        question_lexicon(settings.seed, settings.languages[code]) for code in (context, asked or context)
    )
    purpose = reading.trained_on if split == "train" else task
    stem = f"{task}-{split}-{context}" if reading.native else f"{task}-{split}"
    own = f"{purpose}/{context}" if reading.native else purpose
    found: list[Question] = []
    for p, passage in enumerate(passages(settings.seed, own, split, count, reading.each)):
        sentences = _sentences(passage, context_words)
        body = " ".join(text(sentence.words) for sentence in sentences)
        for one in passage.questions:
            name = f"{task}-{split}-{view}-{len(found):06}"
            wording = text(realise(one.event, question_words, one.style, "?"))
            answer = _answer(body, sentences, one)
            found.append(Question(name, wording, body, (answer,), f"{stem}-p{p:06}", context))
    return found


def _sentences(passage: Passage, words: BabelLexicon) -> list[Sentence]:
    found: list[Sentence] = []
    start = 0
    for event, style in passage.statements:
        sentence = realise(event, words, style)
        found.append(Sentence(sentence, start))
        start += len(text(sentence)) + 1
    return found


def _answer(body: str, sentences: Sequence[Sentence], asked: PassageQuestion) -> Answer:
    words, offset = sentences[asked.statement]
    start, end = character_span(words, *answer_words(words, asked.role))
    return Answer(body[offset + start : offset + end], offset + start)


def answer_words(sentence: Sequence[Word], role: str) -> tuple[int, int]:
    """The indices of the first and last word of the phrase in this role, without its adposition."""
    mine = [i for i, word in enumerate(sentence) if word.slot.partition(".")[0] == role and word.slot != f"{role}.adp"]
    assert mine == list(range(mine[0], mine[-1] + 1)), "a phrase is contiguous"
    return mine[0], mine[-1]
