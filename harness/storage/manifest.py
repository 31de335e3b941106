"""The manifest of an artifact: its files with sizes and digests, and what it was made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from harness.files import COST, DIGEST, LOG, file_digest, json_digest, read_json, seal, unseal, write_json

MANIFEST = "manifest.json"
INCIDENTAL = (COST, LOG)  # files that differ between two computations of the same stage


class File(NamedTuple):
    """A file of an artifact: its size in bytes and the hexadecimal SHA-256 of its content."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Artifact:
    """A published folder; `files` maps relative POSIX paths to what the manifest says of them, `inputs` the
    fingerprints of the artifacts that it was made from to their `content` when they were read."""

    fingerprint: str
    kind: str
    path: Path
    meta: Mapping[str, Any]
    files: Mapping[str, File]
    inputs: Mapping[str, str]

    @property
    def content(self) -> str:
        """The digest of all files that decide what is made from it."""
        return json_digest({name: file.sha256 for name, file in self.files.items() if name not in INCIDENTAL})

    @property
    def size(self) -> int:
        """Bytes of all files, without the manifest."""
        return sum(file.size for file in self.files.values())


class DamageError(Exception):
    """An artifact cannot be used; the message says why, `kind` in a few words."""

    def __init__(self, message: str, kind: str = "missing or damaged") -> None:
        super().__init__(message)
        self.kind = kind


def is_inside(name: str) -> bool:
    """Whether the name of a file in a manifest is one inside the artifact."""
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts


def read_manifest(path: Path, fingerprint: str) -> Artifact:
    """The artifact in a folder, as its manifest says. Raises DamageError."""
    try:
        content = read_json(path / MANIFEST)
    except (OSError, ValueError) as error:
        raise DamageError(f"{MANIFEST} cannot be read: {type(error).__name__}: {error}") from error
    return parse_manifest(content, path, fingerprint)


def parse_manifest(content: Any, path: Path, fingerprint: str) -> Artifact:
    """The artifact that the JSON value of a manifest describes. Raises DamageError."""
    try:
        if DIGEST in content or content.keys() - {"fingerprint", "kind", "meta", "files"}:
            content = unseal(content)  # others are from before manifests had a digest
        files = {name: File(int(entry["size"]), str(entry["sha256"])) for name, entry in content["files"].items()}
        inputs = content.get("inputs", {})
        artifact = Artifact(content["fingerprint"], content["kind"], path, content["meta"], files, inputs)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamageError(f"{MANIFEST} cannot be read: {type(error).__name__}: {error}") from error
    if artifact.fingerprint != fingerprint:
        raise DamageError(f"{MANIFEST} belongs to {artifact.fingerprint}")
    return artifact


def write_manifest(
    folder: Path, fingerprint: str, kind: str, meta: Mapping[str, Any], inputs: Mapping[str, str]
) -> None:
    """Lists the files of a folder in its manifest."""
    assert not (folder / MANIFEST).exists(), f"{MANIFEST} is written by the store"
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    files = {p.relative_to(folder).as_posix(): File(p.stat().st_size, file_digest(p))._asdict() for p in paths}
    content = {"fingerprint": fingerprint, "kind": kind, "meta": dict(meta), "inputs": dict(inputs), "files": files}
    write_json(folder / MANIFEST, seal(content), indent=1)
