"""An S3 server for tests: moto's, in a process of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

KEYS = {"AWS_ACCESS_KEY_ID": "test-id", "AWS_SECRET_ACCESS_KEY": "never-shown", "AWS_DEFAULT_REGION": "us-east-1"}
PATIENCE = 60.0  # seconds for the server to start


@contextmanager
def s3_server() -> Iterator[str]:
    """The URL of a bucket. Inside, the environment says where its server is and who we are."""
    s3fs = pytest.importorskip("s3fs", reason="pip install 'alignboard[s3]'")
    pytest.importorskip("moto", reason="pip install 'alignboard[dev]'")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-c", "from moto.server import main; main()", "-H", "127.0.0.1", "-p", str(port)]
    quiet = subprocess.DEVNULL
    server = subprocess.Popen(command, env={**os.environ, **KEYS}, stdout=quiet, stderr=quiet)
    with pytest.MonkeyPatch.context() as patch, server:
        for name, value in {**KEYS, "AWS_ENDPOINT_URL": address}.items():
            patch.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()  # fsspec keeps those of an earlier server
        try:
            _make_bucket(f"{address}/alignboard", server)
            yield "s3://alignboard"
        finally:
            server.kill()


def _make_bucket(address: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            urllib.request.urlopen(urllib.request.Request(address, method="PUT"), timeout=PATIENCE).close()
            return
        except OSError:
            assert server.poll() is None, "the server has ended"
            assert time.monotonic() < deadline, "no answer"
            time.sleep(0.1)
