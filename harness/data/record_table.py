"""Records in Arrow files of a fixed number of rows, memory-mapped: more of them than memory holds.

A file is an Arrow stream with one batch, so that `datasets.Dataset.from_file` and every other Arrow reader opens it.
"""

from __future__ import annotations

import mmap
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from harness.files import file_digest, read_json, seal, unseal, write_atomically, write_json
from harness.modeling.array_cache import Progress

R = TypeVar("R")
ROWS = 16_384  # of a file; all but the last are full
READ = 1024  # rows that an iteration reads at once
TOTAL = "table.json"  # the digests of the files, and the number of rows of a finished table


class Rows(Sequence[R]):
    """A read-only sequence whose slices are lists; equal to any sequence of equal items."""

    @abstractmethod
    def row(self, number: int) -> R:
        """The item at `number`, which is within the length."""

    def rows(self, start: int, stop: int) -> list[R]:
        """The items of a range within the length."""
        return [self.row(number) for number in range(start, stop)]

    @overload
    def __getitem__(self, index: int) -> R: ...
    @overload
    def __getitem__(self, index: slice) -> list[R]: ...
    def __getitem__(self, index: int | slice) -> R | list[R]:
        if isinstance(index, slice):
            numbers = range(len(self))[index]
            if numbers.step == 1:
                return self.rows(numbers.start, max(numbers.start, numbers.stop))
            return [self.row(number) for number in numbers]
        return self.row(range(len(self))[index])

    def __iter__(self) -> Iterator[R]:
        for start in range(0, len(self), READ):
            yield from self.rows(start, min(start + READ, len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or len(self) != len(other):
            return False
        return all(mine == theirs for mine, theirs in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]


class ComputedRows(Rows[R]):
    """The items that a function gives for the numbers below `count`."""

    def __init__(self, count: int, item: Callable[[int], R]) -> None:
        self._count, self._item = count, item

    def __len__(self) -> int:
        return self._count

    def row(self, number: int) -> R:
        return self._item(number)


def select_rows(items: Sequence[R], numbers: NDArray[np.int32]) -> Rows[R]:
    """Some items of a sequence: `numbers` (n,) are their places there."""
    return ComputedRows(len(numbers), lambda number: items[int(numbers[number])])


class TableLayout(NamedTuple, Generic[R]):
    """How a table stores a record: the Arrow type of each column, the record's values, and the record of values."""

    columns: Mapping[str, str]
    values: Callable[[R], tuple[Any, ...]]
    record: Callable[..., R]


class RecordTable(Rows[R]):
    """The records that `write_table` wrote to a folder. Raises ValueError where it is unfinished or damaged."""

    def __init__(self, folder: Path, layout: TableLayout[R]) -> None:
        self._record, self._files = layout.record, []
        digests, total = _read_index(folder)
        if total is None:
            raise ValueError(f"{folder / TOTAL}: the table is unfinished")
        for number in range(-(-total // ROWS)):
            _check(folder / _name(number), digests)
            self._files.append(_File(folder / _name(number), layout, min(ROWS, total - number * ROWS)))
        self._total = total

    def __len__(self) -> int:
        return self._total

    def row(self, number: int) -> R:
        file, place = divmod(number, ROWS)
        return self._record(*(column[place].as_py() for column in self._files[file].columns))

    def rows(self, start: int, stop: int) -> list[R]:
        found: list[R] = []
        while start < stop:
            file, place = divmod(start, ROWS)
            length = min(ROWS - place, stop - start)
            columns = (column.slice(place, length).to_pylist() for column in self._files[file].columns)
            found.extend(map(self._record, *columns))
            self._files[file].release()
            start += length
        return found


def write_table(records: Iterable[R], folder: Path, layout: TableLayout[R], title: str) -> RecordTable[R]:
    """Writes records to a folder, a file at a time, and opens them. A finished table is reused.

    After a kill, the records of finished files are read again but not written again. `title` is for lines of progress.
    """
    try:
        return RecordTable(folder, layout)
    except ValueError:
        digests = _finished(folder)
    finished = len(digests)
    rest, total, progress = islice(records, finished * ROWS, None), finished * ROWS, Progress(title, "records")
    for number in count(finished):
        rows = list(islice(rest, ROWS))
        total += len(rows)
        if rows:
            write_atomically(folder / _name(number), partial(_write_file, rows, layout))
            digests[_name(number)] = file_digest(folder / _name(number))
        if len(rows) < ROWS:
            break
        write_json(folder / TOTAL, seal({"files": digests, "rows": None}))
        progress.advance(ROWS, total)
    write_json(folder / TOTAL, seal({"files": digests, "rows": total}))
    return RecordTable(folder, layout)


def _finished(folder: Path) -> dict[str, str]:
    """The digests of the full files at the beginning of a table that are as they were written."""
    finished: dict[str, str] = {}
    with suppress(ValueError):
        digests, total = _read_index(folder)
        full = len(digests) if total is None else total // ROWS
        for number in range(full):
            _check(folder / _name(number), digests)
            finished[_name(number)] = digests[_name(number)]
    return finished


class _File:
    """One Arrow file: its columns, and the mapping that holds them."""

    def __init__(self, path: Path, layout: TableLayout[Any], rows: int) -> None:
        import pyarrow as pa  # a sample can be drawn without it

        try:
            with path.open("rb") as file:
                self._mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            table = pa.ipc.open_stream(pa.py_buffer(self._mapping)).read_all()
        except (OSError, ValueError) as error:
            raise ValueError(f"{path}: {error}") from error
        if table.column_names != list(layout.columns) or len(table) != rows:
            raise ValueError(f"{path}: {len(table)} rows of {', '.join(table.column_names)}")
        self.columns = [column.chunk(0) for column in table.columns]

    def release(self) -> None:
        """Gives back the memory of pages that were read; they stay in the system's cache of files."""
        self._mapping.madvise(mmap.MADV_DONTNEED)


def _write_file(records: Sequence[R], layout: TableLayout[R], path: Path) -> None:
    import pyarrow as pa

    columns = zip(*map(layout.values, records), strict=True)
    schema = pa.schema([(name, pa.type_for_alias(kind)) for name, kind in layout.columns.items()])
    arrays = [pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)]
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, schema) as writer:
        writer.write_batch(pa.record_batch(arrays, schema=schema))


def _read_index(folder: Path) -> tuple[dict[str, str], int | None]:
    try:
        index = unseal(read_json(folder / TOTAL))
    except (OSError, ValueError) as error:
        raise ValueError(f"{folder / TOTAL}: {error}") from error
    return index["files"], index["rows"]


def _check(file: Path, digests: Mapping[str, str]) -> None:
    """Raises ValueError where a file is not as it was written."""
    try:
        intact = file_digest(file) == digests.get(file.name)
    except OSError as error:
        raise ValueError(f"{file}: {error}") from error
    if not intact:
        raise ValueError(f"{file}: the content has changed since it was written")


def _name(number: int) -> str:
    return f"{number:06}.arrow"
