"""The report of the study cz-nce: where CZ-NCE scores higher than InfoNCE, and where it keeps gradients."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from harness.evaluation.statistics import is_significant
from harness.files import write_text
from harness.results.figures import Estimate, interval_figure, line_figure
from harness.results.rendering import format_line, markdown_rows
from harness.results.verdicts import ComparedLine, describe
from harness.storage.store import AVERAGE

if TYPE_CHECKING:
    from harness.evaluation.gradients import GradientFigures

INFO, CZ = "InfoNCE", "CZ-NCE"
_GRADIENTS = (
    "Of the loss of each pair, with respect to its own two vectors, on frozen pairs of the sample. Lost: every "
    "component is zero or sub-normal in the precision of the logits. Wrong: lost, or more than a tenth of its length "
    "away from the gradient in 64 bits. The norm is the median of that in 64 bits. The methods compute their logits in "
    "fp32 whatever the precision of a run; bf16 and fp16 show what an implementation meets that does not."
)
SHARE = 1.0  # percent of the pairs: a smaller difference between the losses is not reported as one


def write_loss_report(
    folder: Path,
    about: str,
    scores: Mapping[int, Sequence[ComparedLine]],
    gradients: Sequence[GradientFigures],
    temperature: float,
) -> list[Path]:
    """The report as Markdown with its figures, and the gradients as CSV.

    `scores` has by batch size CZ-NCE (first) against InfoNCE, by task and, of several tasks, last on average;
    `temperature` is that of the methods.
    """
    folder.mkdir(parents=True, exist_ok=True)
    frame = pd.DataFrame(map(asdict, gradients))
    columns = [
        "vectors",
        "logits",
        "pairs in a batch",
        *(f"{loss}: {what}" for loss in (INFO, CZ) for what in _FIGURES),
    ]
    parts = [
        f"# InfoNCE and CZ-NCE\n\n{about}\n",
        "## When CZ-NCE helps\n",
        *(f"- {sentence}" for sentence in (*judge_scores(scores), *judge_gradients(gradients, temperature))),
        "\n## Final scores\n",
        markdown_rows(["batch", "task", INFO, CZ, "difference", "95% interval", "p"], _score_lines(scores)),
        "\n![CZ-NCE minus InfoNCE](scores.svg)\n",
        f"## Gradients\n\n{_GRADIENTS}\n",
        f"At the temperature of the methods, {temperature:g} (gradients.csv has all):\n",
        markdown_rows(columns, _gradient_lines(gradients, temperature)),
        "\n![wrong gradients](wrong-gradients.svg)\n",
        "![norms](gradient-norms.svg)\n",
    ]
    marks = [
        Estimate(f"batch of {size}, {line.task}", line.difference.estimate, line.difference.known_interval())
        for size, lines in scores.items()
        for line in lines
    ]
    lines = partial(line_figure, x="batch_size", colour="temperature", dash="loss", column="state")
    norms = frame[frame["precision"] == "fp32"]
    files = {
        "study.md": "\n".join(parts),
        "scores.svg": interval_figure(marks, f"{CZ} minus {INFO} in points, with 95% intervals", signed=True),
        "wrong-gradients.svg": lines(frame, "Wrong gradients, % of the pairs", y="wrong", row="precision"),
        "gradient-norms.svg": lines(norms, "Median norm of a pair's gradient", y="norm", log_y=True),
        "gradients.csv": frame.to_csv(index=False),
    }
    for name, text in files.items():
        write_text(folder / name, text)
    return [folder / name for name in files]


def judge_scores(scores: Mapping[int, Sequence[ComparedLine]]) -> list[str]:
    """What the final scores say by batch size, first of all sizes in one sentence, then of each."""
    kinds: dict[str, list[int]] = {}
    for size, lines in scores.items():
        kinds.setdefault(_outcome(lines[-1]), []).append(size)
    said = "; ".join(f"{kind} with {_batches(sizes)}" for kind, sizes in kinds.items())
    return [
        f"In final scores, {CZ} {said}.",
        *(
            f"Batches of {size}: {describe(lines[-1], CZ, INFO)}{_by_outcome(lines[:-1])}"
            for size, lines in scores.items()
        ),
    ]


def _by_outcome(lines: Sequence[ComparedLine]) -> str:
    """The single tasks behind an average, by what CZ-NCE does there."""
    tasks: dict[str, list[str]] = {}
    for line in lines:
        tasks.setdefault(_outcome(line), []).append(line.task)
    said = [f"{kind} on {', '.join(names)}" for kind, names in tasks.items()]
    return f" It {'; '.join(said)}." if said else ""


def _outcome(line: ComparedLine) -> str:
    if line.difference.reason or line.p is None:
        return f"is not judged against {INFO}"
    if not is_significant(line.p):
        return f"cannot be told apart from {INFO}"
    return f"is {'better' if line.difference.estimate > 0 else 'worse'} than {INFO}"


def judge_gradients(gradients: Sequence[GradientFigures], temperature: float) -> list[str]:
    """What the gradients say, by vectors and precision: where one loss has more wrong ones at this temperature, in how
    many settings of all, and how the norms compare."""
    found = []
    for (state, precision), every in _grouped(gradients):
        cells = {(one.loss, one.batch_size): one for one in every.values() if one.temperature == temperature}
        said = []
        for loss, other in ((CZ, INFO), (INFO, CZ)):
            ahead = [n for n in _sizes(cells) if cells[other, n].wrong - cells[loss, n].wrong > SHARE]
            settings = sum(
                every[other, n, t].wrong - one.wrong > SHARE for (name, n, t), one in every.items() if name == loss
            )
            if ahead:
                wrong = (f"{cells[name, ahead[0]].wrong:.0f}%" for name in (other, loss))
                said.append(
                    f"{loss} keeps gradients that {other} loses or distorts with {_batches(ahead)} "
                    f"({' wrong against '.join(wrong)} with {ahead[0]})"
                )
            if settings:
                said.append(f"{loss} is ahead in {settings} of all {len(every) // 2} batch sizes and temperatures")
        found.append(
            f"Vectors {state}, logits in {precision}: "
            f"{'; '.join(said) or 'neither loss keeps gradients that the other loses'}."
        )
        if precision == "fp32":
            ratios = {n: cells[CZ, n].norm / cells[INFO, n].norm for n in _sizes(cells)}
            most, least = max(ratios, key=ratios.__getitem__), min(ratios, key=ratios.__getitem__)
            found.append(
                f"Vectors {state}: the gradient of {CZ} is {ratios[most]:.3g} times as long as that of {INFO} with "
                f"batches of {most}" + ("." if most == least else f", and {ratios[least]:.3g} times with {least}.")
            )
    return found


def _grouped(
    gradients: Sequence[GradientFigures],
) -> Iterable[tuple[tuple[str, str], dict[tuple[str, int, float], GradientFigures]]]:
    """The figures of each kind of vectors and precision, by loss, batch size and temperature."""
    groups: dict[tuple[str, str], dict[tuple[str, int, float], GradientFigures]] = {}
    for one in gradients:
        groups.setdefault((one.state, one.precision), {})[one.loss, one.batch_size, one.temperature] = one
    return groups.items()


def _sizes(cells: Iterable[tuple[str, int]]) -> list[int]:
    return sorted({size for _, size in cells})


def _batches(sizes: Sequence[int]) -> str:
    *rest, last = map(str, sizes)
    return f"batches of {', '.join(rest)} and {last}" if rest else f"batches of {last}"


def _score_lines(scores: Mapping[int, Sequence[ComparedLine]]) -> Iterable[list[str]]:
    for size, lines in scores.items():
        for line in lines:
            name = line.task if line.task != AVERAGE else "average"
            means = (f"{line.second:.1f}", f"{line.first:.1f}")
            yield [str(size), name, *means, *format_line(line)]


_FIGURES = ("lost, %", "wrong, %", "norm")


def _gradient_lines(gradients: Sequence[GradientFigures], temperature: float) -> Iterable[list[str]]:
    for (state, precision), cells in _grouped(gradients):
        for size in sorted({n for _, n, _ in cells}):
            both = (cells[loss, size, temperature] for loss in (INFO, CZ))
            figures = [text for one in both for text in (f"{one.lost:.1f}", f"{one.wrong:.1f}", f"{one.norm:.2g}")]
            yield [state, precision, str(size), *figures]
