"""One data set on the hub at one commit: which files it has, how many rows they should have, and the rows.

The first use of a branch resolves it to a commit through the hub's API. That listing is kept beside the hub's own cache
and used from then on: a comparison reads the same data throughout, and a warm cache needs no network. Rows come from
`datasets`, whose Arrow files lie in a cache of their own for each commit, so that it cannot fall back to another one.
"""

from __future__ import annotations

import fnmatch
import hashlib
import time
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import pyarrow as pa
from huggingface_hub import DatasetCard, HfApi, constants, hf_hub_download
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
from harness.errors import UserError, list_first
from harness.faults import quote
from harness.files import file_digest, read_json, text_digest, write_json

if TYPE_CHECKING:
    from datasets import Dataset

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
        self._verified: set[str] = set()
        self._loaded: dict[tuple[str, str], Dataset] = {}
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
        """The Parquet files of every config and split, as the card's `configs` list them."""
        parquet = sorted(path for path in self.files if path.endswith(".parquet"))
        found: dict[str, dict[str, list[str]]] = {}
        for config in self._listing["card"].get("configs") or []:
            splits = found.setdefault(config["config_name"], {})
            for entry in _entries(config.get("data_files")):
                patterns = entry["path"] if isinstance(entry["path"], list) else [entry["path"]]
                if paths := [path for path in parquet if any(fnmatch.fnmatchcase(path, one) for one in patterns)]:
                    splits[entry["split"]] = paths
        return found

    def has(self, config: str, split: str) -> bool:
        return split in self.configs.get(config, {})

    def count(self, config: str, split: str) -> int:
        """The number of rows: as the card declares, else of the rows themselves."""
        declared = self._declared_rows(config, split)
        return len(self._dataset(config, split)) if declared is None else declared

    def fingerprint(self, config: str, split: str) -> str:
        """One digest for the commit and the files of a split."""
        if not self.has(config, split):
            raise self.missing(config, split)
        lines = [f"{path} {self.files[path].digest}" for path in self.configs[config][split]]
        return text_digest("\n".join((self.name, self.commit, *lines)))

    def table(self, config: str, split: str, columns: list[str]) -> pa.Table:
        """These columns of a split. Raises UserError where one is missing or the card declares another count."""
        dataset = self._dataset(config, split)
        if missing := [name for name in columns if name not in dataset.column_names]:
            place = f"{config}, split {split}"
            found, expected = ", ".join(dataset.column_names), ", ".join(missing)
            raise self._error("a split lacks a column", place, found, expected, "name another revision: @COMMIT")
        rows: pa.Table = dataset.select_columns(columns).with_format("arrow")[:]
        return rows

    def column(self, config: str, split: str, name: str) -> pa.ChunkedArray:
        """One column of a split, read once: it separates the languages of a config that holds all of them."""
        key = (config, split, name)
        if key not in self._columns:
            self._columns[key] = self.table(config, split, [name])[name]
        return self._columns[key]

    def label_names(self, config: str, split: str, column: str) -> list[str] | None:
        """The label names of a ClassLabel column, or of a list of them; None for plain values."""
        feature = self._dataset(config, split).features[column]
        names: list[str] | None = getattr(getattr(feature, "feature", feature), "names", None)
        return names

    def stream(self, config: str, split: str, column: str) -> Iterator[Any]:
        """The values of a column in the order of the rows. Row groups are fetched as they are reached."""
        try:
            rows = self._load_dataset(config, split, streaming=True).select_columns([column])
            for row in rows:
                yield row[column]
        except (_HTTP, OSError, ValueError) as error:
            raise self._failure(f"{config}, split {split}", error) from error

    def missing(self, config: str, split: str) -> UserError:
        """The error for a config or split that the repository lacks."""
        splits = self.configs.get(config)
        known = sorted(self.configs) if splits is None else sorted(splits)
        return self._error(
            "the data set lacks this config" if splits is None else "the config lacks this split",
            f"{config}, split {split}",
            list_first(known, 12) or "no config with Parquet files in its card",
            f"Parquet files of {config}, split {split}",
            "check the revision, or leave the language or task out (`--languages available`)",
        )

    @cached_property
    def moved_to(self) -> str | None:
        """The commit that the revision points to now, if it is not the one that is read. None if the hub is silent."""
        if constants.HF_HUB_OFFLINE or self.commit == self.named.revision:
            return None
        try:
            now = HfApi().dataset_info(self.name, revision=self.named.revision, timeout=5).sha
        except (_HTTP, OSError):
            return None
        return None if now == self.commit else now

    def _declared_rows(self, config: str, split: str) -> int | None:
        infos = self._listing["card"].get("dataset_info") or []
        for info in infos if isinstance(infos, list) else [infos]:
            if info.get("config_name", "default") == config:
                return {one["name"]: one.get("num_examples") for one in info.get("splits") or []}.get(split)
        return None

    @cached_property
    def _listing(self) -> dict[str, Any]:
        kept = listing_file(self.named)
        if kept.is_file():
            return dict(read_json(kept))
        listing = self._retry("the list of its files", self._fetch_listing)
        write_json(kept, listing)
        return listing

    def _fetch_listing(self) -> dict[str, Any]:
        info = HfApi().dataset_info(self.name, revision=self.named.revision, files_metadata=True)
        files = {
            file.rfilename: (file.size, file.lfs.sha256 if file.lfs else file.blob_id) for file in info.siblings or []
        }
        card: dict[str, Any] = {}
        if "README.md" in files:
            readme = hf_hub_download(self.name, "README.md", repo_type="dataset", revision=info.sha)
            text = Path(readme).read_text(encoding="utf-8")
            card = vars(DatasetCard(text, ignore_metadata_errors=True).data)
        kept = {key: card[key] for key in ("configs", "dataset_info") if card.get(key)}
        return {"commit": info.sha, "files": files, "card": kept}

    def _dataset(self, config: str, split: str) -> Dataset:
        """The rows of a split, memory-mapped. A damaged Arrow file of `datasets` is written anew from Parquet."""
        if (config, split) in self._loaded:
            return self._loaded[config, split]
        if not self.has(config, split):
            raise self.missing(config, split)
        splits = self.configs[config]
        for path in [*splits[split], *(path for paths in splits.values() for path in paths)]:
            self._verify(path)  # of all splits, which `datasets` prepares together
        from datasets.exceptions import DatasetGenerationError

        place, expected = f"{config}, split {split}", self._declared_rows(config, split)
        for mode in ("reuse_dataset_if_exists", "reuse_cache_if_exists"):
            try:
                dataset: Dataset = self._load_dataset(config, split, download_mode=mode, verification_mode="no_checks")
            except (_HTTP, OSError, ValueError, DatasetGenerationError) as error:
                failure = self._failure(place, error.__cause__ or error)
                continue
            if expected in (None, len(dataset)):
                self._loaded[config, split] = dataset
                return dataset
            failure = self._error(
                "a split has another number of rows than its card declares",
                place,
                f"{len(dataset):,} rows",
                f"{expected:,} rows",
                "report this to the owners of the data set, or name another revision: OWNER/NAME@COMMIT",
            )
        raise failure

    def _load_dataset(self, config: str, split: str, **settings: Any) -> Any:
        import datasets

        datasets.disable_progress_bars()
        datasets.logging.set_verbosity(datasets.logging.CRITICAL)  # our own errors say it in fewer words
        cache = Path(datasets.config.HF_DATASETS_CACHE) / self.commit
        return datasets.load_dataset(
            self.name, config, revision=self.commit, split=split, cache_dir=str(cache), **settings
        )

    def _verify(self, path: str) -> None:
        """Fetches a file unless it is cached. Raises UserError where its bytes are not those that the hub lists, and
        removes it from the cache."""
        if path in self._verified:
            return
        local = Path(
            self._retry(path, lambda: hf_hub_download(self.name, path, repo_type="dataset", revision=self.commit))
        )
        remote, size = self.files[path], local.stat().st_size
        if len(remote.digest) == 64:
            digest = file_digest(local)
        else:  # a git blob id
            digest = hashlib.sha1(b"blob %d\0" % size + local.read_bytes()).hexdigest()
        if (size, digest) != (remote.size, remote.digest):
            local.resolve().unlink()
            local.unlink(missing_ok=True)
            raise self._error(
                "a file of the data set is damaged; it was removed from the cache",
                path,
                f"{size:,} bytes, digest {digest}",
                f"{remote.size:,} bytes, digest {remote.digest}",
                "run the command again, which fetches the file again",
            )
        self._verified.add(path)

    def _retry(self, what: str, call: Callable[[], T]) -> T:
        """What `call` returns, after up to two more attempts where the server or the connection failed."""
        for wait in (*WAITS, None):
            try:
                return call()
            except (_HTTP, OSError, EntryNotFoundError) as error:
                passing = not isinstance(error, EntryNotFoundError) or isinstance(error, LocalEntryNotFoundError)
                if isinstance(error, HfHubHTTPError):
                    passing = error.response.status_code >= 500 or error.response.status_code == 429
                if wait is None or constants.HF_HUB_OFFLINE or not passing:
                    raise self._failure(what, error) from error
                time.sleep(wait)
        raise AssertionError

    def _failure(self, what: str, error: BaseException) -> UserError:
        """The error for something that the hub, the connection or `datasets` did not deliver."""
        remedy = next((text for kind, text in _REMEDIES if isinstance(error, kind)), _CONNECTION)
        if isinstance(error, HfHubHTTPError) and error.response.status_code in (401, 403):
            remedy = next((text for kind, text in _REMEDIES if isinstance(error, kind)), _NO_ACCESS)
        if constants.HF_HUB_OFFLINE:
            remedy = "unset HF_HUB_OFFLINE once, so that what is missing here can be fetched"
        return self._error("the hub did not deliver", what, quote(error), f"{what} at {constants.ENDPOINT}", remedy)

    def _error(self, problem: str, what: str, found: str, expected: str, remedy: str) -> UserError:
        listed = self.__dict__.get("_listing")
        place = f"{self.name}@{listed['commit'] if listed else self.named.revision}"
        return UserError(f"{problem}: {what}", file=place, found=found, expected=expected, remedy=remedy)


