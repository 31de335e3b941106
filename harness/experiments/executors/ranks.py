"""Several processes that train one stage together, the ranks.

Rank 0 runs all stages. For one that trains on several processes it calls the others, which run the same stage into a
folder that is thrown away: the training loop gives each rank its part of a batch and sums the gradients, and rank 0
alone evaluates and writes. The other ranks wait otherwise, and end with rank 0.

torchrun starts the ranks of a command; `--gpus-per-stage` has each worker start its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from harness import stopping
from harness.errors import UserError
from harness.experiments.executors.parents import end_with_parent
from harness.experiments.stage import LostRankError, Stage, Workbench
from harness.faults import explain
from harness.registry import load_plugin, loaded_plugins
from harness.storage.artifacts import Artifacts

if TYPE_CHECKING:
    import torch

    from harness.training.loop import Rate, Trace

END = "end"  # the last call of rank 0; the others name its device
PATIENCE = timedelta(hours=6)  # of a rank for the others: rank 0 evaluates alone
POLL = timedelta(seconds=5)
GRACE = 10.0  # seconds for rank 0 to notice by itself that another rank is gone


class Call(NamedTuple):
    """What the other ranks get: the stage, the artifacts, and the threads of a rank."""

    stage: Stage
    artifacts: Artifacts
    threads: int


class Ranks:
    """Rank 0 with the others that take part in training stages. `local` of the `size` ranks are on this machine."""

    def __init__(self, size: int, local: int, store: Any = None) -> None:
        self.size, self.local, self._store = size, local, store
        self._calls = 0
        self._started: list[subprocess.Popen[bytes]] = []

    def run(self, stage: Stage, bench: Workbench, folder: Path) -> Trace | None:
        """Runs a stage on all ranks. Raises what another rank reports, and LostRankError where one is gone."""
        import torch
        from torch import distributed

        if self._store is None:
            self._start()
        number, self._calls = self._calls, self._calls + 1
        call = Call(stage, bench.artifacts, torch.get_num_threads())
        self._store.set(f"call {number}", str(bench.device))
        try:
            with _group(self._store, number, 0, self.size, bench.device), self._watch(number):
                for part in (list(stage.place.plugins), call):
                    distributed.broadcast_object_list([part], src=0, device=torch.device("cpu"))
                return stage.run(bench, folder)
        except RuntimeError as error:
            if not _is_of_group(error):
                raise
            raise self._reported(number) from error

    def end(self) -> None:
        """Has the other ranks end."""
        if self._store is not None:
            self._store.set(f"call {self._calls}", END)
        for process in self._started:
            process.terminate()
        self._store, self._started = (None, []) if self._started else (self._store, [])

    def _start(self) -> None:
        """Starts the other ranks on this machine, as torchrun would."""
        from torch.distributed import TCPStore  # type: ignore[attr-defined]

        self._calls = 0
        self._store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(self._store.port), "WORLD_SIZE": str(self.size)}
        shared["TORCHELASTIC_USE_AGENT_STORE"] = "True"  # the store is here, whatever this process was started by
        for rank in range(1, self.size):
            environment = {**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}
            command = [sys.executable, "-m", "harness.experiments.executors.ranks", str(os.getpid())]
            self._started.append(subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL))

    def _reported(self, number: int) -> Exception:
        """The error of another rank. Ranks that this one has started are started again for the next stage."""
        key = f"error {number}"
        try:
            self._store.wait([key], timedelta(seconds=GRACE))
            known, text = self._store.get(key).decode().split(" ", 1)
            return UserError(text) if known == "known" else RuntimeError(text)
        except RuntimeError:
            remedy = "often the memory is not enough: use fewer processes, then give the same command again"
            return LostRankError("a process that trains with others was killed", remedy=remedy)
        finally:
            self.end()

    @contextmanager
    def _watch(self, number: int) -> Iterator[None]:
        """Ends this process where another rank is gone and this one does not notice, as when it waits for a GPU."""
        done = threading.Event()

        def look() -> None:
            while not done.wait(1.0):
                gone = any(process.poll() is not None for process in self._started)
                if (gone or self._store.check([f"error {number}"])) and not done.wait(GRACE):
                    os._exit(1)

        threading.Thread(target=look, daemon=True).start()
        try:
            yield
        finally:
            done.set()


@contextmanager
def own_ranks(size: int) -> Iterator[Ranks | None]:
    """Ranks that this process starts when it first needs them; None where it is to work alone."""
    ranks = Ranks(size, size) if size > 1 else None
    try:
        yield ranks
    finally:
        if ranks is not None:
            ranks.end()


@dataclass(frozen=True)
class _Unwatched:
    def update(self, rate: Rate) -> None: ...


def serve(store: Any, rank: int, size: int, local: int) -> None:
    """What the ranks above 0 do: they take part in the stages that rank 0 calls them for, until it ends.

    A stage that fails here is reported to rank 0.
    """
    with stopping.stop_on_signals():
        for number in count():
            device = _next_call(store, number)
            if device == END:
                return
            try:
                _take_part(store, number, rank, size, local, device)
            except stopping.StopRequest:
                pass  # rank 0 has saved, and will end
            except Exception as error:
                if not _is_of_group(error):
                    known = explain(error)
                    text = f"rank {rank} of {size}: {known or traceback.format_exc()}"
                    store.set(f"error {number}", f"{'unknown' if known is None else 'known'} {text}")


def _next_call(store: Any, number: int) -> str:
    """The device of rank 0, as soon as it calls; `END` where it is gone."""
    while True:
        try:
            store.wait([f"call {number}"], POLL)
            return str(store.get(f"call {number}").decode())
        except RuntimeError as error:
            if "timeout" not in str(error).lower():
                return END


def _take_part(store: Any, number: int, rank: int, size: int, local: int, first: str) -> None:
    import torch
    from torch import distributed

    device = torch.device(first)
    if device.type == "cuda":
        device = torch.device("cuda", (device.index or 0) + local)
        torch.cuda.set_device(device)
    with _group(store, number, rank, size, device):
        received: list[Any] = [None]
        distributed.broadcast_object_list(received, src=0, device=torch.device("cpu"))
        for plugin in map(Path, received[0]):
            if plugin not in loaded_plugins():
                load_plugin(plugin)
        distributed.broadcast_object_list(received, src=0, device=torch.device("cpu"))
        call: Call = received[0]
        torch.set_num_threads(call.threads)
        with tempfile.TemporaryDirectory() as folder:
            call.stage.run(Workbench(call.artifacts.on_node(), device, _Unwatched()), Path(folder))
    if device.type == "cuda":
        torch.cuda.empty_cache()


@contextmanager
def _group(store: Any, number: int, rank: int, size: int, device: torch.device) -> Iterator[None]:
    """The process group of one stage. Small sums go over the host, so that they do not wait for a GPU."""
    from torch import distributed

    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    prefix = distributed.PrefixStore(f"group {number}", store)  # type: ignore[attr-defined]
    distributed.init_process_group(backend, store=prefix, rank=rank, world_size=size, timeout=PATIENCE)
    try:
        yield
    finally:
        distributed.destroy_process_group()


def _is_of_group(error: Exception) -> bool:
    """Whether an error says that the ranks cannot reach each other: then another one has the reason."""
    from torch import distributed

    return isinstance(error, distributed.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error))


@cache
def torchrun_ranks() -> Ranks:
    """The ranks that torchrun started, for rank 0."""
    size, local = int(os.environ["WORLD_SIZE"]), int(os.environ["LOCAL_WORLD_SIZE"])
    return Ranks(size, local, _environment_store())


def serve_environment() -> None:
    """Serves as the rank that the environment variables of torchrun name."""
    rank, size, local = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    serve(_environment_store(), rank, size, local)


def _environment_store() -> Any:
    from torch.distributed import rendezvous  # type: ignore[attr-defined]

    store, _, _ = next(iter(rendezvous("env://", timeout=PATIENCE)))
    return store


if __name__ == "__main__":
    end_with_parent(int(sys.argv[1]))
    serve_environment()
