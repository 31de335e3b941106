"""MLQA: questions on paragraphs of Wikipedia in 7 languages, trained on English SQuAD v1.1."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.task import TaskSpec
from tasks.families.question_answering import QuestionAnswering
from tasks.qa_settings import ALIGNBOARD, CHOICES, DEVIATIONS, MINI, OFFICIAL, VARIANTS

if TYPE_CHECKING:
    from harness.evaluation.metrics import AdditiveMetric

SPEC = TaskSpec(
    name="mlqa",
    title="MLQA",
    family=QuestionAnswering.family,
    metric="f1_em",
    languages=("ar", "de", "en", "es", "hi", "vi", "zh"),
    protocols={"official": OFFICIAL, "mini": MINI, "alignboard": ALIGNBOARD},
    variants=VARIANTS,
    choices=CHOICES,
    licence="CC BY-SA 3.0 (MLQA), CC BY-SA 4.0 (SQuAD v1.1)",
    citation=(
        'Lewis et al., "MLQA: Evaluating Cross-lingual Extractive Question Answering", ACL 2020; Rajpurkar et al., '
        '"SQuAD: 100,000+ Questions for Machine Comprehension of Text", EMNLP 2016'
    ),
    sizes={"train": "87,599 (SQuAD v1.1)", "test": "4,517 to 11,590"},
    description=(
        "Which part of the text answers the question? Scored by MLQA's rules for the text's language. The view `de.en` "
        "has German texts with English questions; XTREME scores the views of one language alone."
    ),
    splits=("train", "test"),
    deviations=DEVIATIONS,
)


class MLQA(QuestionAnswering):
    """Extractive question answering, zero-shot from the pivot, with questions in the text's language or in another."""

    spec = SPEC

    def metrics(self) -> tuple[AdditiveMetric, ...]:
        from tasks.metrics import MlqaAnswers

        return (MlqaAnswers(),)
