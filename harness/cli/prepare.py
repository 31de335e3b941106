"""`alignboard prepare`: converts downloaded data sets into a folder for the folder source."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from harness.cli.options import Json
from harness.cli.output import print_json, print_message, print_table
from harness.cli.progress import ByteProgress
from harness.data.prepare import PACKAGES
from harness.data.prepare.build import Options, Result
from harness.data.prepare.build import prepare as build
from harness.data.prepare.find import expected_files
from harness.data.prepare.package import Package
from harness.data.prepare.pieces import SPECIALS, UNLABELLED, XLMR_SPECIALS, write_task
from harness.data.prepare.record import PreparedRecord
from harness.errors import UsageError, UserError, list_first, unique_names
from harness.files import expand_user
from harness.stopping import INTERRUPTED


class PrepareInterrupted(UserError):
    """Ctrl-C, reported with what is finished and how to resume."""

    exit_code = INTERRUPTED


Tasks = Annotated[list[str] | None, typer.Argument(metavar="TASK...", help="Data sets. Default: all.")]
From = Annotated[Path | None, typer.Option("--from", metavar="DOWNLOADS", help="Folder with the downloads.")]
To = Annotated[Path | None, typer.Option("--to", metavar="FOLDER", help="Folder to write to.")]
Official = Annotated[
    bool,
    typer.Option(
        "--official",
        help="Remove test labels and sort Tatoeba's English, as the official scripts do. Such data cannot be scored.",
    ),
]
AnyRelease = Annotated[
    bool, typer.Option("--any-release", help="Accept downloads whose SHA-256 differs from the recorded one.")
]
Pieces = Annotated[
    str | None,
    typer.Option(
        metavar="TOKENIZER", help="Also split udpos and panx for a tokenizer, for the official training code."
    ),
]
MaxLength = Annotated[
    int | None,
    typer.Option(min=8, max=2**20, help="Maximum length of the pieces in subwords, with special tokens. Default: 128."),
]
List = Annotated[bool, typer.Option("--list", help="List what to download, from where, and its licence.")]


def prepare(
    task: Tasks = None,
    downloads: From = None,
    folder: To = None,
    official: Official = False,
    any_release: AnyRelease = False,
    pieces: Pieces = None,
    max_length: MaxLength = None,
    list_: List = False,
    as_json: Json = False,
) -> None:
    """Convert downloaded data sets into a folder for `--source folder:FOLDER`.

    Downloads nothing: `--list` shows what to fetch. Archives may be anywhere below DOWNLOADS, packed or unpacked. The
    files are identical to those of XTREME's own scripts, byte for byte, except that test labels are kept, which scoring
    needs. To resume an interrupted command, give it again.

    \b
    Examples:
      alignboard prepare --list
      alignboard prepare --from ~/Downloads --to data/xtreme
      alignboard prepare xnli tatoeba --from ~/Downloads --to data/xtreme
      alignboard run mbert --suite xtreme-align --source folder:data/xtreme
    """
    packages = select_packages(task or ())
    if list_:
        if downloads or folder or official or any_release or pieces or max_length:
            raise UsageError("--list takes no other options", remedy="leave out --list or the other options")
        _print_downloads(packages, as_json)
        return
    if downloads is None or folder is None:
        raise UsageError(
            "both folders are needed",
            found=f"--from {downloads or '?'} --to {folder or '?'}",
            expected="--from DOWNLOADS --to FOLDER",
            remedy="`alignboard prepare --list` shows what to put into DOWNLOADS",
        )
    _check_pieces(packages, pieces, max_length)
    downloads, folder = expand_user(downloads), expand_user(folder)
    results = _build(packages, downloads, folder, Options(official, any_release))
    if as_json:
        print_json([_json_record(result) for result in results])
    else:
        _print_results(results, folder)
    if pieces is not None:
        with _report_interrupt(results):
            _write_pieces(results, folder, pieces, max_length or 128)
    _raise_failures(results, named=bool(task))


def select_packages(names: Sequence[str]) -> list[Package]:
    """The packages of these names and those that they need; all packages for no names. Raises UsageError."""
    names = unique_names("data set", names, PACKAGES)
    wanted = {also for name in names or PACKAGES for also in (name, *PACKAGES[name].also)}
    return [package for name, package in PACKAGES.items() if name in wanted]


def _check_pieces(packages: Sequence[Package], tokenizer: str | None, max_length: int | None) -> None:
    if tokenizer is None and max_length is not None:
        raise UsageError("--max-length has no effect without --pieces", remedy="name a tokenizer with --pieces")
    if tokenizer is not None and not any(package.name in UNLABELLED for package in packages):
        raise UsageError("--pieces has no effect without a tagging task", expected="udpos or panx among the tasks")


def _write_pieces(results: Sequence[Result], folder: Path, name: str, max_length: int) -> None:
    """Splits the sentences of the tagging tasks for a tokenizer, the second step of the official preprocessing."""
    from harness.modeling.tokenizer import Tokenizer

    tokenizer = Tokenizer.load(name).hf
    specials = XLMR_SPECIALS if type(tokenizer).__name__.startswith("XLMRoberta") else SPECIALS
    for result in results:
        if result.record is not None and result.name in UNLABELLED:
            model = Path(name).name
            out = write_task(folder, result.name, tokenizer, model, length=max_length, specials=specials)
            typer.echo(f"{result.name}: pieces for {model} in {out}", err=True)


def _build(packages: Sequence[Package], downloads: Path, folder: Path, options: Options) -> list[Result]:
    results: list[Result] = []
    with _report_interrupt(results), ByteProgress() as progress:
        for result in build(packages, downloads, folder, options, progress):
            results.append(result)
            if result.error is not None:
                print_message("error", f"{result.name}: {result.error}")
    return results


@contextmanager
def _report_interrupt(results: Sequence[Result]) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt as stop:
        done = ", ".join(result.name for result in results if result.record is not None)
        remedy = "to resume, give the same command again"
        raise PrepareInterrupted("interrupted", found=f"finished: {done or 'nothing yet'}", remedy=remedy) from stop


def _raise_failures(results: Sequence[Result], *, named: bool) -> None:
    """Raises UserError if a data set failed, if a named one has no download, or if none has."""
    failed = [result.name for result in results if result.state == "failed"]
    absent = [result.name for result in results if result.state == "absent"]
    if failed:
        raise UserError(f"not prepared: {', '.join(failed)}", remedy="see above; finished data sets are kept")
    if absent and (named or len(absent) == len(results)):
        raise UserError(
            f"no download found for {', '.join(absent)}",
            expected="; ".join(expected_files(PACKAGES[name], []) for name in absent),
            remedy="`alignboard prepare --list` shows where to get them",
        )


def _print_results(results: Sequence[Result], folder: Path) -> None:
    rows = []
    for result in results:
        record = result.record
        counts = {"files": len(record.files), "items": f"{sum(record.items.values()):,}"} if record else {}
        rows.append({"data_set": result.name, "state": result.state, **counts})
    print_table(("data_set", "state", "files", "items"), rows)
    for result in results:
        for line in _remarks(result.record):
            typer.echo(f"{result.name}: {line}")
        for download in result.absent:
            missing = expected_files(PACKAGES[result.name], [download])
            typer.echo(f"{result.name}: no {missing}; get it at {download.url}")
    if any(result.record for result in results):
        typer.echo(f"`alignboard sources folder:{folder}` shows what can be used.")


def _remarks(record: PreparedRecord | None) -> Iterator[str]:
    """Unverified downloads, notes, and missing files of a prepared data set."""
    if record is None:
        return
    for state, why in (("unverified", "no SHA-256 is on record"), ("other", "another SHA-256 is on record")):
        if sums := [f"{entry.name} ({entry.sha256[:12]})" for entry in record.sources if entry.sum == state]:
            yield f"{why} for {list_first(sums, 3)}; {record.name}/prepared.json has the SHA-256 of each"
    yield from record.notes
    if record.missing:
        yield f"missing: {list_first(record.missing, 6)}"


def _json_record(result: Result) -> dict[str, Any]:
    record = result.record.as_json() if result.record else None
    return {"name": result.name, "state": result.state, "record": record, "error": result.error and str(result.error)}


def _print_downloads(packages: Sequence[Package], as_json: bool) -> None:
    entries = [
        {
            "data_set": package.name,
            "file": expected_files(package, [download]),
            "where": download.url,
            "SHA-256": "\n".join(download.sums.values()) or "not on record",
            "licence": package.licence,
            "note": download.note,
        }
        for package in packages
        for download in package.downloads
    ]
    if as_json:
        print_json(entries)
        return
    print_table(("data_set", "file", "where", "SHA-256", "licence"), entries)
    for package in packages:
        for note in dict.fromkeys(download.note for download in package.downloads if download.note):
            typer.echo(f"{package.name}: {note}")
