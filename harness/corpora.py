"""What a method is given to read: the sample, the tokenizer, and on demand the other corpora of the source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.errors import UserError
from harness.method import SamplePair
from harness.records import Corpus, CorpusRecord
from harness.sources.base import Source
from harness.tokens import Tokenizer


@dataclass(frozen=True)
class SourceCorpora:
    """The corpora of one stage. Raises UserError for a kind that the method did not declare.

    A kind comes in the pivot and in those of `languages` that the source has it for.
    """

    sample: Sequence[SamplePair]
    tokenizer: Tokenizer
    source: Source
    languages: tuple[str, ...]
    max_length: int
    needs: frozenset[Corpus]

    @property
    def pivot(self) -> str:
        return self.source.pivot

    def records(self, kind: Corpus) -> Sequence[CorpusRecord]:
        if kind not in self.needs:
            raise UserError(
                f"the method reads the {kind} corpus without declaring it",
                found=", ".join(sorted(self.needs)) or "no needs",
                expected=f"needs = {{..., Corpus.{kind.name}}}",
            )
        held = self.source.manifest([]).languages(kind)
        return self.source.corpus(kind, [n for n in (self.pivot, *self.languages) if n in held])
