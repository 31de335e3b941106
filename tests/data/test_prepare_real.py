"""Real sentences survive the way from an archive to the folder source, in every script."""

from __future__ import annotations

import bz2
import gzip
from collections.abc import Iterator
from pathlib import Path

from harness.data.folder import Folder
from harness.data.prepare import PACKAGES
from harness.data.prepare.build import Options, prepare
from harness.data.prepare.tatoeba import CODES
from harness.task import TaskSpec
from tasks.bucc2018 import BUCC2018
from tasks.panx import PANX
from tasks.tatoeba import Tatoeba
from tasks.udpos import UDPOS
from tests.support.downloads import tar_of, zip_of

SPLITS = {"sample": "dev", "training": "test"}


class Silent:
    """Watches nothing."""

    def phase(self, title: str, total: int | None = None) -> None:
        pass

    def advance(self, count: int) -> None:
        pass


def archives(data: Path) -> Iterator[tuple[str, bytes]]:
    """The pack's files, put back into the archives that such files are published in."""
    tatoeba = {
        f"LASER-main/data/tatoeba/v1/tatoeba.{code}-eng.{code if side == xx else 'eng'}": path.read_bytes()
        for code, xx in CODES.items()
        for side in (xx, "en")
        if (path := data / f"tatoeba/{xx}-en.{side}").is_file()
    }
    yield "LASER-main.zip", zip_of(tatoeba)
    for xx in ("de", "fr", "ru", "zh"):
        for original, split in SPLITS.items():
            names = {
                f"bucc2018/{xx}-en/{xx}-en.{original}.{side}": f"{xx}-en.{split}.{side}" for side in (xx, "en", "gold")
            }
            files = {name: (data / "bucc2018" / source).read_bytes() for name, source in names.items()}
            yield f"bucc2018-{xx}-en.{original}-gold.tar.bz2", bz2.compress(tar_of(files), 1)
    for xx in PANX.spec.languages:
        paths = {split: data / f"panx/{split}-{xx}.tsv" for split in ("train", "dev", "test")}
        marked = {
            split: "".join(f"{xx}:{line}\n" if line else "\n" for line in path.read_text().split("\n"))
            for split, path in paths.items()
            if path.is_file()
        }
        if marked:
            yield f"{xx}.tar.gz", gzip.compress(tar_of(marked), 1)
    treebanks = {
        f"ud-treebanks-v2.5/UD_X/{path.stem.split('-')[1]}_x-ud-{path.stem.split('-')[0]}.conllu": conllu(path)
        for path in sorted((data / "udpos").glob("*.tsv"))
    }
    yield "ud-treebanks-v2.5.tgz", gzip.compress(tar_of(treebanks), 1)


def conllu(path: Path) -> str:
    """Token and tag in ten columns; each word depends on the one before it."""
    lines, number = [], 0
    for line in path.read_text().rstrip("\n").split("\n"):
        number = number + 1 if line else 0
        word, _, tag = line.partition("\t")
        lines.append(f"{number}\t{word}\t_\t{tag}\t_\t_\t{number - 1}\tdep\t_\t_" if line else "")
    return "\n".join([*lines, "", ""])


def records(folder: Folder, spec: TaskSpec, languages: tuple[str, ...]) -> dict[tuple[str, str], list[object]]:
    cells = [cell for cell in folder.manifest([spec]).tasks if cell.view in languages]
    return {(c.view, c.split): list(folder.task(spec, c.view, c.split)) for c in cells}


def test_real_sentences(shared: Path, tmp_path: Path) -> None:
    data = shared / "data" / "open"
    (tmp_path / "downloads").mkdir()
    for name, content in archives(data):
        (tmp_path / "downloads" / name).write_bytes(content)
    packages = [PACKAGES[name] for name in ("tatoeba", "bucc2018", "panx", "udpos")]
    options = Options(any_release=True)
    for result in prepare(packages, tmp_path / "downloads", tmp_path / "xtreme", options, Silent()):
        assert result.state == "prepared", result.error
    for task in (Tatoeba, BUCC2018, PANX, UDPOS):
        spec = task.spec
        given, made = (records(Folder(root), spec, spec.languages) for root in (data, tmp_path / "xtreme"))
        assert given
        assert made == given
