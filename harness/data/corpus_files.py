"""Corpora beside the tasks of a folder: parallel/, mono/, dictionaries/, alignments/, and English NLI from xnli/."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from harness.data.languages import is_in_capitals
from harness.data.layout import LINK_FILES
from harness.data.lines import fields_of, read_lines, scan, shorten
from harness.data.patterns import find_files, find_views, plain_or_compressed, uncompressed
from harness.data.readers import READERS, Reader, check_parallel, nli_pairs, text_pairs
from harness.errors import UserError
from harness.files import text_digest
from harness.records import AlignedPair, Corpus, CorpusRecord, DictionaryEntry, MonoSentence, ParallelPair

NLI_FILE = "xnli/train-{pivot}.tsv"
NLI_LABELS = ("contradiction", "entailment", "neutral")
_LINK = re.compile(r"(\d+)([-p])(\d+)")


@dataclass(frozen=True)
class CorpusLayout:
    """The files of one kind of corpus in a folder.

    `files` are their path patterns, see `patterns`; `find` maps languages to the files of each, by default to those of
    the patterns; `read` yields the records of a language; `count` counts them.
    """

    files: tuple[str, ...]
    read: Callable[[str, tuple[Path, ...]], Iterator[CorpusRecord]]
    count: Callable[[tuple[Path, ...]], int]
    others: Callable[[Path, str], dict[str, tuple[Path, ...]]] | None = None

    def find(self, root: Path, pivot: str) -> dict[str, tuple[Path, ...]]:
        if self.others is not None:
            return self.others(root, pivot)
        roles = {text: text for text in self.files}
        views = find_views(root, self.files[0], pivot)
        return {view: tuple(find_files(root, roles, view, pivot).values()) for view in views}


def fingerprint(files: tuple[Path, ...]) -> str:
    """One digest for the files of a corpus, order and names included."""
    return text_digest("\n".join(f"{uncompressed(path)} {scan(path).digest}" for path in files))


def _read_parallel(language: str, files: tuple[Path, ...]) -> Iterator[ParallelPair]:
    check_parallel(*files)
    for (number, target), (_, source) in zip(*map(read_lines, files), strict=True):
        for path, text in zip(files, (target, source), strict=True):
            if not text.strip():
                raise _blank_error(path, number, "drop this line in both languages")
        yield ParallelPair(f"{language}-{number - 1}", language, source, target)


def _count_parallel(files: tuple[Path, ...]) -> int:
    """The lines of the first file; the last two are parallel."""
    check_parallel(*files[-2:])
    return scan(files[0]).lines


def _read_mono(language: str, files: tuple[Path, ...]) -> Iterator[MonoSentence]:
    for number, text in read_lines(files[0]):
        if text and not text.strip():
            raise _blank_error(files[0], number, "remove the line, or leave it wholly empty")
        if text:
            yield MonoSentence(f"{language}-{number - 1}", language, text)


def _find_dictionaries(root: Path, pivot: str) -> dict[str, tuple[Path, ...]]:
    """The training files of each language, the general one first, then the held-out file if there is one."""
    found: dict[str, list[Path]] = {}
    names = {
        uncompressed(path): plain_or_compressed(path.with_name(uncompressed(path)))
        for path in root.glob("dictionaries/*.txt*")
    }
    for name in sorted(names, key=lambda name: (not name.startswith(f"{pivot}-"), name)):
        match = re.fullmatch(rf"(?:[^.]+\.)?{pivot}-([^.]+)\.txt", name)
        if match and not is_in_capitals(match[1]):
            found.setdefault(match[1], []).append(names[name])
    for language, files in found.items():
        files.extend(names[name] for name in names if name == f"{pivot}-{language}.test.txt")
    return {language: tuple(files) for language, files in found.items()}


class UsableEntries(NamedTuple):
    """The usable (headword, translation) entries of a language, and the number of held-out ones."""

    entries: tuple[tuple[str, str], ...]
    held_out: int


def usable_entries(files: tuple[Path, ...]) -> UsableEntries:
    """Distinct entries of the training files, without the headwords of the held-out file (letter case ignored)."""
    return _usable(files, tuple(scan(path).digest for path in files))


@lru_cache(maxsize=256)
def _usable(files: tuple[Path, ...], _digests: tuple[str, ...]) -> UsableEntries:
    training = [path for path in files if not _is_test(path)]
    withheld = {source.casefold() for path in files if _is_test(path) for source, _ in _entries(path)}
    entries: dict[tuple[str, str], None] = {}
    held_out = 0
    for path in training:
        for source, target in _entries(path):
            if source.casefold() in withheld:
                held_out += 1
            else:
                entries[source, target] = None
    return UsableEntries(tuple(entries), held_out)


def _is_test(path: Path) -> bool:
    return uncompressed(path).endswith(".test.txt")


def _entries(path: Path) -> Iterator[tuple[str, str]]:
    for number, text in read_lines(path):
        source, target = (field.strip() for field in fields_of(path, number, text, 2, "English word, translation"))
        if not source or not target:
            raise _blank_error(path, number, "remove the entry, or fill both of its fields")
        yield source, target


def _read_alignments(language: str, files: tuple[Path, ...]) -> Iterator[AlignedPair]:
    """Links in a gold file have the left side of its name first; records have the pivot first."""
    gold, pivot, foreign = files
    for other in (foreign, gold):
        check_parallel(pivot, other)
    swapped = gold.name.startswith(f"{language}-")
    for (number, links), (_, english), (_, text) in zip(*map(read_lines, files), strict=True):
        source, target = tuple(english.split()), tuple(text.split())
        sure, possible = _links(gold, number, links, swapped, (len(source), len(target)))
        yield AlignedPair(f"{language}-{number - 1}", language, source, target, sure, possible)


def _links(
    path: Path, number: int, text: str, swapped: bool, sizes: tuple[int, int]
) -> tuple[frozenset[tuple[int, int]], frozenset[tuple[int, int]]]:
    sure, possible = set(), set()
    for item in text.split():
        match = _LINK.fullmatch(item)
        link = (int(match[1]), int(match[3])) if match else (-1, -1)
        link = (link[1], link[0]) if swapped else link
        if not (match and link[0] < sizes[0] and link[1] < sizes[1]):
            raise UserError(
                "a word link that cannot be read" if not match else "a word link outside its sentence pair",
                file=path,
                line=number,
                found=shorten(item),
                expected=f"i-j (sure) or ipj (possible), 0-based, for {sizes[0]} English and {sizes[1]} other words",
                remedy="repair or remove the link",
            )
        possible.add(link)
        if match[2] == "-":
            sure.add(link)
    return frozenset(sure), frozenset(possible)


def _blank_error(path: Path, number: int, remedy: str) -> UserError:
    return UserError(
        "an empty line or field", file=path, line=number, found="nothing but blanks", expected="text", remedy=remedy
    )


LAYOUTS: Mapping[Corpus, CorpusLayout] = {
    Corpus.PARALLEL: CorpusLayout(
        ("parallel/{view}-{pivot}.{view}", "parallel/{view}-{pivot}.{pivot}"), _read_parallel, _count_parallel
    ),
    Corpus.MONO: CorpusLayout(
        ("mono/{view}.txt",), _read_mono, lambda files: scan(files[0]).lines - scan(files[0]).blank
    ),
    Corpus.DICTIONARY: CorpusLayout(
        ("dictionaries/{pivot}-{view}.txt", "dictionaries/{pivot}-{view}.test.txt"),
        lambda code, files: (DictionaryEntry(code, *entry) for entry in usable_entries(files).entries),
        lambda files: len(usable_entries(files).entries),
        _find_dictionaries,
    ),
    Corpus.ALIGNMENT: CorpusLayout(
        tuple(LINK_FILES.values()),
        _read_alignments,
        _count_parallel,
    ),
    Corpus.NLI: CorpusLayout(
        (NLI_FILE,),
        lambda _, files: nli_pairs(text_pairs(files[0], NLI_LABELS, withheld=False)),
        lambda files: scan(files[0]).lines,
    ),
}
READERS[AlignedPair] = Reader(
    records=lambda cell: _read_alignments(cell.view, tuple(cell.files.values())),
    count=lambda cell: _count_parallel(tuple(cell.files.values())),
    labelled=lambda _cell: True,
)
