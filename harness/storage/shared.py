"""Artifacts that machines share through a bucket, or any other place that fsspec can write, such as s3://bucket/prefix.

Every machine works in a folder of its own. What is finished there is uploaded, the manifest last: without a manifest
nothing exists, so an upload that was interrupted leaves nothing that counts. The first manifest of a stage counts, and
its files are beside those of later ones, never mixed with them. What a machine needs is downloaded, compared with its
digests and published in its own folder; where that fails, the manifest is moved away, and the stage is computed again.

    objects/ab/abcd.../manifest.json      objects/ab/abcd.../01ef.../model.safetensors      damaged/abcd....json
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from harness.faults import DiskError
from harness.files import file_digest, json_digest, write_atomically
from harness.storage.artifacts import Artifacts, Collected, artifact_folder
from harness.storage.home import artifacts_root
from harness.storage.locks import locked
from harness.storage.manifest import MANIFEST, Artifact, DamageError, is_inside, parse_manifest
from harness.storage.remote import RemoteFiles

VARIABLE = "ALIGNBOARD_ARTIFACTS"


def open_artifacts(root: Path | None = None) -> Artifacts:
    """The artifacts of this machine's folder, and of the URL in `ALIGNBOARD_ARTIFACTS` if there is one."""
    url = os.environ.get(VARIABLE)
    folder = root or artifacts_root()
    return _shared_at(folder, url) if url else Artifacts(folder)


@cache
def _shared_at(root: Path, url: str) -> SharedArtifacts:
    return SharedArtifacts(root, url)  # one for all readers of the process, which remembers what they have looked for


class SharedArtifacts(Artifacts):
    """The artifacts of a folder, and those that machines share at a URL.

    What is known of the URL is remembered: manifests do not change, unless one turns out to be damaged.
    """

    def __init__(self, root: Path, url: str) -> None:
        super().__init__(root)
        self.remote = RemoteFiles(url)
        self._known: dict[str, Artifact] = {}
        self._missing: set[str] = set()  # of the last `prefetch`; whoever asks again may find it uploaded

    def __reduce__(self) -> tuple[Any, ...]:
        return SharedArtifacts, (self.root, self.remote.url)

    def shared_copies(self) -> Artifacts:
        return SharedCopies(self.root, self.remote.url)

    def on_node(self) -> Artifacts:
        return SharedArtifacts(artifacts_root(), self.remote.url)

    def is_seen(self, lease: Path) -> bool:
        return True

    def prefetch(self, fingerprints: Iterable[str]) -> None:
        names = {_manifest_of(name): name for name in fingerprints if name not in self._known}
        found = self.remote.read(list(names))
        self._missing = set()
        for path, name in names.items():
            try:
                self._known[name] = parse_manifest(_parse_json(found.get(path)), self._object(name), name)
            except DamageError:  # missing, or half written
                self._missing.add(name)

    def find(self, fingerprint: str, *, verify: bool = False, files: Collection[str] | None = None) -> Artifact | None:
        here = super().find(fingerprint, verify=verify)
        if here is not None or (there := self._usable(fingerprint)) is None:
            return here
        try:
            if files is not None:
                return self._fetch_part(there, files)
            with locked(self.root / "locks" / f".{fingerprint}.download"):
                if not self._object(fingerprint).is_dir():
                    self._fetch(there)
        except DamageError as damage:
            self._refuse(there, damage)
            return None
        return super().find(fingerprint)

    def find_file(self, fingerprint: str, name: str) -> Path | None:
        if self._object(fingerprint).is_dir():
            return super().find_file(fingerprint, name)
        with suppress(DiskError):  # a reader may have no right to write here
            found = self.find(fingerprint, files=[name])
            return found.path / name if found and name in found.files else None
        return None

    def fault(self, fingerprint: str) -> str | None:
        if self._object(fingerprint).is_dir():
            return super().fault(fingerprint)
        return "missing or damaged" if self.find(fingerprint) is None else None

    def listed(self, fingerprint: str) -> Artifact | None:
        return super().listed(fingerprint) or self._look(fingerprint)

    def absent(self, fingerprints: Iterable[str]) -> set[str]:
        lost = super().absent(fingerprints)
        self.prefetch(lost)
        return lost - self._known.keys()

    def _share_new(self, fingerprint: str) -> None:
        """Uploads what was published. Raises UserError where that is not possible."""
        if (made := super().find(fingerprint)) is not None:
            self.share(made)

    def share(self, artifact: Artifact) -> None:
        """Uploads an artifact of this folder. Where another machine was first, with another content, that one counts:
        this one is set aside."""
        if artifact.path != self._object(artifact.fingerprint):
            return
        there = self._usable(artifact.fingerprint)
        if there is None:
            for name in artifact.files:
                self.remote.upload(artifact.path / name, _place_of(artifact, name))
            there = self._usable(artifact.fingerprint)  # again, since uploads take long
        if there is None:
            self.remote.write(_manifest_of(artifact.fingerprint), (artifact.path / MANIFEST).read_bytes())
            self._known[artifact.fingerprint] = artifact
        elif there.content != artifact.content:
            self._set_aside(artifact.path, f"another machine has shared another version of it at {self.remote.url}")

    def _look(self, fingerprint: str) -> Artifact | None:
        """What the manifest at the URL says, if there is one."""
        if fingerprint in self._missing:
            self._missing.discard(fingerprint)
        elif fingerprint not in self._known:
            self.prefetch([fingerprint])
            self._missing.clear()
        return self._known.get(fingerprint)

    def _usable(self, fingerprint: str) -> Artifact | None:
        """The artifact at the URL, unless it was made from another version of its inputs."""
        there = self._look(fingerprint)
        with suppress(DamageError):
            if there is not None:
                self._check_inputs(there)
                return there
        return None

    def _fetch(self, there: Artifact) -> None:
        with super().create(there.fingerprint, there.kind, there.meta, there.inputs) as folder:
            for name in there.files:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                self._download(there, name, folder / name)

    def _fetch_part(self, there: Artifact, files: Collection[str]) -> Artifact:
        part = replace(there, path=self.root / "parts" / there.fingerprint)
        for name in there.files.keys() & set(files):
            try:
                self._check_files(part, [name])
            except DamageError:
                write_atomically(part.path / name, partial(self._download, there, name))
        return part

    def _download(self, there: Artifact, name: str, file: Path) -> None:
        """Raises DamageError where the file at the URL is not the one that the manifest lists."""
        for _ in range(2):  # what came over the network wrong may come right
            if not is_inside(name) or not self.remote.download(_place_of(there, name), file):
                raise DamageError(f"{name} is missing")
            if file_digest(file) == there.files[name].sha256:
                return
        raise DamageError(f"the content of {name} has changed since it was uploaded")

    def _refuse(self, there: Artifact, damage: DamageError) -> None:
        """Moves the manifest of a damaged artifact away, unless another machine has replaced it already."""
        name = there.fingerprint
        self._known.pop(name, None)
        if self._look(name) == there:
            self._known.pop(name, None)
            self.remote.move(_manifest_of(name), f"damaged/{name}.json")
            self._note_damage(name, f"at {self.remote.url}: {damage}")


