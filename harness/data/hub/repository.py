"""One data set on the hub at one commit: which files it has, what they should be, and their rows.

The first use of a branch resolves it to a commit through the hub's API. That listing is kept beside the hub's own cache
and answers from then on, so that a comparison never changes under its feet and a warm cache serves without network.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import time
from collections.abc import Callable, Iterator
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from huggingface_hub import DatasetCard, HfApi, HfFileSystem, constants, hf_hub_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from harness.data.hub.settings import Named
from harness.errors import UserError
from harness.files import file_digest, text_digest, write_json

T = TypeVar("T")
WAITS = (1.0, 3.0)  # seconds before the second and the third attempt
_HTTP: Any = HfHubHTTPError.__bases__[0]  # the error of the HTTP library that huggingface_hub is built on


class Remote(NamedTuple):
    """A file of the repository: its size in bytes and its SHA-256 (large files) or git blob id."""

    size: int
    digest: str


class Repository:
    """A data set at one commit. Files are fetched when rows are asked for, and checked against their digests."""

    def __init__(self, named: Named) -> None:
        self.named = named
        self._checked: dict[str, Path] = {}
        self._columns: dict[tuple[str, str, str], pa.ChunkedArray] = {}

    @property
    def name(self) -> str:
        return self.named.repo

    @property
    def commit(self) -> str:
        return str(self._listing["commit"])

    @cached_property
    def files(self) -> dict[str, Remote]:
        return {path: Remote(*values) for path, values in self._listing["files"].items()}

    @cached_property
    def configs(self) -> dict[str, dict[str, list[str]]]:
        """The Parquet files of every config and split, as the card's `configs` say, else by folder and file name."""
        parquet = sorted(path for path in self.files if path.endswith(".parquet"))
        found: dict[str, dict[str, list[str]]] = {}
        for config in self._listing["card"].get("configs") or []:
            splits = found.setdefault(config["config_name"], {})
            for entry in _entries(config.get("data_files")):
                patterns = entry["path"] if isinstance(entry["path"], list) else [entry["path"]]
                splits[entry["split"]] = [f for f in parquet if any(fnmatch.fnmatchcase(f, one) for one in patterns)]
        for path in parquet if not found else ():
            folder, _, name = path.rpartition("/")
            found.setdefault(folder or "default", {}).setdefault(name.split("-")[0], []).append(path)
        return {name: {split: paths for split, paths in splits.items() if paths} for name, splits in found.items()}

    def has(self, config: str, split: str) -> bool:
        return split in self.configs.get(config, {})

    def count(self, config: str, split: str) -> int:
        """Rows: as the card declares, else from the files' own footers."""
        declared = self._declared(config).get("splits") or []
        rows = next((int(s["num_examples"]) for s in declared if s["name"] == split and "num_examples" in s), None)
        if rows is not None:
            return rows
        return sum(pq.read_metadata(self._fetched(path)).num_rows for path in self._paths(config, split))

    def fingerprint(self, config: str, split: str) -> str:
        """One digest for the commit and the files of a split."""
        lines = [f"{path} {self.files[path].digest}" for path in self._paths(config, split)]
        return text_digest("\n".join((self.name, self.commit, *lines)))

    def table(self, config: str, split: str, columns: list[str] | None = None) -> pa.Table:
        """The rows of a split. Raises UserError where a column is missing or the card declares other rows."""
        tables = [self._read(self._fetched(path), path, columns) for path in self._paths(config, split)]
        table = pa.concat_tables(tables)
        if table.num_rows != self.count(config, split):
            raise self._wrong(
                "a split has another number of rows than its card declares",
                f"{config}, split {split}",
                f"{table.num_rows:,} rows",
                f"{self.count(config, split):,} rows",
                "report this to the owners of the data set, or name another revision: OWNER/NAME@COMMIT",
            )
        return table

    def column(self, config: str, split: str, name: str) -> pa.ChunkedArray:
        """One column of a split, read once: it tells the languages of a config that holds all of them."""
        key = (config, split, name)
        if key not in self._columns:
            self._columns[key] = self.table(config, split, [name])[name]
        return self._columns[key]

    def batches(self, config: str, split: str, columns: list[str]) -> Iterator[pa.Table]:
        """The rows of a split, piece by piece over the network; what is not asked for is not fetched."""
        for path in self._paths(config, split):
            yield from self._streamed(path, columns)

    def _streamed(self, path: str, columns: list[str]) -> Iterator[pa.Table]:
        where = f"datasets/{self.name}@{self.commit}/{path}"
        file = self._read_streamed(path, lambda: pq.ParquetFile(HfFileSystem().open(where, "rb", block_size=1 << 20)))
        for group in range(file.num_row_groups):
            yield self._read_streamed(path, partial(file.read_row_group, group, columns=columns))

    def _read_streamed(self, path: str, read: Callable[[], Any]) -> Any:
        """What `read` returns. The file system of the client makes further attempts itself."""
        try:
            return read()
        except pa.ArrowInvalid as error:
            raise self._wrong("a file is damaged", path, str(error), "Parquet", _CONNECTION) from error
        except (_HTTP, OSError) as error:
            raise self._told(path, error) from error

    def names(self, table: pa.Table, config: str, column: str) -> list[str] | None:
        """The label names of a ClassLabel column, from the file's own metadata or the card; None for plain values."""
        stored = json.loads((table.schema.metadata or {}).get(b"huggingface", b"{}"))
        features = stored.get("info", {}).get("features") or {
            feature["name"]: feature for feature in self._declared(config).get("features") or []
        }
        found = _class_names(features.get(column))
        return [found[key] for key in sorted(found, key=int)] if isinstance(found, dict) else found

    def missing(self, config: str, split: str) -> UserError:
        """The error for a config or split that the repository lacks."""
        splits = self.configs.get(config)
        known = sorted(self.configs) if splits is None else sorted(splits)
        more = f" and {len(known) - 12} more" if len(known) > 12 else ""
        return self._wrong(
            "the data set lacks this config" if splits is None else "the config lacks this split",
            f"{config}, split {split}",
            f"{', '.join(known[:12]) or 'no Parquet files'}{more}",
            f"Parquet files of {config}, split {split}",
            "check the revision, or leave the language or task out (`--languages available`)",
        )

    def _paths(self, config: str, split: str) -> list[str]:
        if not self.has(config, split):
            raise self.missing(config, split)
        return self.configs[config][split]

    def _declared(self, config: str) -> dict[str, Any]:
        infos = self._listing["card"].get("dataset_info") or []
        infos = infos if isinstance(infos, list) else [infos]
        return next((info for info in infos if info.get("config_name", "default") == config), {})

    @cached_property
    def _listing(self) -> dict[str, Any]:
        kept = listing_file(self.named)
        if kept.is_file():
            return dict(json.loads(kept.read_text(encoding="utf-8")))
        listing = self._patiently("the list of its files", self._asked)
        write_json(kept, listing)
        return listing

    def _asked(self) -> dict[str, Any]:
        info = HfApi().dataset_info(self.name, revision=self.named.revision, files_metadata=True)
        files = {}
        for file in info.siblings or []:
            digest = file.lfs.sha256 if file.lfs else file.blob_id
            files[file.rfilename] = (file.size, digest)
        card: dict[str, Any] = {}
        if "README.md" in files:
            readme = hf_hub_download(self.name, "README.md", repo_type="dataset", revision=info.sha)
            text = Path(readme).read_text(encoding="utf-8")
            card = vars(DatasetCard(text, ignore_metadata_errors=True).data)
        kept = {key: card[key] for key in ("configs", "dataset_info") if card.get(key)}
        return {"commit": info.sha, "files": files, "card": kept}

    def _fetched(self, path: str) -> Path:
        """The file on this disk, fetched where it is not there yet. Raises UserError where its bytes are not the
        listed ones, and removes it from the cache."""
        if path in self._checked:
            return self._checked[path]
        arguments: Any = {"repo_type": "dataset", "revision": self.commit}
        local = Path(self._patiently(path, lambda: hf_hub_download(self.name, path, **arguments)))
        remote, stat = self.files[path], local.stat()
        digest = _digest(local, remote.digest)
        if (stat.st_size, digest) != (remote.size, remote.digest):
            local.resolve().unlink()
            local.unlink(missing_ok=True)
            raise self._wrong(
                "a file of the data set is damaged; it was removed from the cache",
                path,
                f"{stat.st_size:,} bytes, digest {digest}",
                f"{remote.size:,} bytes, digest {remote.digest}",
                "run the command again, which fetches the file again",
            )
        self._checked[path] = local
        return local

    def _read(self, local: Path, path: str, columns: list[str] | None) -> pa.Table:
        try:
            present = pq.read_schema(local).names
            lacking = [name for name in columns or () if name not in present]
            if not lacking:
                return pq.ParquetFile(local).read(columns=columns)
        except pa.ArrowInvalid as error:
            raise self._wrong(
                "a file is no Parquet file", path, str(error), "Parquet", "name another revision"
            ) from error
        raise self._wrong(
            "a file lacks a column", path, ", ".join(present), ", ".join(lacking), "name another revision: @COMMIT"
        )

    def _patiently(self, what: str, call: Callable[[], T]) -> T:
        """What `call` returns, after up to two more attempts where the server or the connection failed."""
        for wait in (*WAITS, None):
            try:
                return call()
            except (_HTTP, OSError, EntryNotFoundError) as error:
                if wait is None or not _passing(error):
                    raise self._told(what, error) from error
                time.sleep(wait)
        raise AssertionError

    def _told(self, what: str, error: Exception) -> UserError:
        remedy = next((text for kind, text in _REMEDIES if isinstance(error, kind)), _CONNECTION)
        if isinstance(error, HfHubHTTPError) and error.response.status_code in (401, 403):
            remedy = next((text for kind, text in _REMEDIES if isinstance(error, kind)), _CLOSED)
        if constants.HF_HUB_OFFLINE:
            remedy = "unset HF_HUB_OFFLINE once, so that what is missing here can be fetched"
        found = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        return self._wrong(
            "the hub does not give what was asked for", what, found, f"{what} at {constants.ENDPOINT}", remedy
        )

    def _wrong(self, problem: str, what: str, found: str, expected: str, remedy: str) -> UserError:
        listed = self.__dict__.get("_listing")
        place = f"{self.name}@{listed['commit'] if listed else self.named.revision}"
        return UserError(f"{problem}: {what}", file=place, found=found, expected=expected, remedy=remedy)


