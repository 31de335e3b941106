"""Extractive question answering: a linear layer gives each subword's logits of starting and ending the answer."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, cast
from unicodedata import normalize

import numpy as np

from harness.data.checked_file import CheckedFile
from harness.data.lines import shorten
from harness.data.squad_json import line_of_question, read_questions
from harness.errors import GoldFault, UserError
from harness.modeling.graphemes import whole_graphemes
from harness.modeling.tokenizer import Offsets, Ragged, Tokenizer
from harness.records import Answer, Question
from harness.statistics import MetricInputs
from harness.task import AlignedPredictions, Count, Example, Family, TaskSettings, TrainedSettings
from tasks.families.trained import TrainedTask, check_lengths, cluster_ids, withheld_gold
from tasks.families.windows import AnswerSpan, Window, best_span, window_of_subwords, windows

if TYPE_CHECKING:
    from harness.evaluation.metrics import AdditiveMetric
    from harness.method import Batch
    from harness.modeling.encoder import Encoder
    from harness.training.finetuning import Model
    from tasks.families.heads import Head, SpanHead

_SENTENCE_END = re.compile(r"(?<=[.!?؟।॥…])\s+|(?<=[。！？])|\n+")
REMEDY = "correct the question, or remove it; where answers are withheld, all of them are empty"
WHOLE = 1_000_000  # subwords: longer than any text, so that contexts are tokenised whole


@dataclass(frozen=True)
class AnswerSettings(TrainedSettings):
    """How contexts are cut into windows and answers are found. Lengths in subwords.

    `doc_stride` goes from the start of one window of the context to that of the next; of the question,
    `question_length` are read; an answer has at most `answer_length`. The `best` highest starts and ends of each window
    are combined.
    """

    doc_stride: Count = 128
    question_length: Count = 64
    answer_length: Count = 30
    best: Count = 20


class WindowExample(NamedTuple):
    """A training example: token ids, segments, and the positions of the answer's first and last subword. Both are 0,
    the position of the first special token, where the answer is outside the window."""

    ids: np.ndarray
    segments: np.ndarray
    start: int
    end: int


@dataclass(frozen=True)
class Windows:
    """Tokenised questions, each as one or more windows over its context. `answers` is (windows, 2), or empty."""

    questions: Sequence[Question]
    contexts: Offsets
    rows: list[Window]
    ids: Ragged
    segments: Ragged
    answers: np.ndarray
    settings: AnswerSettings

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> WindowExample:
        start, end = self.answers[number]
        return WindowExample(self.ids[number], self.segments[number], int(start), int(end))

    def text(self, question: int, span: AnswerSpan) -> str:
        """The part of the context that a span covers, in whole graphemes, without blanks at its ends."""
        start = int(self.contexts.starts[question][1 + span.first])
        end = int(self.contexts.ends[question][1 + span.last])
        context = self.questions[question].context
        covered = context[start:end]
        start, end = start + len(covered) - len(covered.lstrip()), end - len(covered) + len(covered.rstrip())
        return context[whole_graphemes(context, start, end)]


class QuestionAnswering(TrainedTask[Windows]):
    """Questions whose answer is a part of their context. A prediction is that part's text.

    Windows and candidate answers follow the official scripts, which follow BERT's code for SQuAD. A file of predictions
    is a JSON object of texts by question id; gold is JSON in the format of SQuAD v1.1.
    """

    family: ClassVar[Family] = Family(
        "qa",
        Question,
        "Two linear layers give the start and the end of the answer in the paragraph. Fine-tuned on the training "
        "language alone, then applied to every language as it is (zero-shot transfer).",
    )
    extension = "json"
    Settings: ClassVar[type[TaskSettings]] = AnswerSettings

    def head(self, encoder: Encoder) -> Head:
        from tasks.families.heads import SpanHead

        return SpanHead(encoder)

    def encode(self, tokenizer: Tokenizer, records: Sequence[Any], settings: AnswerSettings, *, gold: bool) -> Windows:
        questions: Sequence[Question] = records
        frame = _Frame.of(tokenizer)
        half = (settings.max_length - frame.specials) // 2  # leaves at least half of a short encoder to the context
        question_length = min(settings.question_length, half)
        question_texts = tokenizer.encode_offsets([q.question.strip() for q in questions], question_length + 2)
        contexts = tokenizer.encode_offsets([q.context for q in questions], WHOLE)
        rows: list[Window] = []
        ids: list[np.ndarray] = []
        segments: list[np.ndarray] = []
        for number in range(len(questions)):
            if gold and _first_answer(questions[number]) is None:
                continue  # as in the official code: such a question cannot be trained on
            question = question_texts.ids[number][1:-1]
            context = contexts.ids[number][1:-1]
            size = settings.max_length - frame.specials - len(question)
            for first, count in windows(len(context), size, settings.doc_stride):
                row, kinds, offset = frame.assemble(question, context[first : first + count])
                rows.append(Window(number, first, count, offset))
                ids.append(row)
                segments.append(kinds)
        if gold and not rows:
            raise UserError(
                f"no question of {self.spec.name} has its answer in its context",
                found=f"{len(questions)} questions",
                expected="training data with answers",
            )
        answers = (
            np.array([_answer_positions(w, questions[w.question], contexts) for w in rows])
            if gold
            else np.zeros((0, 2))
        )
        return Windows(questions, contexts, rows, _ragged(ids), _ragged(segments), answers, settings)

    def collate(self, examples: Sequence[Any], special_ids: frozenset[int]) -> Batch:
        import torch

        from harness.modeling.packing import pack

        chosen: Sequence[WindowExample] = examples
        text = pack([e.ids for e in chosen], segments=[e.segments for e in chosen], special_ids=special_ids)
        return {"text": text, "answers": torch.tensor([(e.start, e.end) for e in chosen])}

    def label(self, model: Model, examples: Windows, precision: str) -> list[Any]:
        import torch

        from harness.training.finetuning import sweep

        head, settings = cast("SpanHead", model.head), examples.settings
        best: dict[int, AnswerSpan] = {}
        owners = window_of_subwords(examples.rows)
        outputs = sweep(
            model.encoder, partial(head, model.encoder), examples.ids, examples.segments, precision=precision
        )
        for swept in outputs:
            for row, logits in zip(swept.rows, torch.split(swept.output, list(swept.text.lengths)), strict=True):
                window = examples.rows[int(row)]
                mine = owners[window.question][window.first : window.first + window.size] == row
                span = best_span(logits.numpy(), window, mine, settings.best, settings.answer_length)
                known = best.get(window.question)
                if span is not None and (known is None or (span.score, -span.first) > (known.score, -known.first)):
                    best[window.question] = span
        return [examples.text(n, best[n]) if n in best else "" for n in range(len(examples.questions))]

    def metrics(self) -> tuple[AdditiveMetric, ...]:
        from tasks.metrics import SquadAnswers

        return (SquadAnswers(),)

    def metric_inputs(self, predictions: list[Any], records: Sequence[Any]) -> MetricInputs:
        check_lengths(self.spec.name, predictions, records)
        questions: Sequence[Question] = records
        for question in questions:
            if not question.answers:
                raise withheld_gold(self.spec.name, question.id)
        columns: dict[str, Sequence[Any]] = {
            "predictions": [str(predicted) for predicted in predictions],
            "references": [[answer.text for answer in question.answers] for question in questions],
            "languages": [question.language for question in questions],
        }
        return MetricInputs(tuple(q.id for q in questions), cluster_ids(questions), columns)

    def show(self, final: Sequence[Any], records: Sequence[Any]) -> Iterator[Example]:
        for answer, question in zip(final, records, strict=True):
            gold = " | ".join(dict.fromkeys(reference.text for reference in question.answers))
            yield Example(question.id, f"{question.question}\n{question.context}", gold, str(answer))

    def item_fault(self, record: Question, split: str) -> GoldFault | None:
        """As in the official code, a training question without an answer in its context is merely not trained on."""
        found = f"question {shorten(record.id)}"
        if split == "train":
            return None
        if not all(answer.text.strip() for answer in record.answers) or not record.answers:
            return GoldFault("a question without an answer", found, "at least one answer, none of them empty", REMEDY)

        def is_part(answer: Answer) -> bool:
            """Be it at another place, or in another form of the same characters."""
            here = answer.start >= 0 or answer.text in record.context
            return here or normalize("NFKC", answer.text.strip()) in normalize("NFKC", record.context)

        if not any(map(is_part, record.answers)):
            found += f" with {shorten(record.answers[0].text)}"
            return GoldFault("an answer that is no part of its context", found, "a part of the context", REMEDY)
        return None

    def gold_faults(self, records: Iterable[Any], split: str) -> Iterator[tuple[Any, GoldFault]]:
        questions = list(records)
        yield from super().gold_faults(questions, split)
        if split == "train" and questions and not any(map(_first_answer, questions)):
            found = f"{len(questions):,} questions"
            yield None, GoldFault("no question has its answer in its context", found, "training data with answers")

    def texts(self, record: Question, view: str, pivot: str) -> Iterator[tuple[str, str]]:
        """In the view "de.en" contexts are German and questions English. A context is taken apart into sentences."""
        language, _, asked_in = view.partition(".")
        yield asked_in or language, record.question
        yield from ((language, sentence) for sentence in _SENTENCE_END.split(record.context))

    def read_gold(self, file: CheckedFile, view: str) -> Sequence[Question]:
        questions: list[Question] = []
        try:
            if file.json_fits():
                language = view.partition(".")[0]
                questions = list(read_questions(file.path, self.spec.name, language, repeated_ids=True))
        except UserError as error:
            file.report(error.line or 0, " ".join(str(part) for part in (error.what, error.found) if part))
        lacking = [question.id for question in questions if not question.answers]
        if lacking and len(lacking) == len(questions):
            file.report(0, "answers are withheld here: these labels cannot score anything")
        else:
            for name in lacking:
                file.report(line_of_question(file.path, name) or 0, f"the question {shorten(name)} has no answer")
        return questions

    def read_predictions(self, file: CheckedFile, gold: Sequence[Any] | None) -> AlignedPredictions:
        """A question without an answer scores 0, an answer to no question is ignored; a notice counts both."""
        answers = file.json_texts("answers")
        ids = [question.id for question in gold or ()]
        if gold is not None and not file.problems:
            lacking, extra = sum(name not in answers for name in ids), len(answers.keys() - set(ids))
            if lacking or extra:
                notice = f"{lacking:,} questions without an answer score 0; {extra:,} ids unknown"
                file.notices.append(f"{file.path}: {notice}")
        return AlignedPredictions([answers.get(name, "\0") for name in ids], gold or ())

    def format_predictions(self, final: Sequence[Any], records: Sequence[Any]) -> str:
        answers = {question.id: answer for question, answer in zip(records, final, strict=True)}
        return json.dumps(answers, ensure_ascii=False)

    def format_gold(self, records: Sequence[Any]) -> str:
        """Each question is in a paragraph of its own."""
        paragraphs = []
        for question in records:
            answers = [{"text": a.text, "answer_start": max(a.start, 0)} for a in question.answers]
            asked = {"id": question.id, "question": question.question, "answers": answers}
            paragraphs.append({"context": question.context, "qas": [asked]})
        return json.dumps({"data": [{"title": "", "paragraphs": paragraphs}]}, ensure_ascii=False)


def _answer_positions(window: Window, question: Question, contexts: Offsets) -> tuple[int, int]:
    """The positions of the answer's first and last subword in the sequence; (0, 0) unless all of it is inside."""
    answer = _first_answer(question)
    assert answer is not None
    starts, ends = contexts.starts[window.question][1:-1], contexts.ends[window.question][1:-1]
    covered = np.flatnonzero((ends > answer.start) & (starts < answer.start + len(answer.text)))
    if not len(covered) or covered[0] < window.first or covered[-1] >= window.first + window.size:
        return 0, 0
    shift = window.offset - window.first
    return int(covered[0]) + shift, int(covered[-1]) + shift


