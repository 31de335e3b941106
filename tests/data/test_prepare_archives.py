"""Archives that lie: bombs, paths that lead out, links, duplicates, damage. And honest ones in every format."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import re
import struct
import tarfile
import tracemalloc
import warnings
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.data.prepare.archives import Limits, Selection, extract
from harness.errors import UserError

WANTED = Selection(lambda path: name if (name := path.split("/")[-1]).endswith(".txt") else None)
SMALL = Limits(file=1 << 20, total=4 << 20, members=50, ratio=50, slack=64 << 10)
CONTENT = b"one line\n"


def tar_of(members: dict[str, bytes] | list[tarfile.TarInfo], mode: str = "w") -> bytes:
    """A tar of files by name, or of bare headers."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        if isinstance(members, list):
            for info in members:
                archive.addfile(info)
        else:
            for name, content in members.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def zip_of(members: dict[str, bytes], **attributes: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            for field, value in attributes.items():
                setattr(info, field, value)
            archive.writestr(info, content)
    return buffer.getvalue()


def header(name: str, kind: bytes, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., dict[str, bytes]]:
    """Writes bytes as an archive and extracts it; nothing may appear beside the folder it is extracted into."""

    def call(
        content: bytes, name: str = "data", limits: Limits = SMALL, selection: Selection = WANTED
    ) -> dict[str, bytes]:
        archive, into = tmp_path / name, tmp_path / "a" / "b" / "into"
        archive.write_bytes(content)
        into.mkdir(parents=True, exist_ok=True)
        try:
            files = extract(archive, selection, into, limits)
        finally:
            outside = [p for p in tmp_path.rglob("*") if p.is_file() and p != archive and into not in p.parents]
            assert outside == []
            assert not [path for path in into.rglob("*") if path.is_symlink()]
            archive.unlink()
        found = {name: (into / name).read_bytes() for name in files}
        assert {n: hashlib.sha256(c).hexdigest() for n, c in found.items()} == {n: f.sha256 for n, f in files.items()}
        return found

    return call


Read = Callable[..., dict[str, bytes]]
PLAIN = tar_of({"top/a.txt": CONTENT, "top/b.md": b"unwanted", "./c.txt": b""})
FORMATS = {
    "zip": zip_of({"top/a.txt": CONTENT, "top/b.md": b"unwanted", "c.txt": b""}),
    "tar": PLAIN,
    "tar.gz": gzip.compress(PLAIN),
    "tar.bz2": bz2.compress(PLAIN),
    "tar.xz": lzma.compress(PLAIN),
}


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_gives_what_is_wanted(kind: str, read: Read) -> None:
    assert read(FORMATS[kind], "name says nothing") == {"a.txt": CONTENT, "c.txt": b""}


def test_a_single_compressed_file(read: Read) -> None:
    assert read(gzip.compress(CONTENT), "a.txt.gz") == {"a.txt": CONTENT}
    assert read(gzip.compress(CONTENT), "a.md.gz") == {}


def test_an_archive_inside_an_archive(read: Read) -> None:
    inner = gzip.compress(tar_of({"./train.txt": CONTENT}))
    paths: list[str] = []

    def pick(path: str) -> str | None:
        paths.append(path)
        return "x.txt" if path.endswith("train.txt") else None

    nested = Selection(pick, lambda path: path.endswith(".tar.gz"))
    for outer in (zip_of({"in/af.tar.gz": inner}), tar_of({"in/af.tar.gz": inner})):
        assert read(outer, selection=nested) == {"x.txt": CONTENT}
        assert "data/in/af.tar.gz/train.txt" in paths
    with pytest.raises(UserError, match="a nested member is not an archive"):
        read(zip_of({"in/af.tar.gz": b"plain text"}), selection=nested)


@pytest.mark.parametrize(
    "name", ["../a.txt", "x/../../a.txt", "/tmp/a.txt", "..\\a.txt", "C:\\a.txt", "/a.md", "\\a.txt"]
)
@pytest.mark.parametrize("make", [zip_of, tar_of], ids=["zip", "tar"])
def test_paths_that_lead_out_are_refused_even_where_unwanted(make: Callable[..., bytes], name: str, read: Read) -> None:
    with pytest.raises(UserError, match=r"(?s)refused: a member that would be written outside") as told:
        read(make({"ok.txt": CONTENT, name: CONTENT}))
    assert told.value.found == repr(name)


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE], ids=str
)
def test_links_and_devices_of_a_tar_are_refused(kind: bytes, read: Read) -> None:
    with pytest.raises(UserError, match="a selected member is not a plain file"):
        read(tar_of([header("a.txt", kind, "/etc/passwd")]))
    assert read(tar_of([header("unwanted", kind, "/etc")])) == {}  # never followed, never made


