"""Test each reader on a small synthetic file in its format."""

from __future__ import annotations

import gzip
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aural.core.errors import DataError, MissingDependencyError
from aural.core.types import Clip
from aural.data.libre import soundfont
from aural.data.libre.cards import SourceCard, meaning, plain_name
from aural.data.libre.readers import SourceClip, readers


def card(reader: str, **changes: Any) -> SourceCard:
    values = {"name": "x", "version": "1", "title": "x", "packages": {}, "reader": reader, "license": "x"}
    return SourceCard.parse(values | changes, "x")


def read(reader: str, folder: Path, **changes: Any) -> list[SourceClip]:
    return list(readers[reader](folder, card(reader, **changes)))


def put(path: Path, content: bytes | str = b"sound") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_plain_names() -> None:
    plain = {
        "Doors/Open_02.ogg": "doors/open", "a/fs_grass (3).wav": "a/fs_grass", "Tom 2": "tom", "12.wav": "12",
        "bark.1.OGG": "bark", "c4 - high tom": "c4 - high tom",
    }  # fmt: skip
    assert {name: plain_name(name) for name in plain} == plain


def test_the_first_matching_rule_applies() -> None:
    some = card("files", rules={"*rim* | *stick": "rimshot", "*snare*": "snare drum", "x/*": "-: no use"})
    assert meaning(some, "Kit/Snare Rim 2").class_name == "rimshot"
    assert meaning(some, "Kit/Snare 1").class_name == "snare drum"
    assert meaning(some, "x/y.wav").refused == "no use"
    assert meaning(some, "other.wav").refused == "no rule matches its name"


def test_files_and_zip_containers(tmp_path: Path) -> None:
    put(tmp_path / "r/a/one.wav")
    put(tmp_path / "r/readme.txt")
    put(tmp_path / "r/skip/two.ogg")
    with zipfile.ZipFile(tmp_path / "r/0snd.pk3", "w") as archive:
        archive.writestr("a/three.ogg", b"inside")
        archive.writestr("a/picture.png", b"no")
    clips = read("files", tmp_path, root="r", include=["a/*"], archives=["*.pk3"])
    assert [(f.name, f.sound) for f in clips] == [("a/one.wav", tmp_path / "r/a/one.wav"), ("a/three.ogg", b"inside")]
    put(tmp_path / "r/0snd.pk3", b"not a zip")
    with pytest.raises(DataError, match=r"0snd.pk3 is damaged"):
        read("files", tmp_path, root="r", archives=["*.pk3"])
    with pytest.raises(DataError, match="no folder gone"):
        read("files", tmp_path, root="gone")


def c4_archive(files: dict[str, bytes], *, groups: frozenset[str] = frozenset()) -> bytes:
    """Return a C4Group without compression: the header, of which every third byte changes place, and the entries."""
    header = bytearray(204)
    header[:24] = b"RedWolf Design GrpFolder"
    struct.pack_into("<i", header, 36, len(files))
    for at in range(0, len(header) - 2, 3):
        header[at], header[at + 2] = header[at + 2], header[at]
    table, body = b"", b""
    for name, content in files.items():
        entry = bytearray(316)
        entry[: len(name)] = name.encode()
        struct.pack_into("<5i", entry, 260, 0, name in groups, len(content), 0, len(body))
        table, body = table + entry, body + content
    return bytes(byte ^ 237 for byte in header) + table + body


def test_c4group_archives(tmp_path: Path) -> None:
    inner = c4_archive({"Chirp.ogg": b"bat", "Names.txt": b"no"})
    outer = c4_archive({"Animals.ocg": inner, "Bell.wav": b"bell"}, groups=frozenset({"Animals.ocg"}))
    packed = gzip.compress(outer)
    archive = put(tmp_path / "r/Sound.ocg", b"\x1e\x8c" + packed[2:])
    put(tmp_path / "r/Objects.ocd/Door.ogg")
    clips = {clip.name: clip.sound for clip in read("c4group", tmp_path, root="r")}
    door = tmp_path / "r/Objects.ocd/Door.ogg"
    assert clips == {"Objects/Door.ogg": door, "Sound/Animals/Chirp.ogg": b"bat", "Sound/Bell.wav": b"bell"}
    for damaged in (outer[:-2], b"text", b"\x1e\x8c" + packed[2:40]):
        archive.write_bytes(damaged)
        with pytest.raises(DataError, match=r"Sound.ocg is damaged .*fetch the package again"):
            read("c4group", tmp_path, root="r")


