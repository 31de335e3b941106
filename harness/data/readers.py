"""Records from the files of XTREME's official layout: one reader for each type of record.

Each honours what the official code sees and refuses what it cannot read or would read wrongly; docs/data.md lists both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from harness.data.lines import fields_of, read_lines, scan, shorten
from harness.data.squad_json import read_questions, scan_questions
from harness.errors import UserError
from harness.files import text_digest
from harness.records import PoolSentence, Question, Record, TaggedSentence, TextPair
from harness.task import TaskSpec

OLD_LABELS = {"contradictory": "contradiction"}
PLACEHOLDERS = ("", "NS")  # PAWS-X has NS where a sentence could not be translated
_SORTED_LINES = 5  # from this many lines on, sorted English is taken for the official layout, not for chance


@dataclass(frozen=True)
class Cell:
    """One (task, view, split) and its files by role: `data`, or `source`, `target` and perhaps `gold`.

    `parallel` is the pivot's file where row i of it and of this file are translations, else None.
    """

    spec: TaskSpec
    view: str
    split: str
    pivot: str
    files: Mapping[str, Path]
    parallel: Path | None = None

    @property
    def key(self) -> str:
        return f"{self.spec.name}-{self.view}-{self.split}"

    def missing(self) -> Path | None:
        """The first file that does not exist; gold is optional."""
        return next((path for role, path in self.files.items() if role != "gold" and not path.is_file()), None)


@dataclass(frozen=True)
class Reader:
    """How a type of record is read: `records` in full; `count` and `labelled` from a scan of the files."""

    records: Callable[[Cell], Iterable[Record]]
    count: Callable[[Cell], int]
    labelled: Callable[[Cell], bool]


def reader_of(cell: Cell) -> Reader:
    """The reader of a cell's files. Raises UserError for a type of record that the folder source does not read."""
    record = cell.spec.family.record
    if record is PoolSentence:
        return MINING if "gold" in cell.files else ALIGNED
    if record not in READERS:
        raise UserError(
            f"the folder source cannot read {record.__name__} records",
            found=f"the task {cell.spec.name}, of the family {cell.spec.family.name}",
            expected=", ".join(known.__name__ for known in (*READERS, PoolSentence)),
            remedy="use one of these types of record, or a source that yields yours",
        )
    return READERS[record]


def text_pairs(path: Path, labels: Sequence[str], *, withheld: bool) -> Iterator[tuple[str, str, str | None]]:
    """The rows `sentence1 TAB sentence2 TAB label` of a file; the label is None in a test file of two columns.

    Fields are kept verbatim: quotes that a csv writer added stay, because the official models were trained on them.
    """
    width = 3 if not withheld or scan(path).fields != 2 else 2
    names = "sentence1, sentence2" + (", label" if width == 3 else " (no label, as in the first line)")
    for number, text in read_lines(path):
        fields = fields_of(path, number, text, width, names)
        if not fields[-1].strip():
            raise UserError(
                "the last field is empty, which the official preprocessing cannot read",
                file=path,
                line=number,
                found=shorten(text),
                expected="a label" if width == 3 else "a second sentence",
                remedy="fill the field or drop the row in every language; where test labels are withheld, write two "
                "columns",
            )
        label = _label(path, number, fields[2], labels) if width == 3 else None
        yield fields[0], fields[1], label


def _label(path: Path, number: int, text: str, labels: Sequence[str]) -> str:
    label = OLD_LABELS.get(text.strip(), text.strip())
    if label not in labels:
        raise UserError(
            "a label outside the set",
            file=path,
            line=number,
            found=shorten(label),
            expected=" | ".join(labels),
            remedy="correct the label, or check that the file belongs to this task",
        )
    return label


def nli_pairs(rows: Iterable[tuple[str, str, str | None]]) -> Iterator[TextPair]:
    """The records of an NLI corpus: those of xnli's training set."""
    for row, (first, second, label) in enumerate(rows):
        yield TextPair(f"train-{row}", first, second, label, f"xnli-train-{row}")


def _read_classification(cell: Cell) -> Iterator[Record]:
    clusters: list[str] = []  # empty where the languages are not parallel
    if cell.parallel is not None:
        firsts = (text.split("\t")[0] for _, text in read_lines(cell.parallel))
        clusters = premise_clusters(cell.spec.name, cell.split, firsts)
    rows = text_pairs(cell.files["data"], cell.spec.labels, withheld=cell.split == "test")
    for row, (first, second, label) in enumerate(rows):
        cluster = clusters[row] if clusters else f"{cell.key}-{row}"
        yield TextPair(f"{cell.split}-{row}", first, second, label, cluster)


