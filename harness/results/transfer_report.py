"""The report of the study align-mlm: the loss of transfer from a changed property, and its relation to alignment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from harness.errors import counted
from harness.evaluation.correlation import correlate, fit_mixed_model
from harness.evaluation.statistics import LEVEL, MIN_SEEDS, is_significant
from harness.files import write_text
from harness.results.figures import Estimate, interval_figure, point_figure
from harness.results.item_reader import ItemReader, SelectedRun
from harness.results.rendering import format_line, format_signed, markdown_rows
from harness.results.verdicts import ComparedLine, compare_pairs

ALIGNMENT = "static-retrieval"  # ALIGN-MLM's measure: accuracy@1 of static embeddings
Runs = Mapping[str, Mapping[str, Sequence[SelectedRun]]]  # by property and method, one for each seed


def read_points(reader: ItemReader, runs: Runs, tasks: Sequence[str], pivot: str, language: str) -> pd.DataFrame:
    """A line for each task, property (`view`), method (`row`) and seed: the scores in the `pivot` and in the language
    (`zero_shot`), the `drop` between them, the alignment (`measure`), and `transfer`, the drop with the other sign."""
    lines = []
    for view, methods in runs.items():
        for row, own in methods.items():
            measures = reader.values(ALIGNMENT, own, language)
            for task in tasks:
                scores = (reader.values(task, own, name) for name in (pivot, language))
                for seed, values in enumerate(zip(*scores, measures, strict=True)):
                    lines.append([task, view, row, seed, *map(float, values)])
    frame = pd.DataFrame(lines, columns=["task", "view", "row", "seed", "pivot", "zero_shot", "measure"])
    return frame.assign(drop=frame["pivot"] - frame["zero_shot"], transfer=frame["zero_shot"] - frame["pivot"])


def compare_methods(
    reader: ItemReader, runs: Runs, tasks: Sequence[str], language: str
) -> dict[tuple[str, str], list[ComparedLine]]:
    """The zero-shot scores of each method against those of the first, by property and method; p-values are corrected
    within a property."""
    found: dict[tuple[str, str], list[ComparedLine]] = {}
    for view, methods in runs.items():
        first, *others = methods
        pairs = [(name, first) for name in others]
        lines = compare_pairs(reader, methods, pairs, tasks, by_view=True, views=[language])
        found |= {(view, name): own for name, own in zip(others, lines, strict=True)}
    return found


def write_transfer_report(
    folder: Path, about: str, points: pd.DataFrame, compared: Mapping[tuple[str, str], Sequence[ComparedLine]]
) -> list[Path]:
    """The report as Markdown with its figures, and the points as CSV."""
    folder.mkdir(parents=True, exist_ok=True)
    first = str(points["row"].iloc[0])
    by_task = list(points.groupby("task", sort=False))
    parts = [
        f"# Alignment and transfer from scratch\n\n{about}\n",
        "## What these runs show\n",
        *(f"- {sentence}" for sentence in judge_methods(compared, first)),
        *(f"- {sentence}" for task, own in by_task for sentence in judge_relation(str(task), own)),
        "\n## Zero-shot scores against " + first + "\n",
        markdown_rows(
            ["property", "method", "task", first, "method's", "difference", "95% interval", "p"],
            _compared_lines(compared),
        ),
    ]
    for task, own in by_task:
        parts += [f"\n## {task}: loss from the pivot to the changed language, points\n", _grid(own, "drop")]
        parts += [f"\nScores in the pivot, which tell whether {task} was learnt:\n", _grid(own, "pivot")]
    parts += [
        "\n![losses](losses.svg)\n\n## Alignment: accuracy@1 of static embeddings, %\n",
        _grid(by_task[0][1], "measure"),
        "\n![alignment and transfer](alignment.svg)\n",
    ]
    means = points.groupby(["task", "view", "row"], sort=False)[["measure", "transfer"]].mean().reset_index()
    marks = [
        Estimate(f"{task}, {view}, {row}", float(own["drop"].mean()), _interval(own["drop"]))
        for (task, view, row), own in points.groupby(["task", "view", "row"], sort=False)
    ]
    axes = {"measure": "accuracy@1 of static embeddings, %", "transfer": "changed language minus pivot, points"}
    files = {
        "study.md": "\n".join(parts),
        "losses.svg": interval_figure(marks, "Loss from the pivot, points, with 95% intervals over seeds"),
        "alignment.svg": point_figure(
            means.rename(columns={"view": "property", "row": "method"} | axes),
            "Zero-shot transfer against alignment",
            x=axes["measure"],
            y=axes["transfer"],
            colour="method",
            shape="property",
            column="task",
        ),
        "points.csv": points.to_csv(index=False),
    }
    for name, text in files.items():
        write_text(folder / name, text)
    return [folder / name for name in files]


def judge_methods(compared: Mapping[tuple[str, str], Sequence[ComparedLine]], first: str) -> list[str]:
    """Where a method transfers better or worse than the first one, from corrected p-values over seeds and items."""
    kinds: dict[str, list[str]] = {"better": [], "worse": [], "same": [], "unjudged": []}
    for (view, name), lines in compared.items():
        for line in lines:
            if line.difference.reason or line.p is None:
                kind = "unjudged"
            elif not is_significant(line.p):
                kind = "same"
            else:
                kind = "better" if line.difference.estimate > 0 else "worse"
            kinds[kind].append(f"{name} on {line.task} ({view})")
    found = [
        f"Zero-shot transfer {kind} than that of {first}: {', '.join(kinds[kind])}."
        for kind in ("better", "worse")
        if kinds[kind]
    ]
    if kinds["same"]:
        found.append(f"Not to be told apart from {first}: {', '.join(kinds['same'])}.")
    if kinds["unjudged"]:
        found.append(
            f"{counted(len(kinds['unjudged']), 'comparison')} without a verdict, which needs {MIN_SEEDS} seeds."
        )
    return found


def judge_relation(task: str, own: pd.DataFrame) -> list[str]:
    """Whether alignment goes with transfer: coefficients over methods and properties, and the slope of the mixed model,
    which is the relation beyond what the method and the property do."""
    found = [
        f"{task}: {one.name}'s coefficient of alignment and transfer over {one.n} points is "
        + format_signed(one.value, 2)
        + (f" [{format_signed(one.low, 2)}, {format_signed(one.high, 2)}]." if np.isfinite(one.low) else ".")
        for one in correlate(own)
    ]
    slope = fit_mixed_model(own)
    if slope is not None:
        sure = slope.low > 0 or slope.high < 0
        end = "goes with" if sure and slope.value > 0 else "goes against" if sure else "is not shown to go with"
        found.append(
            f"{task}: with random effects of methods and properties, one point of alignment {end} transfer "
            f"({format_signed(slope.value, 2)} points [{format_signed(slope.low, 2)}, {format_signed(slope.high, 2)}])."
        )
    return found or [f"{task}: too few methods or properties to relate alignment and transfer."]


def _grid(own: pd.DataFrame, column: str) -> str:
    """Means over seeds and their standard deviations, methods by properties."""
    cells = own.groupby(["row", "view"], sort=False)[column]
    texts = {
        key: f"{one.mean():.1f}".replace("-", "−") + (f" ± {one.std():.1f}" if len(one) > 1 else "")
        for key, one in cells
    }
    views = list(own["view"].unique())
    lines = [[str(row), *(texts[row, view] for view in views)] for row in own["row"].unique()]
    return markdown_rows(["method", *views], lines)


def _compared_lines(compared: Mapping[tuple[str, str], Sequence[ComparedLine]]) -> Iterable[list[str]]:
    for (view, name), lines in compared.items():
        for line in lines:
            yield [view, name, line.task, f"{line.second:.1f}", f"{line.first:.1f}", *format_line(line)]


def _interval(values: pd.Series) -> tuple[float, float] | None:
    """The 95% interval of a mean over seeds."""
    if len(values) < MIN_SEEDS:
        return None
    half = float(stats.t.ppf((1 + LEVEL) / 2, len(values) - 1) * stats.sem(values))
    return float(values.mean()) - half, float(values.mean()) + half