def test_a_member_below_a_link_is_written_by_its_own_name(read: Read) -> None:
    link, file = header("way", tarfile.SYMTYPE, "/tmp"), tarfile.TarInfo("way/a.txt")
    assert read(tar_of([link, file])) == {"a.txt": b""}


@pytest.mark.parametrize("mode", [0o120777, 0o020666, 0o010666])
def test_links_and_devices_of_a_zip_are_refused(mode: int, read: Read) -> None:
    with pytest.raises(UserError, match="a selected member is not a plain file"):
        read(zip_of({"a.txt": b"/etc/passwd"}, external_attr=mode << 16, create_system=3))


def test_a_sparse_member_is_refused(read: Read) -> None:
    info = header("a.txt", tarfile.GNUTYPE_SPARSE)
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    block[386:398], block[398:410] = b"%011o\0" % 0, b"%011o\0" % 0
    block[483:495] = b"%011o\0" % (1 << 32)
    block[148:156] = b"        "
    block[148:156] = b"%06o\0 " % sum(block)
    with pytest.raises(UserError, match="a sparse file"):
        read(bytes(block) + bytes(1024))


@pytest.mark.parametrize("make", [zip_of, tar_of], ids=["zip", "tar"])
def test_two_members_for_one_file(make: Callable[..., bytes], read: Read) -> None:
    assert read(make({"x/a.txt": CONTENT, "y/a.txt": CONTENT})) == {"a.txt": CONTENT}
    with pytest.raises(UserError, match="two different members for one file"):
        read(make({"x/a.txt": CONTENT, "y/a.txt": b"other"}))


def test_the_same_path_twice_in_a_zip(read: Read) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive.writestr("a.txt", "first")
        archive.writestr("a.txt", "second")
    with pytest.raises(UserError, match="two different members for one file"):
        read(buffer.getvalue())


ZEROS = 64 << 20


def zeros_under(compress: Callable[[], object]) -> bytes:
    """64 MiB of zeros, compressed in pieces."""
    compressor = compress()
    parts = [compressor.compress(bytes(1 << 20)) for _ in range(ZEROS >> 20)]  # type: ignore[attr-defined]
    return b"".join([*parts, compressor.flush()])  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", ["gz", "bz2", "tar.gz", "zip", "unwanted.tar.gz"])
