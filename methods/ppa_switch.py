"""PPA with code-switching at fine-tuning, for sources with training sets in other languages."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import Any, ClassVar

from numpy.random import Generator

from harness.errors import UserError
from harness.method import Corpora
from harness.records import Corpus, TextPair
from methods.objectives.settings import Share
from methods.ppa import PPA


class PPASwitch(PPA):
    """PPA, fine-tuned on sentence pairs in any language, whose two sentences may be in different languages.

    Reference: Pan et al., "Multilingual BERT Post-Pretraining Alignment", NAACL 2021, arXiv 2010.12547.
    Objective: that of PPA. At fine-tuning, a training pair is in a random language, and with probability `code_switch`
        one of its sentences is replaced by its pivot version.
    Inputs: parallel pairs of the sample; the training sets of the pair tasks in other languages, so that its row is a
        translate-train row and not a zero-shot one. Other tasks are fine-tuned as usual.
    Relations: `ppa` fine-tunes on the pivot alone; the alignment is the same.
    Reported: XNLI in translate-train equal to XLM, with less than 18 % of its parallel text (abstract).
    Released code: none was to be had; the formulas were not compared with any.
    """

    objective: ClassVar[str] = "that of ppa, then code-switching at fine-tuning: a translate-train row"
    control: ClassVar[str | None] = "ppa"
    needs: ClassVar[frozenset[Corpus]] = PPA.needs | {Corpus.TRANSLATED_TRAIN}
    finetunes: ClassVar[tuple[type, ...]] = (TextPair,)

    class Config(PPA.Config):
        """Choices for a base like mBERT; only mask_rate is the paper's value. temperature: of the cosine; queue: its
        size; momentum: share of the old weights in the copies; width: of the projected vectors; mask_rate: share of
        masked subwords; sentence_weight: of the sentence contrast; code_switch: probability that one of the two
        sentences of a fine-tuning pair, chosen at random, is replaced by its pivot version."""

        code_switch: Share = 0.5

    def prepare_finetuning(self, corpora: Corpora) -> None:
        self.versions: dict[str, list[TextPair]] = defaultdict(list)
        for record in corpora.records(Corpus.TRANSLATED_TRAIN):
            if isinstance(record, TextPair):
                self.versions[record.cluster].append(record)
        if not self.versions:
            raise UserError(
                "code-switching at fine-tuning has nothing to switch to",
                found="no sentence pairs in the translated training sets",
                expected="the training set of a pair task in another language than the pivot",
                remedy="choose another source, or run `ppa`, which fine-tunes on the pivot alone",
            )
        mixed = next((c for c, pairs in self.versions.items() if len({pair.label for pair in pairs}) > 1), None)
        if mixed is not None:
            raise UserError(
                "the translated training sets do not tell which pairs are versions of one another",
                found=f"pairs of different labels in the cluster {mixed!r}",
                expected="a cluster for each training pair, with its version in each language",
            )

    def finetune_example(self, example: Any, rng: Generator) -> Any:
        versions = self.versions.get(getattr(example, "cluster", ""))
        if not isinstance(example, TextPair) or not versions:
            return example
        version = [example, *versions][rng.integers(len(versions) + 1)]
        first, second = version.first, version.second
        if rng.random() < self.config.code_switch:
            first, second = (example.first, second) if rng.random() < 0.5 else (first, example.second)
        return replace(example, first=first, second=second)
