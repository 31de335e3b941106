"""Small made-up downloads of every data set, packed as the published archives are."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

from tests.support.golden_cases import cases

CASES = cases("preprocess/cases.json")["cases"]
Files = dict[str, str]

CONLLU = """# sent_id = 1
1\tWe\twe\tPRON\t_\t_\t2\tnsubj\t_\t_
2\tsee\tsee\tVERB\t_\t_\t0\troot\t_\t_
3-4\tdel\t_\t_\t_\t_\t_\t_\t_\t_
3\tde\tde\tADP\t_\t_\t5\tcase\t_\t_
4\tel\tel\tDET\t_\t_\t5\tdet\t_\t_
5\tmar\tmar\tNOUN\t_\t_\t2\tobl\t_\t_

# sent_id = 2
1\tNo\tno\tINTJ\t_\t_\t0\troot\t_\t_

"""


def squad(*questions: str) -> str:
    entries = [{"id": q, "question": f"{q}?", "answers": [{"answer_start": 4, "text": "düf"}]} for q in questions]
    content = {"data": [{"title": "T", "paragraphs": [{"context": "abc düf", "qas": entries}]}], "version": "1.1"}
    return json.dumps(content, ensure_ascii=False)


def panx(language: str) -> Files:
    text = f"{language}:Rome\tB-LOC\n{language}:is\tO\n\n{language}:x:y\tO\n\n"
    return {split: text.replace("is", split) for split in ("train", "dev", "test", "extra")}


def tatoeba(code: str) -> Files:
    english = "".join(f"{word} is here.\n" for word in ("This", "That", "A cat", "No one", "It", "Home"))
    foreign = "".join(f"{code} {n}\n" for n in range(6))
    return {f"tatoeba.{code}-eng.{code}": foreign, f"tatoeba.{code}-eng.eng": english}


def bucc(language: str, original: str) -> Files:
    side = {xx: "".join(f"{xx}-{n:09}\tsentence {n} of {xx}\n" for n in range(1, 4)) for xx in (language, "en")}
    gold = f"{language}-000000001\ten-000000003\n"
    stem = f"bucc2018/{language}-en/{language}-en.{original}"
    return {f"{stem}.{language}": side[language], f"{stem}.en": side["en"], f"{stem}.gold": gold}


def unpacked() -> dict[str, Files]:
    """The content of each archive by its name; the name of a loose file stands for itself."""
    xnli = CASES["xnli"]["input_files"]
    tydiqa = CASES["tydiqa"]["input_files"]
    train = "tydiqa-goldp-v1.1-train.json"
    treebanks = {f"ud-treebanks-v2.5/UD_X/{xx}_{bank}-ud-{split}.conllu": CONLLU for xx, bank, split in TREEBANKS}
    mlqa = {
        f"MLQA_V1/{split}/{split}-context-{a}-question-{b}.json": squad("q1", "q2")
        for split in ("dev", "test")
        for a in ("de", "en")
        for b in ("de", "en")
    }
    archives = {
        "XNLI-1.0.zip": {name: text for name, text in xnli.items() if "XNLI-1.0" in name},
        "XNLI-MT-1.0.zip": {name: text for name, text in xnli.items() if "XNLI-MT" in name},
        "x-final.tar.gz": {f"x-final/{name}": text for name, text in CASES["pawsx"]["input_files"].items()},
        "ud-treebanks-v2.5.tgz": {**treebanks, "ud-treebanks-v2.5/UD_Y/no_x-ud-test.conllu": "not read"},
        "MLQA_V1.zip": {**mlqa, "MLQA_V1/README": "not read"},
        "tydiqa-goldp-v1.1-dev.tgz": {name: text for name, text in tydiqa.items() if name != train},
        "LASER-main.zip": {
            f"LASER-main/data/tatoeba/v1/{name}": text for xx in ("deu", "swh") for name, text in tatoeba(xx).items()
        },
    }
    for original in ("sample", "training"):
        archives[f"bucc2018-de-en.{original}-gold.tar.bz2"] = bucc("de", original)
    loose = {
        train: tydiqa[train],
        "train-v1.1.json": squad("t1", "t2", "t3"),
        "dev-v1.1.json": squad("d1"),
        **{f"xquad.{xx}.json": squad("x1", "x2") for xx in ("de", "en")},
    }
    return {**archives, **{name: {name: text} for name, text in loose.items()}}


TREEBANKS = [("en", "b", "train"), ("en", "a", "train"), ("en", "a", "dev"), ("en", "a", "test"), ("es", "x", "test")]


def packed(name: str, files: Files) -> bytes:
    """The bytes of an archive, of the format that its name tells."""
    if name.endswith(".zip"):
        return zip_of(files)
    if name in files:
        return files[name].encode()
    tar = tar_of(files)
    return bz2.compress(tar) if name.endswith(".bz2") else gzip.compress(tar, mtime=0) if "gz" in name else tar


def write_packed(folder: Path) -> None:
    """All of them as they are downloaded; PAN-X is an archive of archives."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, files in unpacked().items():
        (folder / name).write_bytes(packed(name, files))
    inner = {f"panx_dataset/{xx}.tar.gz": gzip.compress(tar_of(panx(xx)), mtime=0) for xx in ("en", "ja")}
    (folder / "AmazonPhotos.zip").write_bytes(zip_of(inner))


def write_unpacked(folder: Path) -> None:
    """All of them unpacked, each archive in a folder of its own."""
    for name, files in unpacked().items():
        for path, text in files.items():
            target = folder / name.split(".")[0] / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(text.encode())
    for xx in ("en", "ja"):
        for split, text in panx(xx).items():
            (folder / f"panx/{xx}").mkdir(parents=True, exist_ok=True)
            (folder / f"panx/{xx}/{split}").write_text(text)


def tar_of(files: Mapping[str, str | bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, text in files.items():
            content = text.encode() if isinstance(text, str) else text
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def zip_of(files: Mapping[str, str | bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return buffer.getvalue()


def content_of(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones too."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
