"""PAN-X (WikiANN): names of persons, organisations and places in 40 languages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from harness.data.prepare.archives import Selection
from harness.data.prepare.package import Converted, Download, Package, Raw
from harness.data.prepare.tagging import ReadableRows, TaggedToken, write_rows
from harness.data.prepare.text import lines

LANGUAGES = (
    *("ar", "he", "vi", "id", "jv", "ms", "tl", "eu", "ml", "ta", "te", "af", "nl", "en", "de", "el", "bn", "hi", "mr"),
    *("ur", "fa", "fr", "it", "pt", "es", "bg", "ru", "ja", "ka", "ko", "th", "sw", "yo", "my", "zh", "kk", "tr", "et"),
    *("fi", "hu"),
)
SPLITS = ("train", "dev", "test")
TEST = {
    **dict.fromkeys(LANGUAGES, 10_000),
    **dict.fromkeys(("af", "bn", "hi", "kk", "ml", "mr", "ms", "sw", "ta", "te", "tl", "ur"), 1_000),
    **dict.fromkeys(("jv", "my", "yo"), 100),
}
_CODES = "|".join(LANGUAGES)
_ARCHIVE = re.compile(rf"(?:^|/)({_CODES})\.tar\.gz$")
_MEMBER = re.compile(  # in an archive, renamed by the official script, or in a folder with a telling name
    rf"(?:({_CODES})\.tar\.gz/(?:\./)?|({_CODES})-|(?:panx|wikiann|AmazonPhotos)[^/]*/(?:.*/)?({_CODES})/)"
    r"(train|dev|test)"
)


def convert(raw: Raw, out: Path, official: bool) -> Converted:
    """Removes `xx:` from each token. Without `official`, rows that no reader accepts are omitted and counted."""
    done = Converted()
    for language in LANGUAGES:
        for split in SPLITS:
            if (name := f"{language}-{split}") in raw:
                path = f"{split}-{language}.tsv"
                rows = tokens(text for _, text in lines(raw[name]))
                kept = ReadableRows(rows)
                labels = not (official and split == "test")
                done.items[path] = write_rows(out / path, rows if official else kept, tags=labels)
                if note := kept.note():
                    done.notes.append(f"{path}: {note} (`--official` keeps them)")
    return done


def tokens(texts: Iterable[str]) -> Iterator[TaggedToken | None]:
    """`xx:token TAB tag` lines as rows. The token is the text after the first colon; a line without a colon is dropped,
    and a line without exactly two fields ends the sentence. A blank last line is dropped."""
    held: str | None = None
    for text in texts:
        if held is not None:
            yield from _row(held)
        held = text
    if held is not None and held.strip():
        yield from _row(held)


def _row(text: str) -> Iterator[TaggedToken | None]:
    fields = text.strip().split("\t")
    if len(fields) != 2:
        yield None
    elif ":" in fields[0]:
        yield TaggedToken(fields[0].partition(":")[2].strip(), fields[1].strip())


PACKAGE = Package(
    name="panx",
    title="PAN-X",
    licence="text CC BY-SA 3.0 (Wikipedia); the annotation states none",
    downloads=(
        Download(
            names=("AmazonPhotos.zip", "panx_dataset.zip", "panx_dataset.tar", "panx_dataset.tar.gz"),
            url="https://www.dropbox.com/s/dl/12h3qqog6q4bjve/panx_dataset.tar",
            selection=Selection.by_pattern(_MEMBER, "-", nested=_ARCHIVE),  # `af.tar.gz/train` -> `af-train`
            holds=tuple(f"{language}-{split}" for language in LANGUAGES for split in SPLITS),
            parts=tuple(f"{language}.tar.gz" for language in LANGUAGES),
            sums={"panx_dataset.zip": "164814b64f749ad000988b5ab45050b5116913b3db466ab173008955ddf649a4"},
            note="The official place, AmazonPhotos.zip on Amazon Drive, is gone; the address is a mirror named in "
            "google-research/xtreme issue 101. The archives of single languages (af.tar.gz, ...) will do as well.",
        ),
    ),
    convert=convert,
    published={
        **{f"{split}-{language}.tsv": count for split in ("dev", "test") for language, count in TEST.items()},
        "train-en.tsv": 20_000,
    },
)
