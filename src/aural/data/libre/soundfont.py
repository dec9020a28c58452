"""Read instrument sounds from soundfonts and patches, and render notes with the program `fluidsynth`."""

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
NOTE_S, SLOT_S = 1.5, 3.0  # a key is held for NOTE_S, and the next one starts SLOT_S after it
LEFT, RIGHT = re.compile(r"([( _-])L(\)?)$"), re.compile(r"([( _-])R(\)?)$")  # "Cello C4(L)", "Cello R"
BANK_LIBRARIES: Final = ("usr/lib/*-linux-gnu*", "lib/*-linux-gnu*", "usr/lib/*-linux-gnu*/pulseaudio")


@readers.register("soundfont")
def soundfont(unpacked: Path, card: SourceCard) -> Iterator[SourceClip]:
    """Render every program of bank 0 at several keys and velocities.

    A program is a group, and the names of its notes start with its number.

    Options of the card: `file` (path of the soundfont), `keys`, `velocities`, and `classes` (one per program in order,
    "-" to skip the program).
    """
    bank = unpacked / str(card.options["file"])
    if not bank.is_file():
        raise DataError(f"{card.name}: the package does not contain {card.options['file']}; update the card")
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
    """Return a MIDI file with one track that plays (key, velocity) pairs one after the other.

    Each key is held for NOTE_S seconds, and a note starts every SLOT_S seconds. The file has 1,000 ticks per second.
    """
    track = b"\0\xff\x51\3" + (1_000_000).to_bytes(3, "big") + bytes((0, 0xC0, program))
    held, rest = round(NOTE_S * 1000), round((SLOT_S - NOTE_S) * 1000)
    for number, (key, velocity) in enumerate(notes):
        track += _length(rest if number else 0) + bytes((0x90, key, velocity)) + _length(held) + bytes((0x80, key, 0))
    track += _length(rest) + b"\xff\x2f\0"
    return b"MThd" + struct.pack(">IHHH", 6, 0, 1, 1000) + b"MTrk" + struct.pack(">I", len(track)) + track


def _length(ticks: int) -> bytes:
    """Encode a MIDI variable-length number."""
    out = [ticks & 0x7F]
    while ticks := ticks >> 7:
        out.append(0x80 | ticks & 0x7F)
    return bytes(reversed(out))


def _engine(unpacked: Path) -> tuple[str, dict[str, str]]:
    """Return the command and the environment of fluidsynth.

    The installed program is preferred. Otherwise the one in the unpacked packages of the card is used.
    """
    if installed := shutil.which("fluidsynth"):
        return installed, dict(os.environ)
    program = unpacked / "usr/bin/fluidsynth"
    if not program.is_file():
        raise MissingDependencyError(
            "fluidsynth is not installed and the unpacked packages do not contain it; install it to render notes"
        )
    program.chmod(0o755)
    libraries = [str(path) for pattern in BANK_LIBRARIES for path in sorted(unpacked.glob(pattern))]
    return str(program), os.environ | {"LD_LIBRARY_PATH": os.pathsep.join(libraries)}


@readers.register("soundfont-samples")
def soundfont_samples(unpacked: Path, card: SourceCard) -> Iterator[SourceClip]:
    """Read the samples inside SF2 files under their names ("Timpani f"). A left and a right sample give one clip."""
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
                continue  # a ROM sample, or the right channel of a pair
            parts = [pcm[start:end]]
            right = numbers.get(LEFT.sub(r"\1R\2", name), number)
            if right != number and headers[right][2] - headers[right][1] == end - start:
                parts.append(pcm[headers[right][1] : headers[right][2]])
            if rate >= 4000 and end - start > 0.05 * rate:
                samples = np.stack(parts).astype(np.float32) / np.float32(32768)
                path = f"{bank.stem}/{number:04d} {name}.wav"
                yield SourceClip(
                    path, Clip(samples, rate), match_name=f"{bank.stem}/{name}", label=name, meta={"key": key}
                )


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield (name, offset, size) of the chunks of a RIFF file that are not lists."""
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
    """Read Gravis patches: a 239-byte header, then per sample a 96-byte header and 8- or 16-bit data."""
    import numpy as np

    for path in sorted((unpacked / card.root).rglob("*.pat")):
        data = path.read_bytes()
        at = 239
        name = path.stem
        for number in range(data[198]):
            size = struct.unpack_from("<I", data, at + 8)[0]
            rate, modes = struct.unpack_from("<H", data, at + 20)[0], data[at + 55]
            body = data[at + 96 : at + 96 + size]
            at += 96 + size
            unsigned = bool(modes & 2)
            kind = ("<" if modes & 1 else "") + ("u" if unsigned else "i") + ("2" if modes & 1 else "1")
            full = np.float32(32768 if modes & 1 else 128)
            samples = np.frombuffer(body[: size & ~1], kind).astype(np.float32) / full - np.float32(unsigned)
            if rate >= 4000 and len(samples) > 0.05 * rate:
                yield SourceClip(
                    f"{path.parent.name}/{name}/{number}.wav",
                    Clip(samples[None], rate),
                    match_name=f"{path.parent.name}/{name}",
                    label=name,
                )
