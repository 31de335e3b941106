"""A server that answers as the Hugging Face hub does, on the loopback address: listings, redirects, ranges, faults."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import datasets.config
import pytest
from huggingface_hub import constants

COMMIT = "0123456789abcdef0123456789abcdef01234567"
_SMALL = (".md", ".json", ".txt")  # the hub keeps such files in git itself, and others as large files


@dataclass
class Fault:
    """What goes wrong with the next `times` requests whose path matches: a status, a cut body or false bytes."""

    path: str
    status: int = 0
    cut: bool = False
    corrupt: bool = False
    method: str = "GET"
    times: int = 10**6
    code: str = ""  # X-Error-Code, by which clients tell a gated repository from a missing one


@dataclass
class Hub:
    """`repos` maps `datasets/OWNER/NAME` or `OWNER/NAME` to its files, which are those of every commit."""

    repos: dict[str, dict[str, bytes]] = field(default_factory=dict)
    commit: str = COMMIT
    faults: list[Fault] = field(default_factory=list)
    requests: list[tuple[str, str, str]] = field(default_factory=list)  # method, path, Range
    url: str = ""
    cdn: str = ""  # another host name for the same address, as large files come from another host

    def fault(self, method: str, path: str) -> Fault | None:
        for fault in self.faults:
            if fault.times and fault.method == method and re.search(fault.path, path):
                fault.times -= 1
                return fault
        return None


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def entry(path: str, content: bytes) -> dict[str, Any]:
    """A file as the tree and the listing show it: a git blob id, and the SHA-256 of a large file."""
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    lfs = {"oid": sha256(content), "sha256": sha256(content), "size": len(content), "pointerSize": 134}
    shown: dict[str, Any] = {"type": "file", "path": path, "rfilename": path, "size": len(content)}
    shown |= {"oid": blob, "blobId": blob}
    return shown if path.endswith(_SMALL) else shown | {"lfs": lfs}


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.hub.requests.append((self.command, path, self.headers.get("Range", "")))
        fault = self.hub.fault(self.command, path)
        if fault and fault.status:
            self._send(fault.status, b"{}", {"X-Error-Code": fault.code} if fault.code else {})
        elif path.startswith("/api/"):
            self._api(path, body)
        elif path.startswith("/cdn/"):
            self._file(path, fault)
        else:
            self._resolve(path)

    def _api(self, path: str, body: bytes) -> None:
        match = re.fullmatch(
            r"/api/(datasets|models)/([^/]+/[^/]+)(?:/(revision|tree|paths-info)/([^/]+)(/.*)?)?", path
        )
        name = match and ("datasets/" if match[1] == "datasets" else "") + match[2]
        if not match or name not in self.hub.repos:
            return self._send(401, b'{"error":"Invalid username or password."}')
        if (match[4] or "main") not in ("main", COMMIT, self.hub.commit):
            return self._send(404, b'{"error":"Invalid rev id"}', {"X-Error-Code": "RevisionNotFound"})
        entries = [entry(file, content) for file, content in sorted(self.hub.repos[name].items())]
        if match[3] == "tree":
            return self._tree((match[5] or "/").strip("/"), entries)
        if match[3] == "paths-info":
            wanted = self._wanted(body)
            folders = [{"type": "directory", "path": w, "oid": "0" * 40} for w in wanted if self._folder(name, w)]
            return self._json([one for one in entries if one["path"] in wanted] + folders)
        return self._json(
            {"id": match[2], "sha": self.hub.commit, "private": False, "gated": False, "siblings": entries}
        )

    def _tree(self, under: str, entries: list[dict[str, Any]]) -> None:
        """The files and folders below a folder: all of them, or its own alone."""
        start = f"{under}/" if under else ""
        below = [one for one in entries if one["path"].startswith(start)]
        folders = {one["path"][:i] for one in below for i, c in enumerate(one["path"]) if c == "/" and i > len(under)}
        shown = below + [{"type": "directory", "path": folder, "oid": "0" * 40} for folder in sorted(folders)]
        whole = parse_qs(urlsplit(self.path).query).get("recursive", [""])[0].lower() == "true"
        self._json([one for one in shown if whole or "/" not in one["path"][len(start) :]])

    def _wanted(self, body: bytes) -> list[str]:
        if "json" in self.headers.get("Content-Type", ""):
            paths = json.loads(body)["paths"]
            return paths if isinstance(paths, list) else [paths]
        return parse_qs(body.decode())["paths"]

    def _folder(self, name: str, path: str) -> bool:
        return any(file.startswith(f"{path}/") for file in self.hub.repos[name])

    def _resolve(self, path: str) -> None:
        match = re.fullmatch(r"/((?:datasets/)?[^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        if not match or match[1] not in self.hub.repos:
            return self._send(401, b"", {"X-Error-Message": "Invalid username or password."})
        if match[2] not in ("main", COMMIT, self.hub.commit):
            return self._send(404, b"", {"X-Error-Code": "RevisionNotFound"})
        content = self.hub.repos[match[1]].get(match[3])
        if content is None:
            return self._send(
                404,
                b"",
                {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT if match[2] == COMMIT else self.hub.commit},
            )
        known = entry(match[3], content)
        heads = {
            "X-Repo-Commit": COMMIT if match[2] == COMMIT else self.hub.commit,
            "ETag": f'"{known["oid"]}"',
            "Accept-Ranges": "bytes",
        }
        if "lfs" not in known:
            return self._send(200, content, heads)
        heads |= {"X-Linked-Size": str(len(content)), "X-Linked-ETag": f'"{sha256(content)}"'}
        return self._send(302, b"", {**heads, "Location": f"{self.hub.cdn}/cdn/{match[1]}//{match[3]}"})

    def _file(self, path: str, fault: Fault | None) -> None:
        name, _, file = path.removeprefix("/cdn/").partition("//")
        content, status, heads = self.hub.repos[name][file], 200, {"Accept-Ranges": "bytes"}
        if fault and fault.corrupt:
            content = bytes(byte ^ 0x55 for byte in content)
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if match:
            first, last = int(match[1]), min(int(match[2] or len(content)), len(content) - 1)
            heads["Content-Range"], status = f"bytes {first}-{last}/{len(content)}", 206
            content = content[first : last + 1]
        self._send(status, content, heads, cut=bool(fault and fault.cut))

    def _json(self, value: Any) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, content: bytes, heads: dict[str, str] | None = None, *, cut: bool = False) -> None:
        self.send_response(status)
        for name, value in {**(heads or {}), "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[: len(content) // 2] if cut else content)
        if cut:
            self.wfile.flush()
            self.close_connection = True


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """Serves `hub` until the block ends; its address is `hub.url`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    hub.cdn = hub.url.replace("127.0.0.1", "localhost")
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def in_its_place(hub: Hub, monkeypatch: pytest.MonkeyPatch, home: Path) -> Iterator[Hub]:
    """Serves `hub` to the clients of this process, which keep what they fetch in `home`."""
    with serving(hub) as running:
        monkeypatch.setattr(constants, "ENDPOINT", running.url)
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE.partition("/{repo_id}")
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", running.url + template[1] + template[2])
        monkeypatch.setattr(constants, "HF_HOME", str(home))
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
        monkeypatch.setattr(datasets.config, "HF_ENDPOINT", running.url)
        monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", home / "datasets")
        monkeypatch.setattr(datasets.config, "HF_UPDATE_DOWNLOAD_COUNTS", False)
        yield running
