"""Parts of speech: the treebanks of Universal Dependencies 2.5 in 33 languages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from harness.data.prepare.archives import Selection
from harness.data.prepare.conllu import precedence, surface_sentences
from harness.data.prepare.package import Converted, Download, Package, Raw
from harness.data.prepare.tagging import ReadableRows, TaggedToken, write_rows

LANGUAGES = (
    *("af", "ar", "bg", "de", "el", "en", "es", "et", "eu", "fa", "fi", "fr", "he", "hi", "hu", "id", "it"),
    *("ja", "kk", "ko", "mr", "nl", "pt", "ru", "ta", "te", "th", "tl", "tr", "ur", "vi", "yo", "zh"),
)
SPLITS = ("train", "dev", "test")
TAGS = frozenset(
    (
        *("ADJ", "ADP", "ADV", "AUX", "CCONJ", "DET", "INTJ", "NOUN", "NUM"),
        *("PART", "PRON", "PROPN", "PUNCT", "SCONJ", "SYM", "VERB", "X"),
    )
)
_TREEBANK = re.compile(rf"ud-treebanks-v2\.5/[^/]+/((?:{'|'.join(LANGUAGES)})_[A-Za-z0-9_-]+\.conllu)")
Sentence = list[TaggedToken]


def convert(raw: Raw, out: Path, official: bool) -> Converted:
    """Joins the treebanks of a language in the order of their file names, one surface token per line."""
    done = Converted()
    for language in LANGUAGES:
        own = (name for name in raw if name.startswith(f"{language}_"))
        names = sorted(own, key=lambda name: name.replace("conllu", "conll", 1))  # as the converted files are named
        for split in SPLITS:
            sources = [raw[name] for name in names if split_of(name) == split]
            path = f"{split}-{language}.tsv"
            rows = ReadableRows(join_sentences(_sentences(sources, language, done)), TAGS, "X")
            labels = not (official and split == "test")
            count = write_rows(out / path, rows.rows if official else rows, tags=labels) if sources else 0
            if count:
                done.items[path] = count
            else:
                (out / path).unlink(missing_ok=True)
            if note := rows.note():
                done.notes.append(f"{path}: {note} (`--official` keeps them)")
        done.notes += [f"{name}: left out, its name has no split" for name in names if split_of(name) is None]
    if absent := [language for language in LANGUAGES if f"test-{language}.tsv" not in done.items]:
        done.notes.append(f"no test sentences of {', '.join(absent)}")
    return done


def split_of(name: str) -> str | None:
    """The split of a file: the first of train, dev and test that its name contains."""
    return next((split for split in SPLITS if split in name), None)


def clean_sentence(sentence: Sentence) -> Sentence | None:
    """A sentence without blanks and zero-width non-joiners inside tokens. None if all forms, or all but one, are `_`
    and at least one is."""
    bare = sum(row.token == "_" for row in sentence)
    if bare and bare >= len(sentence) - 1:
        return None
    return [TaggedToken(row.token.replace("\u200c", "").replace(" ", ""), row.tag) for row in sentence]


def join_sentences(sentences: Iterable[Sentence]) -> Iterator[TaggedToken | None]:
    """Sentences as rows, separated by None."""
    for number, sentence in enumerate(sentences):
        if number:
            yield None
        yield from sentence


def _sentences(sources: Iterable[Path], language: str, done: Converted) -> Iterator[Sentence]:
    for path in sources:
        unranked: set[str] = set()
        for sentence in surface_sentences(path, precedence(language), unranked):
            if cleaned := clean_sentence([TaggedToken(row.token.strip(), row.tag.strip()) for row in sentence]):
                yield cleaned
        if unranked:
            tags = ", ".join(sorted(unranked))
            done.notes.append(f"{path.name}: {tags} has no rank among the heads of {language}, taken as the lowest")


PACKAGE = Package(
    name="udpos",
    title="POS",
    licence="each treebank its own: mostly CC BY-SA 4.0, some CC BY-NC-SA",
    downloads=(
        Download(
            names=("ud-treebanks-v2.5.tgz",),
            url="https://lindat.mff.cuni.cz/repository/xmlui/bitstream/handle/11234/1-3105/ud-treebanks-v2.5.tgz",
            selection=Selection.by_pattern(_TREEBANK),
            holds=(),
            sums={"ud-treebanks-v2.5.tgz": "5ff973e44345a5f69b94cc1427158e14e851c967d58773cc2ac5a1d3adaca409"},
            note="355 MB. The record is http://hdl.handle.net/11234/1-3105; other releases of Universal Dependencies "
            "have other sentences and are not taken.",
        ),
    ),
    convert=convert,
    published={"train-en.tsv": 21_253, "dev-en.tsv": 3_974},
)
