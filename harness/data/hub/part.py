"""The rows of one (task, view, split) on the hub."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from harness.data.hub.repository import Repository
from harness.data.hub.tables import HubSplit
from harness.errors import UserError
from harness.task import TaskSpec


@dataclass(frozen=True)
class HubPart:
    """The rows of a view: a split of a config, or those of one language in it if `key` is not None."""

    repository: Repository
    config: str
    split: str
    columns: tuple[str, ...]
    key: str | None = None
    by: str = ""  # "language": `key` is the value of that column; "id": the part of the id before its first hyphen
    language: str = ""

    @property
    def place(self) -> str:
        return f"{self.repository.name}@{self.repository.commit}/{self.config}/{self.split}"

    def there(self) -> bool:
        """Whether the hub has the split with rows in the view's language."""
        return self.repository.has(self.config, self.split) and (self.key is None or self.count() > 0)

    def count(self) -> int:
        if self.key is None:
            return self.repository.count(self.config, self.split)
        column = self.repository.column(self.config, self.split, self.language)
        return int(pc.sum(self._mask(column)).as_py() or 0)

    def fingerprint(self) -> str:
        return f"{self.repository.fingerprint(self.config, self.split)} {self.by} {self.key} {self.columns}"

    def rows(self) -> list[dict[str, Any]]:
        """The rows as plain values, with label names in place of their numbers."""
        wanted = list(dict.fromkeys((*self.columns, *([self.language] if self.key is not None else []))))
        table = self.repository.table(self.config, self.split, wanted)
        if self.key is not None:
            table = table.filter(self._mask(table[self.language]))
        found: dict[str, list[Any]] = {}
        for column in self.columns:
            names = self.repository.label_names(self.config, self.split, column)
            values = table[column].to_pylist()
            found[column] = values if names is None else [self._named(value, names) for value in values]
        return [dict(zip(found, row, strict=True)) for row in zip(*found.values(), strict=True)]

    def tuples(self) -> list[Any]:
        return [tuple(row.values()) for row in self.rows()]

    def _mask(self, column: pa.ChunkedArray) -> Any:
        return pc.equal(column, self.key) if self.by == "language" else pc.starts_with(column, f"{self.key}-")

    def _named(self, value: Any, names: list[str]) -> Any:
        if isinstance(value, list):
            return [self._named(one, names) for one in value]
        if not 0 <= value < len(names):
            raise UserError(
                "a label number outside the set", file=self.place, found=str(value), expected=f"0 to {len(names) - 1}"
            )
        return names[value]


def part(where: HubSplit, view: str, repository: Repository) -> HubPart:
    """The part of a view; `there` says whether the hub has it."""
    context, _, question = view.partition(".")
    fields = {"view": where.names.get(view, view), "context": context, "question": question or context}
    config = where.config.format(**fields)
    if where.language_column:
        return HubPart(repository, config, where.split, where.columns, view, "language", where.language_column)
    if where.id_prefixes:
        prefix = where.id_prefixes.get(view, view)
        return HubPart(repository, config, where.split, where.columns, prefix, "id", "id")
    return HubPart(repository, config, where.split, where.columns)


def views(spec: TaskSpec, where: HubSplit, split: str, pivot: str) -> list[str]:
    """The possible views of a split, the task's languages first. Training sets are in the pivot language."""
    if split == "train":
        return [pivot]
    if "{question}" not in where.config:
        return list(spec.languages)
    crossed = [
        f"{context}.{question}" for context, question in product(spec.languages, repeat=2) if context != question
    ]
    return [*spec.languages, *sorted(crossed)]
