"""Drawing, matching and tokenizing a sample that is larger than memory.

    python -m benchmarks.scale [--pairs 3840000] [--languages 8] [--folder FOLDER]

Makes a parallel corpus of synthetic words with dictionaries, then reads it into Arrow files, draws the sample (which
matches the words of the dictionary), tokenizes both sides, and places every dictionary word. Each step has a process
of its own. Prints pairs per second, CPU seconds and peak resident memory (`ru_maxrss`, which counts pages of mapped
files), and writes them to FOLDER/figures.json. After a kill the same command resumes: finished steps are not repeated,
and the step that was killed continues after its last finished file. Delete FOLDER to start again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from harness.data.corpora import SourceCorpora
from harness.data.folder import Folder
from harness.data.record_table import RecordTable, write_table
from harness.data.sample import POOL_LAYOUT, Sample, SampleSettings, draw_sample, load_sample, save_sample
from harness.files import write_atomically, write_json
from harness.modeling.tokenizer import Tokenizer
from harness.pair_method import PairExamples
from harness.provenance import peak_memory
from harness.records import Corpus, ParallelPair
from harness.training.pretraining import learn_tokenizer
from methods.objectives.words import WordPairExamples

CODES = {"de": "a", "tr": "à", "ru": "а", "el": "α", "ar": "ب", "hi": "क", "ka": "ა", "am": "ሀ"}  # a letter of each
WORDS, LENGTH = 30_000, 15  # of the vocabulary; of a sentence, which is 27 tokens with the special ones
SPARE = 1.02  # sentence pairs in the corpus for each one in the sample
TOKENIZER_TEXTS, VOCABULARY, MAX_LENGTH = 20_000, 30_000, 64


class ScaleSetting(NamedTuple):
    folder: Path
    pairs: int
    languages: tuple[str, ...]

    @property
    def source(self) -> Folder:
        return Folder.open(str(self.folder / "corpus"))

    @property
    def pool(self) -> Path:
        return self.folder / "pool"

    @property
    def sample(self) -> Sample:
        return load_sample(self.folder / "sample")


def make_corpus(setting: ScaleSetting) -> int:
    """Sentences of random words, of which the first thousand are as frequent as all others; translated word by word."""
    corpus, count = setting.folder / "corpus", int(setting.pairs * SPARE / len(setting.languages)) + 1
    english = spell("a", 0)
    for number, code in enumerate(setting.languages, start=1):
        words = spell(CODES[code], number)
        entries = "".join(f"{english[i]}\t{words[i]}\n" for i in range(0, WORDS, 2))
        write_atomically(corpus / "dictionaries" / f"en-{code}.txt", lambda p, text=entries: p.write_text(text))  # type: ignore[misc]
        for side, lexicon in (("en", english), (code, words)):
            path = corpus / "parallel" / f"{code}-en.{side}"
            if not path.is_file():
                write_atomically(path, lambda p, n=number, w=lexicon, c=count: write_side(p, n, w, c))  # type: ignore[misc]
    return count * len(setting.languages)


def write_side(path: Path, seed: int, words: np.ndarray, count: int) -> None:
    rng = np.random.default_rng(seed)
    with path.open("w", encoding="utf-8") as file:
        for start in range(0, count, 10_000):
            size = (min(10_000, count - start), LENGTH)
            chosen = np.where(rng.random(size) < 0.5, rng.integers(0, 1000, size), rng.integers(0, WORDS, size))
            file.writelines(" ".join(row) + "\n" for row in words[chosen].tolist())


def spell(letter: str, seed: int) -> np.ndarray:
    """Distinct words of the sixteen letters from `letter` on, of 3 to 8 letters: the first ones are short."""
    rng, alphabet = np.random.default_rng((1, seed)), [chr(ord(letter) + i) for i in range(16)]
    words: dict[str, None] = {}
    while len(words) < WORDS:
        length = 3 + len(words) * 5 // WORDS + int(rng.integers(0, 2))
        words["".join(alphabet[i] for i in rng.integers(0, 16, length))] = None
    return np.array(list(words), dtype=object)


def read_pool(setting: ScaleSetting) -> int:
    records: Iterator[Any] = setting.source.stream(Corpus.PARALLEL, setting.languages)
    return len(write_table(records, setting.pool, POOL_LAYOUT, "reading the corpus"))


def draw(setting: ScaleSetting) -> int:
    """One word for each sentence pair, so that the sample has as many sentence pairs as sample pairs."""
    pool: RecordTable[ParallelPair] = RecordTable(setting.pool, POOL_LAYOUT)
    dictionary: Any = setting.source.corpus(Corpus.DICTIONARY, setting.languages)
    settings = SampleSettings(size=setting.pairs, max_words_per_pair=1)
    sample = draw_sample(pool, dictionary, settings, cache=setting.folder / "matches")
    (setting.folder / "sample").mkdir(exist_ok=True)
    save_sample(sample, setting.folder / "sample")
    return len(sample.pairs)


def tokenizer(setting: ScaleSetting) -> Tokenizer:
    texts = [text for pair in setting.sample.pairs[:TOKENIZER_TEXTS] for text in (pair.source, pair.target)]
    return Tokenizer(learn_tokenizer(texts, VOCABULARY, MAX_LENGTH), setting.folder / "tokens")


def tokenize(setting: ScaleSetting) -> int:
    examples = PairExamples.of(setting.sample.pairs, tokenizer(setting), MAX_LENGTH)
    print(f"{examples.lengths.mean() / 2:.1f} tokens a side, special tokens included")
    return len(examples)


def place_words(setting: ScaleSetting) -> int:
    """Every dictionary word, as word-contrast and l2-align need them; the tokens are there already."""
    pairs: Any = setting.sample.pairs
    needs = frozenset({Corpus.PARALLEL, Corpus.DICTIONARY})
    corpora = SourceCorpora(pairs, tokenizer(setting), setting.source, setting.languages, MAX_LENGTH, needs)
    return len(WordPairExamples.of(corpora))


STEPS: dict[str, Callable[[ScaleSetting], int]] = {
    "corpus": make_corpus,
    "read": read_pool,
    "draw and match": draw,
    "tokenize": tokenize,
    "place all words": place_words,
}


def run_step(name: str, setting: ScaleSetting) -> dict[str, Any]:
    """Runs one step in this process and measures it."""
    started = setting.folder / f"{name}.started"
    resumed = started.is_file()
    started.touch()
    start, cpu_start = time.perf_counter(), time.process_time()
    pairs = STEPS[name](setting)
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
    return {
        "pairs": pairs,
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "peak_mebibytes": peak_memory() / 2**20,
        "resumed": resumed,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=3_840_000, help="size of the sample")
    parser.add_argument("--languages", type=int, default=len(CODES), choices=range(1, len(CODES) + 1))
    parser.add_argument("--folder", type=Path, help="about 2.5 KB for each pair; default: in the temporary folder")
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    name = f"alignboard-scale-{options.pairs}-{options.languages}"
    setting = ScaleSetting(
        options.folder or Path(tempfile.gettempdir()) / name, options.pairs, tuple(CODES)[: options.languages]
    )
    setting.folder.mkdir(parents=True, exist_ok=True)
    results = setting.folder / "figures.json"
    figures: dict[str, Any] = json.loads(results.read_text()) if results.is_file() else {}
    if options.step:
        write_json(results, figures | {options.step: run_step(options.step, setting)}, indent=1)
        return
    for step in STEPS:
        if step not in figures:
            subprocess.run([sys.executable, "-m", "benchmarks.scale", *sys.argv[1:], "--step", step], check=True)
            figures = json.loads(results.read_text())
        took = figures[step]
        rate, note = took["pairs"] / took["seconds"], "  (resumed)" if took["resumed"] else ""
        print(
            f"{step:15} {took['pairs']:>10,} pairs {took['seconds']:8.1f} s {rate:>8,.0f} pairs/s"
            f" {took['cpu_seconds']:8.1f} s of CPU {took['peak_mebibytes']:6,.0f} MiB{note}",
            flush=True,
        )
    print(f"written to {results}")


if __name__ == "__main__":
    main()
