"""Tagging of words: a linear layer on each word's first subword, scored by span F1 and token accuracy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, cast

import numpy as np

from harness.data.checked_file import CheckedFile
from harness.data.lines import shorten
from harness.errors import GoldFault, UserError
from harness.records import TaggedSentence
from harness.statistics import MetricInputs
from harness.task import AlignedPredictions, Count, Example, Family, TaskSettings, TrainedSettings
from tasks.families.trained import TrainedTask, check_lengths, cluster_ids, withheld_gold

if TYPE_CHECKING:
    from harness.evaluation.metrics import AdditiveMetric
    from harness.method import Batch
    from harness.modeling.encoder import Encoder
    from harness.modeling.tokenizer import Tokenizer, Words
    from harness.training.finetuning import Model
    from tasks.families.heads import Head, TagHead


@dataclass(frozen=True, kw_only=True)
class TagSettings(TrainedSettings):
    """The settings of a tagging task. A piece of a sentence ends in `separators` separator tokens, which count among
    its `max_length` tokens."""

    separators: Count = 1


class PieceExample(NamedTuple):
    """A piece of a sentence: token ids, the positions of its words' first subwords, and their tags' numbers."""

    ids: np.ndarray
    first: np.ndarray
    tags: np.ndarray


@dataclass(frozen=True)
class PieceExamples:
    """Tokenised sentences in pieces that fit, with the numbers of their tags (one array per sentence, or none)."""

    words: Words
    tags: list[np.ndarray]
    lengths_in_words: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.words.ids)

    def __getitem__(self, number: int) -> PieceExample:
        first, start = self.words.first[number], int(self.words.first_word[number])
        tags = self.tags[int(self.words.sentence[number])][start : start + len(first)]
        return PieceExample(self.words.ids[number], first, tags)


class Tagging(TrainedTask[PieceExamples]):
    """Sentences of words with tags from `spec.labels`. A prediction is one tag per word.

    A file has one tag (or `token TAB tag`) a line, and a blank line between sentences.
    """

    family: ClassVar[Family] = Family(
        "tagging",
        TaggedSentence,
        "A linear layer on the first subword of each word. Fine-tuned on the training language alone, then applied to "
        "every language as it is (zero-shot transfer).",
    )

    Settings: ClassVar[type[TaskSettings]] = TagSettings
    scheme: str = "seqeval-1.2.2"  # whose spans count; see tasks/metrics/spans.py

    def head(self, encoder: Encoder) -> Head:
        from tasks.families.heads import TagHead

        return TagHead(encoder, len(self.spec.labels))

    def encode(
        self, tokenizer: Tokenizer, records: Sequence[Any], settings: TrainedSettings, *, gold: bool
    ) -> PieceExamples:
        sentences: Sequence[TaggedSentence] = records
        separators = settings.separators if isinstance(settings, TagSettings) else 1  # a task of before TagSettings
        words = tokenizer.encode_words([s.words for s in sentences], settings.max_length, separators)
        tags = [self._numbers(sentence) for sentence in sentences] if gold else []
        return PieceExamples(words, tags, tuple(len(s.words) for s in sentences))

    def collate(self, examples: Sequence[Any], special_ids: frozenset[int]) -> Batch:
        import torch

        from harness.modeling.packing import pack

        chosen: Sequence[PieceExample] = examples
        text = pack([e.ids for e in chosen], special_ids=special_ids)
        first = np.concatenate([e.first + start for e, start in zip(chosen, text.starts, strict=True)])
        tags = np.concatenate([e.tags for e in chosen])
        return {"text": text, "first": torch.from_numpy(first.astype(np.int64)), "tags": torch.from_numpy(tags)}

    def label(self, model: Model, examples: PieceExamples, precision: str) -> list[Any]:
        from harness.training.finetuning import sweep

        head, words = cast("TagHead", model.head), examples.words
        tags = [np.zeros(length, dtype=np.int64) for length in examples.lengths_in_words]
        for swept in sweep(model.encoder, partial(head, model.encoder), words.ids, precision=precision):
            best = swept.output.argmax(-1).numpy()
            for piece, offset in zip(swept.rows, swept.text.starts, strict=True):
                first, start = words.first[piece], words.first_word[piece]
                tags[words.sentence[piece]][start : start + len(first)] = best[first + offset]
        return [[self.spec.labels[n] for n in numbers] for numbers in tags]

    def metrics(self) -> tuple[AdditiveMetric, ...]:
        from tasks.metrics import SpanF1

        return (SpanF1(self.scheme),)

    def metric_inputs(self, predictions: list[Any], records: Sequence[Any]) -> MetricInputs:
        check_lengths(self.spec.name, predictions, records)
        sentences: Sequence[TaggedSentence] = records
        gold = [self._gold(sentence) for sentence in sentences]
        for sentence, tags, predicted in zip(sentences, gold, predictions, strict=True):
            if len(tags) != len(predicted):
                raise UserError(
                    f"{self.spec.name}: another number of tags than words in sentence {sentence.id!r}",
                    found=f"{len(predicted)} tags",
                    expected=f"{len(tags)}, one for each word",
                )
        columns: dict[str, Sequence[Any]] = {"predictions": predictions, "references": gold}
        return MetricInputs(tuple(s.id for s in sentences), cluster_ids(sentences), columns)

    def show(self, final: Sequence[Any], records: Sequence[Any]) -> Iterator[Example]:
        for tags, sentence in zip(final, records, strict=True):
            yield Example(sentence.id, *(" ".join(map(str, each)) for each in (sentence.words, sentence.tags, tags)))

    def item_fault(self, record: TaggedSentence, split: str) -> GoldFault | None:
        if record.tags is None:
            return GoldFault("tags are withheld", f"item {shorten(record.id)} without tags", "a tag for each word")
        if not record.words or len(record.tags) != len(record.words):
            found = f"{len(record.tags)} tags for {len(record.words)} words in item {shorten(record.id)}"
            return GoldFault("tags and words do not match", found, "at least one word, and one tag for each word")
        if outside := sorted(set(record.tags) - set(self.spec.labels)):
            found = f"{', '.join(outside)} in item {shorten(record.id)}"
            return GoldFault("a tag outside the set", found, " | ".join(self.spec.labels))
        return None

    def item_labels(self, record: TaggedSentence) -> Iterable[str]:
        return record.tags or ()

    def texts(self, record: TaggedSentence, view: str, pivot: str) -> Iterator[tuple[str, str]]:
        yield view, " ".join(record.words)

    def read_gold(self, file: CheckedFile, view: str) -> Sequence[TaggedSentence]:
        sentences = enumerate(self._sentences(file))
        return [TaggedSentence(str(row), ("",) * len(tags), tuple(tags)) for row, tags in sentences]

    def read_predictions(self, file: CheckedFile, gold: Sequence[Any] | None) -> AlignedPredictions:
        sentences = self._sentences(file)
        if gold is not None and not file.problems:
            file.check_length(len(sentences), len(gold), "sentences")
            for number, (tags, sentence) in enumerate(zip(sentences, gold, strict=False), start=1):
                if len(tags) != len(sentence.tags):
                    file.report(0, f"sentence {number:,} has {len(tags)} tags, its gold has {len(sentence.tags)}")
        return AlignedPredictions(sentences, gold or ())

    def format_predictions(self, final: Sequence[Any], records: Sequence[Any]) -> str:
        return "\n".join("".join(f"{tag}\n" for tag in tags) for tags in final)

    def format_gold(self, records: Sequence[Any]) -> str:
        return self.format_predictions([sentence.tags for sentence in records], records)

    def _sentences(self, file: CheckedFile) -> list[list[str]]:
        known = {*self.spec.labels, "O", "_"}
        sentences: list[list[str]] = [[]]
        for number, text in file.lines():
            if not text:
                sentences.append([])
                continue
            tag = text.split("\t")[-1].strip()
            if tag not in known:
                file.report(number, f"{shorten(tag)} is not a tag of this task")
            sentences[-1].append(tag)
        while sentences and not sentences[-1]:
            sentences.pop()
        return sentences

    def _gold(self, sentence: TaggedSentence) -> tuple[str, ...]:
        if sentence.tags is None:
            raise withheld_gold(self.spec.name, sentence.id)
        return sentence.tags

    def _numbers(self, sentence: TaggedSentence) -> np.ndarray:
        self.require_gold(sentence)
        return np.asarray([self.spec.labels.index(tag) for tag in self._gold(sentence)], dtype=np.int64)