def test_bombs_are_refused_in_bounded_memory(kind: str, read: Read, tmp_path: Path) -> None:
    if kind == "bz2":
        bomb = zeros_under(lambda: bz2.BZ2Compressor())
    elif kind == "zip":
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.txt", "w") as member:
            for _ in range(ZEROS >> 20):
                member.write(bytes(1 << 20))
        bomb = buffer.getvalue()
    else:
        info = tarfile.TarInfo("b.md" if kind.startswith("unwanted") else "a.txt")
        info.size = ZEROS
        compressor = zlib.compressobj(wbits=31)
        head = compressor.compress(info.tobuf()) if "tar" in kind else b""
        bomb = head + b"".join(compressor.compress(bytes(1 << 20)) for _ in range(ZEROS >> 20)) + compressor.flush()
    assert len(bomb) < 1 << 20
    limits = Limits(slack=1 << 20)
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match=r"(?s)a decompression bomb.*nothing of it was used"):
            read(bomb, "a.txt.gz" if kind == "gz" else "a.txt.bz2" if kind == "bz2" else "data", limits)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()
    written = sum(path.stat().st_size for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert written < 16 << 20


def test_a_zip_that_lies_about_its_sizes(read: Read) -> None:
    """A declared size that is too small ends in a check sum that does not fit, and in no more bytes than declared."""
    content = zip_of({"a.txt": bytes(1 << 20)})
    lying = content.replace(struct.pack("<L", 1 << 20), struct.pack("<L", 100))
    assert lying != content
    with pytest.raises(UserError, match="truncated or damaged"):
        read(lying)


def test_members_that_share_their_bytes_count_together(read: Read) -> None:
    """Each member alone is within the ratio; together they are not, since the archive holds their bytes once."""
    once = zip_of({"a.txt": bytes(40 << 10)})
    start = once.index(b"PK\x01\x02")
    entry, end = once[start : once.index(b"PK\x05\x06")], once[once.index(b"PK\x05\x06") :]
    entries = b"".join(entry.replace(b"a.txt", b"%c.txt" % letter) for letter in b"abcdefghijklmnopqrstuvwxyz")
    count, size = 26, len(entries)
    shared = once[:start] + entries + end[:8] + struct.pack("<HHL", count, count, size) + end[16:]
    with pytest.raises(UserError, match=r"bomb|damaged"):
        read(shared)


def test_limits_on_sizes_and_numbers(read: Read) -> None:
    with pytest.raises(UserError, match="a member that is too large"):
        read(tar_of({"a.txt": bytes(2 << 20)}), limits=SMALL)
    with pytest.raises(UserError, match="the archive expands too much"):
        read(gzip.compress(tar_of({f"{n}.md": bytes(1 << 20) for n in range(9)})), limits=Limits(total=4 << 20))
    for make in (zip_of, tar_of):
        with pytest.raises(UserError, match="too many members"):
            read(make({f"{n}.md": b"" for n in range(60)}), limits=SMALL)


def test_a_tar_header_that_would_fill_the_memory(read: Read) -> None:
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 1 << 30
    with pytest.raises(UserError, match=r"(?s)damaged.*an extended header of"):
        read(info.tobuf() + bytes(10240))


@pytest.mark.parametrize("kind", FORMATS)
@given(share=st.floats(0, 1))
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_archive_truncated_anywhere_is_reported(
    kind: str, share: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp()
    whole = FORMATS[kind]
    end = len(whole.rstrip(b"\0")) if kind == "tar" else len(whole) - 1  # the padding of a tar may be cut
    (folder / "data").write_bytes(whole[: int(share * end)])
    with pytest.raises(UserError, match=r"truncated or damaged|this is not an archive"):
        extract(folder / "data", WANTED, folder / "into", SMALL)


@given(
    kind=st.sampled_from(sorted(FORMATS)),
    flips=st.lists(st.tuples(st.integers(0, 20_000), st.integers(0, 255)), max_size=8),
)
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_noise_is_refused_or_read_but_never_crashes(
    kind: str, flips: list[tuple[int, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp()
    whole = bytearray(FORMATS[kind])
    for place, byte in flips:
        whole[place % len(whole)] = byte
    (folder / "noise").write_bytes(whole)
    with suppress(UserError):
        extract(folder / "noise", WANTED, folder / "into", SMALL)


def test_a_flipped_bit_is_noticed(read: Read) -> None:
    random = hashlib.sha512(b"seed").digest() * 3  # too dense for deflate to change
    for make in (zip_of, lambda members: gzip.compress(tar_of(members))):
        content = bytearray(make({"a.txt": random}))
        content[len(content) // 2] ^= 4
        with pytest.raises(UserError, match=r"truncated or damaged|no archive|outside"):
            read(bytes(content))


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "an empty file"),
        (b"<!DOCTYPE html><p>404", "a web page"),
        (b"\x89PNG....", r"a file that begins with b'\x89PNG"),
    ],
)
def test_non_archive_is_described(content: bytes, found: str, read: Read) -> None:
    with pytest.raises(UserError, match=f"(?s)this is not an archive.*{re.escape(found)}"):
        read(content)


def test_an_encrypted_zip(read: Read) -> None:
    content = bytearray(zip_of({"a.txt": CONTENT}))
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(UserError, match="a member that cannot be opened"):
        read(bytes(content))