def test_tuxpaint_stamps_and_their_speech(tmp_path: Path) -> None:
    put(tmp_path / "birds/hen.ogg")
    put(tmp_path / "birds/hen.txt", "A brown hen.\nes.utf8=Una gallina marrón.\nfr.utf8=\n")
    for language in ("_es", "_fr", ""):
        put(tmp_path / f"birds/hen_desc{language}.ogg")
    put(tmp_path / "birds/mute.ogg")
    assert [(f.name, f.label) for f in read("tuxpaint", tmp_path)] == [("birds/hen.ogg", "A brown hen.")]
    spoken = {f.language: f.transcript for f in read("tuxpaint-speech", tmp_path)}
    assert spoken == {"en": "A brown hen.", "es": "Una gallina marrón."}  # French has no words


def test_hydrogen_kits(tmp_path: Path) -> None:
    layer = "<layer><filename>{}</filename></layer>"
    body = f"<instrument><name>Open HH</name>{layer.format('oh1.wav')}{layer.format('gone.wav')}</instrument>"
    body += "<instrument><name>Kick</name><filename>kick.flac</filename></instrument>"
    xml = f'<drumkit_info xmlns="http://www.hydrogen-music.org/drumkit"><instrumentList>{body}</instrumentList></drumkit_info>'
    put(tmp_path / "Kit One/drumkit.xml", xml)
    put(tmp_path / "Kit One/oh1.wav")
    put(tmp_path / "Kit One/kick.flac")
    clips = read("hydrogen", tmp_path)
    assert [(f.name, f.match_name, f.group) for f in clips] == [
        ("Kit One/oh1.wav", "Kit One/Open HH", "Kit One"),
        ("Kit One/kick.flac", "Kit One/Kick", "Kit One"),
    ]


def test_opensfx_container(tmp_path: Path) -> None:
    riff = b"RIFF" + bytes(200)
    header = b'"Ship horn". Original "ship.aif" by X. License: Creative Commons Zero 1.0.\0'
    entry = bytes([len(header)]) + header + riff
    index = struct.pack("<II", 8 | 0x80000000, len(riff))
    put(tmp_path / "a.cat", index + entry)
    (clip,) = read("opensfx", tmp_path)
    assert (clip.label, clip.group, clip.license, clip.sound) == ("Ship horn", "ship.aif", "CC0-1.0", riff)


def test_qt_resources(tmp_path: Path) -> None:
    """Read a version 1 file whose folder "snd" contains a plain and a deflated entry."""
    names, blobs = b"", b""
    at: dict[str, int] = {}
    for name in ("snd", "cow.ogg", "owl.ogg"):
        at[name] = len(names)
        names += struct.pack(">HI", len(name), 0) + name.encode("utf-16-be")
    plain, deflated = b"moo", struct.pack(">I", 4) + zlib.compress(b"hoot")
    blobs = struct.pack(">I", len(plain)) + plain
    second = len(blobs)
    blobs += struct.pack(">I", len(deflated)) + deflated
    tree = struct.pack(">IHII", 0, 2, 1, 1) + struct.pack(">IHII", at["snd"], 2, 2, 2)
    tree += struct.pack(">IHHHI", at["cow.ogg"], 0, 0, 0, 0) + struct.pack(">IHHHI", at["owl.ogg"], 1, 0, 0, second)
    head = struct.pack(">4s4I", b"qres", 1, 20, 20 + len(tree), 20 + len(tree) + len(blobs))
    put(tmp_path / "farm.rcc", head + tree + blobs + names)
    assert [(f.name, f.sound) for f in read("rcc", tmp_path)] == [("farm/cow.ogg", b"moo"), ("farm/owl.ogg", b"hoot")]


def test_transcripts(tmp_path: Path) -> None:
    put(tmp_path / "doc/t.txt.gz", gzip.compress("; head\nhello: Добро: да\nbeep: [tone]\n".encode()))
    for name in ("hello", "beep", "unlisted"):
        put(tmp_path / f"s/{name}.g722")
    clips = read(
        "transcripts", tmp_path, root="s", language="ru", speaker="anna", options={"table": "doc/*", "who": "a woman"}
    )
    assert [(f.name, f.transcript, f.speaker, f.meta) for f in clips] == [
        ("hello.g722", "Добро: да", "anna", {"who": "a woman"})
    ]


