"""UDPOS: universal part-of-speech tags in 33 languages, trained on the English treebanks."""

from __future__ import annotations

from dataclasses import replace

from harness.protocols import Choice
from harness.task import TaskSpec
from tasks.families.tagging import Tagging, TagSettings
from tasks.variants import ALIGNBOARD, MINI_TAGGING, RATES, TWO_SEPARATORS, xlmr_large

SPEC = TaskSpec(
    name="udpos",
    title="POS",
    family=Tagging.family,
    metric="f1",
    languages=(
        *("af", "ar", "bg", "de", "el", "en", "es", "et", "eu", "fa", "fi", "fr", "he", "hi", "hu", "id", "it"),
        *("ja", "kk", "ko", "mr", "nl", "pt", "ru", "ta", "te", "th", "tl", "tr", "ur", "vi", "yo", "zh"),
    ),
    labels=(
        *("ADJ", "ADP", "ADV", "AUX", "CCONJ", "DET", "INTJ", "NOUN", "NUM"),
        *("PART", "PRON", "PROPN", "PUNCT", "SCONJ", "SYM", "VERB", "X"),
    ),
    protocols={
        "official": TagSettings(epochs=10, evaluate_every=500, seed=1),
        "mini": replace(MINI_TAGGING, max_train=3_000, max_test=500),
        "alignboard": TagSettings(epochs=10, dev_languages="all", learning_rates=RATES),
    },
    variants={
        "official": (TWO_SEPARATORS, xlmr_large(batch_size=2, accumulation=16)),
        "alignboard": ALIGNBOARD,
    },
    licence="each treebank its own: mostly CC BY-SA 4.0, some CC BY-NC-SA",
    citation='Nivre et al., "Universal Dependencies v2: An Evergrowing Multilingual Treebank Collection", LREC 2020',
    sizes={"train": "21,253 sentences", "dev": "3,974 sentences in English", "test": "47 to 20,436 sentences"},
    description="The part of speech of every word. Headline: micro F1 over runs of equal tags, as XTREME scores it.",
    choices=(
        Choice(
            "metric",
            "micro F1 over runs of equal tags; token accuracy beside it as `accuracy`",
            "the same F1; it was often taken for accuracy, which is some points higher",
        ),
        Choice(
            "seqeval",
            "1.2.2, where the first letter of a tag is its prefix",
            "no version is named; its own test expects 0.0.13 or older, where tags stay whole",
        ),
    ),
    deviations=(
        "the head has no class O, which the official label file adds and no word ever has",
        "a word that holds a blank, or is nothing but one, is tagged as the word it is",
        "mini: a part of the training and test sentences; a model is selected once per epoch",
    ),
)


class UDPOS(Tagging):
    """Part-of-speech tagging, zero-shot from the pivot."""

    spec = SPEC