def premise_clusters(task: str, split: str, firsts: Iterable[str]) -> list[str]:
    """The cluster of each row: the first row with the same first sentence, of those `firsts` in the pivot's rows.

    Joins translations of a row, and rows about one premise.
    """
    known: dict[str, int] = {}
    rows = [row if text in PLACEHOLDERS else known.setdefault(text, row) for row, text in enumerate(firsts)]
    return [f"{task}-{split}-{row}" for row in rows]


def _read_tagging(cell: Cell) -> Iterator[Record]:
    labelled = _tagging_labelled(cell)
    sentences = tagged_sentences(cell.files["data"], cell.spec.labels, labelled=labelled, test=cell.split == "test")
    for row, (words, tags) in enumerate(sentences):
        yield TaggedSentence(f"{cell.split}-{row}", words, tags, f"{cell.key}-{row}")


def tagged_sentences(
    path: Path, labels: Sequence[str], *, labelled: bool, test: bool
) -> Iterator[tuple[tuple[str, ...], tuple[str, ...] | None]]:
    """The sentences of a file with one `token TAB tag` (or `token`) a line and one blank line between sentences.

    The official code splits lines at any Unicode blank, so of a token with one inside only the first part is read. In
    training and dev files its tag is then lost to O (X for parts of speech); test tags are kept, since scores use them.
    """
    words: list[str] = []
    tags: list[str] = []
    for number, text in read_lines(path):
        if not text:
            if not words:
                raise UserError(
                    "a blank line that ends no sentence, on which the official reader fails",
                    file=path,
                    line=number,
                    found="two blank lines in a row, or one at the start",
                    expected="one blank line between sentences",
                    remedy="remove this line",
                )
            yield tuple(words), tuple(tags) if labelled else None
            words, tags = [], []
            continue
        word, tag = _token(path, number, text, labels, labelled, test)
        words.append(word)
        tags.append(tag)
    if words:
        yield tuple(words), tuple(tags) if labelled else None


def _token(path: Path, number: int, text: str, labels: Sequence[str], labelled: bool, test: bool) -> tuple[str, str]:
    names = "token, tag" if labelled else "token (no tag, as in the first line)"
    fields = fields_of(path, number, text, 1 + labelled, names)
    pieces = fields[0].split()
    if not pieces:
        raise UserError(
            "a token of blanks only, for which the official code would read the tag's own text",
            file=path,
            line=number,
            found=shorten(text),
            expected="a token with at least one visible character",
            remedy="remove this line",
        )
    tag = _label(path, number, fields[1], labels) if labelled else ""
    return pieces[0], tag if len(pieces) == 1 or test else lost_tag(labels)


def lost_tag(labels: Sequence[str]) -> str:
    """The tag that the official code gives to a token with a blank inside in training and dev files."""
    return "X" if "X" in labels else "O"


def _tagging_labelled(cell: Cell) -> bool:
    return cell.split != "test" or scan(cell.files["data"]).fields != 1


def _read_aligned(cell: Cell) -> list[Record]:
    """Tatoeba: line i of one file translates line i of the other, unless the English side is sorted."""
    labelled = _aligned_labelled(cell)
    sides: list[list[str]] = [[], []]
    for lines, side in zip(sides, ("source", "target"), strict=True):
        for number, text in read_lines(cell.files[side]):
            if not text.strip():
                raise UserError(
                    "an empty line",
                    file=cell.files[side],
                    line=number,
                    found="a line of blanks",
                    expected="one sentence a line, each with its translation",
                    remedy="drop this line in both languages",
                )
            lines.append(text)
    return aligned_pool(cell.spec.name, cell.view, cell.split, cell.pivot, *sides, labelled=labelled)


def aligned_pool(
    task: str, view: str, split: str, pivot: str, foreign: Sequence[str], english: Sequence[str], *, labelled: bool
) -> list[Record]:
    """Two pools whose rows are translations of each other, or not where `labelled` is False."""
    clusters = [text_cluster(task, split, text) for text in english]
    pools = ("source", view, pivot, foreign), ("target", pivot, view, english)
    return [
        PoolSentence(
            f"{code}-{row}",
            side,
            text,
            (f"{other}-{row}",) if labelled else None,
            clusters[row] if labelled or side == "target" else "",
        )
        for side, code, other, texts in pools
        for row, text in enumerate(texts)
    ]


