"""XQuAD: questions on paragraphs of Wikipedia in 11 languages, trained on English SQuAD v1.1."""

from __future__ import annotations

from harness.task import TaskSpec
from tasks.families.question_answering import QuestionAnswering
from tasks.qa_settings import ALIGNBOARD, CHOICES, DEVIATIONS, MINI, OFFICIAL, VARIANTS

SPEC = TaskSpec(
    name="xquad",
    title="XQuAD",
    family=QuestionAnswering.family,
    metric="f1_em",
    languages=("ar", "de", "el", "en", "es", "hi", "ru", "th", "tr", "vi", "zh"),
    protocols={"official": OFFICIAL, "mini": MINI, "alignboard": ALIGNBOARD},
    variants=VARIANTS,
    choices=CHOICES,
    licence="CC BY-SA 4.0 (XQuAD and SQuAD v1.1)",
    citation=(
        'Artetxe, Ruder and Yogatama, "On the Cross-lingual Transferability of Monolingual Representations", ACL 2020; '
        'Rajpurkar et al., "SQuAD: 100,000+ Questions for Machine Comprehension of Text", EMNLP 2016'
    ),
    sizes={"train": "87,599 (SQuAD v1.1)", "test": "1,190 for each language"},
    description="Which part of the paragraph answers the question? Scored by SQuAD's rules, made for English.",
    splits=("train", "test"),
    deviations=DEVIATIONS,
)


class XQuAD(QuestionAnswering):
    """Extractive question answering, zero-shot from the pivot; the same questions in every language."""

    spec = SPEC
