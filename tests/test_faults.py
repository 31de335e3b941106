"""Errors of the disk, of the memory and of libraries, as a user sees them."""

from __future__ import annotations

import errno
import os
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest
from pydantic import BaseModel

from harness.errors import UsageError, UserError, unique_names
from harness.faults import disk_errors, explain, quote
from harness.files import read_json
from harness.protocols import Suite


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "quota"),
        (errno.EFBIG, "ulimit -f"),
        (errno.EIO, "cannot be read or written"),
        (errno.ENOLCK, "cannot be locked"),
        (errno.ENAMETOOLONG, "too long"),
        (errno.ESTALE, "network file system"),
        (errno.EMFILE, "ulimit -n"),
        (errno.ENXIO, "check that path"),
    ],
)
def test_every_failure_of_the_disk_is_explained(number: int, words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=words) as caught, disk_errors(tmp_path):
        raise OSError(number, os.strerror(number))
    assert str(tmp_path) in str(caught.value)
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RuntimeError("I/O error: No space left on device (os error 28)"), "the disk is full"),
        (OSError("4096 requested and 512 written"), "the disk is full"),
        (MemoryError(), "the memory is not enough"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 2 bytes"), "fewer --workers"),
        (BrokenProcessPool("a child process terminated abruptly"), "a worker process was killed"),
        (UnicodeEncodeError("utf-8", "a\udcff", 1, 2, "surrogates not allowed"), "UTF-8 cannot hold"),
        (UsageError("as it is"), "as it is"),
    ],
)
def test_what_a_user_can_cause_is_explained(error: Exception, words: str) -> None:
    assert words in str(explain(error))


def test_free_space_is_that_of_a_known_disk(tmp_path: Path) -> None:
    error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # as of /dev/full for our output
    assert "MiB free" not in str(explain(error))
    assert "MiB free" in str(explain(error, tmp_path))


def test_settings_of_another_version_are_explained() -> None:
    class Settings(BaseModel):
        steps: int

    with pytest.raises(ValueError, match="steps") as caught:
        Settings.model_validate({"steps": "many"})
    assert "stored settings" in str(explain(caught.value))


@pytest.mark.parametrize("error", [KeyError("layer"), AssertionError(), ZeroDivisionError(), BrokenPipeError(32, "")])
def test_a_bug_is_not_explained_away(error: Exception) -> None:
    assert explain(error) is None


def test_a_quoted_message_is_whole_and_points_at_nothing_that_is_not_shown() -> None:
    said = "size mismatch:\n  a is (2, 3).\nFor details look at the above report! Try again."
    assert quote(ValueError(said)) == "size mismatch: a is (2, 3). Try again."
    assert quote(KeyError()) == "KeyError"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"[" * 200_000, "nested too deeply"),
        (b'{"a": ' + b"9" * 5000 + b"}", "a number that is too long"),
        (b'{"a":\n\xff}', "json:2: bytes that are not UTF-8"),
        (b'{"a":', "column 6"),
        (b"", "an empty file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    ],
)
def test_json_that_cannot_be_read_is_reported_with_its_file(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(UserError, match=words):
        read_json(tmp_path / "x.json")


def test_names_of_a_list_are_stripped_unique_and_known() -> None:
    assert unique_names("language", ["de, en,de", " fr"], ["de", "en", "fr"]) == ["de", "en", "fr"]
    with pytest.raises(UsageError, match="did you mean 'de'"):
        unique_names("language", ["DE"], ["de", "en"])
    with pytest.raises(UsageError, match="without a name"):
        unique_names("language", ["de,,fr"])


def test_a_task_counts_once_in_a_suite() -> None:
    assert Suite("mine", "Mine", ("xnli", "panx", "xnli"), "").tasks == ("xnli", "panx")
