"""The `hub` source: XTREME from the Hugging Face hub at one commit, completed from other data sets.

docs/data.md lists the data sets and how they differ from the official data. `huggingface_hub` and `datasets` are
imported when data are read, not before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from harness.data.folder import Folder
from harness.data.hub import rows
from harness.data.hub.settings import NLI_CONFIGS, HubSettings, Named, parse_settings
from harness.data.hub.tables import HUB_TASKS, NLI_COLUMNS, HubTask
from harness.data.readers import nli_pairs, premise_clusters
from harness.data.source import CorpusCell, Manifest, Source, TaskCell, missing_task
from harness.errors import UserError
from harness.files import text_digest
from harness.records import Corpus, CorpusRecord, PoolSentence, Question, Record, TaggedSentence, TextPair
from harness.task import TaskSpec

if TYPE_CHECKING:
    from harness.data.hub.part import HubPart
    from harness.data.hub.repository import Repository

_NLI_LABELS = ("contradiction", "entailment", "neutral")


class Hub(Source):
    """`hub`, `hub:google/xtreme@COMMIT`, `hub:bucc=PATH,parallel=Helsinki-NLP/un_pc,parallel_size=50000`."""

    kind: ClassVar[str] = "hub"
    pivot = "en"

    def __init__(self, settings: HubSettings) -> None:
        self.settings = settings
        self._opened: dict[Named, Repository] = {}

    @classmethod
    def open(cls, location: str) -> Hub:
        return cls(parse_settings(location))

    @classmethod
    def absolute(cls, location: str) -> str:
        """Only the path given as bucc= is made absolute: names of data sets may look like paths."""
        pairs = (part.partition("=") for part in location.split(","))
        return ",".join(
            f"{name}={super(Hub, cls).absolute(value.strip())}" if name.strip() == "bucc" else f"{name}{equals}{value}"
            for name, equals, value in pairs
        )

    @classmethod
    def locations(cls, spec: TaskSpec) -> dict[str, str]:
        task = HUB_TASKS.get(spec.name, HubTask())
        if task.lacks:
            return dict.fromkeys(spec.splits, "the folder given as bucc=PATH")
        return {
            split: "the data set given as nli=" if where.nli else f"{where.config}, split {where.split}"
            for split, where in task.splits.items()
        }

    @property
    def name(self) -> str:
        return self.settings.label

    def manifest(self, specs: Sequence[TaskSpec]) -> Manifest:
        """The contents of the commit. Counts are those that the cards declare: rows are fetched when they are used."""
        tasks: list[TaskCell] = []
        training: dict[str, str] = {}
        for spec in specs:
            for split in spec.splits if spec.name in HUB_TASKS else ():
                if HUB_TASKS[spec.name].lacks and self.settings.bucc is not None:
                    local = self._local(spec)
                    if not (held := local.manifest([spec]).tasks):
                        local.task(spec, spec.languages[0], split)  # raises, with the file that is missing
                    tasks += [cell for cell in held if cell.split == split]
                parts = self._parts(spec, split)
                cells = [self._task_cell(spec, view, split, one, parts) for view, one in parts.items()]
                tasks += cells
                if split == "train" and cells:
                    training[spec.name] = f"{parts[self.pivot].place} ({cells[0].count:,} items)"
        return Manifest(self.pivot, tuple(tasks), tuple(self._corpora()), training, tuple(self._notes(specs)))

    def task(self, spec: TaskSpec, view: str, split: str) -> Sequence[Record]:
        if spec.name not in HUB_TASKS:
            raise missing_task(self.name, spec.name, HUB_TASKS)
        if HUB_TASKS[spec.name].lacks:
            return self._local(spec).task(spec, view, split)
        parts = self._parts(spec, split)
        if view not in parts:
            raise self._missing(spec, view, split, parts)
        return self._records(spec, view, split, parts)

    def corpus(self, kind: Corpus, languages: Sequence[str]) -> Sequence[CorpusRecord]:
        return list(self.stream(kind, languages))

    def stream(self, kind: Corpus, languages: Sequence[str]) -> Iterator[CorpusRecord]:
        held = {cell.language for cell in self._corpora() if cell.kind is kind}
        for language in languages:
            if language not in held:
                raise UserError(
                    f"the hub source has no {kind.value} corpus in {language!r}",
                    file=self.name,
                    found=f"languages: {', '.join(sorted(held)) or 'none'}",
                    expected=f"a {kind.value} corpus in {language!r}",
                    remedy="leave the language out, choose another set with parallel= or nli=, or use a folder",
                )
        if kind is Corpus.NLI:
            one = self._nli_part
            yield from nli_pairs(rows.labelled(one.place, one.tuples(), _NLI_LABELS) if languages else ())
            return
        from harness.data.hub import parallel

        chosen, size = self._repository(self.settings.parallel), self.settings.parallel_size
        for language in languages:
            yield from parallel.stream(chosen, language, self.pivot, size)

    def _repository(self, named: Named | None) -> Repository:
        from harness.data.hub.repository import Repository

        assert named is not None
        return self._opened.setdefault(named, Repository(named))

    def _parts(self, spec: TaskSpec, split: str) -> dict[str, HubPart]:
        """The parts of a split that the hub has, by view."""
        from harness.data.hub.part import part, views

        where = HUB_TASKS.get(spec.name, HubTask()).splits.get(split)
        if where is None:
            return {}
        named: Named | None = self.settings.xtreme
        if where.nli:
            if (named := self.settings.nli) is None:
                return {}
            where = replace(where, config=NLI_CONFIGS[named.repo])
        repository = self._repository(named)
        found = {view: part(where, view, repository) for view in views(spec, where, split, self.pivot)}
        return {view: one for view, one in found.items() if one.there()}

    def _missing(self, spec: TaskSpec, view: str, split: str, parts: Mapping[str, HubPart]) -> UserError:
        from harness.data.hub.part import part

        where = HUB_TASKS[spec.name].splits.get(split)
        if where is None:
            return UserError(
                f"{spec.name} has no {split} split on the hub",
                expected=f"one of: {', '.join(HUB_TASKS[spec.name].splits)}",
                remedy="ask for another split, or use another source",
            )
        if where.nli and self.settings.nli is None:
            found, expected = "nli=none", "nli=nyu-mll/multi_nli or nli=facebook/xnli"
            return UserError(f"{spec.name} has no training set", file=self.name, found=found, expected=expected)
        if not where.nli and (split == "train") <= (view == self.pivot):
            sought = part(where, view, self._repository(self.settings.xtreme))
            if not sought.there():
                return sought.repository.missing(sought.config, sought.split)
        return UserError(
            f"{spec.name} has no {split} split in {view!r}",
            file=self.name,
            found=f"{split} in: {', '.join(parts) or 'no language'}",
            expected=f"{split} in {view!r}",
        )

    def _local(self, spec: TaskSpec) -> Folder:
        """The folder that is read in place of the hub's copy. Raises UserError if none was given."""
        path = self.settings.bucc
        if path is None:
            raise UserError(
                f"the hub's copy of {spec.name} is not {spec.name}",
                file=self.name,
                found=HUB_TASKS[spec.name].lacks,
                expected="bucc=PATH",
                remedy=f"make the folder with `alignboard prepare {spec.name}` and give hub:bucc=PATH",
            )
        return Folder.open(str(path.parent if path.name == spec.name else path))

    def _task_cell(self, spec: TaskSpec, view: str, split: str, one: HubPart, parts: Mapping[str, HubPart]) -> TaskCell:
        count = one.count() * (2 if spec.family.record is PoolSentence else 1)
        # The pivot's rows name the clusters of parallel languages.
        pivot = parts[self.pivot].fingerprint() if self._parallel(spec, parts) else ""
        return TaskCell(spec.name, view, split, count, text_digest(f"{one.fingerprint()} {pivot}"))

    def _parallel(self, spec: TaskSpec, parts: Mapping[str, HubPart]) -> bool:
        """Whether row i is a translation of row i in every language: classification with equal counts."""
        if spec.family.record is not TextPair or self.pivot not in parts:
            return False
        return len({one.count() for one in parts.values()}) == 1

    def _records(self, spec: TaskSpec, view: str, split: str, parts: Mapping[str, HubPart]) -> list[Record]:
        one, key = parts[view], f"{spec.name}-{view}-{split}"
        if spec.family.record is TextPair:
            found = rows.labelled(one.place, one.tuples(), spec.labels)
            firsts = [first for first, *_ in parts[self.pivot].tuples()] if self._parallel(spec, parts) else []
            return rows.pairs(key, split, found, premise_clusters(spec.name, split, firsts))
        if spec.family.record is TaggedSentence:
            return rows.tagged(key, split, one.place, one.tuples(), spec.labels)
        if spec.family.record is Question:
            prefix, language = f"{spec.name}-{split}", view.partition(".")[0]
            return rows.questions(prefix, language, one.rows(), repeated_ids=split == "train", where=one.place)
        return rows.aligned(spec, view, split, self.pivot, one.tuples(), one.place)

    @cached_property
    def _nli_part(self) -> HubPart:
        from harness.data.hub.part import HubPart

        assert self.settings.nli is not None
        config = NLI_CONFIGS[self.settings.nli.repo]
        return HubPart(self._repository(self.settings.nli), config, "train", NLI_COLUMNS)

    def _corpora(self) -> Iterator[CorpusCell]:
        if self.settings.parallel is not None:
            from harness.data.hub import parallel

            yield from parallel.cells(self._repository(self.settings.parallel), self.pivot, self.settings.parallel_size)
        if self.settings.nli is not None:
            fingerprint = text_digest(self._nli_part.fingerprint())
            yield CorpusCell(Corpus.NLI, self.pivot, self._nli_part.count(), fingerprint)

    def _notes(self, specs: Sequence[TaskSpec]) -> Iterator[str]:
        """The commits that are read, and how the hub's copy differs from the official data."""
        for one in self._opened.values():
            yield f"{one.name} is read at commit {one.commit}"
            if one.moved_to:
                yield f"{one.named} has moved on the hub, to commit {one.moved_to}; to read it, name it after an @"
        for spec in specs:
            task = HUB_TASKS.get(spec.name, HubTask())
            yield from (f"{spec.name}: {note}" for note in task.notes)
            if task.lacks and self.settings.bucc is None:
                yield f"{spec.name}: left out; {task.lacks}; give hub:bucc=PATH"
            for split in spec.splits:
                parts = self._parts(spec, split)
                if spec.family.record is TextPair and parts and not self._parallel(spec, parts):
                    yield f"{spec.name} {split}: languages differ in length, so no two rows count as parallel"
        if self.settings.parallel is not None:
            size = self.settings.parallel_size
            yield f"parallel: at most {size:,} pairs a language; pairs with an empty side are left out"
