"""Parallel text from the hub: `Helsinki-NLP/opus-100` and `Helsinki-NLP/un_pc`, streamed up to a number of pairs."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from huggingface_hub import constants

from harness.data.hub.repository import Repository
from harness.data.source import CorpusCell
from harness.errors import UserError
from harness.files import text_digest, write_atomically
from harness.records import Corpus, ParallelPair

_SCHEMA = pa.schema([("row", pa.int64()), ("source", pa.string()), ("target", pa.string())])


def configs(repository: Repository, pivot: str) -> dict[str, str]:
    """The config of each language: `de-en`, `en-fr`, the two codes in the order of the alphabet."""
    found = {}
    for config in sorted(repository.configs):
        first, _, second = config.partition("-")
        if pivot in (first, second) and second and repository.has(config, "train"):
            found[second if first == pivot else first] = config
    return dict(sorted(found.items()))


def cells(repository: Repository, pivot: str, size: int) -> Iterator[CorpusCell]:
    """A cell for each language that is paired with the pivot, its count capped at `size`."""
    for language, config in configs(repository, pivot).items():
        stem = f"{repository.fingerprint(config, 'train')} {size}"
        count = min(size, repository.count(config, "train"))
        yield CorpusCell(Corpus.PARALLEL, language, count, text_digest(stem))


def stream(repository: Repository, language: str, pivot: str, size: int) -> Iterator[ParallelPair]:
    """The first `size` pairs with text on both sides. They are streamed from the hub once and then read from disk."""
    config = configs(repository, pivot)[language]
    digest = text_digest(f"{repository.fingerprint(config, 'train')} {size}")
    kept = Path(constants.HF_HOME) / "alignboard" / "parallel" / f"{config}-{digest[:32]}.parquet"
    if not kept.is_file():
        rows = islice(_pairs(repository, config, language, pivot), size)
        chunks = iter(lambda: list(islice(rows, 10_000)), [])

        def write(path: Path) -> None:
            with pq.ParquetWriter(path, _SCHEMA) as writer:
                for chunk in chunks:
                    writer.write_table(pa.Table.from_pylist(chunk, schema=_SCHEMA))

        write_atomically(kept, write)
    for batch in pq.ParquetFile(kept).iter_batches():
        for row in batch.to_pylist():
            yield ParallelPair(f"{language}-{row['row']}", language, row["source"], row["target"])


def _pairs(repository: Repository, config: str, language: str, pivot: str) -> Iterator[dict[str, object]]:
    for row, pair in enumerate(repository.stream(config, "train", "translation")):
        if not pair or {language, pivot} - set(pair):
            raise UserError(
                "a row without the two languages", file=f"{repository.name}/{config}", line=row + 1, found=str(pair)
            )
        source, target = pair[pivot] or "", pair[language] or ""
        if source.strip() and target.strip():
            yield {"row": row, "source": source, "target": target}
