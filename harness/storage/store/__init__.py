"""The store of results: who ran what, at what cost, with which scores."""

from harness.storage.store.queries import Store
from harness.storage.store.schema import AVERAGE, RunRow, ScoreRow, StageRow

__all__ = ["AVERAGE", "RunRow", "ScoreRow", "StageRow", "Store"]
