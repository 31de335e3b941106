"""Files at a URL, through fsspec: s3://bucket/prefix, gs://..., file:///mounted/folder.

What fails for a moment is tried again; what fails for good is a UserError that names the file and what to do.
Credentials come from the environment, or from the configuration of the file system's own library (AWS_PROFILE and so
on), so that they are in no recipe, log, row or message; a URL that has any is refused.
"""

from __future__ import annotations

import errno
import re
import time
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from harness.errors import UsageError, UserError
from harness.faults import quote
from harness.storage.store.database import hide_secrets

PAUSES = (1.0, 4.0)  # seconds before another try, beyond those that the file system's own library makes
EXTRAS = {"s3": "s3"}  # our own extra for a protocol whose package is missing
_OPTIONS = {"file": {"auto_mkdir": True}, "local": {"auto_mkdir": True}}
_URL = re.compile(r"([a-z][a-z0-9+.-]*)://(/?[^/].*)")
_FINAL = re.compile(r"Permission|Credential|Profile|Token|NotImplemented|Validation|Config|Region|Import")
_OWN_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
_EXPECTED = "s3://BUCKET/PREFIX, or another URL that fsspec knows"

T = TypeVar("T")


class RemoteFiles:
    """The files under a URL, by their paths relative to it. Nothing is opened before it is needed."""

    def __init__(self, url: str) -> None:
        self.url = check_url(url)

    def read(self, paths: Sequence[str]) -> dict[str, bytes]:
        """The contents of those of some small files that exist, read at once where the file system can do that."""
        if not paths:
            return {}

        def read() -> dict[str, bytes]:
            found = self._files.cat([self._path(path) for path in paths], on_error="return")
            contents: dict[str, bytes] = {}
            for path in paths:
                content = found[self._path(path)]
                if isinstance(content, bytes):
                    contents[path] = content
                elif not isinstance(content, FileNotFoundError) or "bucket does not exist" in str(content):
                    raise content
            return contents

        return self._retried(read, paths[0])

    def write(self, path: str, content: bytes) -> None:
        """Writes a small file."""
        self._retried(lambda: self._files.pipe_file(self._path(path), content), path)

    def upload(self, file: Path, path: str) -> None:
        """Writes a file as it is on this machine."""
        self._retried(lambda: self._files.put_file(str(file), self._path(path)), path)

    def download(self, path: str, file: Path) -> bool:
        """Copies a file to this machine. False, where it does not exist."""

        def download() -> bool:
            try:
                self._files.get_file(self._path(path), str(file))
            except FileNotFoundError:
                return False
            return True

        return self._retried(download, path)

    def move(self, path: str, target: str) -> None:
        """Renames a file, which need not exist any more."""

        def move() -> None:
            if content := self.read([path]):
                self._files.pipe_file(self._path(target), content[path])
                self._files.rm_file(self._path(path))

        self._retried(move, path)

    def sizes(self, folder: str) -> dict[str, int]:
        """The bytes of all files below a folder, by path."""

        def sizes() -> dict[str, int]:
            self._files.invalidate_cache()
            found = self._files.find(self._path(folder), detail=True)
            return {path.removeprefix(self._path("")): int(entry["size"]) for path, entry in found.items()}

        return self._retried(sizes, folder)

    def remove(self, paths: Sequence[str]) -> None:
        """Deletes files."""
        if paths:
            self._retried(lambda: self._files.rm([self._path(path) for path in paths]), paths[0])

    @cached_property
    def _files(self) -> Any:
        import fsspec

        protocol = self.url.partition("://")[0]
        try:
            return fsspec.filesystem(protocol, **_OPTIONS.get(protocol, {}))
        except ImportError as error:
            extra = EXTRAS.get(protocol)
            remedy = f"pip install 'alignboard[{extra}]'" if extra else f"install its package: {quote(error)}"
            raise UserError(f"{protocol}:// needs a package that is not installed", remedy=remedy) from error
        except ValueError as error:
            raise UsageError("no file system for a URL", found=self.url, expected=_EXPECTED) from error

    def _path(self, path: str) -> str:
        return f"{self._files._strip_protocol(self.url).rstrip('/')}/{path}"

    def _retried(self, action: Callable[[], T], path: str) -> T:
        for pause in PAUSES:
            try:
                return action()
            except Exception as error:  # every file system has errors of its own
                if _is_final(error):
                    self._report(error, path)
            time.sleep(pause)
        try:
            return action()
        except Exception as error:
            self._report(error, path)

    def _report(self, error: Exception, path: str) -> NoReturn:
        """Raises what a person can act on; an error of this machine's own disk as it is."""
        if isinstance(error, UserError) or (isinstance(error, OSError) and error.errno in _OWN_DISK):
            raise error
        raise UserError(
            "shared artifacts cannot be read or written",
            file=f"{self.url}/{path}",
            found=hide_secrets(f"{type(error).__name__}: {quote(error)}"),
            remedy="check ALIGNBOARD_ARTIFACTS, the network, and that your credentials (for S3 those of the AWS "
            "configuration) may read, write and list there; then give the command again: what is finished stays",
        ) from error


def check_url(url: str) -> str:
    """The URL without a slash at its end. Raises UsageError where it is none, or has credentials or options in it."""
    match = _URL.fullmatch(url.strip())
    if match is None or "::" in url:
        raise UsageError("no URL of shared artifacts", found=repr(_hide_all(url)), expected=_EXPECTED)
    if re.search(r"[@?#]", match[2]):
        raise UsageError(
            "a URL of shared artifacts with credentials or options in it",
            found=repr(_hide_all(url)),
            expected=_EXPECTED,
            remedy="leave them out: credentials come from the environment (AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, AWS_PROFILE), the endpoint from AWS_ENDPOINT_URL",
        )
    return url.strip().rstrip("/")


def _hide_all(url: str) -> str:
    """A URL without what may be secret in it, however it is written."""
    return re.sub(r"\?.*|#.*", "?***", re.sub(r"(://|^).*@", r"\1***@", url, flags=re.DOTALL), flags=re.DOTALL)


def _is_final(error: Exception) -> bool:
    """Whether another try would fail in the same way."""
    own_disk = isinstance(error, OSError) and error.errno in _OWN_DISK
    missing = isinstance(error, FileNotFoundError | UserError)
    return own_disk or missing or bool(_FINAL.search(type(error).__name__))
