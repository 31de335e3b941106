"""The `folder` source: XTREME's official on-disk layout, with parallel/, mono/, dictionaries/, alignments/ beside it.

`layout` says which files hold a task. docs/data.md describes the layout and every rule of reading.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import ClassVar

from harness.data.corpus_files import LAYOUTS, fingerprint, usable_entries
from harness.data.languages import XTREME
from harness.data.layout import XTREME_FILES, files_of, patterns_of
from harness.data.lines import blank_inside, scan
from harness.data.patterns import fill, find_files, find_views, orders, uncompressed, unread_files
from harness.data.readers import Cell, reader_of
from harness.data.source import CorpusCell, Manifest, Source, TaskCell
from harness.data.squad_json import line_of_question, scan_questions
from harness.errors import UsageError, UserError, counted, list_first
from harness.files import expand_user, text_digest
from harness.records import Corpus, CorpusRecord, PoolSentence, Question, Record, TaggedSentence, TextPair
from harness.task import TaskSpec


class Folder(Source):
    """A folder in XTREME's layout. Only digests are kept in memory; every call reads the files again."""

    kind: ClassVar[str] = "folder"
    name: str = kind

    def __init__(self, root: Path, pivot: str = "en") -> None:
        self.root, self.pivot = root, pivot
        self.name = f"{self.kind}:{root.resolve().name}"

    @classmethod
    def open(cls, location: str) -> Folder:
        """The folder at a path. Raises UsageError without a path, and UserError if the folder does not exist."""
        if not location:
            raise UsageError(
                "the folder source needs a path",
                found="folder",
                expected="folder:PATH",
                remedy="give the folder that holds xnli/, pawsx/, ...: --source folder:PATH",
            )
        root = expand_user(location)
        if not root.is_dir():
            raise UserError(
                "the folder is missing" if not root.exists() else "this is not a folder",
                file=root,
                found=_names(root.parent) if root.parent.is_dir() else f"{root.parent} is missing too",
                expected="a folder in XTREME's layout (xnli/, pawsx/, parallel/, ...)",
                remedy="correct the path after folder:",
            )
        return cls(root)

    @classmethod
    def locations(cls, spec: TaskSpec) -> dict[str, str]:
        return {
            split: ", else ".join(" ".join(patterns.values()) for patterns in alternatives)
            for split, alternatives in files_of(spec).items()
        }

    def manifest(self, specs: Sequence[TaskSpec]) -> Manifest:
        """What is there, from one pass over the bytes of each file; records are read and checked in `task`.

        Raises UserError on empty files, on line-aligned files of different length, and on a folder that holds nothing.
        """
        cells = [cell for spec in specs for split in spec.splits for cell in self._cells(spec, split)]
        corpora = [
            CorpusCell(kind, language, layout.count(files), fingerprint(files))
            for kind, layout in LAYOUTS.items()
            for language, files in sorted(layout.find(self.root, self.pivot).items())
            if all(path.is_file() for path in files)
        ]
        if specs and not cells and not corpora:
            patterns = (text for spec in specs for split in spec.splits for text in self._roles(spec, split).values())
            raise UserError(
                "nothing in this folder is laid out as XTREME does",
                file=self.root,
                found=_names(self.root),
                expected=", ".join(sorted({f"{text.split('/')[0]}/" for text in patterns})),
                remedy="give the folder that holds the task folders",
            )
        return Manifest(
            pivot=self.pivot,
            tasks=tuple(_task_cell(cell) for cell in cells),
            corpora=tuple(corpora),
            training=_training(cells, self.pivot),
            notes=(*_notes([*cells, *self._incomplete(specs)]), *self._corpus_notes()),
            unread=tuple(self._unread(specs, cells)),
        )

    def task_cells(self, specs: Sequence[TaskSpec]) -> tuple[TaskCell, ...]:
        cells = (cell for spec in specs for split in spec.splits for cell in self._cells(spec, split))
        return tuple(_task_cell(cell) for cell in cells)

    def task(self, spec: TaskSpec, view: str, split: str) -> Sequence[Record]:
        return list(self.items(spec, view, split))

    def items(self, spec: TaskSpec, view: str, split: str) -> Iterator[Record]:
        cell = self._cell(spec, view, split)
        return iter(reader_of(cell).records(cell))

    def place(self, spec: TaskSpec, view: str, split: str, item: Record | None) -> tuple[str | Path, int | None]:
        paths = list(self._cell(spec, view, split).files.values())
        path = next((path for path in paths if not path.is_file()), paths[0])  # a gold file may be missing
        return path, line_of_question(path, item.id) if isinstance(item, Question) else None

    def corpus(self, kind: Corpus, languages: Sequence[str]) -> Sequence[CorpusRecord]:
        return list(self.stream(kind, languages))

    def stream(self, kind: Corpus, languages: Sequence[str]) -> Iterator[CorpusRecord]:
        if kind not in LAYOUTS:
            raise UserError(
                f"a folder holds no corpus of the kind {kind.value!r}",
                file=self.root,
                expected=", ".join(LAYOUTS),
                remedy="choose a method that does not need it, or another source",
            )
        layout, found = LAYOUTS[kind], LAYOUTS[kind].find(self.root, self.pivot)
        for language in languages:
            missing = [path for path in found.get(language, ()) if not path.is_file()]
            if language not in found or missing:
                raise UserError(
                    f"no {kind.value} corpus for {language!r}",
                    file=missing[0] if missing else self.root / fill(layout.files[0], language, self.pivot),
                    found=f"languages: {', '.join(sorted(found)) or 'none'}",
                    expected=" and ".join(fill(pattern, language, self.pivot) for pattern in layout.files[:2]),
                    remedy="add the file, or leave the language out",
                )
        for language in languages:
            yield from layout.read(language, found[language])

    def _candidates(self, spec: TaskSpec, split: str) -> list[Cell]:
        """A cell for each view that has the split's first file, the task's own languages first."""
        roles = self._roles(spec, split)
        views = find_views(self.root, next(iter(roles.values())), self.pivot) if roles else []
        order = {language: place for place, language in enumerate(spec.languages)}
        views.sort(key=lambda view: (order.get(view, len(order)), view))
        return [Cell(spec, view, split, self.pivot, find_files(self.root, roles, view, self.pivot)) for view in views]

    def _cells(self, spec: TaskSpec, split: str) -> list[Cell]:
        """The candidates whose files are all there. Rows are parallel if all files have the same length."""
        cells = [cell for cell in self._candidates(spec, split) if cell.missing() is None]
        if spec.family.record is not TextPair or len({scan(cell.files["data"]).lines for cell in cells}) != 1:
            return cells
        pivot_file = next((cell.files["data"] for cell in cells if cell.view == self.pivot), None)
        return [replace(cell, parallel=pivot_file) for cell in cells]

    def _incomplete(self, specs: Sequence[TaskSpec]) -> Iterator[Cell]:
        for spec in specs:
            for split in spec.splits:
                yield from (cell for cell in self._candidates(spec, split) if cell.missing() is not None)

    def _cell(self, spec: TaskSpec, view: str, split: str) -> Cell:
        cells = {cell.view: cell for cell in self._cells(spec, split)}
        if view not in cells:
            raise self._missing(spec, view, split, cells)
        return cells[view]

    def _roles(self, spec: TaskSpec, split: str) -> dict[str, str]:
        """The path patterns of a split by role; of several alternatives the first with files."""
        alternatives = [dict(patterns) for patterns in files_of(spec).get(split, ())]
        with_files = (a for a in alternatives if find_views(self.root, next(iter(a.values())), self.pivot))
        return next(with_files, alternatives[0] if alternatives else {})

    def _missing(self, spec: TaskSpec, view: str, split: str, cells: Iterable[str]) -> UserError:
        roles = self._roles(spec, split)
        if not roles:
            return UserError(
                f"{spec.name} has no {split} split in a folder",
                expected=f"one of: {', '.join(files_of(spec))}",
                remedy="ask for another split, or use another source",
            )
        cell = Cell(spec, view, split, self.pivot, find_files(self.root, roles, view, self.pivot))
        path = cell.missing() or next(iter(cell.files.values()))
        if not path.parent.is_dir():
            return UserError(
                "the task's folder is missing",
                file=path.parent,
                found=_names(self.root),
                expected=f"{path.parent.name}/ with {path.name}",
                remedy=f"add the folder, or leave {spec.name} out",
            )
        return UserError(
            f"{spec.name} has no {split} file for {view!r}",
            file=path,
            found=f"{split} files for: {', '.join(cells) or 'no language'}",
            expected=path.name,
        )

    def _unread(self, specs: Sequence[TaskSpec], cells: Sequence[Cell]) -> Iterator[str]:
        """Notes on the files in the folders of these tasks and of corpora that nothing reads."""
        corpora = [layout.find(self.root, self.pivot) for layout in LAYOUTS.values()]
        read = {path for cell in (*cells, *self._incomplete(specs)) for path in cell.files.values()}
        read |= {path for found in corpora for files in found.values() for path in files}
        codes = {*XTREME, *(language for spec in specs for language in spec.languages), *chain(*corpora)}
        own = [*chain(*(patterns_of(files_of(spec)) for spec in specs)), *chain(*(a.files for a in LAYOUTS.values()))]
        others = chain(*map(patterns_of, XTREME_FILES.values()))
        return unread_files(self.root, self.pivot, own, others, read, codes)

    def _corpus_notes(self) -> Iterator[str]:
        for kind, layout in LAYOUTS.items():
            for language, files in sorted(layout.find(self.root, self.pivot).items()):
                missing = [path.name for path in files if not path.is_file()]
                if missing:
                    yield f"{kind.value} ({language}): left out, since {missing[0]} is missing"
                elif kind is Corpus.DICTIONARY and (count := usable_entries(files).held_out):
                    yield f"dictionary ({language}): {count} entries left out, their headwords are in the held-out file"


