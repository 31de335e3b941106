"""Files at a URL: what is refused, what is tried again, and what an error says."""

from __future__ import annotations

from typing import Any

import fsspec
import pytest

from harness.errors import UsageError, UserError
from harness.storage import remote as remote_module
from harness.storage.remote import RemoteFiles, check_url
from tests.support.s3_server import KEYS


@pytest.mark.parametrize(
    "url",
    [
        "s3://ann:hunter2@bucket/prefix",
        "s3://hunter2@bucket",
        "s3://ann:hun/ter2@bucket",
        "s3://bucket/prefix?secret=hunter2",
        "s3://bucket/prefix#hunter2",
        "simplecache::s3://ann:hunter2@bucket",
        "ann:hunter2@bucket",
    ],
)
def test_a_url_with_credentials_is_refused_and_hidden(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_url(url)
    assert "ter2" not in str(caught.value)


@pytest.mark.parametrize("url", ["", "/shared/folder", "bucket", "s3://", "s3:bucket"])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="s3://BUCKET/PREFIX"):
        check_url(url)


def test_an_unknown_protocol_is_refused() -> None:
    with pytest.raises(UsageError, match="no file system"):
        RemoteFiles("nowhere://bucket").read(["a"])


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec, "filesystem", missing)
    with pytest.raises(UserError, match=r"alignboard\[s3\]"):
        RemoteFiles("s3://bucket").read(["a"])


class Flaky:
    """A file system that fails some times before it works."""

    def __init__(self, error: Exception, times: int) -> None:
        self.error, self.times, self.calls = error, times, 0

    def _strip_protocol(self, url: str) -> str:
        return url

    def pipe_file(self, *_: object) -> None:
        self.calls += 1
        if self.calls <= self.times:
            raise self.error


def flaky(error: Exception, times: int, monkeypatch: pytest.MonkeyPatch) -> tuple[RemoteFiles, Flaky]:
    monkeypatch.setattr(remote_module, "PAUSES", (0.0, 0.0))
    files = Flaky(error, times)
    monkeypatch.setattr(fsspec, "filesystem", lambda *_, **__: files)
    return RemoteFiles("s3://bucket"), files


def test_what_fails_for_a_moment_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    remote, files = flaky(ConnectionResetError("reset"), 2, monkeypatch)
    remote.write("a", b"a")
    assert files.calls == 3


def test_what_fails_for_good_is_one_error_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    remote, files = flaky(ConnectionResetError("reset by http://ann:hunter2@host?secret=hunter2"), 9, monkeypatch)
    with pytest.raises(UserError) as caught:
        remote.write("objects/a", b"a")
    assert files.calls == 3
    assert (caught.value.file, "hunter2" in str(caught.value)) == ("s3://bucket/objects/a", False)
    for word in ("ConnectionResetError: reset", "ALIGNBOARD_ARTIFACTS", "give the command again"):
        assert word in str(caught.value)


def test_missing_rights_are_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    remote, files = flaky(PermissionError("Forbidden"), 9, monkeypatch)
    with pytest.raises(UserError, match="Forbidden"):
        remote.write("a", b"a")
    assert files.calls == 1


def test_a_server_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    s3fs = pytest.importorskip("s3fs", reason="pip install 'alignboard[s3]'")
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)

    monkeypatch.setattr(remote_module, "PAUSES", ())
    once = {"retries": {"max_attempts": 0}}
    elsewhere: Any = s3fs.S3FileSystem(endpoint_url="http://127.0.0.1:9", config_kwargs=once, skip_instance_cache=True)
    elsewhere.retries = 1
    remote = RemoteFiles("s3://bucket")
    monkeypatch.setattr(fsspec, "filesystem", lambda *_, **__: elsewhere)
    with pytest.raises(UserError, match=r"127\.0\.0\.1:9") as caught:
        remote.read(["a"])
    assert KEYS["AWS_SECRET_ACCESS_KEY"] not in str(caught.value)
