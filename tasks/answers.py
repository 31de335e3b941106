"""How XTREME scores an answer: SQuAD v1.1's rules for XQuAD and TyDiQA in every language, MLQA's rules for MLQA.

Both compare normalised strings (exact match) and bags of normalised tokens (F1), and take the best over references.
Their quirks are kept, since published figures have them: SQuAD's rules know English articles and ASCII punctuation
only, so that a Chinese or Thai answer is one token; and two answers that both normalise to nothing have an F1 of 0
while they match exactly.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from harness.errors import unknown

Normalise = Callable[[str], str]

_ASCII_PUNCTUATION = frozenset(string.punctuation)
_IDEOGRAPH = re.compile("[\u4e00-\u9fa5]")
# What MLQA's rules drop as articles. For Arabic that is the pair of letters alef and lam wherever it stands, inside of
# words too, which splits them.
_ARTICLES = {
    "en": r"\b(a|an|the)\b",
    "es": r"\b(un|una|unos|unas|el|la|los|las)\b",
    "hi": None,
    "vi": r"\b(của|là|cái|chiếc|những)\b",
    "de": r"\b(ein|eine|einen|einem|eines|einer|der|die|das|den|dem|des)\b",
    "ar": "ال",
    "zh": None,
}
MLQA_LANGUAGES = tuple(_ARTICLES)


class AnswerScore(NamedTuple):
    """Of one question: exact match (0 or 1) and F1 (0 to 1), each the best over the references."""

    exact_match: float
    f1: float


def squad(text: str) -> str:
    """SQuAD v1.1's normal form: lower case, no ASCII punctuation, no a, an, the; one blank between tokens."""
    kept = "".join(c for c in text.lower() if c not in _ASCII_PUNCTUATION)
    return " ".join(re.sub(_ARTICLES["en"] or "", " ", kept).split())


def mlqa(language: str) -> Normalise:
    """MLQA's normal form for answers in `language`; in Chinese each ideograph is a token of its own.

    All Unicode punctuation goes, so the form depends on the interpreter's Unicode tables. Raises UsageError for a
    language that MLQA does not have.
    """
    if language not in _ARTICLES:
        raise unknown("language of MLQA", language, MLQA_LANGUAGES)
    articles = re.compile(_ARTICLES[language] or r"(?!)")
    tokens = _mixed if language == "zh" else str.split

    def normalise(text: str) -> str:
        kept = "".join(c for c in text.lower() if not _is_punctuation(c))
        return " ".join(tokens(articles.sub(" ", kept)))

    return normalise


def score(prediction: str, references: Sequence[str], normalise: Normalise) -> AnswerScore:
    """The best of a prediction's scores against its references. Raises ValueError where there is none."""
    told, golds = normalise(prediction), [normalise(reference) for reference in references]
    return AnswerScore(float(max(told == gold for gold in golds)), max(_overlap(told, gold) for gold in golds))


def _overlap(prediction: str, gold: str) -> float:
    """F1 of two bags of tokens; 0 where they share none."""
    told, wanted = prediction.split(), gold.split()
    common = sum((Counter(told) & Counter(wanted)).values())
    if not common:
        return 0.0
    precision, recall = common / len(told), common / len(wanted)
    return 2 * precision * recall / (precision + recall)


def _is_punctuation(character: str) -> bool:
    return character in _ASCII_PUNCTUATION or unicodedata.category(character).startswith("P")


def _mixed(text: str) -> Iterator[str]:
    """Ideographs one by one, everything between them cut at blanks."""
    return (token for part in re.split(f"({_IDEOGRAPH.pattern})", text) for token in part.split())
