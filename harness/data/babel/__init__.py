"""`babel`: the built-in default source, a made-up world described in eight made-up languages, generated from a seed.

Meaning is known, so every task has exact gold. docs/babel.md shows the languages and what was measured on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, cached_property
from pathlib import Path

from harness.data.babel import corpora, tasks
from harness.data.babel.languages import LANGUAGES, PIVOT, BabelLanguage
from harness.data.babel.settings import SIZES, BabelSettings, Sizes, parse_settings
from harness.data.source import CorpusCell, Manifest, Source, TaskCell, missing_task
from harness.errors import UserError
from harness.files import text_digest
from harness.records import Corpus, CorpusRecord, Record
from harness.task import TaskSpec

__all__ = ["LANGUAGES", "PIVOT", "SIZES", "Babel", "BabelLanguage", "BabelSettings", "Sizes"]


class Babel(Source):
    """The made-up world. Settings are written `babel:seed=1,size=large` or `babel:qaf.order=SVO`."""

    kind = "babel"
    own_languages = True
    generated = True
    pivot = PIVOT

    def __init__(self, settings: BabelSettings) -> None:
        self.settings = settings

    @classmethod
    def open(cls, location: str) -> Babel:
        return cls(parse_settings(location))

    @classmethod
    def absolute(cls, location: str) -> str:
        return location  # settings, never a path

    @classmethod
    def locations(cls, spec: TaskSpec) -> dict[str, str]:
        generator = tasks.GENERATORS.get(spec.name)
        return dict.fromkeys(tasks.SPLITS[generator], f"the generator `{generator}`") if generator else {}

    @property
    def name(self) -> str:
        return self.settings.label

    @property
    def languages(self) -> tuple[str, ...]:
        """Every language code, the pivot first."""
        return tuple(self.settings.languages)

    def manifest(self, specs: Sequence[TaskSpec]) -> Manifest:
        """All cells of the tasks that have a generator, and every corpus. Generates nothing."""
        named = {spec.name: tasks.GENERATORS[spec.name] for spec in specs if spec.name in tasks.GENERATORS}
        cells = [
            self._task_cell(name, task, view, split)
            for name, task in named.items()
            for split in tasks.SPLITS[task]
            for view in tasks.views(self.settings, task, split)
        ]
        training = {
            name: f"babel {task}, {tasks.item_count(self.settings, task, 'train')} items"
            for name, task in named.items()
            if "train" in tasks.SPLITS[task]
        }
        return Manifest(PIVOT, tuple(cells), self._corpora, training)

    def task(self, spec: TaskSpec, view: str, split: str) -> Sequence[Record]:
        if spec.name not in tasks.GENERATORS:
            raise missing_task("babel", spec.name, tasks.GENERATORS)
        generator = tasks.GENERATORS[spec.name]
        held = {s: tasks.views(self.settings, generator, s) for s in tasks.SPLITS[generator]}
        if view not in held.get(split, ()):
            raise UserError(
                f"babel has no {split} split of {spec.name} in {view!r}",
                expected="; ".join(f"{name}: {' '.join(codes)}" for name, codes in held.items()),
            )
        return tasks.MAKERS[generator](self.settings, generator, view, split)

    def corpus(self, kind: Corpus, languages: Sequence[str]) -> Sequence[CorpusRecord]:
        held = self._corpus_languages(kind)
        for code in languages:
            if code not in held:
                raise UserError(f"babel has no {kind} corpus in {code!r}", expected=", ".join(held))
        return [record for code in languages for record in corpora.MAKERS[kind](self.settings, code)]

    def _corpus_languages(self, kind: Corpus) -> tuple[str, ...]:
        return tuple(code for code in self.languages if code != PIVOT or kind not in corpora.TWO_SIDED)

    def _task_cell(self, name: str, task: str, view: str, split: str) -> TaskCell:
        count = tasks.record_count(self.settings, task, split)
        return TaskCell(name, view, split, count, self._fingerprint("task", task, view, split))

    @cached_property
    def _corpora(self) -> tuple[CorpusCell, ...]:
        return tuple(
            CorpusCell(kind, code, corpora.count(self.settings, kind, code), self._fingerprint("corpus", kind, code))
            for kind in Corpus
            for code in self._corpus_languages(kind)
        )

    def _fingerprint(self, *cell: str) -> str:
        settings = self.settings
        stem = repr((settings.seed, settings.sizes, sorted(settings.languages.items()), _source_digest()))
        return text_digest("\n".join((stem, *cell)))


@cache
def _source_digest() -> str:
    """The hash of this package's source text: data from another version have other fingerprints."""
    paths = sorted(Path(__file__).parent.glob("*.py"))
    return text_digest("".join(f"{path.name}\n{path.read_text(encoding='utf-8')}" for path in paths))
