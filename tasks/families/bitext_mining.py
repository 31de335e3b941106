"""Bitext mining: translation pairs found in two pools by the margin, above a threshold that is tuned on dev."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from harness.data.checked_file import CheckedFile
from harness.data.lines import shorten
from harness.errors import GoldFault, UserError
from harness.records import PoolSentence
from harness.statistics import MetricInputs
from harness.task import AlignedPredictions, Count, Example, Family, TaskSettings
from tasks.families.pools import BitextTask, PoolSettings, PoolSides, partners_of
from tasks.families.trained import cluster_ids

if TYPE_CHECKING:
    from harness.evaluation.metrics import AdditiveMetric
    from tasks.families.embeddings import Vectors


@dataclass(frozen=True)
class MiningSettings(PoolSettings):
    """`neighbours` is the k of the margin, `margin` its kind: "ratio", "distance" or "absolute"."""

    neighbours: Count = 4
    margin: Literal["ratio", "distance", "absolute"] = "ratio"


class BitextMining(BitextTask):
    """Candidates [score, source id, target id], best first; pairs above a threshold tuned on dev are the answer.

    With `strong` each of them says in the end whether it is a strong pair; the threshold is the plain figure's.
    A file has a pair a line, `foreign id TAB pivot id`, in any order.
    """

    family: ClassVar[Family] = Family(
        "retrieval",
        PoolSentence,
        "Nothing is trained: sentences are vectors, the mean of the token states of one layer, and translations are "
        "mined by the margin of their cosine.",
        trained=False,
        calibrated=True,
        gold_file=True,
    )

    Settings: ClassVar[type[TaskSettings]] = MiningSettings

    def search(self, sides: PoolSides, vectors: Vectors, settings: MiningSettings) -> list[Any]:
        """Each distinct sentence is mined once; candidates with one that occurs twice in its pool are left out."""
        from harness.evaluation.retrieval import distinct_lines, find_repeated, mine
        from harness.evaluation.strong_alignment import mine_strong

        kept, alone = [], []
        for side in sides:
            texts = [s.text for s in side]
            rows = distinct_lines(texts).rows
            kept.append([side[row] for row in rows])
            alone.append(~find_repeated(texts)[rows])
        (x, y), (x_alone, y_alone) = kept, alone
        how: Any = {"k": settings.neighbours, "margin": settings.margin}
        if settings.strong:
            mined, strong = mine_strong(vectors.of(x), vectors.of(y), **how)
            flags = [[int(flag)] for flag in strong]
        else:
            mined = mine(vectors.of(x), vectors.of(y), **how)
            flags = [[] for _ in mined.scores]
        candidates = zip(*(part.tolist() for part in mined), flags, strict=True)
        return [[score, x[i].id, y[j].id, *more] for score, i, j, more in candidates if x_alone[i] and y_alone[j]]

    def calibrate(self, predictions: list[Any], records: Sequence[Any]) -> dict[str, float]:
        from harness.evaluation.retrieval import best_threshold

        gold = self._gold(records)
        correct = [(source, target) in gold for _, source, target, *_ in predictions]
        return {"threshold": best_threshold([score for score, *_ in predictions], correct, len(gold)).threshold}

    def decide(self, predictions: list[Any], calibration: Mapping[str, float]) -> list[Any]:
        return [pair for score, *pair in predictions if score >= calibration["threshold"]]

    def metrics(self) -> tuple[AdditiveMetric, ...]:
        from tasks.metrics import MiningF1, StrongMiningF1

        return MiningF1(), StrongMiningF1()

    def metric_inputs(self, predictions: list[Any], records: Sequence[Any]) -> MetricInputs:
        """One item per source sentence; `strong` where the predictions say which pairs are strong."""
        sources = PoolSides.of(records).source
        mined: dict[str, list[str]] = {sentence.id: [] for sentence in sources}
        strong: dict[str, list[str]] = {sentence.id: [] for sentence in sources}
        for name, target, *flag in predictions:
            source = str(name)
            if source not in mined:
                raise UserError(
                    f"{self.spec.name}: a predicted pair names no sentence of the pool",
                    found=repr(source),
                    expected="the id of a foreign sentence first, then that of its translation",
                )
            mined[source].append(str(target))
            if flag and flag[0]:
                strong[source].append(str(target))
        columns: dict[str, Sequence[Any]] = {
            "predictions": [mined[s.id] for s in sources],
            "references": [partners_of(self.spec.name, s) for s in sources],
        }
        if any(len(pair) > 2 for pair in predictions):
            columns["strong"] = [strong[s.id] for s in sources]
        return MetricInputs(tuple(s.id for s in sources), cluster_ids(sources), columns)

    def show(self, final: Sequence[Any], records: Sequence[Any]) -> Iterator[Example]:
        """Foreign sentences that have a translation or were given one."""
        sides = PoolSides.of(records)
        texts = {sentence.id: sentence.text for sentence in sides.target}
        mined: dict[str, list[str]] = {}
        for source, target, *_ in final:
            mined.setdefault(str(source), []).append(texts.get(str(target), str(target)))
        for sentence in sides.source:
            if sentence.partners or sentence.id in mined:
                gold = " | ".join(texts.get(name, name) for name in sentence.partners or ())
                yield Example(sentence.id, sentence.text, gold, " | ".join(mined.get(sentence.id, ())))

    def item_fault(self, record: PoolSentence, split: str) -> GoldFault | None:
        if set(record.id) & set("\t\n\r\0") or record.id.startswith("\ufeff"):
            expected = "no tab, line end, NUL or byte order mark, so that a file of pairs can hold it"
            return GoldFault("an id that no file holds", shorten(record.id), expected)
        return super().item_fault(record, split)

    def gold_faults(self, records: Iterable[Any], split: str) -> Iterator[tuple[Any, GoldFault]]:
        pool = list(records)
        yield from super().gold_faults(pool, split)
        if not any(sentence.partners for sentence in pool if sentence.side == "source"):
            yield None, GoldFault("no pair to find", f"{len(pool):,} sentences without translations", "gold pairs")

    def read_gold(self, file: CheckedFile, view: str) -> Sequence[PoolSentence]:
        """Foreign sentences with their translations, of which one may have several."""
        partners: dict[str, tuple[str, ...]] = {}
        for source, target in _id_pairs(file):
            partners[source] = (*partners.get(source, ()), target)
        return [PoolSentence(name, "source", name, mates) for name, mates in partners.items()]

    def read_predictions(self, file: CheckedFile, gold: Sequence[Any] | None) -> AlignedPredictions:
        """Without the pool of pivot sentences, as in a file of gold, any id counts as a sentence of it.

        Blanks around an id count, unless it is known only without them, or only with them.
        """
        sides = PoolSides.of(gold or ())
        partners = (name for sentence in sides.source for name in sentence.partners or ())
        sources = _by_text(sentence.id for sentence in sides.source)
        targets = _by_text([sentence.id for sentence in sides.target] or partners)
        lines = _id_pairs(file).items()
        pairs = {(_find_id(source, sources), _find_id(target, targets)): line for (source, target), line in lines}
        predictions: list[Any] = list(map(list, pairs))
        if not sides.target:
            unknown = dict.fromkeys(source for source, _ in pairs if source not in sources)
            records = [*(gold or ()), *(PoolSentence(name, "source", name, ()) for name in unknown)]
            return AlignedPredictions(predictions, records)
        for pair, number in pairs.items():
            for name, known, language in zip(pair, (sources, targets), ("foreign", "English"), strict=True):
                if name not in known:
                    file.report(number, f"{shorten(name)} is no id of the {language} sentences")
        return AlignedPredictions(predictions, gold or ())

    def format_predictions(self, final: Sequence[Any], records: Sequence[Any]) -> str:
        return "".join(f"{source}\t{target}\n" for source, target, *_ in final)

    def format_gold(self, records: Sequence[Any]) -> str:
        sources = PoolSides.of(records).source
        return self.format_predictions([(s.id, mate) for s in sources for mate in s.partners or ()], records)

    def _gold(self, records: Sequence[Any]) -> set[tuple[str, str]]:
        sources = PoolSides.of(records).source
        return {(s.id, partner) for s in sources for partner in partners_of(self.spec.name, s)}


def _by_text(ids: Iterable[str]) -> dict[str, str]:
    """Ids by their text, and by their text without blanks around it where that is no other id."""
    names = list(ids)
    return {**{name.strip(): name for name in names}, **{name: name for name in names}}


def _find_id(name: str, known: Mapping[str, str]) -> str:
    return known.get(name, known.get(name.strip(), name))


def _id_pairs(file: CheckedFile) -> dict[tuple[str, str], int]:
    """Pairs of ids, each with its line."""
    pairs: dict[tuple[str, str], int] = {}
    for number, text in file.lines():
        fields = text.split("\t")
        if len(fields) != 2:
            file.report(number, f"{shorten(text)} is not foreign id TAB English id")
            continue
        pair = (fields[0], fields[1])
        if pair in pairs:
            file.report(number, f"the pair is in line {pairs[pair]:,} already: {shorten(text)}")
        pairs.setdefault(pair, number)
    return pairs
