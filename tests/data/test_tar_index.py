"""The compact index gives the samples and faults of the scan, for plain, unusual and damaged tars."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from aural.data import tar_index
from aural.data.tar import scan
from aural.data.tar_index import index

Change = Callable[[bytes], bytes]


def write(path: Path, names: list[str], form: int) -> None:
    with tarfile.open(path, "w", format=form) as tar:
        for i, name in enumerate(names):
            entry = tarfile.TarInfo(name)
            entry.size = 100 + 400 * i
            tar.addfile(entry, io.BytesIO(bytes([i]) * entry.size))


PLAIN = ["a/x.json", "a/x.mel", "a/y.v2.mel", "a/y.json", "b/x.mel", "b/x.json", "b/x.json", "z"]
LONG = [f"{'folder' * 30}/{i}.mel" for i in range(3)]


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("names", [PLAIN, LONG, ["ä.mel", "ä.json"]])
@pytest.mark.parametrize(
    "change",
    [
        lambda content: content,
        lambda content: content[:-2048],  # the last member ends too soon
        lambda content: content[:530] + b"\xff" + content[531:],
        lambda content: content[:1030] + b"\xff" + content[1031:],
    ],
)
def test_index_is_scan(tmp_path: Path, names: list[str], form: int, change: Change) -> None:
    path = tmp_path / "a.tar"
    if form == tarfile.USTAR_FORMAT and names is LONG:
        names = [name[-80:] for name in names]
    write(path, names, form)
    path.write_bytes(change(path.read_bytes().rstrip(b"\0") + bytes(4096)))
    with path.open("rb") as stream:
        entries, faults = scan(stream)
        found, same_faults = index(stream, "mel")
        assert same_faults == faults
        assert len(found) == len(entries)
        for i, entry in enumerate(entries):
            again, inside = found.entry(stream, i)
            assert again.key == entry.key
            assert list(again.members) == list(entry.members)
            assert found.sizes[i] == entry.members.get("mel", (0, 0))[1]
            for suffix in entry.members:
                assert again.read(inside, suffix) == entry.read(stream, suffix)


def test_plain_shards_are_not_scanned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a.tar", PLAIN, tarfile.USTAR_FORMAT)
    monkeypatch.setattr(tar_index, "scan", lambda stream: pytest.fail("scanned"))
    with (tmp_path / "a.tar").open("rb") as stream:
        found, faults = index(stream, "mel")
    assert not faults
    assert found.starts.dtype == np.int64
    assert len(found) == 5  # a/x, a/y, b/x, a second b/x with one json, z


def test_a_wrong_checksum_is_noticed(tmp_path: Path) -> None:
    """The quick reading compares checksums, so a header with one wrong byte is left to the scan."""
    path = tmp_path / "a.tar"
    write(path, ["x.json", "x.mel"], tarfile.USTAR_FORMAT)
    content = bytearray(path.read_bytes())
    content[1024 + 110] ^= 1  # group of the second header
    path.write_bytes(content)
    with path.open("rb") as stream:
        found, faults = index(stream, "mel")
        assert faults
        assert (len(found), faults) == (len(scan(stream)[0]), scan(stream)[1])
