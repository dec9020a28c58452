"""Metadata of sound files: chunks written here byte by byte, tags of every format, and writing without a change."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from aural.audio.io import read
from aural.audio.metadata import Metadata, read_metadata, write_tags
from aural.audio.riff import describing_chunks, parse_ixml
from aural.audio.ucs import categories, parse_ucs
from aural.core.errors import AudioError, ConfigError

pytest.importorskip("mutagen")
RATE_HZ = 16_000
IXML = "<BWFXML><USER><DESCRIPTION>wet</DESCRIPTION><CATEGORY>RAIN</CATEGORY></USER><NOTE>n</NOTE></BWFXML>"


def noise(seconds: float = 0.3, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(round(seconds * RATE_HZ))).astype(np.float32)


def add_chunk(path: Path, name: bytes, content: bytes) -> None:
    """Append a chunk to a wav and correct the size of the RIFF."""
    whole = path.read_bytes() + name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)
    path.write_bytes(whole[:4] + struct.pack("<I", len(whole) - 8) + whole[8:])


def data_chunk(path: Path) -> bytes:
    whole = path.read_bytes()
    at = whole.index(b"data")
    return whole[at + 8 : at + 8 + struct.unpack("<I", whole[at + 4 : at + 8])[0]]


def write(path: Path, seed: int = 0) -> Path:
    soundfile.write(path, noise(seed=seed), RATE_HZ)
    return path


def test_chunks_of_a_wav(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav")
    assert read_metadata(path) == Metadata()
    add_chunk(path, b"iXML", IXML.encode())
    assert read_metadata(path) == Metadata(description="wet", category="RAIN")
    add_chunk(path, b"junk", b"odd")
    add_chunk(path, b"bext", b"Rain on tin".ljust(256, b"\0") + b"me".ljust(32, b"\0") + bytes(314))
    add_chunk(path, b"smpl", struct.pack("<9I", *[0] * 7, 1, 0) + bytes(24))
    assert read_metadata(path) == Metadata(description="Rain on tin", category="RAIN", has_loops=True)
    path.rename(tmp_path / "AMBForst-NIGHT_Rain_ABC_Lib.wav")
    metadata = read_metadata(tmp_path / "AMBForst-NIGHT_Rain_ABC_Lib.wav")
    assert (metadata.category, metadata.subcategory, metadata.creator) == ("AMBIENCE", "FOREST", "ABC")


def test_ixml_names_a_category_by_its_id(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav")
    user = "<USER><CATID>DOORWood</CATID><CATEGORY>x</CATEGORY><DESIGNER>me</DESIGNER></USER>"
    add_chunk(path, b"iXML", f"<BWFXML>{user}</BWFXML>".encode())
    metadata = read_metadata(path)
    assert (metadata.category, metadata.subcategory, metadata.creator) == ("DOORS", "WOOD", "me")


def test_the_list_of_categories() -> None:
    table = categories()
    assert len(table) == 752
    assert len({category for category, _ in table.values()}) == 82
    assert table["AMBForst"] == ("AMBIENCE", "FOREST")
    assert len(set(table.values())) == len(table)


def test_an_rf64_wav(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", noise(), RATE_HZ, format="RF64")
    path = tmp_path / "a.wav"
    with path.open("ab") as file:
        file.write(b"bext" + struct.pack("<I", 602) + b"long".ljust(602, b"\0"))
    assert path.read_bytes()[:4] == b"RF64"
    assert read_metadata(path).description == "long"


@pytest.mark.parametrize("content", [b"", b"<a", b"<a>&#0;</a>", b"\xff\xfe", b"<?xml version='1.0'?>"])
def test_damaged_ixml_is_no_error(content: bytes) -> None:
    assert parse_ixml(content) == {}


def test_files_that_are_no_wav(tmp_path: Path) -> None:
    for content in (b"", b"RIFF", b"RIFF\0\0\0\0WAVEbext\xff\xff\xff\xff", b"OggS" + bytes(20)):
        (tmp_path / "x").write_bytes(content)
        with (tmp_path / "x").open("rb") as file:
            assert describing_chunks(file) == {}


@pytest.mark.parametrize(
    ("name", "want"),
    [
        ("UIClick_Button_XY_Pack.wav", ("USER INTERFACE", "CLICK")),
        ("DOORWood_Creak Slow_JD_House_01_extra.wav", ("DOORS", "WOOD")),
        ("CHAINBrk-BIG_Snap_X_Y.wav", ("CHAINS", "BREAK")),
        ("RAIN_Tin_X_Y.wav", ("RAIN", "GENERAL")),
        ("RAINMetl_Tin.wav", ("RAIN", "METAL")),
        ("RAIN_Tin.wav", None),
        ("MIX_final.wav", None),
        ("RAINXyzz_Tin_X_Y.wav", None),
        ("rainMetl_Tin_X_Y.wav", None),
        ("RAINMetl__X_Y.wav", None),
        ("RAINMetl.wav", None),
    ],
)
def test_ucs_names(name: str, want: tuple[str, str] | None) -> None:
    parsed = parse_ucs(name)
    assert (None if parsed is None else (parsed.category, parsed.subcategory)) == want


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3", "aiff", "opus"])
def test_tags_are_written_and_the_sound_is_unchanged(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    if suffix == "opus":
        soundfile.write(path, noise(), RATE_HZ, format="OGG", subtype="OPUS")
    else:
        write(path)
    before = read(path).samples
    tags = {"title": "Rain ☂", "artist": "me", "genre": "field", "description": "on tin"}
    write_tags(path, tags)
    assert read_metadata(path) == Metadata(**tags)
    write_tags(path, {"genre": ""})
    assert read_metadata(path) == Metadata(**tags | {"genre": ""})
    np.testing.assert_array_equal(read(path).samples, before)
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


def test_other_chunks_of_a_wav_are_kept(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav")
    add_chunk(path, b"iXML", IXML.encode())
    data = data_chunk(path)
    write_tags(path, {"title": "x"})
    assert (data_chunk(path), read_metadata(path).description) == (data, "wet")


def test_what_cannot_be_written(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav")
    content = path.read_bytes()
    with pytest.raises(ConfigError, match="mood"):
        write_tags(path, {"mood": "x"})
    soundfile.write(tmp_path / "b.au", noise(), RATE_HZ)
    with pytest.raises(AudioError, match="no tags"):
        write_tags(tmp_path / "b.au", {"title": "x"})
    assert path.read_bytes() == content
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.slow
def test_tags_of_1000_files(tmp_path: Path) -> None:
    """250 wav, flac, ogg and mp3 files each: samples of all, and the data chunk of every wav, are unchanged."""
    for i in range(1000):
        path = write(tmp_path / f"{i}.{('wav', 'flac', 'ogg', 'mp3')[i % 4]}", i)
        before = hashlib.sha256(read(path).samples.tobytes()).digest()
        data = data_chunk(path) if i % 4 == 0 else b""
        tags = {"title": f"sound {i}", "artist": "me", "genre": "field", "description": "é" * (i % 50 + 1)}
        write_tags(path, tags)
        assert read_metadata(path) == Metadata(**tags)
        assert hashlib.sha256(read(path).samples.tobytes()).digest() == before
        assert i % 4 or data_chunk(path) == data
        path.unlink()
