"""The source contract: a manifest of what is there, and records on demand.

Asking for data that the manifest lacks raises UserError, which names the file or config, and what is there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import ClassVar

from harness.errors import UsageError, UserError
from harness.files import expand_user
from harness.records import Corpus, CorpusRecord, Record
from harness.task import TaskSpec


@dataclass(frozen=True, slots=True)
class TaskCell:
    """A (task, view, split) that the source holds; `labelled` is False if the gold labels are withheld."""

    task: str
    view: str
    split: str
    count: int
    fingerprint: str
    labelled: bool = True

    @property
    def name(self) -> str:
        """Such as `xnli/de/test`."""
        return f"{self.task}/{self.view}/{self.split}"


@dataclass(frozen=True, slots=True)
class CorpusCell:
    """A corpus that the source holds for one language; for two-sided kinds the other side is the pivot."""

    kind: Corpus
    language: str
    count: int
    fingerprint: str

    @property
    def name(self) -> str:
        """Such as `parallel/de`."""
        return f"{self.kind}/{self.language}"


@dataclass(frozen=True)
class Manifest:
    """The contents of a source. `training` names the training set of each task; `notes` are for the user, and `unread`
    those on files that are not read."""

    pivot: str
    tasks: tuple[TaskCell, ...]
    corpora: tuple[CorpusCell, ...]
    training: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()

    def cell(self, task: str, view: str, split: str) -> TaskCell | None:
        return next((c for c in self.tasks if (c.task, c.view, c.split) == (task, view, split)), None)

    def views(self, task: str, split: str) -> tuple[str, ...]:
        """The views of a task that have this split, in the source's order."""
        return tuple(c.view for c in self.tasks if (c.task, c.split) == (task, split))

    def languages(self, kind: Corpus) -> tuple[str, ...]:
        return tuple(c.language for c in self.corpora if c.kind == kind)

    def lacking(self, needs: Iterable[Corpus]) -> list[Corpus]:
        """The kinds of corpus among `needs` that the source has in no language, sorted."""
        return [kind for kind in sorted(needs) if not self.languages(kind)]

    def corpus_cells(self, kind: Corpus, languages: Sequence[str]) -> tuple[CorpusCell, ...]:
        return tuple(c for c in self.corpora if c.kind == kind and c.language in languages)


class Source(ABC):
    """Data for tasks and methods. `kind` is the key in the `alignboard.sources` entry points."""

    kind: ClassVar[str]
    own_languages: bool = False  # its languages are its own, so the official list does not apply
    generated: bool = False  # its data are made by code that knows the gold, so that no fault is looked for
    pivot: str

    @classmethod
    @abstractmethod
    def open(cls, location: str) -> Source:
        """The source behind `KIND:LOCATION`; `location` is empty where only the kind was given."""

    @classmethod
    def absolute(cls, location: str) -> str:
        """The location as a run stores it, so that it holds in any working directory: by default a path that exists is
        made absolute."""
        path = expand_user(location)
        return str(path.resolve()) if location and path.exists() else location

    @classmethod
    def locations(cls, spec: TaskSpec) -> dict[str, str]:  # noqa: ARG003 (the default knows no task)
        """Where sources of this kind look for a task's data, in words, for each split; empty where they lack it."""
        return {}

    @property
    @abstractmethod
    def name(self) -> str:
        """A short name that identifies the source on the board, such as `babel` or `folder:open`; no absolute path."""

    @abstractmethod
    def manifest(self, specs: Sequence[TaskSpec]) -> Manifest:
        """The cells of these tasks and of every corpus. Cheap enough for the start of each command."""

    def task_cells(self, specs: Sequence[TaskSpec]) -> tuple[TaskCell, ...]:
        """The cells of these tasks; by default those of the manifest, which holds the corpora as well."""
        return self.manifest(specs).tasks

    @abstractmethod
    def task(self, spec: TaskSpec, view: str, split: str) -> Sequence[Record]:
        """The records of one cell; for retrieval, source sentences first, then target sentences."""

    def items(self, spec: TaskSpec, view: str, split: str) -> Iterator[Record]:
        """The records of `task`, one after the other; by default all of them are in memory."""
        return iter(self.task(spec, view, split))

    def place(self, spec: TaskSpec, view: str, split: str, item: Record | None) -> tuple[str | Path, int | None]:
        """The file and the line of an item, for errors about it; by default the source's name."""
        return self.name, None

    @abstractmethod
    def corpus(self, kind: Corpus, languages: Sequence[str]) -> Sequence[CorpusRecord]:
        """The records of a corpus in these languages, in a fixed order."""

    def stream(self, kind: Corpus, languages: Sequence[str]) -> Iterator[CorpusRecord]:
        """The records of `corpus`, one after the other; by default those of one language are in memory at a time."""
        for language in languages:
            yield from self.corpus(kind, [language])


def missing_task(source: str, task: str, held: Iterable[str]) -> UserError:
    """The error for a task that a source does not know."""
    return UserError(
        f"{source} has no data for {task}",
        found=f"{source} holds {', '.join(held)}",
        expected=task,
        remedy=f"leave {task} out, or use a folder with its files: --source folder:PATH",
    )


def open_source(uri: str) -> Source:
    """Opens `folder:PATH`, `babel`, `babel:seed=1`, or a plug-in's kind. Raises UsageError for an unknown kind."""
    source, location = _parse_uri(uri)
    return source.open(location)


cached_source = cache(open_source)  # one for each URI and process


def absolute_uri(uri: str) -> str:
    """The URI of a source as a run stores it, without relative paths. Raises UsageError for an unknown kind."""
    source, location = _parse_uri(uri)
    kind, colon, _ = uri.partition(":")
    return f"{kind}{colon}{source.absolute(location)}"


def _parse_uri(uri: str) -> tuple[type[Source], str]:
    from harness.registry import SOURCES

    kind, _, location = uri.partition(":")
    if not kind:
        raise UsageError("a source is written KIND or KIND:LOCATION", found=repr(uri), expected="such as folder:PATH")
    return SOURCES.get(kind), location
