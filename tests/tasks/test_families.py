"""The family contract: a spec must name its class's family, and a family without a file format says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.data.checked_file import CheckedFile
from harness.errors import UsageError
from harness.task import Task, TaskSettings, TrainedSettings
from tasks.families.bitext_mining import BitextMining
from tasks.families.tagging import Tagging
from tasks.xnli import XNLI


def test_a_spec_of_another_family_is_refused() -> None:
    with pytest.raises(TypeError, match=r"write family=Mixed\.family"):
        type("Mixed", (Tagging,), {"spec": XNLI.spec})


def test_settings_that_do_not_fit_the_family_are_refused() -> None:
    with pytest.raises(TypeError, match="trained=True, so its Settings must derive from TrainedSettings"):
        type("Untrained", (Tagging,), {"Settings": TaskSettings})
    with pytest.raises(TypeError, match="trained=False, so its Settings must derive from TaskSettings alone"):
        type("Trained", (BitextMining,), {"Settings": TrainedSettings})


def test_a_family_without_a_file_format_cannot_be_exported_or_scored_from_files(tmp_path: Path) -> None:
    task: Any = XNLI()
    file = CheckedFile(tmp_path / "test-de.tsv")
    for call in (
        lambda: Task.read_gold(task, file, "de"),
        lambda: Task.read_predictions(task, file, []),
        lambda: Task.format_predictions(task, [], []),
        lambda: Task.format_gold(task, []),
    ):
        with pytest.raises(UsageError, match="xnli has no file format") as refused:
            call()
        assert refused.value.remedy
