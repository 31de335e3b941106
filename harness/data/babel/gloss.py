"""Interlinear glosses: a sentence, and under each word the concept and case that it expresses.

`python -m harness.data.babel.gloss` prints the grammar sketch of docs/babel.md, and a passage with its questions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields

from harness.data.babel.grammar import PLAIN, Style, Word, realise
from harness.data.babel.languages import PIVOT, Language
from harness.data.babel.lexicon import asking, lexicon
from harness.data.babel.passages import passages
from harness.data.babel.reading import answering
from harness.data.babel.settings import Settings, parse
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
    """Two lines of equal columns: forms, and glosses with their cases."""
    widths = [max(len(word.form), len(word.gloss)) for word in sentence]
    lines = ([word.form for word in sentence], [word.gloss for word in sentence])
    return "\n".join(" ".join(f"{cell:<{w}}" for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines)


def properties(language: Language) -> str:
    """The properties of a language, as they are written in settings."""
    named = [f.name for f in fields(Language) if f.name not in ("code", "step", "neighbour")]
    return ", ".join(f"{name}={_shown(getattr(language, name))}" for name in named)


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def examples(settings: Settings, code: str) -> Iterator[str]:
    """The example sentences in one language, and one with a name in it."""
    words = lexicon(settings.seed, settings.languages[code])
    stem = next(iter(words.names))
    named = Event("thank", Phrase(Name("PER", (stem,))), Phrase("teacher"))
    for event, style in (*EXAMPLES, (named, PLAIN)):
        yield interlinear(realise(event, words, style))


def sketch(settings: Settings) -> str:
    """Markdown: for every language its step, its properties and the glossed examples."""
    parts = []
    for code, language in settings.languages.items():
        step = "The pivot." if code == PIVOT else f"Like `{language.neighbour}`, but: {language.step}."
        shown = "\n\n".join(examples(settings, code))
        parts.append(f"### {code}\n\n{step} `{properties(language)}`\n\n```\n{shown}\n```")
    return "\n\n".join(parts)


def reading(settings: Settings, code: str) -> str:
    """The shortest test passage with three questions, glossed, each question with its answer."""
    words = asking(settings.seed, settings.languages[code])
    every = [p for p in passages(settings.seed, "qa", "test", settings.sizes.test, 3) if len(p.questions) == 3]
    told = [[realise(event, words, style) for event, style in passage.statements] for passage in every]
    shortest = min(range(len(every)), key=lambda i: sum(map(len, told[i])))
    parts = [interlinear(sentence) for sentence in told[shortest]]
    for asked in every[shortest].questions:
        sentence = told[shortest][asked.statement]
        first, last = answering(sentence, asked.role)
        answer = " ".join(word.form for word in sentence[first : last + 1])
        parts.append(f"{interlinear(realise(asked.event, words, asked.style, '?'))}\n  -> {answer}")
    return "\n\n".join(parts)


if __name__ == "__main__":
    print(sketch(parse("")))
    print(f"\n## Questions\n\n```\n{reading(parse(''), PIVOT)}\n```")
