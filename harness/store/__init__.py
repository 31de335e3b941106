"""The store of results: who ran what, at what cost, with which scores."""

from harness.store.queries import Store
from harness.store.schema import AVERAGE, RunRow, ScoreRow, StageRow

__all__ = ["AVERAGE", "RunRow", "ScoreRow", "StageRow", "Store"]
