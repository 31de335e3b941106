"""Words and their translations in context: alignment and retrieval with the bare encoder, against gold word links."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NamedTuple, cast

from harness.data.lines import shorten
from harness.errors import GoldFault
from harness.layers import LayerOf
from harness.records import AlignedPair, Record
from harness.statistics import MetricInputs
from harness.task import Example, Family, Task, TaskSettings
from tasks.families.trained import check_lengths, cluster_ids

if TYPE_CHECKING:
    from torch import Tensor, nn

    from harness.evaluation.metrics import AdditiveMetric
    from harness.modeling.encoder import Encoder

MOST_WORDS = 4000  # linked words of a language that are searched at once


@dataclass(frozen=True)
class WordSettings(TaskSettings):
    """`layer` is the encoder layer used (-1: the last); None scales 8 of 12 to the depth."""

    layer: Annotated[int | None, LayerOf()] = None


class LinkedWord(NamedTuple):
    """A sure link between two words: the number of its pair, and the words' places."""

    pair: int
    source: int
    target: int


class WordLinks(Task):
    """Sentence pairs with gold word links. A prediction is what the family's task says of one pair."""

    family: ClassVar[Family] = Family(
        "words",
        AlignedPair,
        "Nothing is trained: a word is the mean of its subwords' states in one layer, and is compared with the words "
        "of the other language by cosine.",
        trained=False,
    )
    Settings: ClassVar[type[TaskSettings]] = WordSettings

    def predict(
        self,
        model: nn.Module,
        views: Mapping[str, Sequence[Record]],
        settings: Any,
        *,
        precision: str = "fp32",
    ) -> dict[str, list[Any]]:
        encoder = cast("Encoder", model).eval()
        found = {}
        for view, records in views.items():
            pairs = cast(Sequence[AlignedPair], records)
            sides = [[pair.source for pair in pairs], [pair.target for pair in pairs]]
            source, target = (self.word_vectors(encoder, words, settings, precision) for words in sides)
            found[view] = self.search(pairs, source, target)
        return found

    def word_vectors(
        self, encoder: Encoder, sentences: Sequence[tuple[str, ...]], settings: Any, precision: str
    ) -> list[Tensor]:
        """(words, H) unit vectors of each sentence's words: means over their subwords, in the settings' layer."""
        from tasks.families.embeddings import embed_words

        return embed_words(encoder, sentences, settings, precision)

    @abstractmethod
    def search(self, pairs: Sequence[AlignedPair], source: list[Tensor], target: list[Tensor]) -> list[Any]:
        """One prediction for each pair, from the vectors of its words."""

    def item_fault(self, record: AlignedPair, split: str) -> GoldFault | None:
        if record.source and record.target:
            return None
        found, remedy = f"pair {shorten(record.id)}", "remove this line in the two texts and the gold"
        return GoldFault("a side without words", found, "at least one word on both sides", remedy)

    def texts(self, record: AlignedPair, view: str, pivot: str) -> Iterator[tuple[str, str]]:
        yield pivot, " ".join(record.source)
        yield view, " ".join(record.target)


def sure_words(pairs: Sequence[AlignedPair]) -> list[LinkedWord]:
    """The words with exactly one sure link on both sides, without those that are the same string on both."""
    found = []
    for number, pair in enumerate(pairs):
        sources, targets = ([link[side] for link in pair.sure] for side in (0, 1))
        for i, j in sorted(pair.sure):
            if sources.count(i) == targets.count(j) == 1 and pair.source[i] != pair.target[j]:
                found.append(LinkedWord(number, i, j))
    return found[:MOST_WORDS]