_CONNECTION = "check the connection and HF_ENDPOINT, and run the command again: what was fetched is kept"
_NO_ACCESS = "check the name; for a private data set, `hf auth login` or set HF_TOKEN"
_REMEDIES: tuple[tuple[type[Exception], str], ...] = (
    (GatedRepoError, "accept the terms on the data set's page, then `hf auth login` or set HF_TOKEN"),
    (RevisionNotFoundError, "name a commit, tag or branch that exists after the @, or leave it out"),
    (RepositoryNotFoundError, _NO_ACCESS),
    (OfflineModeIsEnabled, "unset HF_HUB_OFFLINE once"),
    (LocalEntryNotFoundError, _CONNECTION),
    (EntryNotFoundError, "name another revision: OWNER/NAME@COMMIT"),
)


def listing_file(named: Named) -> Path:
    """Where the listing of a revision is kept; remove the file to resolve a branch again."""
    name = f"{named.repo}@{named.revision}".replace("/", "--")
    place = text_digest(constants.ENDPOINT)[:8]
    return Path(constants.HF_HOME) / "alignboard" / place / f"{name}.json"


def _entries(data_files: Any) -> list[dict[str, Any]]:
    """The `data_files` of a card, which may be one pattern, a list of them, or a list of splits with their paths."""
    if isinstance(data_files, list):
        return [entry if isinstance(entry, dict) else {"split": "train", "path": entry} for entry in data_files]
    return [{"split": "train", "path": data_files}] if data_files else []
