"""Test building, resuming, splitting and showing a corpus made of synthetic packages, without network access."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from aural.audio.io import info, read, write
from aural.core.errors import AudioError, AuralError, ConfigError, DataError
from aural.core.types import Clip
from aural.data.leaks import leaks
from aural.data.libre.build import Place, _published, build, build_source
from aural.data.libre.cards import SourceCard, source_cards, taxonomy
from aural.data.libre.debian import Copyright, spdx, unpack
from aural.data.libre.show import counts, write_page
from aural.data.manifest import Manifest, read_manifest

RATE = 16_000


def sound(seed: int, seconds: float = 0.6) -> bytes:
    """Return a WAV file with six random tones and a random envelope, both determined by the seed."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    tones = [
        np.sin(2 * np.pi * f * time + p) for f, p in zip(rng.uniform(150, 5000, 6), rng.uniform(0, 6, 6), strict=True)
    ]
    wave = sum(tones) * np.interp(time, np.linspace(0, seconds, 8), rng.uniform(0.05, 1, 8)) / 8
    out = io.BytesIO()
    soundfile.write(out, wave, RATE, format="WAV", subtype="PCM_16")
    return out.getvalue()


def deb(folder: Path, name: str, files: dict[str, bytes]) -> Path:
    """Write a .deb file with one xz data member and return its path."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:xz") as tar:
        for path, content in files.items():
            member = tarfile.TarInfo(f"./{path}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    body = data.getvalue()

    def entry(title: str, content: bytes) -> bytes:
        head = f"{title:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode()
        return head + content + b"\n" * (len(content) % 2)

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}_1.0-1_all.deb"
    path.write_bytes(b"!<arch>\n" + entry("debian-binary", b"2.0\n") + entry("data.tar.xz", body))
    return path


def card(name: str, **changes: object) -> SourceCard:
    values: dict[str, object] = {
        "name": name,
        "version": "1",
        "title": name,
        "packages": {f"{name}-data": {}},
        "reader": "files",
        "license": "GPL-2.0-or-later",
        "root": "usr/share/x",
        "rules": {
            "dog/bark": "dog",
            "cat/meow | cat/purr": "cat",
            "orc*": "-: fantasy",
            "bell*": "bell: a ship's bell",
        },
    }
    return SourceCard.parse(values | changes, name)


COPYRIGHT = b"""Format: x

Files: *
License: GPL-2+

