"""Settings that tasks share, and kinds of base encoders for which a protocol has other settings.

The official scripts decide by the model's name.
"""

from __future__ import annotations

from typing import Any

from harness.protocols import Choice, Variant
from harness.task import TrainedSettings
from tasks.families.tagging import TagSettings

RATES = (1e-5, 2e-5, 5e-5)  # learning rates that the protocol `alignboard` tries
SMALL_RATES = (1e-4, 3e-4, 1e-3)


def xlmr(**changes: Any) -> Variant:
    """XLM-R of any size."""
    return Variant("XLM-R", changes, ("xlm-roberta",))


def xlmr_large(**changes: Any) -> Variant:
    """XLM-R large, which has 24 layers. The other models of the scripts have 12 layers or an unsupported type."""
    return Variant("XLM-R large", changes, ("xlm-roberta",), (24, 24))


def small(**changes: Any) -> Variant:
    """Encoders of at most 6 layers, which learn little at the rates of larger ones."""
    return Variant("up to 6 layers", changes, depths=(1, 6))


TWO_SEPARATORS = xlmr(separators=2)  # as the scripts end XLM-R's pieces of tagged sentences, which leaves 125 subwords
ALIGNBOARD = (small(learning_rates=SMALL_RATES),)
MINI_PAIRS = TrainedSettings(  # `mini` of the tasks on sentence pairs, without the size of the training set
    learning_rate=3e-4,
    warmup_steps=50,
    batch_size=32,
    accumulation=1,
    epochs=3,
    attention_dropout=False,
    max_dev=500,
    max_test=500,
)
MINI_TAGGING = TagSettings(  # of the tagging tasks, likewise
    learning_rate=5e-4,
    batch_size=32,
    accumulation=1,
    epochs=2,
    attention_dropout=False,
    max_dev=500,
)
PAIR_CHOICES = (
    Choice("sentences", "as the files have them, csv quotes included", "trained and tested on the same, unnoticed"),
)
PAIR_DEVIATIONS = ("mini: a subset of the test items, the same in all languages; a model is selected once per epoch",)
