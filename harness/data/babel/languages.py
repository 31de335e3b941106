"""The languages of the made-up world: how each differs from the pivot, one property at a time.

`BabelLanguage` is a frozen record: `replace(LANGUAGES["qaf"], order="SVO")`, or the setting `babel:qaf.order=SVO`, is
the same language with one property changed.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

from harness.errors import UsageError

PIVOT = "qaa"

ALPHABETS: dict[str, str] = {
    "latin": "abdefghijklmnoprstuvwz",
    "cyrillic": "абдефгхижклмнопрстувцз",
    "greek": "αβδεφγχιξκλμνοπρστυωψζ",
    "georgian": "აბდეფგჰიჟკლმნოპრსტუვწზ",
    "armenian": "աբդեֆգհիժկլմնոպրստւվցզ",
    "tifinagh": "ⴰⴱⴷⴻⴼⴳⵀⵉⵊⴽⵍⵎⵏⵄⵃⵔⵙⵜⵓⵖⵡⵣ",
    "runic": "ᚨᛒᛞᛖᚠᚷᚺᛁᛃᚲᛚᛗᚾᛟᛈᚱᛋᛏᚢᚹᚦᛉ",
}


@dataclass(frozen=True, slots=True)
class BabelLanguage:
    """The properties of a language. Percentages are of the lexicon.

    `cognates` sound like words of the pivot, so they look like them only in its script; `loans` (words and names) are
    always written as in the pivot. All other words are the language's own.
    """

    code: str
    step: str  # the property in which it differs from its neighbour, in words
    neighbour: str = ""
    cognates: int = 0
    loans: int = 0
    script: str = "latin"
    adjective: str = "before"  # before | after the noun
    adposition: str = "before"  # before | after its noun phrase
    order: str = "SVO"  # SVO | SOV | VSO
    case: bool = False  # nouns and adjectives carry case suffixes; the adposition "in" is one of them
    agreement: bool = False  # the verb agrees with its subject: person or not


PROPERTIES = tuple(f.name for f in fields(BabelLanguage) if f.name not in ("code", "step", "neighbour"))
PERCENT = tuple(map(str, range(101)))
BOOLEAN = ("true", "false")
ALLOWED: dict[str, tuple[str, ...]] = {
    "cognates": PERCENT,
    "loans": PERCENT,
    "case": BOOLEAN,
    "agreement": BOOLEAN,
    "script": tuple(ALPHABETS),
    "adjective": ("before", "after"),
    "adposition": ("before", "after"),
    "order": ("SVO", "SOV", "VSO"),
}


def _languages() -> dict[str, BabelLanguage]:
    pivot = BabelLanguage(PIVOT, "the pivot", cognates=100, loans=100)
    qab = replace(pivot, code="qab", step="own words for a part of the lexicon", neighbour=PIVOT, cognates=45, loans=25)
    qac = replace(qab, code="qac", step="own script", neighbour="qab", script="cyrillic")
    qad = replace(qac, code="qad", step="adjectives after the noun", neighbour="qac", script="greek", adjective="after")
    qae = replace(qad, code="qae", step="postpositions", neighbour="qad", script="georgian", adposition="after")
    qaf = replace(qae, code="qaf", step="verb last (SOV)", neighbour="qae", script="armenian", order="SOV")
    qag = replace(qae, code="qag", step="verb first (VSO)", neighbour="qae", script="tifinagh", order="VSO")
    qah = replace(
        qaf, code="qah", step="case and agreement", neighbour="qaf", script="runic", case=True, agreement=True
    )
    return {language.code: language for language in (pivot, qab, qac, qad, qae, qaf, qag, qah)}


LANGUAGES: dict[str, BabelLanguage] = _languages()


def with_property(language: BabelLanguage, name: str, value: str) -> BabelLanguage:
    """The language with one property set from text. Raises UsageError on an unknown property or value."""
    if name not in PROPERTIES:
        raise UsageError(f"{language.code} has no property {name!r}", expected=", ".join(PROPERTIES))
    allowed = ALLOWED[name]
    if value not in allowed:
        expected = "a percentage, 0 to 100" if allowed is PERCENT else ", ".join(allowed)
        raise UsageError(f"{language.code}.{name} cannot be {value!r}", expected=expected)
    setting: Any = int(value) if allowed is PERCENT else value == "true" if allowed is BOOLEAN else value
    return replace(language, **{name: setting})
