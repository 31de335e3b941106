"""How each language spells the concepts and names of the world."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

from harness.data.babel.concepts import ALWAYS_ALIKE, QUESTION_WORDS, Concept, concepts
from harness.data.babel.dice import Dice, bucket
from harness.data.babel.languages import ALPHABETS, PIVOT, Language

VOWELS = "aeiou"
CONSONANTS = "bdfghjklmnprstvwz"
CASES = ("ACC", "DAT", "LOC", "INS")
AGREEMENT = ("PERS", "OTHER")
SYNONYM_PERCENT = 25
# How many in a hundred of the first class share a form with one of the second: these words can be told apart by
# their place in the sentence only.
HOMONYMS: tuple[tuple[str, str, int], ...] = (
    ("VERB", "NOUN", 75),
    ("ADJ", "NOUN", 60),
    ("manner", "ADJ", 60),
    ("time", "NOUN", 50),
)
OPEN = ("NOUN", "VERB", "ADJ")
NAME_STEMS = 1000
NAMES_LIKE_NOUNS = 12  # in a hundred: surnames such as Baker


@dataclass(frozen=True)
class Lexicon:
    """`forms[gloss]` holds a concept's word and, where it has one, its synonym; suffixes are by case and agreement."""

    language: Language
    forms: Mapping[str, tuple[str, ...]]
    suffixes: Mapping[str, str]
    names: Mapping[str, str]


@cache
def lexicon(seed: int, language: Language) -> Lexicon:
    """The language's words: loans and cognates from the pivot's lexicon, its own words for the rest."""
    if language.code == PIVOT:
        stems = name_stems(seed)
        return Lexicon(language, _pivot_forms(seed), _suffixes(seed, language), {stem: stem for stem in stems})
    forms = _own_forms(seed, language) | _inherited(seed, language)
    names = {stem: _spell_shared(stem, _is_loan(seed, stem, language), language) for stem in name_stems(seed)}
    return Lexicon(language, {gloss: forms[gloss] for gloss in concepts()}, _suffixes(seed, language), names)


@cache
def asking(seed: int, language: Language) -> Lexicon:
    """The language's words, and those that questions have beside them.

    Question words are the same in every language: no corpus has questions, so nothing could teach how they translate.
    """
    words = lexicon(seed, language)
    return replace(words, forms={**words.forms, **_question_forms(seed)})


@cache
def _question_forms(seed: int) -> dict[str, tuple[str, ...]]:
    taken = {word for words in _pivot_forms(seed).values() for word in words} | set(name_stems(seed))
    maker = _Words(Dice("question words", seed), VOWELS, CONSONANTS, taken)
    return {gloss: (maker.word(1),) for gloss in QUESTION_WORDS}