def test_language_folders(tmp_path: Path) -> None:
    put(tmp_path / "es/sounds.xml", '<k><sound name="Ñ" file="es/alpha/nn.ogg"/></k>')
    put(tmp_path / "es/alpha/nn.ogg")
    put(tmp_path / "pt_BR/a.ogg")
    put(tmp_path / "pics/a.ogg")
    clips = read("language-folders", tmp_path, options={"languages": {"pt_BR": "pt-BR", "pics": ""}})
    assert [(f.language, f.transcript) for f in clips] == [("es", "Ñ"), ("pt-BR", "")]
    assert len({f.speaker for f in clips}) == 2


def test_doom_lumps(tmp_path: Path) -> None:
    samples = bytes([128, 255, 0]) * 40
    lump = struct.pack("<HHI", 3, 11025, len(samples) + 32) + bytes(16) + samples + bytes(16)
    directory = struct.pack("<II8s", 12, len(lump), b"DSPISTOL") + struct.pack("<II8s", 12, 4, b"D_MUSIC\0")
    put(tmp_path / "f.wad", b"IWAD" + struct.pack("<II", 2, 12 + len(lump)) + lump + directory)
    (clip,) = read("wad", tmp_path)
    assert clip.name == "f/dspistol.wav"
    assert isinstance(clip.sound, Clip)
    assert clip.sound.sample_rate_hz == 11025
    assert clip.sound.samples[0, :3].tolist() == [0.0, 127 / 128, -1.0]


def test_midi_file_by_hand() -> None:
    assert soundfont.midi_file(40, [(60, 90)]) == bytes.fromhex(
        "4d546864 00000006 0000 0001 03e8"  # one track, 1000 ticks per quarter note
        "4d54726b 00000018 00ff51030f4240 00c028"  # one second per quarter note; program 40
        "00903c5a 8b5c803c00 8b5cff2f00".replace(" ", "")  # on, 1500 ticks, off, 1500 ticks, end
    )


def test_missing_fluidsynth_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    put(tmp_path / "a.sf2")
    options = {"file": "a.sf2", "keys": [60], "velocities": [90], "classes": ["piano"]}
    with pytest.raises(MissingDependencyError, match="fluidsynth"):
        read("soundfont", tmp_path, options=options)


def test_soundfont_samples(tmp_path: Path) -> None:
    pcm = np.concatenate([np.full(3000, 1000), np.full(3000, -2000), np.full(100, 5)]).astype("<i2")

    def header(name: bytes, start: int, end: int, link: int, kind: int) -> bytes:
        return struct.pack("<20s5IBbHH", name, start, end, 0, 0, 22050, 60, 0, link, kind)

    shdr = header(b"Cello L", 0, 3000, 1, 4) + header(b"Cello R", 3000, 6000, 0, 2)
    shdr += header(b"tiny", 6000, 6100, 0, 1) + header(b"EOS", 0, 0, 0, 0)

    def chunk(name: bytes, data: bytes) -> bytes:
        return name + struct.pack("<I", len(data)) + data

    body = chunk(b"LIST", b"sdta" + chunk(b"smpl", pcm.tobytes())) + chunk(b"LIST", b"pdta" + chunk(b"shdr", shdr))
    put(tmp_path / "b.sf2", b"RIFF" + struct.pack("<I", len(body) + 4) + b"sfbk" + body)
    (clip,) = read("soundfont-samples", tmp_path)
    assert clip.match_name == "b/Cello L"
    assert isinstance(clip.sound, Clip)
    assert clip.sound.samples[:, 0].tolist() == [1000 / 32768, -2000 / 32768]


def test_gravis_patches(tmp_path: Path) -> None:
    body = np.full(2000, -16384, "<i2").tobytes()
    head = bytearray(239)
    head[198] = 1
    sample = bytearray(96)
    struct.pack_into("<I", sample, 8, len(body))
    struct.pack_into("<H", sample, 20, 22050)
    sample[55] = 1  # 16 bits, signed
    put(tmp_path / "Tone_000/042_Cello.pat", bytes(head + sample) + body)
    (clip,) = read("gus", tmp_path)
    assert clip.match_name == "Tone_000/042_Cello"
    assert isinstance(clip.sound, Clip)
    assert set(clip.sound.samples[0].tolist()) == {-0.5}
