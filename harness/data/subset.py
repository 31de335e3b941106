"""A source limited to some of its languages: `subset:de+fr,folder:PATH` holds German, French and the pivot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from harness.data.source import Manifest, Source, open_source
from harness.data.transforms import LanguageTransform, TransformedSource
from harness.errors import UsageError, unique_names
from harness.task import TaskSpec


class LanguageSubset(TransformedSource):
    """Another source without the other languages; what is left is unchanged, so its fingerprints are the same."""

    kind: ClassVar[str] = "subset"

    def __init__(self, inner: Source, languages: Sequence[str]) -> None:
        super().__init__(inner, LanguageTransform("subset", ""))  # of no language
        self.languages = frozenset({*languages, inner.pivot})
        self.name = f"subset:{'+'.join(languages)},{inner.name}"

    @classmethod
    def open(cls, location: str) -> Source:
        """`subset:LANGUAGES,URI`, the languages joined by plus signs. Raises UsageError for a language without data."""
        names, _, uri = location.partition(",")
        if not names or not uri:
            raise UsageError("a subset is written subset:LANGUAGES,SOURCE", found=repr(location))
        inner = open_source(uri)
        return cls(inner, unique_names("language", names.split("+"), {c.language for c in inner.manifest([]).corpora}))

    def manifest(self, specs: Sequence[TaskSpec]) -> Manifest:
        inner = self.inner.manifest(specs)
        return replace(
            inner,
            tasks=tuple(cell for cell in inner.tasks if self.languages.issuperset(cell.view.split("."))),
            corpora=tuple(cell for cell in inner.corpora if cell.language in self.languages),
        )