def _first_answer(question: Question) -> Answer | None:
    """The first answer whose text is at its offset in the context."""
    return next((answer for answer in question.answers if answer.start >= 0), None)


class _Frame(NamedTuple):
    """The special tokens before, between and after a question and its context, and the segment of each part."""

    before: np.ndarray
    between: np.ndarray
    after: np.ndarray

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> _Frame:
        encoding = tokenizer.hf(["a"], ["a"]).encodings[0]
        kinds, ids = encoding.sequence_ids, np.array(encoding.ids, dtype=np.int32)
        first = [i for i, kind in enumerate(kinds) if kind == 0]
        second = [i for i, kind in enumerate(kinds) if kind == 1]
        return cls(ids[: first[0]], ids[first[-1] + 1 : second[0]], ids[second[-1] + 1 :])

    @property
    def specials(self) -> int:
        return len(self.before) + len(self.between) + len(self.after)

    def assemble(self, question: np.ndarray, context: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
        """(ids, segments, position of the context's first subword)."""
        head = [self.before, question, self.between]
        offset = sum(map(len, head))
        ids = np.concatenate([*head, context, self.after])
        segments = (np.arange(len(ids)) >= offset).astype(np.int32)
        return ids, segments, offset


def _ragged(rows: Sequence[np.ndarray]) -> Ragged:
    return Ragged.of_lengths(np.concatenate([np.zeros(0, np.int32), *rows]).astype(np.int32), [len(r) for r in rows])
