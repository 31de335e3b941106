"""Interlinear glosses: a sentence, with the concept and case of each word below it.

`python -m harness.data.babel.gloss` prints the grammar sketch of docs/babel.md, and a passage with its questions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache

from harness.data.babel.concepts import concepts
from harness.data.babel.grammar import PLAIN, Style, Word, realise
from harness.data.babel.languages import PIVOT, PROPERTIES, BabelLanguage
from harness.data.babel.lexicon import AGREEMENT, CASES, lexicon, question_lexicon
from harness.data.babel.passages import passages
from harness.data.babel.reading import answer_words
from harness.data.babel.settings import BabelSettings, parse_settings
from harness.data.babel.world import Event, Name, Phrase, Place

EXAMPLES: tuple[tuple[Event, Style], ...] = (
    (
        Event(
            "kick",
            Phrase("dog", adjective="red"),
            Phrase("baker", number="three"),
            place=Place("in", Phrase("garden", adjective="wet")),
            time="dawn",
            negated=True,
        ),
        PLAIN,
    ),
    (
        Event(
            "sell", Phrase("smith"), Phrase("honey"), Phrase("judge"), place=Place("near", Phrase("river")), future=True
        ),
        Style(passive=True),
    ),
)


def interlinear(sentence: Sequence[Word]) -> str:
    """Two aligned lines: forms, and glosses with their cases."""
    widths = [max(len(word.form), len(word.gloss)) for word in sentence]
    lines = ([word.form for word in sentence], [word.gloss for word in sentence])
    return "\n".join(" ".join(f"{cell:<{w}}" for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines)


def gloss_text(settings: BabelSettings, code: str, text: str) -> str:
    """A text of a language, word by word: `dog-ACC` for an inflected word, `saw/see` for one of several readings. Names
    and what is no word of the language stay as they are.
    """
    readings = _readings(settings.seed, settings.languages[code])
    return re.sub(r"\w+", lambda word: "/".join(readings.get(word[0], [word[0]])), text)


@cache
def _readings(seed: int, language: BabelLanguage) -> dict[str, list[str]]:
    """The glosses of each form, those without a suffix first."""
    words = question_lexicon(seed, language)
    cases, agreement = CASES if language.case else (), AGREEMENT if language.agreement else ()
    found: dict[str, list[str]] = {}
    for suffix in ("", *cases, *agreement):
        takes = {"VERB"} if suffix in agreement else {"NOUN", "ADJ"}
        for gloss, forms in words.forms.items():
            if not suffix or (gloss in concepts() and concepts()[gloss].tag in takes):
                for form in forms:
                    known = found.setdefault(form + words.suffixes.get(suffix, ""), [])
                    known.append(f"{gloss}-{suffix}" if suffix else gloss)
    return found


def properties(language: BabelLanguage) -> str:
    """The properties of a language, in the syntax of the settings."""
    values = ((name, getattr(language, name)) for name in PROPERTIES)
    return ", ".join(f"{name}={str(value).lower() if isinstance(value, bool) else value}" for name, value in values)


def examples(settings: BabelSettings, code: str) -> Iterator[str]:
    """The example sentences in one language, and one with a name in it."""
    words = lexicon(settings.seed, settings.languages[code])
    stem = next(iter(words.names))
    named = Event("thank", Phrase(Name("PER", (stem,))), Phrase("teacher"))
    for event, style in (*EXAMPLES, (named, PLAIN)):
        yield interlinear(realise(event, words, style))


def sketch(settings: BabelSettings) -> str:
    """Markdown: for every language its step, its properties and the glossed examples."""
    parts = []
    for code, language in settings.languages.items():
        step = "The pivot." if code == PIVOT else f"Like `{language.neighbour}`, but: {language.step}."
        shown = "\n\n".join(examples(settings, code))
        parts.append(f"### {code}\n\n{step} `{properties(language)}`\n\n```\n{shown}\n```")
    return "\n\n".join(parts)


def glossed_passage(settings: BabelSettings, code: str) -> str:
    """The shortest test passage with three questions, glossed, with the answer to each question."""
    words = question_lexicon(settings.seed, settings.languages[code])
    every = [p for p in passages(settings.seed, "qa", "test", settings.sizes.test, 3) if len(p.questions) == 3]
    realised = [[realise(event, words, style) for event, style in passage.statements] for passage in every]
    shortest = min(range(len(every)), key=lambda i: sum(map(len, realised[i])))
    parts = [interlinear(sentence) for sentence in realised[shortest]]
    for asked in every[shortest].questions:
        sentence = realised[shortest][asked.statement]
        first, last = answer_words(sentence, asked.role)
        answer = " ".join(word.form for word in sentence[first : last + 1])
        parts.append(f"{interlinear(realise(asked.event, words, asked.style, '?'))}\n  -> {answer}")
    return "\n\n".join(parts)


if __name__ == "__main__":
    print(sketch(parse_settings("")))
    print(f"\n## Questions\n\n```\n{glossed_passage(parse_settings(''), PIVOT)}\n```")
