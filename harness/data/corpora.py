"""The data that a method reads: the sample, the tokenizer, and the other corpora of the source on demand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.data.source import Source
from harness.errors import UserError
from harness.modeling.tokenizer import Tokenizer
from harness.records import Corpus, CorpusRecord, SamplePair


@dataclass(frozen=True)
class SourceCorpora:
    """The corpora of one stage. Raises UserError for a kind that the method did not declare.

    A kind comes in the languages asked for that the source has it for: by default the pivot, then `languages`.
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

    def records(self, kind: Corpus, languages: Sequence[str] | None = None) -> Sequence[CorpusRecord]:
        if kind not in self.needs:
            raise UserError(
                f"the method reads the {kind} corpus without declaring it",
                found=", ".join(sorted(self.needs)) or "no needs",
                expected=f"needs = {{..., Corpus.{kind.name}}}",
            )
        held = self.source.manifest([]).languages(kind)
        wanted = (self.pivot, *self.languages) if languages is None else languages
        return self.source.corpus(kind, [n for n in wanted if n in held])
