"""XNLI: natural-language inference in 15 languages, trained on English."""

from __future__ import annotations

from harness.protocols import Choice
from harness.task import TaskSpec, TrainedSettings
from tasks.families.classification import Classification
from tasks.variants import ALIGNBOARD, RATES, xlmr_large

SPEC = TaskSpec(
    name="xnli",
    title="XNLI",
    family=Classification.family,
    metric="accuracy",
    languages=("ar", "bg", "de", "el", "en", "es", "fr", "hi", "ru", "sw", "th", "tr", "ur", "vi", "zh"),
    labels=("contradiction", "entailment", "neutral"),
    protocols={
        "official": TrainedSettings(evaluate_every=100, seed=42),
        "mini": TrainedSettings(
            learning_rate=3e-4,
            warmup_steps=50,
            batch_size=32,
            accumulation=1,
            epochs=3,
            attention_dropout=False,
            max_train=15_000,
            max_dev=500,
            max_test=500,
        ),
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
    choices=(
        Choice("sentences", "as the files have them, csv quotes included", "trained and tested on the same, unnoticed"),
    ),
    deviations=("mini: a subset of the test items, the same in all languages; a model is selected once per epoch",),
)


class XNLI(Classification):
    """Natural-language inference, zero-shot from the pivot."""

    spec = SPEC