Files: dog/*
Copyright: someone
License: CC0-1.0
 To the extent possible
"""


@pytest.fixture
def debs(tmp_path: Path) -> Path:
    folder = tmp_path / "debs"
    one = {f"usr/share/x/dog/bark{n}.wav": sound(n) for n in range(4)}
    one |= {f"usr/share/x/cat/meow{n}.wav": sound(10 + n) for n in range(3)}
    one["usr/share/x/orc1.wav"] = sound(20)
    one["usr/share/x/snd042.wav"] = sound(21)
    one["usr/share/x/cat/purr.wav"] = sound(10)  # same sound and class as meow0
    one["usr/share/x/bell.wav"] = sound(0)  # same sound as bark0, another class
    one["usr/share/x/dog/bark9.wav"] = b"RIFF damaged"
    one["usr/share/doc/one-data/copyright"] = COPYRIGHT
    deb(folder, "one-data", one)
    two = {f"usr/share/x/dog/bark{n}.wav": sound(30 + n) for n in range(3)}
    two["usr/share/x/cat/meow1.wav"] = sound(11)  # also in package one
    two["usr/share/x/bell7.wav"] = sound(40)
    deb(folder, "two-data", two)
    return folder


CARDS = [card("one"), card("two", split="eval-only")]


def test_build_reads_cleans_and_splits(tmp_path: Path, debs: Path) -> None:
    report = build(CARDS, tmp_path / "out", debs=debs)
    manifest = read_manifest(tmp_path / "out")
    rows = {row.path: row for row in manifest}
    assert report.clips == len(rows)
    # bark0 and bell are the same sound with two labels, so both are dropped. purr repeats meow0. meow1 is kept in the
    # test-only source.
    assert sorted(rows) == [
        "clips/one/cat/meow0.flac",
        "clips/one/cat/meow2.flac",
        "clips/one/dog/bark1.flac",
        "clips/one/dog/bark2.flac",
        "clips/one/dog/bark3.flac",
        "clips/two/bell7.flac",
        "clips/two/cat/meow1.flac",
        "clips/two/dog/bark0.flac",
        "clips/two/dog/bark1.flac",
        "clips/two/dog/bark2.flac",
    ]
    bark = rows["clips/one/dog/bark1.flac"]
    assert (bark.class_name, bark.family, bark.group, bark.license) == ("dog", "animal", "one/dog/bark", "CC0-1.0")
    assert rows["clips/one/cat/meow2.flac"].license == "GPL-2.0-or-later"
    assert bark.source_version == "1.0-1"
    assert bark.duration_s == pytest.approx(0.6)
    assert {row.split for row in rows.values() if row.source == "two"} == {"eval-only"}
    assert rows["clips/two/bell7.flac"].caption_label == "ship's bell"
    assert all(row.caption_short and row.caption_detailed and row.captions for row in rows.values())
    assert all(len({row.split for row in rows.values() if row.group == g}) == 1 for g in manifest.column("group"))
    assert leaks(manifest) == []
    skipped = json.loads((tmp_path / "out/state/one.skipped.json").read_text())
    assert skipped == {"cannot be decoded": 1, "fantasy": 1, "no rule matches its name": 1}


def test_a_source_of_a_later_edition_changes_no_earlier_clip(tmp_path: Path, debs: Path) -> None:
    """The later source holds bark2 with another label, and a sound that is new."""
    rules = {"cat/meow": "cat", "dog/bark": "dog", "bell*": "bell"}
    deb(debs, "three-data", {"usr/share/x/bell1.wav": sound(2), "usr/share/x/bell2.wav": sound(50)})
    first, later = card("one", rules=rules), card("three", edition=2)
    build([first], tmp_path / "alone", debs=debs)
    build([first, later], tmp_path / "both", debs=debs)
    alone = {row.path: row for row in read_manifest(tmp_path / "alone")}
    both = {row.path: row for row in read_manifest(tmp_path / "both")}
    assert {path: both[path] for path in alone} == alone
    assert set(both) - set(alone) == {"clips/three/bell2.flac"}
    build([first, card("three")], tmp_path / "same", debs=debs)  # of one edition, both labels of bark2 are dropped
    assert "clips/one/dog/bark2.flac" not in set(read_manifest(tmp_path / "same").column("path"))


def test_stored_sound_has_the_stated_hash(tmp_path: Path, debs: Path) -> None:
    from aural.audio.io import read
    from aural.data.manifest import pcm_sha256

    build(CARDS, tmp_path / "out", debs=debs)
    manifest = read_manifest(tmp_path / "out")
    assert all(pcm_sha256(read(manifest.file(row))) == row.sha256 for row in manifest)


def test_second_call_and_any_number_of_jobs_give_the_same_bytes(tmp_path: Path, debs: Path) -> None:
    build(CARDS, tmp_path / "a", debs=debs, jobs=1)
    first = (tmp_path / "a/manifest.parquet").read_bytes()
    build(CARDS, tmp_path / "a", debs=debs, jobs=1)
    assert (tmp_path / "a/manifest.parquet").read_bytes() == first
    build(list(reversed(CARDS)), tmp_path / "b", debs=debs, jobs=3)
    assert (tmp_path / "b/manifest.parquet").read_bytes() == first


def test_a_killed_build_resumes(tmp_path: Path, debs: Path) -> None:
    reference, out = tmp_path / "reference", tmp_path / "out"
    build(CARDS, reference, debs=debs)
    (out / "state").mkdir(parents=True)
    build_source(CARDS[0], Place(out, debs))  # killed after the first source, while reading the second
    done = {p.name: p.stat().st_mtime_ns for p in (out / "state").glob("*.parquet")}
    (out / ".unpacked-two-abc/usr").mkdir(parents=True)
    (out / "clips/two/dog").mkdir(parents=True)
    (out / "clips/two/dog/.99.part.flac").write_bytes(b"fLaC half")
    build(CARDS, out, debs=debs)
    assert (out / "manifest.parquet").read_bytes() == (reference / "manifest.parquet").read_bytes()
    assert {n: (out / "state" / n).stat().st_mtime_ns for n in done} == done  # finished sources are not rebuilt
    assert not list(out.glob(".unpacked-*"))


PROGRAM = """
import sys
from pathlib import Path
from aural.data.libre.build import build
from aural.data.libre.cards import source_cards
if __name__ == "__main__":
    folder = Path(sys.argv[1])
    build(source_cards(folder=folder / "cards"), folder / "out", debs=folder / "debs", jobs=int(sys.argv[2]))
"""


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_killed_with_signal_9_again_and_again(tmp_path: Path, jobs: str) -> None:
    """Kill a build of twelve sources at several moments, then check that one complete call gives the same manifest."""
    (tmp_path / "cards").mkdir()
    for number in range(12):
        name = f"s{number:02d}"
        deb(
            tmp_path / "debs",
            f"{name}-data",
            {f"usr/share/x/dog/bark{n}.wav": sound(100 * number + n) for n in range(6)},
        )
        text = f'name="{name}"\nversion="1"\ntitle="x"\nreader="files"\nlicense="x"\nroot="usr/share/x"\n'
        text += f'packages={{"{name}-data"={{}}}}\nrules={{"dog/bark"="dog"}}\n'
        (tmp_path / "cards" / f"{name}.toml").write_text(text)
    (tmp_path / "run.py").write_text(PROGRAM)
    states = tmp_path / "out/state"
    kills = 0
    for stop_after in (1, 4, 7, 10):  # kill once this many sources are finished
        process = subprocess.Popen([sys.executable, str(tmp_path / "run.py"), str(tmp_path), jobs])
        while process.poll() is None and len(list(states.glob("*.parquet"))) < stop_after:
            time.sleep(0.002)
        kills += process.poll() is None
        process.kill()
        process.wait()
        time.sleep(0.5)  # let the workers notice that their parent ended
    assert kills >= 2
    cards = source_cards(folder=tmp_path / "cards")
    done = {path.name for path in states.glob("[!.]*.parquet")}
    assert len(done) >= 7
    build(cards, tmp_path / "out", debs=tmp_path / "debs")
    assert done <= {path.name for path in states.glob("*.parquet")}
    build(cards, tmp_path / "reference", debs=tmp_path / "debs")
    assert (tmp_path / "out/manifest.parquet").read_bytes() == (tmp_path / "reference/manifest.parquet").read_bytes()
    assert not [*(tmp_path / "out").glob(".unpacked-*")]


def test_a_missing_package_is_named_and_the_rest_is_built(
    tmp_path: Path, debs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    messages: list[str] = []
    report = build([*CARDS, card("three")], tmp_path / "out", debs=debs, say=messages.append)
    assert list(report.missing) == ["three"]
    assert "three-data" in report.missing["three"]
    assert report.clips == 10
    assert any("left out" in line and "three-data" in line for line in messages)


def test_a_damaged_package_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "debs"
    path = deb(folder, "one-data", {"usr/share/x/dog/bark.wav": sound(1)})
    path.write_bytes(path.read_bytes()[:-200])
    report = build([card("one")], tmp_path / "out", debs=folder)
    assert "one-data_1.0-1_all.deb: is damaged" in report.missing["one"]
    with pytest.raises(DataError, match="is damaged"):
        unpack(path, tmp_path / "x")


def test_unpack_writes_only_below_its_folder(tmp_path: Path) -> None:
    path = deb(tmp_path, "evil", {"../../up.wav": b"x", "usr/ok.wav": b"y", "usr/p.png": b"z"})
    unpack(path, tmp_path / "in")
    assert [p.name for p in (tmp_path / "in").rglob("*") if p.is_file()] == ["ok.wav"]


def test_one_build_at_a_time(tmp_path: Path, debs: Path) -> None:
    import fcntl

    (tmp_path / "out").mkdir()
    with (tmp_path / "out/.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(DataError, match="another build"):
            build(CARDS, tmp_path / "out", debs=debs)


def test_a_planted_duplicate_fails_the_leak_check(tmp_path: Path, debs: Path) -> None:
    import dataclasses

    from aural.data.manifest import from_rows

    build(CARDS, tmp_path / "out", debs=debs)
    rows = list(read_manifest(tmp_path / "out"))
    train = next(row for row in rows if row.split != "eval-only")
    planted = dataclasses.replace(train, path="clips/planted.flac", split="test", group="elsewhere")

    def kinds(extra: object) -> set[str]:
        return {leak.kind for leak in leaks(from_rows([*rows, extra], tmp_path))}  # type: ignore[list-item]

    assert kinds(planted) == {"same sound"}
    assert kinds(dataclasses.replace(planted, sha256="0" * 64)) == {"near-duplicate"}
    unrelated = dataclasses.replace(planted, sha256="0" * 64, fingerprint=b"")
    assert kinds(unrelated) == set()
    assert kinds(dataclasses.replace(unrelated, group=train.group)) == {"group"}
    spoken = [dataclasses.replace(rows[0], speaker="anna"), dataclasses.replace(unrelated, speaker="anna")]
    assert {leak.kind for leak in leaks(Manifest(from_rows(spoken, tmp_path).table, tmp_path))} == {"speaker"}


def test_show_counts_and_page(tmp_path: Path, debs: Path) -> None:
    build(CARDS, tmp_path / "out", debs=debs)
    manifest = read_manifest(tmp_path / "out")
    text = counts(manifest)
    assert "| animal | cat | 3 |" in text
    assert "| CC0-1.0 | 3 |" in text
    page = write_page(manifest, tmp_path / "out/index.html").read_text()
    assert page.count("<audio") == 10
    assert 'src="clips/two/bell7.flac"' in page
    assert "http" not in page  # self-contained
    assert not list((tmp_path / "out").glob("*.part"))


def test_copyright_last_stanza_wins() -> None:
    parsed = Copyright(COPYRIGHT.decode())
    assert parsed.license("usr/share/x/dog/bark1.wav") == "CC0-1.0"
    assert parsed.license("usr/share/x/cat/meow.wav") == ""
    text = "Files: share/game/Data/Sounds/*\nLicense: GFDL-1.3\n\nFiles: *.ogg\nLicense: CC-BY-SA-3\n"
    other = Copyright(text)
    assert other.license("usr/share/games/game/Data/Sounds/a.wav") == "GFDL-1.3-only"
    assert other.license("usr/share/games/other/a.ogg") == "CC-BY-SA-3.0"
    assert other.license("usr/share/games/elsewhere/a.wav") == ""
    assert Copyright("Files: *\nLicense:\n\nFiles: a.wav\nLicense: CC0-1.0\n").license("usr/share/b.wav") == ""


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ("GPL-2+", "GPL-2.0-or-later"),
        ("GPL-3", "GPL-3.0-only"),
        ("LGPL-2.1+", "LGPL-2.1-or-later"),
        ("CC-BY-SA-3", "CC-BY-SA-3.0"),
        ("CC-BY-4.0", "CC-BY-4.0"),
        ("CC0", "CC0-1.0"),
        ("public-domain", "public-domain"),
    ],
)
def test_short_license_names(short: str, long: str) -> None:
    assert spdx(short) == long


def test_cards_of_the_catalog_are_valid() -> None:
    cards = source_cards()
    assert len(cards) > 20
    assert {c.name for c in cards if c.split == "eval-only"} == {"gcompris", "scratch"}
    assert all(p.version and len(p.sha256) == 64 for c in cards for p in c.packages.values())
    assert not taxonomy().unseen - set(taxonomy().families)
    with pytest.raises(ConfigError, match='did you mean "scratch"'):
        source_cards(["scrach"])


def test_card_with_an_unknown_class_raises(tmp_path: Path) -> None:
    text = 'name="x"\nversion="1"\ntitle="x"\nreader="files"\nlicense="x"\npackages={}\nrules={"a"="dogg"}\n'
    (tmp_path / "x.toml").write_text(text)
    with pytest.raises(AuralError, match='unknown class "dogg"'):
        source_cards(folder=tmp_path)


def test_ogg_without_a_last_page_is_read(tmp_path: Path) -> None:
    """Some published Ogg files lack the mark of the last page (klettres in Arabic and Malayalam)."""
    wave = np.random.default_rng(0).normal(0, 0.1, (1, 64_000)).astype(np.float32)
    path = tmp_path / "a.ogg"
    write(path, Clip(wave, 16_000))
    content = path.read_bytes()
    path.write_bytes(content[: content.rindex(b"OggS")])
    with pytest.raises(AudioError, match="ends in the middle"):
        read(path)
    clip = _published(path, 30.0)
    assert 0 < clip.duration_s == info(path).duration_s < 4.0
    assert _published(path, 0.5).duration_s == 0.5
