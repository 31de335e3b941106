"""`alignboard pretrain`: trains a small base encoder."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from harness.cli.options import Device, ExecutionOptions
from harness.errors import UsageError, UserError


def pretrain(
    source: Annotated[str, typer.Option(help="Data source of the text: babel or folder:PATH.")],
    out: Annotated[Path, typer.Option(help="Folder to write the checkpoint to.")],
    shape: Annotated[str, typer.Option(metavar="LAYERSxHIDDEN", help="Size of the encoder.")] = "4x128",
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="Change a setting, such as steps=2000. Repeatable."),
    ] = None,
    half: Annotated[bool, typer.Option("--half", help="Write the weights in half precision.")] = False,
    device: Device = "auto",
) -> None:
    """Train a small base encoder and its WordPiece tokenizer with masked language modelling.

    Uses all text of the source. The folder loads with `AutoModel.from_pretrained` and can be given as --base to
    `alignboard run`. Settings are those of the recipe's pretrain part: --set steps=2000, --set vocab_size=8000,
    --set learning_rate=0.001.

    \b
    Example:
      alignboard pretrain --source folder:data --out my-encoder --shape 4x256 --set steps=5000
    """
    from harness.cli.progress import StageProgress
    from harness.data.source import cached_source
    from harness.experiments.plan import pretrain_stage
    from harness.experiments.recipe import pretrain_settings
    from harness.experiments.runner import execute_stages
    from harness.experiments.stage import LostInputError, StagePlace
    from harness.files import LOG, replace_folder
    from harness.modeling.encoder import Encoder
    from harness.registry import loaded_plugins
    from harness.storage.usage import keep_trials

    out = out.resolve()  # `.` has no name, which the temporary folder beside it needs
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError("the output folder is not empty", file=out, remedy="name a new folder")
    settings = pretrain_settings(shape, changes or ())
    place = StagePlace(source, plugins=tuple(str(file) for file in loaded_plugins()))
    stage = pretrain_stage(settings, cached_source(source), place)
    executor = ExecutionOptions(workers=1, device=device).make_executor()
    keep_trials(executor.artifacts, [stage.fingerprint])  # no run of a database says that it is used
    with StageProgress({stage.fingerprint: stage.title}, Console(file=sys.stderr)) as progress:
        report = execute_stages({stage.fingerprint: stage}, executor, progress)
    for failure in report.failures:
        raise UserError(failure.message)
    artifact = executor.artifacts.find(stage.fingerprint)
    if artifact is None:
        raise LostInputError(stage.fingerprint, stage.title)
    temporary = out.with_name(f".part-{os.getpid()}-{out.name}")
    shutil.rmtree(temporary, ignore_errors=True)
    shutil.copytree(artifact.path, temporary, ignore=shutil.ignore_patterns("manifest.json", "cost.json", LOG))
    if half:
        Encoder.load(temporary).half().save(temporary)
    replace_folder(temporary, out)
    typer.echo(f"Wrote the encoder to {out}. Use it with --base {out}")
