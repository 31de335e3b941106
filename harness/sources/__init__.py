"""Sources: where data comes from. `open_source("folder:PATH")` and `open_source("babel")` are the two ways in."""

from harness.sources.base import CorpusCell, Manifest, Source, TaskCell, open_source

__all__ = ["CorpusCell", "Manifest", "Source", "TaskCell", "open_source"]
