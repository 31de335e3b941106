"""PAWS-X: paraphrase or not, in 7 languages, with pairs whose words overlap, trained on English."""

from __future__ import annotations

from dataclasses import replace

from harness.task import TaskSpec, TrainedSettings
from tasks.families.classification import Classification
from tasks.variants import ALIGNBOARD, MINI_PAIRS, PAIR_CHOICES, PAIR_DEVIATIONS, RATES, xlmr_large

SPEC = TaskSpec(
    name="pawsx",
    title="PAWS-X",
    family=Classification.family,
    metric="accuracy",
    languages=("de", "en", "es", "fr", "ja", "ko", "zh"),
    labels=("0", "1"),
    protocols={
        "official": TrainedSettings(evaluate_every=200, seed=42),
        "mini": replace(MINI_PAIRS, max_train=10_000),
        "alignboard": TrainedSettings(dev_languages="all", learning_rates=RATES),
    },
    variants={"official": (xlmr_large(batch_size=2, accumulation=16),), "alignboard": ALIGNBOARD},
    licence="free for any purpose, with acknowledgement of Google LLC",
    citation=(
        'Yang, Zhang, Tar and Baldridge, "PAWS-X: A Cross-lingual Adversarial Dataset for Paraphrase Identification", '
        'EMNLP 2019; Zhang, Baldridge and He, "PAWS: Paraphrase Adversaries from Word Scrambling", NAACL 2019'
    ),
    sizes={"train": "49,401", "dev": "2,000 for each language", "test": "2,000 for each language"},
    description="Do two sentences that share nearly all their words say the same (1) or not (0)?",
    choices=PAIR_CHOICES,
    deviations=PAIR_DEVIATIONS,
)


class PAWSX(Classification):
    """Paraphrase identification, zero-shot from the pivot."""

    spec = SPEC
