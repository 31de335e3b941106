"""Where a row's gain comes from, and what the selection of checkpoints on English dev data costs.

A gain has up to three steps:

    method − shuffled-pairs           the true pairs
    shuffled-pairs − continued-mlm    the objective, on pairs that are no translations
    continued-mlm − mbert             the text, read with masked LM

Each is a difference under the same seeds and on the same items, so that intervals and tests are those of
`harness.results.verdicts`. A control without runs is skipped; the step across it holds both parts.
"""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from harness.errors import UserError
from harness.results.item_reader import ItemReader, SelectedRun
from harness.results.labels import Record, recipe_settings
from harness.results.tables import ResultRow, ResultTable
from harness.results.verdicts import (
    ComparedLine,
    compare_pairs,
    refuse_other_items,
    runs_by_seed,
    selected_runs,
)
from harness.storage.store import AVERAGE

SHUFFLED = "shuffled-pairs"  # the transform of the control that every method on pairs has
CHAIN = ("mbert", "continued-mlm", SHUFFLED)  # from the base encoder to a method
ORACLE = "oracle"
_STEPS = {  # (before, after) -> kind of the step, what it adds; "" is the method
    ("mbert", "continued-mlm"): ("text", "masked LM on the same text"),
    ("mbert", SHUFFLED): ("text and objective", "text and the objective on shuffled pairs"),
    ("continued-mlm", SHUFFLED): ("objective", "the objective on shuffled pairs"),
    ("mbert", ""): ("all", "text, objective and pairs together"),
    ("continued-mlm", ""): ("objective and pairs", "the objective on the true pairs"),
    (SHUFFLED, ""): ("pairs", "the true pairs"),
}


class AttributionStep(NamedTuple):
    """One step to a row: its kind, what it adds, and the labels of the rows before and after it."""

    kind: str
    name: str
    before: str
    after: str


class Attribution(NamedTuple):
    """The lines of each step, `after` minus `before`, under the `seeds` that all rows of the chain share.

    P-values are corrected over all steps and tasks, or views; those of the average over the steps. `missing` maps each
    control without runs to the command that runs it.
    """

    steps: dict[AttributionStep, list[ComparedLine]]
    seeds: tuple[str, ...]
    missing: dict[str, str]


def step_between(before: str, after: str) -> tuple[str, str]:
    """The kind of the step between two rows of a chain, by their names in it, and what it adds."""
    return _STEPS[before, after]


def gain_chain(table: ResultTable, label: str, runs: Mapping[str, Record]) -> dict[str, ResultRow]:
    """The rows from the base encoder to the row `label`, by their names in `CHAIN`; a method's own row is "".

    `runs` has a record of each run. Of several rows of one control, the one whose settings are closest to the row's.
    """
    records = _first_records(table, runs)
    end = next(row for row in table.rows if row.label == label)
    own = recipe_settings(records[label])
    last = SHUFFLED if end.transform == SHUFFLED else end.method if end.method in CHAIN and not end.transform else ""
    transform = "" if end.transform == SHUFFLED else end.transform
    found: dict[str, tuple[int, ResultRow]] = {}
    for row in table.rows:
        if row.label not in records:
            continue
        same_config = records[row.label]["config"] == records[label]["config"]
        if row.method in CHAIN and row.transform == transform:
            name = row.method
        elif row.method == end.method and row.transform == SHUFFLED and same_config and not transform:
            name = SHUFFLED
        else:
            continue
        settings = recipe_settings(records[row.label])
        alike = sum(settings.get(key) == value for key, value in own.items())
        if name not in found or alike > found[name][0]:
            found[name] = (alike, row)
    before = CHAIN[: CHAIN.index(last)] if last else CHAIN
    return {**{name: found[name][1] for name in before if name in found}, last: end}


def attribute_gain(
    reader: ItemReader,
    table: ResultTable,
    label: str,
    by_view: bool = False,
    groups: Mapping[str, Sequence[str]] | None = None,
) -> Attribution:
    """The steps from the base encoder to the row `label` of a table by task; `groups` of tasks have lines too.

    Raises UserError where no control has runs, no seed is shared, or the rows were scored on other test items.
    """
    chain = gain_chain(table, label, reader.runs)
    missing = _missing_controls(table, label, reader.runs, chain)
    if len(chain) < 2:
        raise UserError(
            f"{label} has no control to attribute its gain to",
            found="no runs of mbert, continued-mlm or shuffled pairs in its table",
            remedy="; ".join(f"`{command}`" for command in missing.values()) or "choose a method that trains",
        )
    seeds = runs_by_seed(table, reader.runs)
    shared = sorted(set.intersection(*(set(seeds[row.label]) for row in chain.values())))
    if not shared:
        raise UserError(
            f"the controls of {label} share no seed with it", remedy="run them under the same seeds, with --seeds"
        )
    tasks = [column.name for column in table.columns if column.name != AVERAGE]
    refuse_other_items(list(chain.values()), tasks)
    runs = {row.label: selected_runs(seeds[row.label], shared, table) for row in chain.values()}
    steps = [
        AttributionStep(*step_between(before, after), chain[before].label, chain[after].label)
        for before, after in itertools.pairwise(chain)
    ]
    lines = compare_pairs(reader, runs, [(step.after, step.before) for step in steps], tasks, by_view, groups=groups)
    return Attribution(dict(zip(steps, lines, strict=True)), tuple(shared), missing)


def selection_regret(reader: ItemReader, table: ResultTable, label: str, by_view: bool = False) -> list[ComparedLine]:
    """What a row loses by selecting checkpoints on English dev data: `oracle` minus the table's selection, by task.

    A task without an oracle, or with one in some languages alone, has lines by view only. P-values are corrected over
    the lines. Empty without any oracle.
    """
    seeds = runs_by_seed(table, reader.runs)[label]
    runs = {
        selection: [SelectedRun(seeds[seed], selection) for seed in sorted(seeds)]
        for selection in (ORACLE, table.selection)
    }
    scored = set(reader.store.cells(("task",), run=list(seeds.values()), split="test", selection=ORACLE)["task"])
    tasks = [column.name for column in table.columns if column.name in scored]
    return compare_pairs(reader, runs, [(ORACLE, table.selection)], tasks, by_view)[0]


def _first_records(table: ResultTable, runs: Mapping[str, Record]) -> dict[str, Record]:
    """A record of the first run of each trained row, by its label."""
    first = {row.label: runs[row.runs[0]] for row in table.rows if row.runs and row.runs[0] in runs}
    return {label: record for label, record in first.items() if record["kind"] == "trained"}


def _missing_controls(
    table: ResultTable, label: str, runs: Mapping[str, Record], chain: Mapping[str, ResultRow]
) -> dict[str, str]:
    """The controls that the row could have and that have no runs, each with the command that runs it."""
    record, last = _first_records(table, runs)[label], list(chain)[-1]
    wanted = CHAIN[: CHAIN.index(last)] if last else CHAIN
    reads_pairs = "parallel" in ((record["card"] or {}).get("needs") or ())
    names = [name for name in wanted if name not in chain and (name != SHUFFLED or reads_pairs)]
    return {name: _run_command(record, chain[last], name) for name in names}


def _run_command(record: Record, row: ResultRow, control: str) -> str:
    """The command that runs a control of a row, with the settings of its runs; `record` is of the first."""
    method, transform = (row.method, SHUFFLED) if control == SHUFFLED else (control, record["transform"])
    options = {"--like": row.runs[0][:12], "--transform": transform, "--seeds": str(len(row.runs))}
    return shlex.join(["alignboard", "run", method, *(part for pair in options.items() if pair[1] for part in pair)])