@cache
def name_stems(seed: int) -> tuple[str, ...]:
    """The stems of all names, in the pivot's spelling. Some look like a common noun of the pivot."""
    dice = Dice("names", seed)
    forms = _pivot_forms(seed)
    nouns = dice.shuffled([forms[c.gloss][0] for c in concepts().values() if c.tag == "NOUN" and c.leaf])
    alike = nouns[: NAME_STEMS * NAMES_LIKE_NOUNS // 100]
    maker = _Words(dice, VOWELS, CONSONANTS, {word for words in forms.values() for word in words})
    fresh = [maker.word(dice.pick((2, 2, 3))) for _ in range(NAME_STEMS - len(alike))]
    return tuple(dice.shuffled([*alike, *fresh]))


@cache
def _pivot_forms(seed: int) -> dict[str, tuple[str, ...]]:
    dice = Dice("lexicon", seed, PIVOT)
    return _forms(dice, list(concepts().values()), _Words(dice, VOWELS, CONSONANTS, set()))


@cache
def _groups(seed: int) -> dict[str, str]:
    """For each concept the first word of the pivot that expresses it: homonyms are borrowed together."""
    return {gloss: words[0] for gloss, words in _pivot_forms(seed).items()}


def _share(seed: int, key: str) -> int:
    return bucket(f"share/{seed}/{key}", 100)


def _is_loan(seed: int, key: str, language: Language) -> bool:
    return _share(seed, key) < language.loans


def _inherited(seed: int, language: Language) -> dict[str, tuple[str, ...]]:
    found = {}
    for gloss, group in _groups(seed).items():
        if _share(seed, group) < language.loans + language.cognates:
            words = _pivot_forms(seed)[gloss]
            found[gloss] = tuple(_spell_shared(word, _is_loan(seed, group, language), language) for word in words)
    return found


def _own_forms(seed: int, language: Language) -> dict[str, tuple[str, ...]]:
    # The whole lexicon is drawn, whatever is shared: another percentage then leaves the remaining words as they were.
    dice = Dice("lexicon", seed, language.code)
    taken = {word for words in _pivot_forms(seed).values() for word in words} | set(name_stems(seed))
    maker = _Words(dice, dice.shuffled(VOWELS)[:4], dice.shuffled(CONSONANTS)[:13], taken)
    forms = _forms(dice, list(concepts().values()), maker)
    return {gloss: tuple(transliterated(word, language.script) for word in words) for gloss, words in forms.items()}


def _spell_shared(word: str, loan: bool, language: Language) -> str:
    return word if loan else transliterated(word, language.script)


def transliterated(word: str, script: str) -> str:
    """A word of Latin letters in another alphabet, letter by letter."""
    return word.translate(str.maketrans(ALPHABETS["latin"], ALPHABETS[script]))


def _forms(dice: Dice, every: list[Concept], maker: _Words) -> dict[str, tuple[str, ...]]:
    alike = _homonyms(dice, every)
    forms: dict[str, tuple[str, ...]] = {}
    for concept in every:
        closed = concept.tag not in OPEN and concept.kind not in ("time", "manner")
        first = forms[alike[concept.gloss]][0] if alike.get(concept.gloss) in forms else None
        words = [first or maker.word(1 if closed else dice.pick((2, 2, 3)))]
        if concept.leaf and not closed and bucket(f"synonym/{concept.gloss}", 100) < SYNONYM_PERCENT:
            words.append(maker.word(dice.pick((2, 2, 3))))
        forms[concept.gloss] = tuple(words)
    return forms


def _homonyms(dice: Dice, every: list[Concept]) -> dict[str, str]:
    """Pairs each homonym with its partner, in both directions."""
    alike: dict[str, str] = {}
    for first, second in ALWAYS_ALIKE:
        alike[first], alike[second] = second, first
    for few, many, percent in HOMONYMS:
        right = dice.shuffled([c.gloss for c in every if c.leaf and many == c.tag and c.gloss not in alike])
        left = [c.gloss for c in every if c.leaf and few in (c.tag, c.kind) and c.gloss not in alike]
        for one, other in zip([word for word in left if dice.chance(percent)], right, strict=False):
            alike[one], alike[other] = other, one
    return alike


def _suffixes(seed: int, language: Language) -> dict[str, str]:
    dice = Dice("suffixes", seed, language.code)
    names = (*CASES, *AGREEMENT)
    vowels = dice.shuffled(VOWELS)
    consonants = dice.shuffled(CONSONANTS)
    endings = [vowels[i % 5] + consonants[i] for i in range(len(names))]
    return {name: transliterated(ending, language.script) for name, ending in zip(names, endings, strict=True)}


class _Words:
    """Makes words out of a language's own syllables, each once."""

    def __init__(self, dice: Dice, vowels: Sequence[str], consonants: Sequence[str], taken: set[str]) -> None:
        self._dice, self._vowels, self._consonants = dice, vowels, consonants
        self._taken = set(taken)

    def word(self, syllables: int) -> str:
        for attempt in range(10_000):
            word = "".join(self._syllable() for _ in range(syllables + attempt // 200))
            if word not in self._taken:
                self._taken.add(word)
                return word
        raise AssertionError("the syllables are used up")

    def _syllable(self) -> str:
        coda = self._dice.pick(self._consonants) if self._dice.chance(30) else ""
        return self._dice.pick(self._consonants) + self._dice.pick(self._vowels) + coda
