"""Published figures from published.yaml, each with its source, and their rows on the board.

The file holds only figures read in a paper, its slides, its poster or its authors' code, or whose printed average
follows from them; anything unclear is refused. They enter no average and no comparison of ours.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from harness.errors import UserError
from harness.registry import SUITES, TASKS
from harness.results.tables import ResultCell, ResultRow, ResultTable
from harness.storage.store import AVERAGE

FILE = Path(__file__).with_name("published.yaml")
MAX_BYTES = 1 << 20
QUESTIONS = frozenset({"xquad", "mlqa", "tydiqa"})  # tasks whose score is a mean of two figures
BADGE = "published"
REMEDY = "see the comment at the head of leaderboard/published.yaml"

Seen = Literal["paper", "slides", "poster", "code", "average reproduced"]
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)]
Percent = Annotated[float, Field(ge=0, le=100, strict=True, allow_inf_nan=False)]
Correlation = Annotated[float, Field(ge=-1, le=1, strict=True, allow_inf_nan=False)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Citation(_Frozen):
    """Where figures were read, and what to cite."""

    seen: tuple[Seen, ...] = Field(min_length=1)
    citation: Text
    url: Annotated[str, StringConstraints(pattern=r"^https://[^\s<>\"']+$")]


class Answers(_Frozen):
    """The two figures of a question-answering task."""

    f1: Percent
    exact_match: Percent


class PublishedRow(_Frozen):
    """One method's printed figures by task. `average` is the printed mean over all tasks of the suite."""

    method: Text
    base: str = ""
    figures: Mapping[str, Percent | Answers] = Field(min_length=1)
    average: Percent | None = None

    def score(self, task: str) -> float | None:
        """The task's score by the official rule, in percent; None where nothing was printed."""
        figure = self.figures.get(task)
        return (figure.f1 + figure.exact_match) / 2 if isinstance(figure, Answers) else figure

    @property
    def scores(self) -> dict[str, float]:
        """Every task's score."""
        return {task: value for task in self.figures if (value := self.score(task)) is not None}

    @model_validator(mode="after")
    def _figures_fit_their_tasks(self) -> PublishedRow:
        _known_tasks(self.figures)
        for task, figure in self.figures.items():
            if isinstance(figure, Answers) != (task in QUESTIONS):
                wanted = "F1 and exact match" if task in QUESTIONS else "one figure"
                raise ValueError(f"{self.method}: {task} has {wanted}")
        return self

    @model_validator(mode="after")
    def _average_follows(self) -> PublishedRow:
        if self.average is not None and abs(fmean(self.scores.values()) - self.average) > 0.05 + 1e-9:
            mean = fmean(self.scores.values())
            raise ValueError(f"{self.method}: the average {self.average} does not follow from its parts ({mean:.3f})")
        return self


