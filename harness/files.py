"""Where stages leave what the board reads, and under which names: known here without importing what makes the files."""

from __future__ import annotations

STATISTICS = "statistics.parquet"  # a row per item: selection, view, item, cluster and the task's own columns
EXAMPLES = "examples.parquet"  # the first items of each view: text, gold and prediction
LOG = "stage.log"  # what happened while the stage was worked on
PROJECTION = "projection.json"  # measures of alignment and the points of maps
INTRINSIC = "intrinsic"  # the split of measures that need no task; no average or table of scores has them


def artifact_place(fingerprint: str) -> str:
    """The folder of a published artifact, below the root of artifacts."""
    return f"objects/{fingerprint[:2]}/{fingerprint}"


def work_place(fingerprint: str) -> str:
    """The folder of a stage in progress, or of one that failed, below the root of artifacts."""
    return f"work/{fingerprint}"
