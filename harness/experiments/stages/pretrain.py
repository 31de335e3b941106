"""Trains a small encoder and its tokenizer from scratch on a source's running text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from harness.data.source import Manifest, Source, cached_source
from harness.experiments.stage import Stage, Workbench
from harness.files import TRACE, write_json
from harness.records import Corpus
from harness.registry import OBJECTIVES
from harness.training.settings import PretrainSettings

if TYPE_CHECKING:
    from harness.training.loop import Trace

OBJECTIVE = "mlm"


@dataclass(frozen=True, kw_only=True)
class Pretrain(Stage):
    """Reads mono text, and the sides of parallel text for languages without any."""

    kind: ClassVar[str] = "pretrain"
    all_threads: ClassVar[bool] = True
    settings: PretrainSettings

    def run(self, bench: Workbench, folder: Path) -> Trace:
        from harness.training import distributed
        from harness.training.pretraining import pretrain

        encoder, trace = pretrain(
            read_texts(cached_source(self.place.source)),
            self.settings,
            OBJECTIVES.get(OBJECTIVE),
            bench.device,
            checkpoint=bench.checkpoint(self),
            watch=bench.watch,
        )
        if distributed.rank() == 0:
            encoder.save(folder)
            write_json(folder / TRACE, trace.to_json())
        return trace


def running_text(manifest: Manifest) -> Mapping[Corpus, tuple[str, ...]]:
    """The languages of each corpus that is read: mono text, and parallel text for languages without mono text."""
    mono = manifest.languages(Corpus.MONO)
    others = tuple(n for n in manifest.languages(Corpus.PARALLEL) if n not in mono)
    return {Corpus.MONO: mono, Corpus.PARALLEL: others}


def read_texts(source: Source) -> list[str]:
    """Every distinct line of the source's running text, in its order."""
    languages = running_text(source.manifest([]))
    read: dict[Corpus, Any] = {kind: source.corpus(kind, names) if names else () for kind, names in languages.items()}
    texts = [record.text for record in read[Corpus.MONO]]
    texts += [text for pair in read[Corpus.PARALLEL] for text in (pair.source, pair.target)]
    return list(dict.fromkeys(texts))
