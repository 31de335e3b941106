"""Inputs that users may give: files that are nearly right, odd texts, and command lines of odd values."""

from __future__ import annotations

import gzip
import json
from typing import Any

from hypothesis import strategies as st

QUESTIONS = {"data": [{"paragraphs": [{"context": "the moon sees a star", "qas": [{"id": "1", "question": "who?"}]}]}]}
QUESTIONS["data"][0]["paragraphs"][0]["qas"][0]["answers"] = [{"text": "moon", "answer_start": 4}]  # type: ignore[index]
PAIRS = "a b\tc d\tneutral\ne\tf\tentailment\n"
TAGS = "the\tO\nmoon\tB-LOC\n\nsun\tO\n"
FILES: dict[str, str] = {
    **{f"xnli/{name}.tsv": PAIRS for name in ("train-en", "dev-en", "dev-de", "test-en", "test-de")},
    **{f"panx/{name}.tsv": TAGS for name in ("train-en", "dev-en", "test-en", "test-de")},
    "tatoeba/de-en.de": "eins\nzwei\n",
    "tatoeba/de-en.en": "two\none\n",
    "bucc2018/de-en.test.de": "de-1\teins\nde-2\tzwei\n",
    "bucc2018/de-en.test.en": "en-1\tone\nen-2\ttwo\n",
    "bucc2018/de-en.test.gold": "de-1\ten-1\n",
    "squad/train-v1.1.json": json.dumps(QUESTIONS),
    "xquad/xquad.de.json": json.dumps(QUESTIONS),
    "parallel/de-en.de": "eins\nzwei\n",
    "parallel/de-en.en": "one\ntwo\n",
    "mono/de.txt": "eins\n\nzwei\n",
    "dictionaries/en-de.txt": "one\teins\n",
    "alignments/de-en.gold": "0-0 1p1\n",
    "alignments/de-en.de": "eins zwei\n",
    "alignments/de-en.en": "one two\n",
}
PREDICTIONS = {
    "xnli/test-de.tsv": "neutral\nentailment\n",
    "panx/test-de.tsv": "O\nB-LOC\n\nO\n",
    "tatoeba/test-de.tsv": "1\n0\n",
    "bucc2018/test-de.tsv": "de-1\ten-1\n",
    "xquad/test-de.json": json.dumps({"1": "moon"}),
}
LABELS = {
    "xnli/test-de.tsv": "neutral\nentailment\n",
    "panx/test-de.tsv": "O\nB-LOC\n\nO\n",
    "tatoeba/test-de.tsv": "1\n0\n",
    "bucc2018/test-de.tsv": "de-1\ten-1\n",
    "xquad/test-de.json": json.dumps(QUESTIONS),
}
ODD_BYTES = (
    *(
        b"",
        b"\0",
        b"\xff\xfe",
        b"\xed\xa0\xbd",
        b"\r",
        b"\r\n",
        b"\n\n",
        b"\t",
        b"\t\t\t",
        b"\xef\xbb\xbf",
        b" ",
        b"\xc2\xa0",
    ),
    *(
        b"\xe2\x80\xa8",
        b"\xe2\x80\x8d",
        b'"',
        b'""',
        b"\\",
        b"\\ud83d",
        b"\\u0000",
        b"NaN",
        b"-1",
        b"9" * 5000,
        b"1e999",
    ),
    *(b"[" * 200_000, b'{"a":' * 5000, b"null", b"{}", b"[]", b"true", b"x" * (1 << 20), b"0-0 9-9", b"en-1\ten-1\n"),
    *(b"version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 9\n", b"#", b"de-1", b"neutral", b"B-LOC"),
)
ODD_TEXTS = (
    *(
        "",
        " ",
        ",",
        "a,,b",
        "de, en",
        "DE",
        "xx",
        "official",
        "..",
        "/",
        "~nobody/x",
        "-",
        "--",
        "=",
        "a=b=c",
        ":",
        "://",
        "@",
    ),
    *(
        "\udcff",
        "\u0000",
        "é",
        "\u202e",
        "x" * 5000,
        "9" * 400,
        "-1",
        "0",
        "1",
        "nan",
        "inf",
        "1e999",
        "0x10",
        "１",
        "true",
    ),
    *(
        "[",
        "[" * 3000,
        "{}",
        "null",
        '"',
        "'",
        "\n",
        "*",
        "%",
        "%s",
        "$HOME",
        "mbert",
        "ml-ctl",
        "xnli",
        "babel",
        "folder:",
    ),
    *(
        "folder:.",
        "folder:missing",
        "hub:a/b@c",
        "babel:seed=x",
        "init:4x128",
        "init:0x0",
        "init:999999999x8",
        "init:x",
    ),
    *("sqlite://", "sqlite:///", "mysql://a", "postgresql://a:b@c:d/e", "a@b", "a@b@c", "config.x=1", "align.steps=0"),
    *(
        "align={}",
        "sample=1",
        "tasks.xnli.batch_size=0",
        "tasks.xnli.learning_rates=[1,1]",
        "languages=[1]",
        "tasks=[]",
    ),
)


def texts() -> st.SearchStrategy[str]:
    """An odd text, or two of them, or any text."""
    odd = st.sampled_from(ODD_TEXTS)
    return odd | st.tuples(odd, st.sampled_from(",=:.@/x")).map("".join) | st.text(max_size=20)


@st.composite
def damaged(draw: st.DrawFn, content: str | bytes) -> bytes:
    """A content with up to three parts cut out, doubled or replaced by odd bytes; at times cut short."""
    data = content.encode() if isinstance(content, str) else content
    for _ in range(draw(st.integers(1, 3))):
        first = draw(st.integers(0, len(data)))
        last = draw(st.integers(first, min(len(data), first + 12)))
        part = draw(st.sampled_from(ODD_BYTES) | st.just(data[first:last] * 2) | st.binary(max_size=6))
        data = data[:first] + part + data[last:]
    return data[: draw(st.integers(0, len(data)))] if draw(st.integers(0, 9)) == 0 else data


@st.composite
def folders(draw: st.DrawFn, files: dict[str, str]) -> dict[str, bytes]:
    """Files of which one to three are damaged, missing, compressed or renamed."""
    content = {name: text.encode() for name, text in files.items()}
    for name in draw(st.lists(st.sampled_from(sorted(files)), min_size=1, max_size=3, unique=True)):
        data = draw(damaged(files[name]))
        kind = draw(st.sampled_from(("damaged",) * 5 + ("missing", "compressed", "no gzip", "renamed")))
        del content[name]
        if kind == "damaged":
            content[name] = data
        elif kind != "missing":
            new = f"{name}.gz" if "zip" in kind or kind == "compressed" else name.replace("-", "_")
            content[new] = gzip.compress(data) if kind == "compressed" else data
    return content


def json_values() -> st.SearchStrategy[Any]:
    scalar = st.none() | st.booleans() | st.integers() | st.floats() | texts()
    return st.recursive(
        scalar, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts(), inner, max_size=3), max_leaves=8
    )
