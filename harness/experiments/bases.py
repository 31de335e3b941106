"""Base encoders: what tells one from another, and which commit of the hub a name stands for.

A folder is fingerprinted by the content of every file that can decide its behaviour: weights of any format and their
index, configuration, tokenizer files of any kind. A hub base is resolved to a commit, `NAME` or `NAME@REVISION`; the
commit is its fingerprint, is kept in the row, and is what the weights are loaded from.
"""

from __future__ import annotations

import fnmatch
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from harness.errors import UserError
from harness.experiments.recipe import Recipe
from harness.faults import quote
from harness.files import TRACE, expand_user, file_digest, json_digest
from harness.modeling.pretrained import check_weights, position_shift, supported_config
from harness.protocols import Shape
from harness.storage.cache import cached_json

SHIPPED = Path(__file__).parents[1] / "bases"  # encoders that come with Alignboard
# Files beside a checkpoint that no loader of ours reads: texts, pictures, the state of a trainer, other frameworks.
_WITHOUT_EFFECT = (
    *(".*", "*.md", "LICENSE*", "NOTICE*", "*.png", "*.jpg", "*.svg", "*.lock"),
    *("optimizer.*", "scheduler.*", "rng_state*", "scaler.*", "trainer_state.json", "training_args.bin", "*.log"),
    *("*.h5", "*.msgpack", "*.ot", "*.onnx", "manifest.json", "cost.json", TRACE),
)


class _Configuration(NamedTuple):
    """What planning needs of a checkpoint's configuration: `positions` is the most tokens that it reads."""

    type: str
    layers: int
    positions: int


def resolve_base(base: str) -> str:
    """The base as weights are loaded from it: a folder as it is, a hub name with its commit, `NAME@COMMIT`.

    Folders come first, then the encoders that come with Alignboard, then the hub. Raises UserError for a folder that is
    missing, and for a name or revision that the hub does not know.
    """
    folder = expand_user(base)
    if not folder.is_dir() and base in shipped_bases():
        folder = SHIPPED / base
    if folder.is_dir():
        return str(folder.resolve())
    if base.startswith((".", "/", "~")) or folder.exists():
        raise UserError(
            "this base is a file" if folder.exists() else "the base folder is missing",
            file=base,
            remedy="give a checkpoint folder, a hub name, or init:LAYERSxHIDDEN",
        )
    name, _, revision = base.partition("@")
    return f"{name}@{_commit(name, revision or 'main')}"


def shipped_bases() -> list[str]:
    """The names of the encoders that come with Alignboard."""
    return sorted(folder.name for folder in SHIPPED.iterdir() if folder.is_dir())


def base_fingerprint(resolved: str) -> str:
    """The fingerprint of a base as `resolve_base` returns it."""
    _configuration(resolved)
    folder = Path(resolved)
    if not folder.is_dir():
        return json_digest(["hub", *resolved.split("@")])
    check_weights(folder)
    files = (f for f in folder.iterdir() if f.is_file() and not _has_no_effect(f.name))
    return json_digest(["folder", {f.name: _file_hash(f, f.stat().st_mtime_ns, f.stat().st_size) for f in files}])


def base_shape(recipe: Recipe) -> Shape:
    """The shape of a recipe's base, from its configuration; an encoder trained from scratch is a BERT."""
    if recipe.pretrain is not None:
        return Shape("bert", recipe.pretrain.layers)
    config = _configuration(resolve_base(recipe.base))
    return Shape(config.type, config.layers)


def base_positions(resolved: str) -> int:
    """The most tokens that an existing base reads, as `resolve_base` returns it."""
    return _configuration(resolved).positions


def base_name(base: str) -> str:
    """A base as the board shows it: a folder by its own name, without its path, a hub name with a short commit."""
    folder = expand_user(base)
    if folder.is_dir():
        return folder.resolve().name
    name, at, commit = base.partition("@")
    return f"{name}{at}{commit[:12]}"


def _configuration(resolved: str) -> _Configuration:
    """The configuration of a base, as `resolve_base` returns it."""
    file = Path(resolved) / "config.json"
    if not file.is_file() and Path(resolved).is_dir():
        supported_config(resolved)  # raises that it is missing
    return _read_configuration(resolved, file_digest(file) if file.is_file() else resolved)


@cache
def _read_configuration(resolved: str, content: str) -> _Configuration:
    """The configuration, which transformers (seconds of imports) reads once for each content of the file."""

    def read() -> list[object]:
        config = supported_config(resolved)
        positions = int(config.max_position_embeddings) - position_shift(config)
        return [config.model_type, config.num_hidden_layers, positions]

    return _Configuration(*cached_json(f"configuration of {resolved}", [content, version("transformers")], read))


def _has_no_effect(name: str) -> bool:
    return any(fnmatch.fnmatch(name, pattern) for pattern in _WITHOUT_EFFECT)


@cache
def _file_hash(file: Path, mtime_ns: int, size: int) -> str:
    return file_digest(file)


@cache
def _commit(name: str, revision: str) -> str:
    """The commit that a revision of a hub repository stands for; without network, that of the local copy."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    try:
        config = Path(hf_hub_download(name, "config.json", revision=revision))
    except (OSError, ValueError, HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError) as error:
        raise UserError(
            "the base is no encoder that can be used here",
            file=name if revision == "main" else f"{name}@{revision}",
            found=quote(error),
            expected="a repository on the hub that can be reached, or a local copy of it",
            remedy="give the folder of a checkpoint, a hub name or NAME@REVISION, or init:LAYERSxHIDDEN",
        ) from error
    return config.parent.name