def _aligned_labelled(cell: Cell) -> bool:
    """Whether the lines are still aligned. Raises UserError if the two files differ in length.

    The official download sorts the English lines by code point, which loses the labels; English in that order from
    five lines on is taken for it.
    """
    source, target = (cell.files[side] for side in ("source", "target"))
    check_parallel(source, target)
    lines = (text for _, text in read_lines(target))
    return scan(target).lines < _SORTED_LINES or any(a > b for a, b in pairwise(lines))


def check_parallel(first: Path, second: Path) -> None:
    """Raises UserError if two files that should be line-aligned have different numbers of lines."""
    counts = scan(first).lines, scan(second).lines
    if counts[0] != counts[1]:
        raise UserError(
            "parallel files of different length",
            file=first,
            line=min(counts) + 1,
            found=f"{counts[0]:,} lines here and {counts[1]:,} in {second}",
            expected="line i of one file translates line i of the other",
            remedy="fetch both files again from one release",
        )


def text_cluster(task: str, split: str, english: str) -> str:
    """The cluster of sentences that translate the same English text."""
    return f"{task}-{split}-{text_digest(english.strip())[:16]}"


def _read_mining(cell: Cell) -> list[Record]:
    """BUCC: `id TAB sentence` on both sides; gold lines are `foreign id TAB English id`."""
    texts = {
        "source": _identified(cell.files["source"], cell.pivot),
        "target": _identified(cell.files["target"], cell.view),
    }
    partners = _partners(cell, texts) if cell.files["gold"].is_file() else None
    records: list[Record] = []
    for side, sentences in texts.items():
        for name, text in sentences.items():
            mates = None if partners is None else partners[side].get(name, ())
            english = text if side == "target" else texts["target"][mates[0]] if mates else ""
            cluster = text_cluster(cell.spec.name, cell.split, english) if english else ""
            records.append(PoolSentence(name, side, text, mates, cluster))
    return records


def _identified(path: Path, other: str) -> dict[str, str]:
    """The sentences of a file by id. Ids may be any text, but not all of them those of the other side's official file:
    then the two files were swapped."""
    sentences: dict[str, str] = {}
    for number, text in read_lines(path):
        name, sentence = fields_of(path, number, text, 2, "id, sentence")
        if name in sentences:
            raise _id_error("an id that occurs twice", path, number, name, "each id once")
        sentences[name] = sentence
    if all(name.startswith(f"{other}-") for name in sentences):
        raise _id_error("an id of another language", path, 1, next(iter(sentences)), f"the other side of {other}")
    return sentences


def _id_error(what: str, path: Path, line: int, name: str, expected: str) -> UserError:
    remedy = "repair the ids; the gold file refers to them"
    return UserError(what, file=path, line=line, found=shorten(name), expected=expected, remedy=remedy)


def _partners(cell: Cell, texts: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, tuple[str, ...]]]:
    path = cell.files["gold"]
    partners: dict[str, dict[str, tuple[str, ...]]] = {"source": {}, "target": {}}
    for number, text in read_lines(path):
        pair = dict(zip(("source", "target"), fields_of(path, number, text, 2, "foreign id, English id"), strict=True))
        for side, name in pair.items():
            if name not in texts[side]:
                raise UserError(
                    "a gold pair with an id that its file lacks",
                    file=path,
                    line=number,
                    found=shorten(name),
                    expected=f"an id of {cell.files[side]}",
                    remedy="use the gold file of the same split and release",
                )
            mate = pair["target" if side == "source" else "source"]
            partners[side][name] = tuple(dict.fromkeys((*partners[side].get(name, ()), mate)))
    return partners


def _sentences(cell: Cell) -> int:
    found = scan(cell.files["data"])
    return found.blank + (not found.ends_blank)


def _pool_size(cell: Cell) -> int:
    return scan(cell.files["source"]).lines + scan(cell.files["target"]).lines


def _read_qa(cell: Cell) -> Iterator[Record]:
    prefix = f"{cell.spec.name}-{cell.split}"
    language = cell.view.partition(".")[0]
    return read_questions(cell.files["data"], prefix, language, repeated_ids=cell.split == "train")


ALIGNED = Reader(_read_aligned, _pool_size, _aligned_labelled)
MINING = Reader(_read_mining, _pool_size, lambda cell: cell.files["gold"].is_file())
READERS = {
    TextPair: Reader(
        _read_classification,
        lambda cell: scan(cell.files["data"]).lines,
        lambda cell: cell.split != "test" or scan(cell.files["data"]).fields != 2,
    ),
    TaggedSentence: Reader(_read_tagging, _sentences, _tagging_labelled),
    Question: Reader(
        _read_qa,
        lambda cell: scan_questions(cell.files["data"]).questions,
        lambda cell: scan_questions(cell.files["data"]).answered > 0,
    ),
}
