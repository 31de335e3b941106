"""`alignboard prepare`: from what was downloaded to the folder that the folder source reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any

import typer

from harness.cli import failures
from harness.cli.output import print_json, print_table
from harness.data.prepare import PACKAGES
from harness.data.prepare.build import Options, Result
from harness.data.prepare.build import prepare as build
from harness.data.prepare.find import few, looked_for
from harness.data.prepare.package import Download, Package
from harness.data.prepare.pieces import SPECIALS, UNLABELLED, XLMR_SPECIALS, write_task
from harness.data.prepare.record import Record
from harness.errors import UsageError, UserError, unknown


class Stopped(UserError):
    """Ctrl-C, told with what to do next."""

    exit_code = failures.INTERRUPTED


Tasks = Annotated[list[str] | None, typer.Argument(metavar="TASK...", help="Data sets; all where none is named.")]
From = Annotated[Path | None, typer.Option("--from", metavar="DOWNLOADS", help="The folder with what was downloaded.")]
To = Annotated[Path | None, typer.Option("--to", metavar="FOLDER", help="The folder to write.")]
Official = Annotated[
    bool,
    typer.Option(
        "--official", help="Remove test labels and sort Tatoeba's English, as the official scripts do: not scorable."
    ),
]
AnyRelease = Annotated[
    bool, typer.Option("--any-release", help="Take downloads whose SHA-256 is not the one on record.")
]
Pieces = Annotated[
    str | None,
    typer.Option(metavar="TOKENIZER", help="Also cut udpos and panx for a tokenizer, for the official training code."),
]
MaxLength = Annotated[
    int | None, typer.Option(min=8, help="Length of the pieces in subwords, special tokens included. Default: 128.")
]
List = Annotated[bool, typer.Option("--list", help="Tell what to download, where, and under which licence.")]


def prepare(
    task: Tasks = None,
    downloads: From = None,
    folder: To = None,
    official: Official = False,
    any_release: AnyRelease = False,
    pieces: Pieces = None,
    max_length: MaxLength = None,
    list_: List = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Turn downloaded data sets into the folder that `--source folder:FOLDER` reads.

    Nothing is downloaded: `--list` tells what to fetch. Archives may lie anywhere below DOWNLOADS, packed or unpacked.
    The files are those of XTREME's own scripts, byte for byte, but with the labels of the test sets, without which
    nothing can be scored. An interrupted command goes on where it was when it is given again.

    \b
    Examples:
      alignboard prepare --list
      alignboard prepare --from ~/Downloads --to data/xtreme
      alignboard prepare xnli tatoeba --from ~/Downloads --to data/xtreme
      alignboard run mbert --suite xtreme-align --source folder:data/xtreme
    """
    packages = _chosen(task or ())
    if list_:
        if downloads or folder or official or any_release or pieces or max_length:
            raise UsageError("--list only lists", remedy="leave the other options out, or leave --list out")
        _list(packages, as_json)
        return
    if downloads is None or folder is None:
        raise UsageError(
            "both folders are needed",
            found=f"--from {downloads or '?'} --to {folder or '?'}",
            expected="--from DOWNLOADS --to FOLDER",
            remedy="`alignboard prepare --list` tells what to put into DOWNLOADS",
        )
    _check_pieces(packages, pieces, max_length)
    downloads, folder = downloads.expanduser(), folder.expanduser()
    results = _run(packages, downloads, folder, Options(official, any_release))
    if as_json:
        print_json([_record(result) for result in results])
    else:
        _tell(results, folder)
    if pieces is not None:
        with _interruptible(results):
            _cut(results, folder, pieces, max_length or 128)
    _fail(results, named=bool(task))


def _chosen(names: Sequence[str]) -> list[Package]:
    """The packages of that name and those that they need; all where none is named. Raises UsageError."""
    for name in names:
        if name not in PACKAGES:
            raise unknown("data set", name, PACKAGES)
    wanted = {also for name in names or PACKAGES for also in (name, *PACKAGES[name].also)}
    return [package for name, package in PACKAGES.items() if name in wanted]


def _check_pieces(packages: Sequence[Package], tokenizer: str | None, max_length: int | None) -> None:
    if tokenizer is None and max_length is not None:
        raise UsageError("--max-length has no effect without --pieces", remedy="name a tokenizer with --pieces")
    if tokenizer is not None and not any(package.name in UNLABELLED for package in packages):
        raise UsageError("--pieces has no effect without a tagging task", expected="udpos or panx among the tasks")


