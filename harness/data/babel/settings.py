"""The settings of the source: `babel:seed=1,size=large,nli=20000,qaf.order=SVO`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, field

from harness.data.babel.languages import LANGUAGES, BabelLanguage, with_property
from harness.errors import UsageError, unknown


@dataclass(frozen=True)
class Sizes:
    """Counts of items: training sets by task, then dev and test of every task, then corpora per language."""

    nli: int
    paraphrase: int
    pos: int
    ner: int
    qa: int  # the training set of qa and qa_crossed
    qa_native: int
    dev: int
    test: int
    parallel: int
    mono: int
    alignment: int
    inference: int  # the nli corpus
    entities: int
    images: int


SIZES: dict[str, Sizes] = {
    "small": Sizes(400, 400, 200, 200, 300, 200, 100, 500, 300, 300, 100, 100, 50, 100),
    "demo": Sizes(15000, 5000, 1300, 4000, 15000, 5000, 300, 500, 3000, 6000, 500, 1000, 1000, 1000),
    "large": Sizes(60000, 40000, 10000, 10000, 60000, 20000, 1000, 1000, 50000, 50000, 2000, 10000, 5000, 10000),
}


@dataclass(frozen=True)
class BabelSettings:
    """Everything that the data depend on, apart from the source text of this package."""

    seed: int
    sizes: Sizes
    languages: dict[str, BabelLanguage] = field(hash=False)
    label: str = "babel"  # the settings as the board shows them


def parse_settings(location: str) -> BabelSettings:
    """Settings from `key=value,...`. Raises UsageError for an unknown key, language, property or value."""
    given = parse_pairs("babel", location.split(","), "seed=1,size=large")
    size = given.pop("size", "demo")
    if size not in SIZES:
        raise unknown("size of babel", size, SIZES)
    seed = _parse_count("seed", given.pop("seed", "0"))
    languages = dict(LANGUAGES)
    counts: dict[str, int] = {}
    for name, value in given.items():
        if "." in name:
            code, _, prop = name.partition(".")
            if code not in languages:
                raise unknown("language of babel", code, languages)
            languages[code] = with_property(languages[code], prop, value)
        else:
            if name not in (known := [f.name for f in dataclasses.fields(Sizes)]):
                others = ("seed", "size", *known, *(f"{code}.PROPERTY" for code in LANGUAGES))
                raise unknown("setting of babel", name, others)
            counts[name] = _parse_count(name, value)
    label = f"babel:{location}" if location else "babel"
    return BabelSettings(seed, dataclasses.replace(SIZES[size], **counts), languages, label)


def parse_pairs(kind: str, parts: Iterable[str], example: str) -> dict[str, str]:
    """The settings `name=value` of a source, blank parts left out. Raises UsageError for another form, or a repeat."""
    given: dict[str, str] = {}
    for part in (part for part in parts if part.strip()):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not (name and equals and value):
            raise UsageError(f"a setting of {kind} is written name=value", found=repr(part), expected=example)
        if name in given:
            raise UsageError(f"a setting of {kind} is given twice", found=name, remedy="give each setting once")
        given[name] = value
    return given


def _parse_count(name: str, value: str) -> int:
    if not (value.isascii() and value.isdigit()):
        raise UsageError(f"{name} of babel is a whole number", found=repr(value), remedy=f"write {name}=1")
    return int(value)
