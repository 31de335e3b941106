"""Path patterns of a folder, such as `xnli/test-{view}.tsv`: the files that fit, and the nearest name that would.

Each file may be compressed (`.gz`), and a pair of languages may be in either order (`en-de`, as in OPUS, for
`de-en`). Where both are there, the plain file and the order of the pattern are read.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

from harness.data.languages import is_in_capitals

FIELD = re.compile(r"\{(view|context|question)\}")
_CODE = "[A-Za-z0-9_-]+"
_PAIR, _SWAPPED = "{view}-{pivot}", "{pivot}-{view}"
_BESIDE = re.compile(r"\..*|.*\.md|(README|LICENSE|NOTICE|CITATION|ORIGIN).*|prepared\.json|labels\.txt", re.IGNORECASE)
_LISTED = 3  # files of a folder that are named one by one


def fill(pattern: str, view: str, pivot: str) -> str:
    """The path of a view: `de`, or `de.en` for a context in the first language and a question in the second."""
    context, _, question = view.partition(".")
    fields = {"view": view, "context": context, "question": question or context}
    return FIELD.sub(lambda field: fields[field[1]], pattern.replace("{pivot}", pivot))


def plain_or_compressed(path: Path) -> Path:
    """The file itself, or FILE.gz where only that is there."""
    compressed = path.with_name(f"{path.name}.gz")
    return compressed if compressed.is_file() and not path.is_file() else path


def uncompressed(path: Path) -> str:
    """The name of a file without the `.gz` that it may end in."""
    return path.name.removesuffix(".gz")


def orders(pattern: str) -> tuple[str, str]:
    """The pattern, and the same with the languages of a pair in the other order."""
    return pattern, pattern.replace(_PAIR, _SWAPPED)


def find_files(root: Path, roles: Mapping[str, str], view: str, pivot: str) -> dict[str, Path]:
    """The files of a view by role, all with the languages in one order: the first in which the first file exists."""
    choices = [
        {role: plain_or_compressed(root / fill(text, view, pivot)) for role, text in zip(roles, texts, strict=True)}
        for texts in zip(*map(orders, roles.values()), strict=True)
    ]
    return next((files for files in choices if next(iter(files.values())).is_file()), choices[0])


def find_views(root: Path, pattern: str, pivot: str) -> list[str]:
    """The views for which a file of this pattern exists; only the pivot if the pattern has no field."""
    found: dict[str, None] = {}
    for spelling in (f"{order}{end}" for order in orders(pattern) for end in ("", ".gz")):
        if not FIELD.search(spelling):
            found |= dict.fromkeys([pivot] * (root / spelling.replace("{pivot}", pivot)).is_file())
            continue
        paths = root.glob(FIELD.sub("*", spelling).replace("{pivot}", pivot))
        regex, names = _regex(spelling, pivot), (path.relative_to(root).as_posix() for path in paths)
        for fields in filter(None, (_fields(regex, name) for name in names)):
            parts = (fields["view"],) if "view" in fields else (fields["context"], fields["question"])
            found[".".join(dict.fromkeys(parts))] = None
    return list(found)


def unread_files(
    root: Path,
    pivot: str,
    patterns: Collection[str],
    others: Iterable[str],
    read: Collection[Path],
    codes: Collection[str],
) -> Iterator[str]:
    """Notes on the files that are not `read` in the folders of these patterns, each with the name that would be read.

    Files that fit a pattern, or one of the `others`, are not noted: their task is not asked for, or has other files.
    `codes` are the languages that a name may be meant for.
    """
    known = [_regex(pattern, pivot) for pattern in (*patterns, *others)]
    for folder in sorted({pattern.partition("/")[0] for pattern in patterns}):
        inside = (path for path in sorted((root / folder).rglob("*")) if path.is_file() and path not in read)
        names = [path.relative_to(root).as_posix() for path in inside if not _BESIDE.fullmatch(path.name)]
        unread = [name for name in names if all(_fields(regex, name) is None for regex in known)]
        near = [pattern for pattern in patterns if pattern.startswith(f"{folder}/")]
        for name in unread[:_LISTED]:
            first = f", the word in {pivot} first on each line" * (folder == "dictionaries")
            yield f"{name} is not read; files here are named {_nearest(name, near, pivot, codes)}{first}"
        if len(unread) > _LISTED:
            yield f"{folder}/: {len(unread) - _LISTED} more files are not read"


def _nearest(name: str, patterns: Iterable[str], pivot: str, codes: Collection[str]) -> str:
    """The name most like this one that would be read: of the languages in it, else with a gap for the language."""
    words = re.split(r"[^A-Za-z0-9]+", name.rpartition("/")[2])
    found = (word if word in codes else word.lower() for word in words)
    named = [code for code in found if code in codes and code != pivot]
    views = dict.fromkeys(named or ["LANGUAGE"])
    candidates = [fill(pattern, view, pivot) for pattern in patterns for view in views]
    like = name.replace(".0-5000.", ".").replace(".5000-6500.", ".test.")  # MUSE's training and test dictionaries
    return difflib.get_close_matches(like, candidates, n=1, cutoff=0.0)[0]


def _fields(regex: re.Pattern[str], name: str) -> dict[str, str] | None:
    """The fields of a name that fits a pattern; None where it does not fit, or has a language in capitals."""
    match = regex.fullmatch(name)
    return match.groupdict() if match and not any(map(is_in_capitals, match.groupdict().values())) else None


def _regex(pattern: str, pivot: str) -> re.Pattern[str]:
    parts = FIELD.split(pattern.replace("{pivot}", pivot))
    known: set[str] = set()
    for i, name in enumerate(parts):
        parts[i] = re.escape(name) if i % 2 == 0 else f"(?P={name})" if name in known else f"(?P<{name}>{_CODE})"
        known |= {name} if i % 2 else set()
    return re.compile("".join(parts))