def _task_cell(cell: Cell) -> TaskCell:
    reader = reader_of(cell)
    files = {**cell.files, "clusters": cell.parallel or cell.files[next(iter(cell.files))]}
    names = [f"{role} {uncompressed(path)} {scan(path).digest}" for role, path in files.items() if path.is_file()]
    digest = text_digest("\n".join(names))
    return TaskCell(cell.spec.name, cell.view, cell.split, reader.count(cell), digest, reader.labelled(cell))


def _training(cells: Iterable[Cell], pivot: str) -> dict[str, str]:
    """The training file of each trained task, with its number of items."""
    sets = [cell for cell in cells if cell.split == "train" and cell.view == pivot]
    paths = {cell.spec.name: cell.files["data"] for cell in sets}
    counts = {cell.spec.name: reader_of(cell).count(cell) for cell in sets}
    return {task: f"{path.parent.name}/{path.name} ({counts[task]:,} items)" for task, path in paths.items()}


def _notes(cells: Sequence[Cell]) -> Iterator[str]:
    """Notes on the files for the user, one for each task, split and peculiarity."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for cell in cells:
        for note in _quirks(cell):
            found.setdefault((cell.spec.name, cell.split, note), []).append(cell.view)
    for (task, split, note), views in found.items():
        yield f"{task} {split} ({', '.join(views)}): {note}"


def _quirks(cell: Cell) -> Iterator[str]:
    missing = cell.missing()
    if missing is not None:
        yield f"left out, since {missing.name} is missing"
        return
    scans = [scan(path) for path in cell.files.values() if path.is_file()]
    record = cell.spec.family.record
    if any(found.bom for found in scans):
        yield "a byte order mark at the start of the file is ignored"
    if record is TextPair and any(found.quoted for found in scans):
        yield "doubled quotes of the official csv files are kept, as the official models see them"
    if record is TextPair and cell.parallel is None:
        yield "languages differ in length or English is missing, so no two rows count as parallel"
    if record is TaggedSentence and blank_inside(cell.files["data"]):
        yield "of tokens with a blank inside only the first part is read, as in the official code"
    if record is Question and (misplaced := scan_questions(cell.files["data"]).misplaced):
        yield f"{counted(misplaced, 'answer')} not at the place that is given: scored by the text, not trained on"
    if not reader_of(cell).labelled(cell):
        yield _UNLABELLED[record]
    first, here = next(iter(files_of(cell.spec)[cell.split][0].values())), next(iter(cell.files.values()))
    if uncompressed(here) not in {Path(fill(order, cell.view, cell.pivot)).name for order in orders(first)}:
        yield f"{here.parent.name}/{here.name} is read in place of {first}, which is missing"


_UNLABELLED = {
    TextPair: "labels are withheld (two columns): predictions can be exported, not scored",
    TaggedSentence: "tags are withheld (tokens only): predictions can be exported, not scored",
    PoolSentence: "gold is withheld (no gold file, or English sorted by the official download): not scored",
    Question: "answers are withheld: predictions can be exported, not scored",
}


def _names(folder: Path, limit: int = 12) -> str:
    names = sorted(path.name + "/" * path.is_dir() for path in folder.iterdir() if not path.name.startswith("."))
    return f"{folder} holds {list_first(names, limit) or 'nothing'}"
