"""Instrument notes from a General MIDI soundfont, rendered by the `fluidsynth` program."""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from aural.audio.io import read
from aural.core.errors import DataError, MissingDependencyError
from aural.core.types import Clip
from aural.data.libre.cards import SourceCard
from aural.data.libre.readers import SourceClip, readers

RATE_HZ: Final = 44_100
NOTE_S, SLOT_S = 1.5, 3.0  # a key is held, and the next one follows
LEFT, RIGHT = re.compile(r"([( _-])L(\)?)$"), re.compile(r"([( _-])R(\)?)$")  # "Cello C4(L)", "Cello R"
BANK_LIBRARIES: Final = ("usr/lib/*-linux-gnu*", "lib/*-linux-gnu*", "usr/lib/*-linux-gnu*/pulseaudio")


@readers.register("soundfont")
def soundfont(unpacked: Path, card: SourceCard) -> Iterator[SourceClip]:
    """Render every program of bank 0 at several pitches and velocities; a program is a group, its number a prefix.

    `options`: file (of the soundfont), keys and velocities, classes (one per program, in order of program).
    """
    bank = unpacked / str(card.options["file"])
    if not bank.is_file():
        raise DataError(f"{card.name}: the package holds no {card.options['file']}; the card is out of date")
    classes: list[str] = card.options["classes"]
    notes = [(key, velocity) for key in card.options["keys"] for velocity in card.options["velocities"]]
    command, environment = _engine(unpacked)
    with tempfile.TemporaryDirectory(prefix="notes-") as folder:
        for program, class_name in enumerate(classes):
            if class_name == "-":
                continue
            midi, wave = Path(folder) / "notes.mid", Path(folder) / "notes.wav"
            midi.write_bytes(midi_file(program, notes))
            run = [command, "-ni", "-R0", "-C0", "-g0.8", f"-r{RATE_HZ}", "-F", str(wave), str(bank), str(midi)]
            done = subprocess.run(run, env=environment, capture_output=True, text=True, check=False)
            if done.returncode or not wave.is_file():
                raise DataError(f"{card.name}: fluidsynth failed on program {program} ({done.stderr.strip()[-200:]})")
            for number, (key, velocity) in enumerate(notes):
                part = read(wave, start_s=number * SLOT_S, duration_s=SLOT_S - 0.25)
                yield SourceClip(
                    f"{program:03d}/key{key:03d}-vel{velocity:03d}.wav",
                    Clip(part.samples.copy(), RATE_HZ),
                    label=class_name,
                    class_name=class_name,
                    group=f"program{program:03d}",
                    meta={"program": program, "key": key, "velocity": velocity, "soundfont": bank.name},
                )


def midi_file(program: int, notes: list[tuple[int, int]]) -> bytes:
    """Return a one-track MIDI file, 1,000 ticks per second: each (key, velocity) held NOTE_S in a slot of SLOT_S."""
    track = b"\0\xff\x51\3" + (1_000_000).to_bytes(3, "big") + bytes((0, 0xC0, program))
    held, rest = round(NOTE_S * 1000), round((SLOT_S - NOTE_S) * 1000)
    for number, (key, velocity) in enumerate(notes):
        track += _length(rest if number else 0) + bytes((0x90, key, velocity)) + _length(held) + bytes((0x80, key, 0))
    track += _length(rest) + b"\xff\x2f\0"
    return b"MThd" + struct.pack(">IHHH", 6, 0, 1, 1000) + b"MTrk" + struct.pack(">I", len(track)) + track


def _length(ticks: int) -> bytes:
    """MIDI's variable-length number."""
    out = [ticks & 0x7F]
    while ticks := ticks >> 7:
        out.append(0x80 | ticks & 0x7F)
    return bytes(reversed(out))


def _engine(unpacked: Path) -> tuple[str, dict[str, str]]:
    """The fluidsynth of this machine, else the one that the card's packages brought, run where they were unpacked."""
    if program := shutil.which("fluidsynth"):
        return program, dict(os.environ)
    program = unpacked / "usr/bin/fluidsynth"
    if not program.is_file():
        raise MissingDependencyError(
            "fluidsynth is not on this machine and its package cannot be had; notes are left out"
        )
    program.chmod(0o755)
    libraries = [str(path) for pattern in BANK_LIBRARIES for path in sorted(unpacked.glob(pattern))]
    return str(program), os.environ | {"LD_LIBRARY_PATH": os.pathsep.join(libraries)}


@readers.register("soundfont-samples")
def soundfont_samples(unpacked: Path, card: SourceCard) -> Iterator[SourceClip]:
    """Yield the recordings inside SF2 files, by their names ("Timpani f"); left and right halves are one."""
    import numpy as np

    for bank in sorted((unpacked / card.root).rglob("*.sf2")):
        data = bank.read_bytes()
        chunks = {name: data[at : at + size] for name, at, size in _chunks(data)}
        pcm = np.frombuffer(chunks[b"smpl"], "<i2")
        headers = list(struct.iter_unpack("<20s5IBbHH", chunks[b"shdr"]))[:-1]
        names = [raw.split(b"\0")[0].decode("latin-1").strip().replace("/", "-") for raw, *_ in headers]
        numbers = {name: number for number, name in enumerate(names)}
        for number, (_, start, end, _, _, rate, key, _, _, kind) in enumerate(headers):
            name = names[number]
            left = RIGHT.sub(r"\1L\2", name)
            if kind & 0x8000 or (left != name and left in numbers):
                continue  # in ROM, or the right half of a pair
            parts = [pcm[start:end]]
            right = numbers.get(LEFT.sub(r"\1R\2", name), number)
            if right != number and headers[right][2] - headers[right][1] == end - start:
                parts.append(pcm[headers[right][1] : headers[right][2]])
            if rate >= 4000 and end - start > 0.05 * rate:
                samples = np.stack(parts).astype(np.float32) / np.float32(32768)
                path = f"{bank.stem}/{number:04d} {name}.wav"
                yield SourceClip(path, Clip(samples, rate), said=f"{bank.stem}/{name}", label=name, meta={"key": key})


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """(name, offset, size) of the leaves of a RIFF file."""
    at = 12
    while at + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, at)
        if name == b"LIST":
            at += 12
            continue
        yield name, at + 8, size
        at += 8 + size + size % 2


@readers.register("gus")
def gus(unpacked: Path, card: SourceCard) -> Iterator[SourceClip]:
    """Read Gravis patches: a 239-byte head, then per sample a 96-byte head and its 8- or 16-bit samples."""
    import numpy as np

    for path in sorted((unpacked / card.root).rglob("*.pat")):
        data, at, name = path.read_bytes(), 239, path.stem
        for number in range(data[198]):
            size = struct.unpack_from("<I", data, at + 8)[0]
            rate, modes = struct.unpack_from("<H", data, at + 20)[0], data[at + 55]
            body = data[at + 96 : at + 96 + size]
            at += 96 + size
            kind = ("<u2" if modes & 2 else "<i2") if modes & 1 else ("u1" if modes & 2 else "i1")
            full = np.float32(32768 if modes & 1 else 128)
            samples = np.frombuffer(body[: size & ~1], kind).astype(np.float32) / full - np.float32(bool(modes & 2))
            if rate >= 4000 and len(samples) > 0.05 * rate:
                yield SourceClip(
                    f"{path.parent.name}/{name}/{number}.wav",
                    Clip(samples[None], rate),
                    said=f"{path.parent.name}/{name}",
                    label=name,
                )
