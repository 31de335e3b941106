"""Does every method improve what it optimises? `python -m validation.probes --seeds 0 1 2 --out probes.jsonl`.

Each line of the output file is one probe of one seed; finished probes are not repeated. The table at the end has the
mean and the standard deviation of each figure over the seeds.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from validation.probes import entities, language_models, sentences, words
from validation.probes.common import Figures

PROBES: dict[str, Callable[..., Figures]] = {  # by method
    "xlm": language_models.xlm,
    "ppa": sentences.ppa,
    "veco": language_models.veco,
    "veco2": words.veco2,
    "mmte": language_models.mmte,
    "infoxlm": sentences.infoxlm,
    "xlm-e": language_models.xlm_e,
    "xlm-align": language_models.xlm_align,
    "amber": sentences.amber,
    "align-mlm": words.align_mlm,
    "dict-mlm": words.dict_mlm,
    "word-contrast": words.word_contrast,
    "l2-align": words.l2_align,
    "msimcse": sentences.msimcse,
    "xlm-k": entities.xlm_k,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", choices=PROBES, default=[*PROBES])
    parser.add_argument("--out", type=Path, default=Path("probes.jsonl"))
    chosen = parser.parse_args()
    done = {(record["probe"], record["seed"]) for record in records(chosen.out)}
    for seed in chosen.seeds:
        for name in chosen.only:
            if (name, seed) not in done:
                record = run(name, seed)
                with chosen.out.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(record) + "\n")
    print(table([r for r in records(chosen.out) if r["seed"] in chosen.seeds and r["probe"] in chosen.only]))


def run(name: str, seed: int) -> dict[str, Any]:
    """The figures and CPU seconds of one probe of one seed (the first probe includes the training of the base)."""
    began = time.process_time()
    figures = PROBES[name](seed)
    return {"probe": name, "seed": seed, "cpu_seconds": round(time.process_time() - began), "figures": figures}


def records(file: Path) -> list[dict[str, Any]]:
    """The records of the output file; none if it does not exist."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []


def table(found: list[dict[str, Any]]) -> str:
    """A Markdown table with a line per probe and figure: mean, standard deviation and the value of each seed."""
    order, figures = list(PROBES), defaultdict[tuple[str, str], list[float]](list)
    for record in sorted(found, key=lambda r: (order.index(r["probe"]), r["seed"])):
        for figure, value in record["figures"].items():
            figures[record["probe"], figure].append(value)
    lines = ["| probe | figure | mean | sd | by seed |", "| --- | --- | ---: | ---: | --- |"]
    for (name, figure), values in figures.items():
        spread = f"{stdev(values):.3g}" if len(values) > 1 else "-"
        lines.append(
            f"| {name} | {figure} | {fmean(values):.4g} | {spread} | {', '.join(f'{v:.4g}' for v in values)} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
