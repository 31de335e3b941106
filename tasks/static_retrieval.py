"""Static word retrieval: does the embedding of a word find that of its translation? No training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from harness.records import AlignedPair
from harness.task import TaskSettings
from tasks.families.word_links import LinkedWord, WordRetrievalFamily, sure_words
from tasks.word_alignment import SPEC as ALIGNMENT

if TYPE_CHECKING:
    from torch import Tensor

    from harness.modeling.encoder import Encoder

SPEC = replace(
    ALIGNMENT,
    name="static-retrieval",
    title="Static word retrieval",
    metric="accuracy",
    protocols={name: TaskSettings() for name in ALIGNMENT.protocols},
    citation='Tang et al., "ALIGN-MLM", 2022, whose alignment is accuracy@1 of static embeddings in one direction',
    description=(
        "As word retrieval with the input embeddings alone: each pair of words once, and the mean of the embeddings of "
        "its subwords."
    ),
)


class StaticRetrieval(WordRetrievalFamily):
    """Pairs of linked words, each once, by their input embeddings."""

    spec = SPEC
    Settings: ClassVar[type[TaskSettings]] = TaskSettings

    def searched(self, pairs: Sequence[AlignedPair]) -> list[LinkedWord]:
        once: dict[tuple[str, str], LinkedWord] = {}
        for word in sure_words(pairs):
            pair = pairs[word.pair]
            once.setdefault((pair.source[word.source], pair.target[word.target]), word)
        return list(once.values())

    def word_vectors(
        self, encoder: Encoder, sentences: Sequence[tuple[str, ...]], settings: Any, precision: str
    ) -> list[Tensor]:
        from tasks.families.embeddings import embed_static

        return embed_static(encoder, sentences)
