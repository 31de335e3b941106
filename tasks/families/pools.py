"""What the two bitext families share: pools of sentences on two sides, and their embeddings by the bare encoder."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple, cast

from harness.data.lines import shorten
from harness.errors import GoldFault, UsageError
from harness.layers import LayerOf
from harness.records import PoolSentence, Record
from harness.task import R, Task, TaskSettings
from tasks.families.trained import withheld_gold

if TYPE_CHECKING:
    from torch import Tensor, nn

    from harness.modeling.encoder import Encoder
    from tasks.families.embeddings import Vectors


@dataclass(frozen=True)
class PoolSettings(TaskSettings):
    """How sentences are embedded, and whether strong alignment is counted.

    `layer` is the encoder layer used (-1: the last); None scales 8 of 12 to the depth. `pooling` is "mean" (over all
    tokens, special ones included) or "cls". With `strong`, candidates in both languages compete.
    """

    layer: Annotated[int | None, LayerOf()] = None
    pooling: Literal["mean", "cls"] = "mean"
    strong: bool = False


class PoolSides(NamedTuple):
    """The two sides of a pool: foreign sentences and those of the pivot language."""

    source: list[PoolSentence]
    target: list[PoolSentence]

    @classmethod
    def of(cls, records: Sequence[Any]) -> PoolSides:
        pools: dict[str, list[PoolSentence]] = {"source": [], "target": []}
        for record in records:
            pools[record.side].append(record)
        return cls(**pools)


class BitextTask(Task):
    """What both bitext families share: one sweep over the distinct sentences of all views."""

    Settings: ClassVar[type[TaskSettings]] = PoolSettings

    def cap(self, records: Sequence[R], limit: int | None) -> Sequence[R]:
        """The whole pool. Raises UsageError for a limit."""
        if limit is not None:
            raise UsageError("a retrieval pool cannot be cut", found=f"a cap of {limit}", remedy="leave the cap out")
        return records

    def predict(
        self,
        model: nn.Module,
        views: Mapping[str, Sequence[Record]],
        settings: PoolSettings,
        *,
        precision: str = "fp32",
    ) -> dict[str, list[Any]]:
        from tasks.families.embeddings import Vectors, embed

        encoder = cast("Encoder", model).eval()
        texts = list(dict.fromkeys(cast(PoolSentence, r).text for records in views.values() for r in records))
        vectors = Vectors(texts, embed(encoder, texts, settings, precision), encoder.input_embeddings.device)
        return {view: self.search(PoolSides.of(records), vectors, settings) for view, records in views.items()}

    def vectors(
        self, encoder: Encoder, texts: Sequence[str], settings: PoolSettings, *, precision: str = "fp32"
    ) -> Tensor:
        from tasks.families.embeddings import embed

        return embed(encoder, texts, settings, precision)

    def texts(self, record: PoolSentence, view: str, pivot: str) -> Iterator[tuple[str, str]]:
        yield (view if record.side == "source" else pivot), record.text

    def item_id(self, record: PoolSentence) -> tuple[str, str]:
        return record.side, record.id  # the two sides may use the same ids

    def item_fault(self, record: PoolSentence, split: str) -> GoldFault | None:
        if record.partners is None:
            found, remedy = f"sentence {shorten(record.id)}", "add the gold of this set, or leave its language out"
            return GoldFault("gold is withheld", found, "known translations", remedy)
        return None

    def gold_faults(self, records: Iterable[Any], split: str) -> Iterator[tuple[Any, GoldFault]]:
        pool = list(records)
        yield from super().gold_faults(pool, split)
        ids: dict[str, set[str]] = {side: {one.id for one in pool if one.side == side} for side in ("source", "target")}
        for side, other in (("source", "target"), ("target", "source")):
            if not ids[side]:
                yield None, GoldFault("a side of the pool is empty", f"no {side} sentence", "sentences on both sides")
            for sentence in (one for one in pool if one.side == side):
                for name in set(sentence.partners or ()) - ids[other]:
                    found, expected = f"{shorten(name)}, paired with {shorten(sentence.id)}", f"an id of a {other}"
                    yield sentence, GoldFault("a gold pair with an id that the pool lacks", found, expected)

    @abstractmethod
    def search(self, sides: PoolSides, vectors: Vectors, settings: Any) -> list[Any]:
        """The predictions for one pool."""


def partners_of(name: str, sentence: PoolSentence) -> tuple[str, ...]:
    """The ids of a sentence's translations. Raises UserError where the gold is withheld."""
    if sentence.partners is None:
        raise withheld_gold(name, sentence.id)
    return sentence.partners
