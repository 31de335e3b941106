"""The second official step for tagging: sentences split for one tokenizer, as the official training scripts need them.

Our own training splits while it reads and does not need it. It is for running the official code on prepared data.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path
from typing import Protocol

UNLABELLED = {"udpos": "X", "panx": "O"}
XLMR_SPECIALS, SPECIALS = 3, 2  # special tokens that the official code subtracts from the length


class SubwordTokenizer(Protocol):
    """The part of a subword tokenizer that splitting needs."""

    unk_token: str

    def tokenize(self, text: str) -> list[str]:
        """The subwords of a word."""


def write_task(folder: Path, task: str, tokenizer: SubwordTokenizer, model: str, *, length: int, specials: int) -> Path:
    """Splits the files of a prepared task into TASK_processed_maxlenN/LANGUAGE/{train,dev,test}.MODEL and .MODEL.idx.

    As in the official scripts only English has a training file, and `labels.txt` lists the tags of all files. Files of
    other models stay. Returns the folder.
    """
    out = folder / f"{task}_processed_maxlen{length}"
    work = folder / ".prepare" / out.name
    shutil.rmtree(work, ignore_errors=True)
    tags: set[str] = set()
    for source in sorted((folder / task).glob("*.tsv")):
        split, _, language = source.stem.partition("-")
        if split == "train" and language != "en":
            continue
        target = work / language / f"{split}.{model}"
        target.parent.mkdir(parents=True, exist_ok=True)
        index = target.with_name(f"{target.name}.idx")
        write_pieces(source, target, index, tokenizer, max_pieces=length - specials, unlabelled=UNLABELLED[task])
        with target.open(encoding="utf-8") as lines:
            tags |= {line.rstrip("\n").split("\t")[1] for line in lines if line.strip()}
    (work / "labels.txt").write_text("".join(f"{tag}\n" for tag in sorted(tags)), encoding="utf-8")
    for path in sorted(path for path in work.rglob("*") if path.is_file()):
        place = out / path.relative_to(work)
        place.parent.mkdir(parents=True, exist_ok=True)
        path.replace(place)
    shutil.rmtree(work)
    with suppress(OSError):  # other work is in progress there
        work.parent.rmdir()
    return out


def write_pieces(
    source: Path, target: Path, index: Path, tokenizer: SubwordTokenizer, *, max_pieces: int, unlabelled: str
) -> None:
    """The official second step: sentences of at most `max_pieces` subwords, longer ones split between two words.

    Lines are split at any blank: only the first part of a token with a blank inside is kept, and a line without exactly
    two parts gets the tag `unlabelled`. A word with no subwords, or with more than `max_pieces`, becomes the unknown
    token. `index` has the number of the original sentence for each word; both files have the same blank lines.
    """
    with (
        source.open(encoding="utf-8") as lines,
        target.open("w", encoding="utf-8", newline="\n") as words,
        index.open("w", encoding="utf-8", newline="\n") as numbers,
    ):
        sentence = used = 0
        for line in lines:
            parts = line.split()
            if not parts:
                words.write("\n")
                numbers.write("\n")
                sentence, used = sentence + 1, 0
                continue
            word, tag = parts[0], parts[1] if len(parts) == 2 else unlabelled
            size = len(tokenizer.tokenize(word))
            if not 0 < size <= max_pieces:
                word, size = tokenizer.unk_token, 1
            cut = "\n" if used + size > max_pieces else ""
            used = size if cut else used + size
            words.write(f"{cut}{word}\t{tag}\n")
            numbers.write(f"{cut}{sentence}\n")
