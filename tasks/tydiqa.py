"""TyDiQA-GoldP: questions by people who did not know the answer, in 9 languages, trained on its English part."""

from __future__ import annotations

from harness.protocols import Choice
from harness.task import TaskSpec
from tasks.families.question_answering import QuestionAnswering
from tasks.qa_settings import ALIGNBOARD, CHOICES, DEVIATIONS, MINI, OFFICIAL, VARIANTS

SPEC = TaskSpec(
    name="tydiqa",
    title="TyDiQA-GoldP",
    family=QuestionAnswering.family,
    metric="f1_em",
    languages=("ar", "bn", "en", "fi", "id", "ko", "ru", "sw", "te"),
    protocols={"official": OFFICIAL, "mini": MINI, "alignboard": ALIGNBOARD},
    variants=VARIANTS,
    choices=(*CHOICES, Choice("test", "the published dev set", "the same: the real test set is not public")),
    licence="Apache 2.0 (TyDiQA), CC BY-SA 3.0 (its passages from Wikipedia)",
    citation=(
        'Clark et al., "TyDi QA: A Benchmark for Information-Seeking Question Answering in Typologically Diverse '
        'Languages", TACL 2020'
    ),
    sizes={"train": "3,696", "test": "113 to 921"},
    description="Which part of the passage answers the question? Scored by SQuAD's rules; XTREME tests on the dev set.",
    splits=("train", "test"),
    deviations=DEVIATIONS,
)


class TyDiQA(QuestionAnswering):
    """Extractive question answering, zero-shot from the pivot."""

    spec = SPEC
