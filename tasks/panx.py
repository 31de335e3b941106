"""PANX: named entities of Wikipedia sentences in 40 languages (WikiANN), trained on English."""

from __future__ import annotations

from dataclasses import replace

from harness.task import TaskSpec
from tasks.families.tagging import Tagging, TagSettings
from tasks.variants import ALIGNBOARD, MINI_TAGGING, RATES, TWO_SEPARATORS, xlmr_large

SPEC = TaskSpec(
    name="panx",
    title="NER",
    family=Tagging.family,
    metric="f1",
    languages=(
        *("ar", "he", "vi", "id", "jv", "ms", "tl", "eu", "ml", "ta", "te", "af", "nl", "en", "de", "el", "bn", "hi"),
        *("mr", "ur", "fa", "fr", "it", "pt", "es", "bg", "ru", "ja", "ka", "ko", "th", "sw", "yo", "my", "zh", "kk"),
        *("tr", "et", "fi", "hu"),
    ),
    labels=("B-LOC", "B-ORG", "B-PER", "I-LOC", "I-ORG", "I-PER", "O"),
    protocols={
        "official": TagSettings(epochs=10, evaluate_every=1000, seed=1),
        "mini": replace(MINI_TAGGING, max_train=4_000, max_test=1_000),
        "alignboard": TagSettings(epochs=10, dev_languages="all", learning_rates=RATES),
    },
    variants={
        "official": (TWO_SEPARATORS, xlmr_large(batch_size=2, accumulation=16)),
        "alignboard": ALIGNBOARD,
    },
    licence="text CC BY-SA 3.0 (Wikipedia); the annotation states none",
    citation=(
        'Pan et al., "Cross-lingual Name Tagging and Linking for 282 Languages", ACL 2017; Rahimi, Li and Cohn, '
        '"Massively Multilingual Transfer for NER", ACL 2019'
    ),
    sizes={"train": "20,000 sentences", "dev": "10,000 sentences in English", "test": "100 to 10,000 sentences"},
    description="Places, organisations and persons. Headline: micro F1 over exact spans.",
    deviations=(
        "a word that holds a blank, or is nothing but one, is tagged as the word it is",
        "mini: a part of the training and test sentences; a model is selected once per epoch",
    ),
)


class PANX(Tagging):
    """Named-entity recognition, zero-shot from the pivot."""

    spec = SPEC
