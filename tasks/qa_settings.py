"""The settings that the three question-answering tasks share."""

from __future__ import annotations

from dataclasses import replace

from harness.protocols import Choice
from tasks.families.question_answering import AnswerSettings
from tasks.variants import small

OFFICIAL = AnswerSettings(
    learning_rate=3e-5,
    batch_size=4,
    accumulation=8,
    epochs=3,
    max_length=384,
    warmup_steps=500,
    weight_decay=1e-4,
    seed=42,
)
MINI = AnswerSettings(
    learning_rate=3e-4,
    warmup_steps=50,
    batch_size=32,
    accumulation=1,
    epochs=2,
    max_length=128,
    attention_dropout=False,
    max_train=800,
    max_test=200,
    doc_stride=64,
    question_length=32,
    answer_length=20,
)
ALIGNBOARD = replace(OFFICIAL, seed=None, dev_languages="all")
VARIANTS = {"alignboard": (small(learning_rate=3e-4),)}
CHOICES = (
    Choice(
        "epochs",
        "3, with an effective batch of 32",
        "the same since August 2021; before, and for the paper, 2 with an effective batch of 16",
    ),
    Choice("selection", "the last model", "the same: no dev set is read"),
)
DEVIATIONS = (
    "the answer is cut from the text by the offsets of its subwords, in whole graphemes; the official code looks for "
    "the words again",
    "mini: a part of the training and test questions, windows of 128",
)
