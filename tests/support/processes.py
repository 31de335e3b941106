"""Processes of tests, forked from a server that has imported what they need: to import it anew takes each seconds."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from typing import Any

from torch.multiprocessing import start_processes

SERVED = multiprocessing.get_context("forkserver")
SERVED.set_forkserver_preload(["tests.support.small_babel", "tests.support.tiny_runs", "psycopg"])


def run_ranks(worker: Callable[..., None], *arguments: Any, ranks: int = 2) -> None:
    """Calls `worker(rank, *arguments)` in so many processes at once, and waits for them."""
    start_processes(worker, args=arguments, nprocs=ranks, start_method="forkserver")
