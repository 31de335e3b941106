"""XNLI: natural-language inference in 15 languages, trained on English."""

from __future__ import annotations

from dataclasses import replace

from harness.task import TaskSpec, TrainedSettings
from tasks.families.classification import Classification
from tasks.variants import ALIGNBOARD, MINI_PAIRS, PAIR_CHOICES, PAIR_DEVIATIONS, RATES, xlmr_large

SPEC = TaskSpec(
    name="xnli",
    title="XNLI",
    family=Classification.family,
    metric="accuracy",
    languages=("ar", "bg", "de", "el", "en", "es", "fr", "hi", "ru", "sw", "th", "tr", "ur", "vi", "zh"),
    labels=("contradiction", "entailment", "neutral"),
    protocols={
        "official": TrainedSettings(evaluate_every=100, seed=42),
        "mini": replace(MINI_PAIRS, max_train=15_000),
        "alignboard": TrainedSettings(dev_languages="all", learning_rates=RATES),
    },
    variants={"official": (xlmr_large(learning_rate=3e-5, batch_size=2, accumulation=16),), "alignboard": ALIGNBOARD},
    licence="CC BY-NC 4.0 (dev, test); OANC and others (MultiNLI, training)",
    citation=(
        'Conneau et al., "XNLI: Evaluating Cross-lingual Sentence Representations", EMNLP 2018; Williams, Nangia and '
        'Bowman, "A Broad-Coverage Challenge Corpus for Sentence Understanding through Inference", NAACL 2018'
    ),
    sizes={"train": "392,702 (MultiNLI)", "dev": "2,490 for each language", "test": "5,010 for each language"},
    description="Does the first sentence contradict the second, entail it, or neither?",
    choices=PAIR_CHOICES,
    deviations=PAIR_DEVIATIONS,
)


class XNLI(Classification):
    """Natural-language inference, zero-shot from the pivot."""

    spec = SPEC