class SharedCopies(SharedArtifacts):
    """What is at the URL, without the folder: to be listed and collected. Leases and databases are the folder's."""

    def fingerprints(self) -> list[str]:
        return sorted({path.split("/")[2] for path in self.remote.sizes("objects")})

    def listed(self, fingerprint: str) -> Artifact | None:
        return self._look(fingerprint)

    def gc(self, keep: Callable[[], Collection[str]]) -> Collected:
        """Removes artifacts at the URL that are not among the fingerprints which `keep` returns, and damaged ones."""
        with self.collection_lock():
            kept = keep()
            sizes = self.remote.sizes("objects")
            doomed = {path: size for path, size in sizes.items() if path.split("/")[2] not in kept}
            names = sorted({path.split("/")[2] for path in doomed})
            doomed |= self.remote.sizes("damaged")
            manifests = doomed.keys() & {_manifest_of(name) for name in names}
            for paths in (manifests, doomed.keys() - manifests):  # manifests first, so that none is half there
                self.remote.remove(sorted(paths))
        return Collected(tuple(names), sum(doomed.values()))


def _manifest_of(fingerprint: str) -> str:
    return f"{artifact_folder(fingerprint)}/{MANIFEST}"


def _place_of(artifact: Artifact, name: str) -> str:
    """Where a file is: in a folder of exactly these files, so that two computations of a stage are never mixed."""
    files = json_digest({name: file.sha256 for name, file in artifact.files.items()})
    return f"{artifact_folder(artifact.fingerprint)}/{files[:16]}/{name}"


def _parse_json(content: bytes | None) -> Any:
    with suppress(ValueError, RecursionError):
        return json.loads(content or b"")
    return None