def _cut(results: Sequence[Result], folder: Path, name: str, max_length: int) -> None:
    """Writes the second step of the tagging tasks that are there."""
    from harness.modeling.tokenizer import Tokenizer

    tokenizer = Tokenizer.load(name).hf
    specials = XLMR_SPECIALS if type(tokenizer).__name__.startswith("XLMRoberta") else SPECIALS
    for result in results:
        if result.record is not None and result.name in UNLABELLED:
            model = Path(name).name
            out = write_task(folder, result.name, tokenizer, model, length=max_length, specials=specials)
            typer.echo(f"{result.name}: pieces for {model} in {out}", err=True)


def _run(packages: Sequence[Package], downloads: Path, folder: Path, options: Options) -> list[Result]:
    results: list[Result] = []
    with _interruptible(results), Show() as show:
        for result in build(packages, downloads, folder, options, show):
            results.append(result)
            if result.error is not None:
                failures.say("error", f"{result.name}: {result.error}", "bold red")
    return results


@contextmanager
def _interruptible(results: Sequence[Result]) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt as stop:
        done = ", ".join(result.name for result in results if result.record is not None)
        remedy = "the same command goes on from here"
        raise Stopped("interrupted", found=f"finished: {done or 'nothing yet'}", remedy=remedy) from stop


def _fail(results: Sequence[Result], *, named: bool) -> None:
    """Raises UserError where something failed, where what was named is absent, or where nothing was found."""
    failed = [result.name for result in results if result.state == "failed"]
    absent = [result.name for result in results if result.state == "absent"]
    if failed:
        raise UserError(f"not prepared: {', '.join(failed)}", remedy="see above; what is finished stays")
    if absent and (named or len(absent) == len(results)):
        raise UserError(
            f"no download found of {', '.join(absent)}",
            expected="; ".join(looked_for(PACKAGES[name], []) for name in absent),
            remedy="`alignboard prepare --list` tells where each can be had",
        )


def _tell(results: Sequence[Result], folder: Path) -> None:
    print_table(("data_set", "state", "files", "items"), [_row(result) for result in results])
    for result in results:
        for line in [*_about(result.record), *_absent(result)]:
            typer.echo(f"{result.name}: {line}")
    if any(result.record for result in results):
        typer.echo(f"`alignboard sources folder:{folder}` tells what can be used.")


def _about(record: Record | None) -> Iterator[str]:
    if record is None:
        return
    for state, why in (("unverified", "no SHA-256 is on record"), ("other", "another SHA-256 is on record")):
        if sums := [f"{entry.name} ({entry.sha256[:12]})" for entry in record.sources if entry.sum == state]:
            yield f"{why} for {few(sums, 3)}; that of each stands in {record.name}/prepared.json"
    yield from record.notes
    if record.missing:
        yield f"missing: {few(record.missing)}"


def _absent(result: Result) -> Iterator[str]:
    for download in result.absent:
        yield f"no {looked_for(PACKAGES[result.name], [download])}; it is at {download.url}"


def _row(result: Result) -> dict[str, Any]:
    record = result.record
    counts = {"files": len(record.files), "items": f"{sum(record.items.values()):,}"} if record else {}
    return {"data_set": result.name, "state": result.state, **counts}


def _record(result: Result) -> dict[str, Any]:
    record = result.record.plain() if result.record else None
    return {"name": result.name, "state": result.state, "record": record, "error": result.error and str(result.error)}


def _list(packages: Sequence[Package], as_json: bool) -> None:
    entries = [_entry(package, download) for package in packages for download in package.downloads]
    if as_json:
        print_json(entries)
        return
    print_table(("data_set", "file", "where", "SHA-256", "licence"), entries)
    for package in packages:
        for note in dict.fromkeys(download.note for download in package.downloads if download.note):
            typer.echo(f"{package.name}: {note}")


def _entry(package: Package, download: Download) -> dict[str, Any]:
    return {
        "data_set": package.name,
        "file": looked_for(package, [download]),
        "where": download.url,
        "SHA-256": "\n".join(download.sums.values()) or "not on record",
        "licence": package.licence,
        "note": download.note,
    }


class Show:
    """A bar with rate and time left on a terminal, a line for each phase elsewhere; both on stderr."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        self.console = Console(stderr=True, highlight=False, soft_wrap=True)
        columns = (BarColumn(bar_width=30), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
        self.progress = Progress(TextColumn("{task.description}"), *columns, console=self.console, transient=True)
        self.bar = self.progress.add_task("", total=None)

    def __enter__(self) -> Show:
        if self.console.is_terminal:
            self.progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.progress.stop()

    def phase(self, title: str, total: int | None = None) -> None:
        """A new phase of `total` bytes, where that is known."""
        self.progress.remove_task(self.bar)
        self.bar = self.progress.add_task(title, total=total)
        if not self.console.is_terminal:
            self.console.print(title)

    def advance(self, count: int) -> None:
        """`count` more bytes of the phase are done."""
        self.progress.advance(self.bar, count)
