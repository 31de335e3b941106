"""`alignboard study`: a grid of runs and its analysis, as a report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.execution import run_plans
from harness.cli.options import ExecutionOptions, RecipeOptions, Seeds, flatten
from harness.cli.output import print_message
from harness.errors import UsageError, counted, unique_names
from harness.storage.home import artifacts_root
from harness.storage.store import AVERAGE

if TYPE_CHECKING:
    from harness.experiments.plan import RunPlan
    from harness.experiments.recipe import Recipe
    from harness.results.item_reader import ItemReader, SelectedRun
    from harness.storage.artifacts import Artifacts

RECIPE, EXECUTION = RecipeOptions(protocol="mini"), ExecutionOptions()
SCRATCH = RecipeOptions(
    suite="udpos,static-retrieval", source="subset:qab,babel", base="init:2x128", protocol="mini", recipe="scratch"
)
PROPERTIES = {  # the transform of the source, and that of the run on top of it
    "unchanged": ("", ""),
    "script": ("", "script"),
    "inversion": ("", "inversion"),
    "permutation": ("", "permutation"),
    "script + inversion": ("inversion", "script"),
}
Out = Annotated[Path, typer.Option(file_okay=False, help="Folder of the report.")]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="""Run a study and write its report, as Markdown with figures. Finished stages are reused, so that an
    interrupted study is resumed by the same command.

    \b
    Examples:
      alignboard study a-a --method ml-ctl --seeds 12 --size 3 --out study-a-a
      alignboard study cz-nce --base babel-4x128 --recipe demo --suite tatoeba,bucc2018 --out cz-nce
      alignboard study align-mlm --out align-mlm
    """,
)


@app.command("a-a")
@flatten
def against_itself(
    method: Annotated[str, typer.Option(help="The method that is compared with itself.")] = "ml-ctl-cz",
    recipe: RecipeOptions = RECIPE,
    seeds: Annotated[int, typer.Option(min=6, max=1000, help="Number of seeds that the sets are drawn from.")] = 12,
    size: Annotated[int, typer.Option(min=3, help="Number of seeds in a set.")] = 3,
    draws: Annotated[int, typer.Option(min=10, max=100_000, help="Number of comparisons.")] = 500,
    weaker: Annotated[
        str, typer.Option(metavar="FIELD=VALUE", help="A setting that weakens the method, such as align.steps=10.")
    ] = "",
    out: Out = Path("study"),
    execution: ExecutionOptions = EXECUTION,
) -> None:
    """Compare a method with itself under disjoint sets of seeds, and with a weaker version of itself.

    About 5% of the verdicts may call two sets of seeds of one method different. With --weaker, the method is also
    compared with itself under one changed setting; the share of verdicts says how often such a loss is found.

    \b
    Examples:
      alignboard study a-a --method ml-ctl --seeds 12 --size 3 --out study-a-a
      alignboard study a-a --method ml-ctl --seeds 10 --size 5 --weaker align.steps=100
    """
    from harness.results.calibration import count_verdicts, write_study

    if 2 * size > seeds:
        raise UsageError(
            "too few seeds for two disjoint sets", found=f"{seeds} seeds, sets of {size}", remedy="raise --seeds"
        )
    changes = list(recipe.changes or ())
    recipes = [recipe.build(method), *([recipe.build(method, changes=[*changes, weaker])] if weaker else [])]
    plans, _ = _run_all(recipes, seeds, execution)
    reader, runs, tasks = _read_runs(plans, execution)
    same = count_verdicts(reader, tasks, runs[0], runs[0], size, draws)
    found = count_verdicts(reader, tasks, runs[0], runs[1], size, draws) if weaker else []
    reader.store.close()
    _print_paths(write_study(out, method, size, same, found, weaker))


@app.command("cz-nce")
@flatten
def infonce_and_cz_nce(
    methods: Annotated[
        str, typer.Option(metavar="INFO,CZ", help="The method with InfoNCE, and the same with CZ-NCE.")
    ] = "info-snt,cz-snt",
    batch_sizes: Annotated[str, typer.Option(metavar="SIZES", help="Numbers of pairs in a batch.")] = "4,16,64",
    recipe: RecipeOptions = RECIPE,
    seeds: Seeds = 5,
    out: Out = Path("study"),
    execution: ExecutionOptions = EXECUTION,
) -> None:
    """Compare InfoNCE and CZ-NCE over batch sizes, temperatures and precisions.

    Trains the method with both losses and each batch size, on equally many pairs in all, and compares the scores with
    verdicts. On frozen pairs, before and after alignment, it measures how many gradients are zero, sub-normal or wrong
    in fp32, bf16 and fp16, with batches of 4 to 512, and their norms.

    \b
    Examples:
      alignboard study cz-nce --base babel-4x128 --recipe demo --suite tatoeba,bucc2018 --out cz-nce
      alignboard study cz-nce --methods ml-ctl,ml-ctl-cz --batch-sizes 8,32 --seeds 3
    """
    from harness.experiments.loss_study import batch_changes, gradients_on_frozen_pairs, temperature_of
    from harness.experiments.recipe import full_config
    from harness.results.loss_report import write_loss_report
    from harness.results.verdicts import compare_pairs

    pair, sizes = unique_names("method", [methods]), _parse_sizes(batch_sizes)
    if len(pair) != 2:
        raise UsageError("two methods are compared", found=methods, expected="such as --methods info-snt,cz-snt")
    plain = [recipe.build(method) for method in pair]
    for one in plain:
        if one.align is None or "temperature" not in full_config(one):
            expected = "methods with config.temperature, such as --methods info-snt,cz-snt"
            raise UsageError("this study is of contrastive methods", found=one.method, expected=expected)
    cells = [(n, one.method, [*(recipe.changes or ()), *batch_changes(one, n)]) for n in sizes for one in plain]
    plans, executor = _run_all([recipe.build(method, changes=own) for _, method, own in cells], seeds, execution)
    reader, runs, tasks = _read_runs(plans, execution)
    labels = [f"{method} {size}" for size, method, _ in cells]
    found = compare_pairs(
        reader, dict(zip(labels, runs, strict=True)), [(f"{pair[1]} {n}", f"{pair[0]} {n}") for n in sizes], tasks
    )
    reader.store.close()
    aligned = {f"after {pair[0]}, batches of {sizes[-1]}": plans[2 * len(sizes) - 2][0]}
    gradients = list(gradients_on_frozen_pairs(aligned, executor))
    assert plain[0].align is not None
    about = (
        f"{pair[0]} (InfoNCE) and {pair[1]} (CZ-NCE) on {plain[0].base}, source {plain[0].source}, protocol "
        f"{plain[0].protocol}, {plain[0].align.steps * plain[0].align.batch_size} pairs in all, learning rate "
        f"{plain[0].align.learning_rate:g}, {counted(seeds, 'seed')}."
    )
    scores = dict(zip(sizes, found, strict=True))
    _print_paths(write_loss_report(out, about, scores, gradients, temperature_of(plain[0])))


@app.command("align-mlm")
@flatten
def transfer_from_scratch(
    methods: Annotated[
        str, typer.Option(metavar="NAMES", help="Methods to compare with the first one.")
    ] = "continued-mlm,xlm,dict-mlm,align-mlm",
    language: Annotated[str, typer.Option(help="The language whose properties are changed.")] = "qab",
    recipe: RecipeOptions = SCRATCH,
    seeds: Seeds = 3,
    out: Out = Path("study"),
    execution: ExecutionOptions = EXECUTION,
) -> None:
    """Compare masked LM, XLM, DICT-MLM and ALIGN-MLM from scratch on a changed language: alignment and transfer.

    Trains each method on the language as it is, in another script, with inverted and with permuted word order, and in
    another script with inverted order; fine-tunes on the pivot; and reports the loss from the pivot to the language,
    the alignment of static embeddings, and their relation. The defaults take about 40 minutes on two cores.

    \b
    Examples:
      alignboard study align-mlm --out align-mlm
      alignboard study align-mlm --base init:4x128 --set align.steps=20000 --suite udpos,panx,xnli,static-retrieval
    """
    from harness.data.source import cached_source
    from harness.registry import SUITES
    from harness.results.transfer_report import ALIGNMENT, compare_methods, read_points, write_transfer_report

    names = unique_names("method", [methods])
    listed = SUITES.get(recipe.suite).tasks
    if ALIGNMENT not in listed or len(listed) < 2:
        raise UsageError("the suite has no alignment or no task", found=recipe.suite, expected=f"udpos,{ALIGNMENT}")
    grid = [(view, name) for view in PROPERTIES for name in names]
    recipes = [_changed(recipe, name, language, *PROPERTIES[view]) for view, name in grid]
    if recipes[0].align is None:
        raise UsageError("the first method, with which the others are compared, does not train", found=names[0])
    plans, _ = _run_all(recipes, seeds, execution)
    reader, runs, tasks = _read_runs(plans, execution)
    trained = [task for task in tasks if task != ALIGNMENT]
    by_cell = dict(zip(grid, runs, strict=True))
    nested = {view: {name: by_cell[view, name] for name in names} for view in PROPERTIES}
    one = plans[0][0].recipe
    points = read_points(reader, nested, trained, cached_source(one.source).pivot, language)
    compared = compare_methods(reader, nested, trained, language)
    reader.store.close()
    assert one.align is not None
    about = (
        f"{', '.join(names)} from {one.base}, source {recipe.source}, {counted(seeds, 'seed')}: {one.align.steps} "
        f"updates of {one.align.batch_size} pairs, then {', '.join(trained)} fine-tuned on the pivot and scored "
        f"without further training in {language}, whose text has one property changed. The loss is the score in the "
        f"pivot minus that in {language}; ALIGN-MLM takes the score of training on {language} itself in place of the "
        "pivot's. ALIGN-MLM trains 500,000 updates of 128 sequences: what methods come to after long training, "
        "runs of a smaller budget cannot show, and where the pivot's score is low there is little to transfer."
    )
    _print_paths(write_transfer_report(out, about, points, compared))


def _changed(recipe: RecipeOptions, method: str, language: str, source: str, transform: str) -> Recipe:
    """The recipe of a method on the language under up to two changes, one of the source and one on top of it."""
    changed = f"transformed:{source}:{language},{recipe.source}" if source else recipe.source
    return replace(recipe, source=changed).build(method, f"{transform}:{language}" if transform else "")


def _parse_sizes(text: str) -> list[int]:
    try:
        sizes = sorted({int(part) for part in text.split(",")})
    except ValueError:
        sizes = []
    if not sizes or sizes[0] < 2:
        raise UsageError("the batch sizes cannot be read", found=text, expected="whole numbers from 2 on, such as 4,16")
    return sizes


def _run_all(
    recipes: Sequence[Recipe], seeds: int, execution: ExecutionOptions
) -> tuple[list[list[RunPlan]], Artifacts]:
    """The plans of each recipe under all seeds, run, and where their artifacts are."""
    from harness.experiments.plan import plan_runs
    from harness.registry import loaded_plugins
    from harness.storage.shared import open_artifacts

    plans = plan_runs(recipes, range(seeds), loaded_plugins())
    run_plans(plans, execution)
    return [plans[place :: len(recipes)] for place in range(len(recipes))], open_artifacts()


def _read_runs(
    plans: Sequence[Sequence[RunPlan]], execution: ExecutionOptions
) -> tuple[ItemReader, list[list[SelectedRun]], list[str]]:
    """The items of all runs, the runs of each recipe, and their tasks. The reader's store is open."""
    from harness.results.item_reader import ItemReader, SelectedRun
    from harness.results.tables import HEADLINE

    runs = [[SelectedRun(plan.id, HEADLINE) for plan in own] for own in plans]
    ids = [run.run for own in runs for run in own]
    store = execution.open_store()
    summaries = store.summaries(split="test", run=ids)
    tasks = [task for task in dict.fromkeys(row["task"] for row in summaries) if task != AVERAGE]
    return ItemReader(store, artifacts_root(), summaries), runs, tasks


def _print_paths(paths: Sequence[Path]) -> None:
    for path in paths:
        print_message("written", str(path))
