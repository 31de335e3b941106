"""Languages and their groups: family, script and resource class of XTREME's 40 languages and of babel's eight.

- Family: the top level, as the XTREME paper (Hu et al., ICML 2020) counts its languages: 12 families, and two isolates,
  Basque and Korean, each a group of its own.
- Script: the script of the benchmark's files, under its Unicode name; Japanese is written in three.
- Resource class: Joshi et al. (ACL 2020), "The State and Fate of Linguistic Diversity and Inclusion in the NLP World",
  from 0 (next to no data) to 5; their list `lang2tax.txt`, where `zh` is Mandarin and `sw` Swahili.
- babel's languages are made up: their "family" is their word order, and none has a resource class.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from harness.data.babel.languages import PIVOT, PROPERTIES
from harness.data.babel.settings import parse_settings
from harness.errors import unknown

GROUPINGS = ("family", "script", "resource", "aligned")
UNKNOWN = "unknown"
ALIGNED, UNALIGNED, PIVOT_GROUP = "aligned", "not aligned", "pivot"


@dataclass(frozen=True, slots=True)
class Language:
    """The properties that group languages. An unknown property is empty; `departs` names the properties in which a
    made-up language differs from its pivot."""

    code: str
    name: str
    family: str = ""
    script: str = ""
    resource: str = ""
    departs: tuple[str, ...] = ()


class Alignment(NamedTuple):
    """The languages that a run was aligned on, apart from the pivot."""

    pivot: str
    languages: tuple[str, ...]

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Alignment | None:
        """From the column `alignment` of a run; None if the run was not aligned or its languages are unknown."""
        if not facts.get("languages"):
            return None
        return cls(str(facts["pivot"]), tuple(sorted(facts["languages"])))


_TABLE = """
af afr Afrikaans  Indo-European Latin      3
ar ara Arabic     Afro-Asiatic  Arabic     5
bg bul Bulgarian  Indo-European Cyrillic   3
bn ben Bengali    Indo-European Bengali    3
de deu German     Indo-European Latin      5
el ell Greek      Indo-European Greek      3
en eng English    Indo-European Latin      5
es spa Spanish    Indo-European Latin      5
et est Estonian   Uralic        Latin      3
eu eus Basque     Basque        Latin      4
fa pes Persian    Indo-European Arabic     4
fi fin Finnish    Uralic        Latin      4
fr fra French     Indo-European Latin      5
he heb Hebrew     Afro-Asiatic  Hebrew     3
hi hin Hindi      Indo-European Devanagari 4
hu hun Hungarian  Uralic        Latin      4
id ind Indonesian Austronesian  Latin      3
it ita Italian    Indo-European Latin      4
ja jpn Japanese   Japonic       Japanese   5
jv jav Javanese   Austronesian  Latin      1
ka kat Georgian   Kartvelian    Georgian   3
kk kaz Kazakh     Turkic        Cyrillic   3
ko kor Korean     Korean        Hangul     4
ml mal Malayalam  Dravidian     Malayalam  1
mr mar Marathi    Indo-European Devanagari 2
ms zsm Malay      Austronesian  Latin      3
my mya Burmese    Sino-Tibetan  Myanmar    1
nl nld Dutch      Indo-European Latin      4
pt por Portuguese Indo-European Latin      4
ru rus Russian    Indo-European Cyrillic   4
sw swh Swahili    Niger-Congo   Latin      2
ta tam Tamil      Dravidian     Tamil      3
te tel Telugu     Dravidian     Telugu     1
th tha Thai       Kra-Dai       Thai       3
tl tgl Tagalog    Austronesian  Latin      3
tr tur Turkish    Turkic        Latin      4
ur urd Urdu       Indo-European Arabic     3
vi vie Vietnamese Austro-Asiatic Latin     4
yo yor Yoruba     Niger-Congo   Latin      2
zh cmn Chinese    Sino-Tibetan  Han        5
"""
_ROWS = [line.split() for line in _TABLE.strip().splitlines()]
XTREME = {code: Language(code, name, family, script, resource) for code, _, name, family, script, resource in _ROWS}
ISO3 = {code: three for code, three, *_ in _ROWS}  # ISO 639-3, of Mandarin, Swahili and so on as LASER has them


def language(code: str, source: str = "") -> Language:
    """The language of a code. `source` is a source's name on the board: `babel:qaf.order=SVO` changes one language.

    An unknown code, such as that of a plug-in, gives a language without properties.
    """
    kind, _, settings = plain_source(source).partition(":")
    if kind in ("", "babel"):
        world = parse_settings(settings).languages
        if code in world:
            tongue, pivot = world[code], world[PIVOT]
            departs = tuple(name for name in PROPERTIES if getattr(tongue, name) != getattr(pivot, name))
            return Language(code, code, f"babel {tongue.order}", tongue.script.title(), "", departs)
    return XTREME.get(code, Language(code, code))


def is_in_capitals(code: str) -> bool:
    """Whether a code is that of a language of XTREME but for capital letters: `DE` beside `de` would count twice."""
    return code not in XTREME and code.lower() in XTREME


def plain_source(source: str) -> str:
    """The name of the source that the source of this name limits to some languages, or whose text it changes."""
    inner = source.partition(",")[2] if source.startswith("subset:") else source
    return inner.partition("+")[0]


def groups(
    by: str, views: Iterable[str], source: str = "", alignment: Alignment | None = None
) -> dict[str, tuple[str, ...]]:
    """The views by the group of their language; "de.en" belongs to `de`. The largest groups come first, and resource
    classes in descending order; views of languages without the property form the last group, `unknown`.

    `by` is family, script, resource or aligned; the last needs `alignment`. Raises UsageError for another value.
    """
    if by not in GROUPINGS:
        raise unknown("grouping", by, GROUPINGS)
    found: dict[str, list[str]] = {}
    for view in dict.fromkeys(views):
        found.setdefault(_group(by, view.partition(".")[0], source, alignment), []).append(view)
    names = sorted(found, key=lambda name: _place(by, name, len(found[name])))
    return {name: tuple(found[name]) for name in names}


def _group(by: str, code: str, source: str, alignment: Alignment | None) -> str:
    if by != "aligned":
        known = str(getattr(language(code, source), by))
        return (f"class {known}" if by == "resource" else known) if known else UNKNOWN
    assert alignment is not None, "grouping by alignment needs the languages that were aligned"
    if code == alignment.pivot:
        return PIVOT_GROUP
    return ALIGNED if code in alignment.languages else UNALIGNED


def _place(by: str, name: str, size: int) -> tuple[bool, Any, str]:
    if by == "resource":
        return name == UNKNOWN, [-ord(char) for char in name], name
    if by == "aligned":
        return False, (ALIGNED, UNALIGNED, PIVOT_GROUP).index(name), name
    return name == UNKNOWN, -size, name