class WordRetrievalFamily(WordLinks):
    """For each linked word [its place, that of its translation, 1 if the translation ranks first from the source, 1 if
    the word does from the target], among the linked words of all sentences, by CSLS in both directions."""

    def search(self, pairs: Sequence[AlignedPair], source: list[Tensor], target: list[Tensor]) -> list[Any]:
        words = self.searched(pairs)
        made: list[list[list[int]]] = [[] for _ in pairs]
        if words:
            import torch

            from harness.evaluation.geometry import csls

            x = torch.stack([source[word.pair][word.source] for word in words])
            y = torch.stack([target[word.pair][word.target] for word in words])
            scaled, gold = csls(x @ y.T), torch.arange(len(words))
            hits = [(scaled.argmax(side) == gold).int().tolist() for side in (1, 0)]
            for word, forward, backward in zip(words, *hits, strict=True):
                made[word.pair].append([word.source, word.target, forward, backward])
        return made

    def gold_faults(self, records: Iterable[Any], split: str) -> Iterator[tuple[Any, GoldFault]]:
        pairs = list(records)
        yield from super().gold_faults(pairs, split)
        if pairs and not self.searched(pairs):
            found, remedy = f"{len(pairs):,} pairs without one", "complete the links, or leave the language out"
            yield None, GoldFault("no word to search", found, "a word with one sure link, to another form", remedy)

    def searched(self, pairs: Sequence[AlignedPair]) -> list[LinkedWord]:
        """The words that are queries, and candidates for each other."""
        return sure_words(pairs)

    def metrics(self) -> tuple[AdditiveMetric, ...]:
        from tasks.metrics.words import WordRetrieval

        return (WordRetrieval(),)

    def metric_inputs(self, predictions: list[Any], records: Sequence[Any]) -> MetricInputs:
        check_lengths(self.spec.name, predictions, records)
        columns = {
            "predictions": [sum(forward + backward for *_, forward, backward in words) for words in predictions],
            "references": [2 * len(words) for words in predictions],
        }
        return MetricInputs(tuple(pair.id for pair in records), cluster_ids(records), columns)

    def show(self, final: Sequence[Any], records: Sequence[AlignedPair]) -> Iterator[Example]:
        """Sentences with the words that were found, and those that were searched."""
        for words, pair in zip(final, records, strict=True):
            gold = " ".join(f"{pair.source[i]}={pair.target[j]}" for i, j, *_ in words)
            right = " ".join(f"{pair.source[i]}={pair.target[j]}" for i, j, one, other in words if one and other)
            yield Example(pair.id, f"{' '.join(pair.source)}\n{' '.join(pair.target)}", gold, right)


class WordAlignmentFamily(WordLinks):
    """The links "i-j" of a pair: words that are each other's nearest by cosine (SimAlign's intersection)."""

    def search(self, pairs: Sequence[AlignedPair], source: list[Tensor], target: list[Tensor]) -> list[Any]:
        return [mutual_links(x @ y.T) for x, y in zip(source, target, strict=True)]

    def metrics(self) -> tuple[AdditiveMetric, ...]:
        from tasks.metrics.words import LinkAgreement

        return (LinkAgreement(),)

    def metric_inputs(self, predictions: list[Any], records: Sequence[Any]) -> MetricInputs:
        check_lengths(self.spec.name, predictions, records)
        columns = {
            "predictions": predictions,
            "sure": [sorted(f"{i}-{j}" for i, j in pair.sure) for pair in records],
            "possible": [sorted(f"{i}-{j}" for i, j in pair.possible | pair.sure) for pair in records],
        }
        return MetricInputs(tuple(pair.id for pair in records), cluster_ids(records), columns)

    def show(self, final: Sequence[Any], records: Sequence[AlignedPair]) -> Iterator[Example]:
        for links, pair in zip(final, records, strict=True):
            gold = " ".join(f"{i}-{j}" for i, j in sorted(pair.sure))
            yield Example(pair.id, f"{' '.join(pair.source)}\n{' '.join(pair.target)}", gold, " ".join(links))


def mutual_links(cosines: Tensor) -> list[str]:
    """The links "i-j" between words that are each other's nearest (Jalili Sabet et al. 2020, Argmax)."""
    if not cosines.numel():
        return []
    best, back = cosines.argmax(1).tolist(), cosines.argmax(0).tolist()
    return [f"{i}-{j}" for i, j in enumerate(best) if back[j] == i]
