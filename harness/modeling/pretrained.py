"""What can be told of a pre-trained checkpoint without torch: whether it can be used, its type and its shape."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import safe_open

from harness.errors import UserError
from harness.faults import UNKNOWN_FAULT, disk_error, quote
from harness.files import is_lfs_pointer, lfs_pointer_error, read_json

FAMILIES = ("bert", "roberta", "xlm-roberta", "camembert")


def pretrained(base: str | Path) -> dict[str, Any]:
    """The arguments of `from_pretrained` for a checkpoint folder or a hub name, which may end in `@REVISION`.

    Code of a repository is never run. Raises UserError for a folder of which Git LFS has fetched only pointers.
    """
    for file in sorted(Path(base).iterdir()) if Path(base).is_dir() else ():
        if file.is_file() and is_lfs_pointer(file):
            raise lfs_pointer_error(file)
    name, _, revision = ("", "", "") if Path(base).is_dir() else str(base).partition("@")
    at = {"revision": revision} if revision else {}
    return {"pretrained_model_name_or_path": name or base, "trust_remote_code": False, **at}


@contextmanager
def loading_errors(path: str | Path, refuse: Callable[[str | Path, str], UserError]) -> Iterator[None]:
    """Raises `refuse(path, what a library said)` for whatever the files of a checkpoint make a library raise."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # each format and library has errors of its own
        if (known := disk_error(error, Path(path))) is not None and known.what != UNKNOWN_FAULT:
            raise known from error
        unsafe = type(error).__name__ == "UnpicklingError" and "weights_only" in str(error)
        found = "weights that hold code, which is never run: save them as safetensors" if unsafe else quote(error)
        raise refuse(path, found) from error


def position_shift(config: Any) -> int:
    """The position of the first token: RoBERTa and its kin count from after the padding id."""
    return 0 if config.model_type == "bert" else int(config.pad_token_id) + 1


def supported_config(path: str | Path) -> Any:
    """The configuration of a checkpoint. Raises UserError where it is no encoder of a supported type."""
    if Path(path).is_dir() and not (Path(path) / "config.json").is_file():
        raise no_encoder(path, "config.json is missing")
    from transformers import AutoConfig

    with loading_errors(path, no_encoder):
        config = AutoConfig.from_pretrained(**pretrained(path))
    if config.model_type not in FAMILIES:
        raise no_encoder(path, f"a model of type {config.model_type!r}")
    positions = getattr(config, "position_embedding_type", None) or "absolute"
    faults = {
        "a decoder, which reads no token to the right": getattr(config, "is_decoder", False),
        f"positions of the type {positions!r}, of which only absolute ones are computed": positions != "absolute",
        "a model without a layer": config.num_hidden_layers < 1,
        "no pad_token_id, from which positions are counted": config.model_type != "bert"
        and config.pad_token_id is None,
    }
    for found, is_there in faults.items():
        if is_there:
            raise no_encoder(path, found)
    return config


def check_weights(folder: Path) -> None:
    """Raises UserError for a missing shard, and for weights in safetensors whose header does not fit the file, as of a
    truncated one."""
    single = folder / "model.safetensors"
    for file in [single] if single.is_file() else sorted(folder.glob("*.safetensors")):
        with loading_errors(file, no_encoder), safe_open(file, framework="np"):
            pass
    for name in ("model.safetensors", "pytorch_model.bin"):  # the order in which they are looked for
        index = folder / f"{name}.index.json"
        if (folder / name).is_file():
            return
        if index.is_file():
            with loading_errors(index, no_encoder):
                shards = {str(shard) for shard in read_json(index)["weight_map"].values()}
            if missing := sorted(shard for shard in shards if not (folder / shard).is_file()):
                raise no_encoder(folder, f"{len(missing)} of {len(shards)} files of its weights missing: {missing[0]}")
            return


def no_encoder(path: str | Path, found: str) -> UserError:
    return UserError(
        "the base is no encoder that can be used here",
        file=str(path),
        found=found,
        expected=f"a Hugging Face checkpoint of type {', '.join(FAMILIES)}",
        remedy="give the folder of such a checkpoint, a hub name, or init:LAYERSxHIDDEN",
    )
