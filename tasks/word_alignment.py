"""Word alignment: which words of a sentence pair are translations, against links by hand. No training."""

from __future__ import annotations

from harness.task import TaskSpec
from tasks.families.word_links import WordAlignmentFamily, WordSettings

CITATION = (
    'Jalili Sabet et al., "SimAlign", Findings of EMNLP 2020 (method); Och and Ney 2003 (error rate); gold links of '
    "Europarl (de-en), Hansards (en-fr) and others"
)
LANGUAGES = ("de", "fr", "ro", "cs", "zh", "ja", "hi", "fa")

SPEC = TaskSpec(
    name="word-alignment",
    title="Word alignment",
    family=WordAlignmentFamily.family,
    metric="agreement",
    languages=LANGUAGES,
    labels=(),
    protocols={
        "official": WordSettings(max_length=512),
        "mini": WordSettings(max_length=64),
        "alignboard": WordSettings(max_length=512),
    },
    licence="that of each set of gold links",
    citation=CITATION,
    description=(
        "100 minus the alignment error rate of mutual nearest neighbours by cosine. Set `layer` for another layer."
    ),
    splits=("test",),
)


class WordAlignment(WordAlignmentFamily):
    """Links between mutual nearest words."""

    spec = SPEC