class PublishedTable(_Frozen):
    """A printed table over the tasks of a suite."""

    name: Text
    title: Text
    suite: Text
    source: Text
    note: str = ""
    rows: tuple[PublishedRow, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _rows_fit_the_suite(self) -> PublishedTable:
        if self.suite not in SUITES:
            raise ValueError(f"unknown suite {self.suite!r}")
        tasks = set(SUITES.get(self.suite).tasks)
        for row in self.rows:
            if strange := sorted(row.figures.keys() - tasks):
                raise ValueError(f"{row.method}: not in {self.suite}: {', '.join(strange)}")
            if row.average is not None and row.figures.keys() != tasks:
                raise ValueError(f"{row.method}: an average over only part of the suite")
        _once("row", [row.method for row in self.rows])
        return self


class StudyPoint(_Frozen):
    """One pre-training on one transform: the accuracy of word alignment, and scores with and without transfer."""

    method: Text
    transform: Text
    alignment: Percent
    supervised: Mapping[str, Percent] = Field(min_length=1)
    zero_shot: Mapping[str, Percent] = Field(min_length=1)

    @model_validator(mode="after")
    def _same_tasks(self) -> StudyPoint:
        if self.supervised.keys() != self.zero_shot.keys():
            raise ValueError(f"{self.method} {self.transform}: supervised and zero_shot have different tasks")
        _known_tasks(self.supervised)
        return self


class Study(_Frozen):
    """Points of alignment against transfer, and the printed correlations by task."""

    name: Text
    title: Text
    source: Text
    note: str = ""
    spearman: Mapping[str, Correlation] = {}
    points: tuple[StudyPoint, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _consistent(self) -> Study:
        _once("point", [f"{point.method} {point.transform}" for point in self.points])
        tasks = set.intersection(*(set(point.supervised) for point in self.points))
        if strange := sorted(self.spearman.keys() - tasks):
            raise ValueError(f"a correlation without points: {', '.join(strange)}")
        return self


class Published(_Frozen):
    """All published figures."""

    sources: Mapping[str, Citation]
    tables: tuple[PublishedTable, ...] = ()
    studies: tuple[Study, ...] = ()

    def citation(self, part: PublishedTable | Study) -> Citation:
        """The source of the figures of a table or a study."""
        return self.sources[part.source]

    @model_validator(mode="after")
    def _sources_exist(self) -> Published:
        parts: list[PublishedTable | Study] = [*self.tables, *self.studies]
        _once("name", [part.name for part in parts])
        for part in parts:
            if part.source not in self.sources:
                raise ValueError(f"{part.name}: no source {part.source!r}")
        if unused := sorted(self.sources.keys() - {part.source for part in parts}):
            raise ValueError(f"unused sources: {', '.join(unused)}")
        return self


def load(file: Path = FILE) -> Published:
    """The published figures of a file. Raises UserError with the line or the field that is wrong."""
    try:
        if file.stat().st_size > MAX_BYTES:
            raise UserError("the file is too large", file=file, expected=f"at most {MAX_BYTES:,} bytes")
        content = yaml.load(file.read_text(encoding="utf-8"), Loader=_Strict)
    except FileNotFoundError as error:
        raise UserError("the file of published figures is missing", file=file) from error
    except (UnicodeDecodeError, RecursionError) as error:
        raise UserError("the file is not YAML in UTF-8", file=file, found=str(error)) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        found = getattr(error, "problem", None) or str(error)
        raise UserError("not valid YAML", file=file, line=mark and mark.line + 1, found=found) from error
    try:
        return Published.model_validate(content)
    except ValidationError as error:
        problem = max(error.errors(include_url=False), key=lambda each: len(each["loc"]))
        place = ".".join(map(str, problem["loc"])) or "the file"
        raise UserError(
            "a published figure is invalid",
            file=file,
            found=f"{place}: {problem['msg']}",
            remedy=REMEDY,
        ) from error


class _Strict(yaml.SafeLoader):
    """Safe YAML without aliases (their expansion is unbounded) and without repeated keys."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, "an alias; write the value instead", mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [key.value for key, _ in node.value]
        for key, _ in node.value:
            if keys.count(key.value) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} occurs twice", key.start_mark)
        return super().construct_mapping(node, deep=deep)


def _known_tasks(names: Mapping[str, Any]) -> None:
    for name in names:
        if name not in TASKS:
            raise ValueError(f"unknown task {name!r}")


def _once(what: str, names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"the {what} {name!r} occurs twice")


def published_rows(table: ResultTable, published: Published) -> ResultTable:
    """The published rows of the suite of a table by task, under its columns."""
    rows = []
    for row in (row for part in published.tables if part.suite == table.key.suite for row in part.rows):
        cells = {task: ResultCell((value,), 1, 1) for task, value in row.scores.items()}
        if row.average is not None:
            cells[AVERAGE] = ResultCell((row.average,), 1, 1)
        label = f"{row.method} ({row.base})" if row.base else row.method
        rows.append(ResultRow(label, row.method, "", BADGE, 1, cells))
    return replace(table, rows=tuple(rows))


def is_comparable(source: str, recipes: Iterable[Mapping[str, Any]]) -> bool:
    """Whether runs were scored on the data and the languages of the published figures: the suite's own."""
    return source == "hub" and all(recipe["languages"] == "official" for recipe in recipes)


def source_notes(published: Published, suite: str) -> list[str]:
    """The sources of the published rows of a suite, with remarks on them."""
    tables = [table for table in published.tables if table.suite == suite]
    return [
        " ".join(filter(None, (f"{table.title}:", published.citation(table).citation + ".", table.note)))
        for table in tables
    ]
