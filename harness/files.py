"""The names under which stages leave what the board reads. The board imports them without what made the files."""

from __future__ import annotations

STATISTICS = "statistics.parquet"  # a row per item: selection, view, item, cluster and the task's own columns
EXAMPLES = "examples.parquet"  # the first items of each view: text, gold and prediction
LOG = "stage.log"  # what happened while the stage was worked on
PROJECTION = "projection.json"  # measures of alignment and the points of maps
INTRINSIC = "intrinsic"  # the split of measures that need no task; no average or table of scores has them
