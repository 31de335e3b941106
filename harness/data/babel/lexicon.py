"""The words of each language for the concepts and names of the world."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

from harness.data.babel.concepts import ALWAYS_ALIKE, QUESTION_WORDS, Concept, concepts
from harness.data.babel.dice import Dice, bucket
from harness.data.babel.languages import ALPHABETS, PIVOT, BabelLanguage

VOWELS = "aeiou"
CONSONANTS = "bdfghjklmnprstvwz"
CASES = ("ACC", "DAT", "LOC", "INS")
AGREEMENT = ("PERS", "OTHER")
SYNONYM_PERCENT = 25
# The percentage of words of the first class that share a form with one of the second. Only word order distinguishes
# them.
HOMONYMS: tuple[tuple[str, str, int], ...] = (
    ("VERB", "NOUN", 75),
    ("ADJ", "NOUN", 60),
    ("manner", "ADJ", 60),
    ("time", "NOUN", 50),
)
OPEN = ("NOUN", "VERB", "ADJ")
NAME_STEMS = 1000
NAMES_LIKE_NOUNS = 12  # percent: surnames such as Baker


@dataclass(frozen=True)
class BabelLexicon:
    """`forms[gloss]` holds a concept's word and its synonym, if any; suffixes are by case and agreement."""

    language: BabelLanguage
    forms: Mapping[str, tuple[str, ...]]
    suffixes: Mapping[str, str]
    names: Mapping[str, str]


@cache
def lexicon(seed: int, language: BabelLanguage) -> BabelLexicon:
    """The words of a language: loans and cognates from the pivot's lexicon, its own words for the rest."""
    if language.code == PIVOT:
        stems = name_stems(seed)
        return BabelLexicon(language, _pivot_forms(seed), _suffixes(seed, language), {stem: stem for stem in stems})
    forms = _own_forms(seed, language) | _shared_forms(seed, language)
    names = {stem: _spell(stem, _is_loan(seed, stem, language), language) for stem in name_stems(seed)}
    return BabelLexicon(language, {gloss: forms[gloss] for gloss in concepts()}, _suffixes(seed, language), names)


@cache
def question_lexicon(seed: int, language: BabelLanguage) -> BabelLexicon:
    """The words of a language, with question words.

    Question words are the same in every language: no corpus has questions, so no method could learn their translations.
    """
    words = lexicon(seed, language)
    taken = {word for words in _pivot_forms(seed).values() for word in words} | set(name_stems(seed))
    maker = _WordMaker(Dice("question words", seed), VOWELS, CONSONANTS, taken)
    return replace(words, forms={**words.forms, **{gloss: (maker.word(1),) for gloss in QUESTION_WORDS}})


@cache
def name_stems(seed: int) -> tuple[str, ...]:
    """The stems of all names, in the pivot's spelling. Some look like a common noun of the pivot."""
    dice = Dice("names", seed)
    forms = _pivot_forms(seed)
    nouns = dice.shuffled([forms[c.gloss][0] for c in concepts().values() if c.tag == "NOUN" and c.leaf])
    alike = nouns[: NAME_STEMS * NAMES_LIKE_NOUNS // 100]
    maker = _WordMaker(dice, VOWELS, CONSONANTS, {word for words in forms.values() for word in words})
    fresh = [maker.word(dice.pick((2, 2, 3))) for _ in range(NAME_STEMS - len(alike))]
    return tuple(dice.shuffled([*alike, *fresh]))


@cache
def _pivot_forms(seed: int) -> dict[str, tuple[str, ...]]:
    dice = Dice("lexicon", seed, PIVOT)
    return _make_forms(dice, list(concepts().values()), _WordMaker(dice, VOWELS, CONSONANTS, set()))


def _share(seed: int, key: str) -> int:
    return bucket(f"share/{seed}/{key}", 100)


def _is_loan(seed: int, key: str, language: BabelLanguage) -> bool:
    return _share(seed, key) < language.loans


def _shared_forms(seed: int, language: BabelLanguage) -> dict[str, tuple[str, ...]]:
    found = {}
    for gloss, words in _pivot_forms(seed).items():
        group = words[0]  # homonyms are borrowed together
        if _share(seed, group) < language.loans + language.cognates:
            found[gloss] = tuple(_spell(word, _is_loan(seed, group, language), language) for word in words)
    return found


def _own_forms(seed: int, language: BabelLanguage) -> dict[str, tuple[str, ...]]:
    # The whole lexicon is drawn, whatever is shared, so that another percentage does not change the remaining words.
    dice = Dice("lexicon", seed, language.code)
    taken = {word for words in _pivot_forms(seed).values() for word in words} | set(name_stems(seed))
    maker = _WordMaker(dice, dice.shuffled(VOWELS)[:4], dice.shuffled(CONSONANTS)[:13], taken)
    forms = _make_forms(dice, list(concepts().values()), maker)
    return {gloss: tuple(transliterate(word, language.script) for word in words) for gloss, words in forms.items()}


def _spell(word: str, loan: bool, language: BabelLanguage) -> str:
    return word if loan else transliterate(word, language.script)


def transliterate(word: str, script: str) -> str:
    """A word of Latin letters in another alphabet, letter by letter."""
    return word.translate(str.maketrans(ALPHABETS["latin"], ALPHABETS[script]))


def _make_forms(dice: Dice, every: list[Concept], maker: _WordMaker) -> dict[str, tuple[str, ...]]:
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
    """The partner of each homonym, in both directions."""
    alike: dict[str, str] = {}
    for first, second in ALWAYS_ALIKE:
        alike[first], alike[second] = second, first
    for few, many, percent in HOMONYMS:
        right = dice.shuffled([c.gloss for c in every if c.leaf and many == c.tag and c.gloss not in alike])
        left = [c.gloss for c in every if c.leaf and few in (c.tag, c.kind) and c.gloss not in alike]
        for one, other in zip([word for word in left if dice.chance(percent)], right, strict=False):
            alike[one], alike[other] = other, one
    return alike


def _suffixes(seed: int, language: BabelLanguage) -> dict[str, str]:
    dice = Dice("suffixes", seed, language.code)
    names = (*CASES, *AGREEMENT)
    vowels = dice.shuffled(VOWELS)
    consonants = dice.shuffled(CONSONANTS)
    endings = [vowels[i % 5] + consonants[i] for i in range(len(names))]
    return {name: transliterate(ending, language.script) for name, ending in zip(names, endings, strict=True)}


class _WordMaker:
    """Makes words from a language's syllables, each once."""

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