_CONNECTION = "check the connection and HF_ENDPOINT, and run the command again: what was fetched is kept"
_CLOSED = "check the name; for a private data set, `hf auth login` or set HF_TOKEN"
_REMEDIES: tuple[tuple[type[Exception], str], ...] = (
    (GatedRepoError, "accept the terms on the data set's page, then `hf auth login` or set HF_TOKEN"),
    (RevisionNotFoundError, "name a commit, tag or branch that exists after the @, or leave it out"),
    (RepositoryNotFoundError, _CLOSED),
    (OfflineModeIsEnabled, "unset HF_HUB_OFFLINE once"),
    (LocalEntryNotFoundError, _CONNECTION),
    (EntryNotFoundError, "name another revision: OWNER/NAME@COMMIT"),
)


def listing_file(named: Named) -> Path:
    """Where the listing of a revision is kept; remove the file to look at a branch anew."""
    name = f"{named.repo}@{named.revision}".replace("/", "--")
    place = text_digest(constants.ENDPOINT)[:8]
    return Path(constants.HF_HOME) / "alignboard" / place / f"{name}.json"


def _entries(data_files: Any) -> list[dict[str, Any]]:
    if isinstance(data_files, list):
        return [entry if isinstance(entry, dict) else {"split": "train", "path": entry} for entry in data_files]
    return [{"split": "train", "path": data_files}] if data_files else []


def _class_names(feature: Any) -> Any:
    """The value of `names` anywhere inside a feature."""
    if isinstance(feature, list):
        feature = dict(enumerate(feature))
    if not isinstance(feature, dict):
        return None
    if isinstance(feature.get("names"), list | dict):
        return feature["names"]
    return next((names for value in feature.values() if (names := _class_names(value)) is not None), None)


def _passing(error: Exception) -> bool:
    """Whether another attempt may help: a failure of the server or of the connection."""
    if constants.HF_HUB_OFFLINE:
        return False
    if isinstance(error, HfHubHTTPError):
        return error.response.status_code >= 500 or error.response.status_code == 429
    return not isinstance(error, EntryNotFoundError) or isinstance(error, LocalEntryNotFoundError)


def _digest(path: Path, like: str) -> str:
    """SHA-256, or the git blob id where the listed digest is one (40 hexadecimal digits)."""
    if len(like) == 64:
        return file_digest(path)
    return hashlib.sha1(b"blob %d\0" % path.stat().st_size + path.read_bytes()).hexdigest()
