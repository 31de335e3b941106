"""`alignboard run`, `resume` and `pretrain`: the commands that compute."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from harness.errors import UsageError, UserError, counted
from harness.storage.home import artifacts_root, database_url

Db = Annotated[str | None, typer.Option("--db", metavar="URL", help="Database of scores. Default: ALIGNBOARD_DB.")]
Workers = Annotated[int | None, typer.Option(help="Processes that share the cores. Default: 2, or one per GPU.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Suite = Annotated[str, typer.Option(help="The tasks to score.")]
Source = Annotated[str, typer.Option(help="Where data come from: babel, folder:PATH, hub.")]
Base = Annotated[str, typer.Option(help="Base encoder: a folder, a hub name, or init:LAYERSxHIDDEN.")]
Protocol = Annotated[str, typer.Option(help="official, alignboard, or mini for small encoders.")]
Kind = Annotated[str, typer.Option(help="matched, paper, or a TOML file of settings.")]
Languages = Annotated[str, typer.Option(help="official, available, or a list such as de,fr.")]
Seeds = Annotated[int, typer.Option(min=1, help="How many seeds; fewer than 3 get no verdict.")]
Precision = Annotated[str, typer.Option(help="fp32, bf16 or fp16.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="FIELD=VALUE", help="Change a recipe field, such as align.steps=100. Repeatable."),
]


def run(
    methods: Annotated[list[str], typer.Argument(metavar="METHOD...", help="Methods to run: `alignboard methods`.")],
    suite: Suite = "xtreme-align",
    source: Source = "babel",
    base: Base = "init:4x128",
    protocol: Protocol = "official",
    recipe: Kind = "matched",
    languages: Languages = "official",
    seeds: Seeds = 3,
    transform: Annotated[str, typer.Option(help="A transform of the sample: shuffled-pairs.")] = "",
    precision: Precision = "fp32",
    changes: Settings = None,
    workers: Workers = None,
    device: Device = "auto",
    db: Db = None,
) -> None:
    """Train methods, score a suite of tasks on each, and put the rows on the board.

    Whatever is there already is found and not made again; a run that was stopped goes on from its last checkpoint when
    the same command is given again.

    \b
    Examples:
      alignboard run mbert ml-ctl-cz --source babel --protocol mini --seeds 1
      alignboard run ml-ctl-cz --source folder:data --base my-checkpoint --languages available --set align.steps=500
      alignboard run ml-ctl --transform shuffled-pairs --protocol mini
    """
    from harness.experiments.plan import plan_runs
    from harness.experiments.recipe import make_recipe
    from harness.registry import METHODS

    methods = list(dict.fromkeys(methods))
    for method in methods:
        METHODS.origin(method)
    common: dict[str, Any] = {
        "suite": suite,
        "source": source,
        "base": base,
        "protocol": protocol,
        "recipe": recipe,
        "languages": languages,
        "transform": transform,
        "precision": precision,
        "changes": changes or (),
    }
    recipes = [make_recipe(method=method, **common) for method in methods]
    tell_without_paper(recipes)
    execute(plan_runs(recipes, range(seeds), plugins()), workers, device, db)


def resume(workers: Workers = None, device: Device = "auto", db: Db = None) -> None:
    """Go on with every run of the database that was interrupted, failed or not begun.

    Finished stages are found, unfinished ones continue from their last checkpoints.

    \b
    Example:
      alignboard resume
    """
    from harness.experiments.plan import plan_run
    from harness.experiments.recipe import Recipe
    from harness.storage.store import Store

    store = Store.open(db or database_url())
    waiting = store.runs(status=["planned", "running", "failed", "interrupted"])
    store.close()
    rows = waiting[waiting["kind"] == "trained"].to_dict("records")
    plans, refused = [], []
    for row in rows:
        try:
            plans.append(plan_run(Recipe.model_validate(row["recipe"]), int(row["align_seed"]), plugins()))
        except UserError as error:
            refused.append(f"{row['method']} seed {int(row['align_seed'])}: {error}")
    if plans:
        execute(plans, workers, device, db)
    elif not refused:
        typer.echo("Nothing to resume: every run is done.")
    if refused:
        raise UserError(
            f"{counted(len(refused), 'run')} cannot go on\n" + "\n".join(dict.fromkeys(refused)),
            remedy="a method of a loose file needs that file: alignboard --plugin FILE resume",
        )


def pretrain(
    source: Annotated[str, typer.Option(help="Where the text comes from: babel, folder:PATH.")],
    out: Annotated[Path, typer.Option(help="The checkpoint folder to write.")],
    shape: Annotated[str, typer.Option(metavar="LAYERSxHIDDEN", help="Size of the encoder.")] = "4x128",
    changes: Settings = None,
    device: Device = "auto",
) -> None:
    """Train a small base encoder and its WordPiece tokenizer on all text of a source, by masked language modelling.

    The folder loads with plain `AutoModel.from_pretrained`, and serves as --base of `alignboard run`. Settings are
    those of the recipe's pretrain part: --set steps=2000, --set vocab_size=8000, --set learning_rate=0.001.

    \b
    Example:
      alignboard pretrain --source folder:data --out my-encoder --shape 4x256 --set steps=5000
    """
    import shutil

    from harness.cli.progress import Show
    from harness.experiments.executors.local import Failed, Local
    from harness.experiments.plan import opened, pretrain_stage
    from harness.experiments.recipe import pretrain_settings
    from harness.files import LOG
    from harness.storage.artifacts import Artifacts

    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError("the output folder is not empty", file=out, remedy="give a new folder")
    settings = pretrain_settings(shape, changes or ())
    place = {"source": source, "base": "", "plugins": [str(p) for p in plugins()]}
    stage = pretrain_stage(settings.model_dump(), opened(source).manifest([]), place)
    artifacts = Artifacts(artifacts_root())
    executor = Local.on(artifacts, workers=1, device=device)
    console = Console(file=sys.stderr)
    with Show({stage.fingerprint: stage.title}, console) as display:
        for end in executor.run([stage], display):
            if isinstance(end, Failed):
                raise UserError(end.message)
    found = artifacts.find(stage.fingerprint)
    assert found is not None
    temporary = out.with_name(out.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    shutil.copytree(found.path, temporary, ignore=shutil.ignore_patterns("manifest.json", "cost.json", LOG))
    if out.is_dir():
        out.rmdir()
    temporary.rename(out)
    typer.echo(f"The encoder is in {out}; use it as --base {out}")


def execute(plans: Sequence[Any], workers: int | None, device: str, db: str | None) -> None:
    """Runs plans, then prints the table of the runs that were asked for."""
    from harness.cli.progress import Show
    from harness.experiments.executors.local import Local
    from harness.experiments.logs import duration
    from harness.experiments.runner import Runner
    from harness.storage.artifacts import Artifacts
    from harness.storage.store import Store

    artifacts = Artifacts(artifacts_root())
    executor = Local.on(artifacts, workers, device)
    store = Store.open(db or database_url(), create=True)
    console = Console(file=sys.stderr)
    with Show({s.fingerprint: s.title for plan in plans for s in plan.stages}, console) as display:
        report = Runner(store, artifacts, executor, display).run(plans)
    console.print(
        f"{report.made} stages made, {report.hits} found, {duration(display.elapsed)} in all; "
        f"{report.finished} of {len(plans)} runs complete"
    )
    _print_table(store, [plan.id for plan in plans])
    if report.failures:
        broken = "\n".join(f.message for f in report.failures)
        told = counted(len(report.failures), "stage")
        raise UserError(f"{told} failed; `alignboard resume` tries again\n{broken}")


def _print_table(store: Any, runs: list[str]) -> None:
    from harness.cli.output import print_rich
    from harness.results.rendering import rich_table
    from harness.results.tables import tables_by_task

    for table in tables_by_task(store.summaries(run=runs, split="test")):
        print_rich(rich_table(table))


def tell_without_paper(recipes: Sequence[Any]) -> None:
    """Says which methods have no settings as published, so that the paper recipe is that of the protocol to them."""
    from harness.cli.failures import say
    from harness.registry import METHODS

    cards = {recipe.method: METHODS.get(recipe.method) for recipe in recipes if recipe.kind == "paper"}
    names = [name for name, method in cards.items() if method.trains and not method.paper]
    if names:
        say("note", f"no settings of alignment as published are known of {', '.join(names)}: the protocol's", "yellow")


def plugins() -> list[Path]:
    """The loose plug-in files of this command: workers load them too."""
    from harness.registry import loaded_plugins

    return loaded_plugins()
