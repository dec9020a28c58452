"""Pack what the text tower of libre-base was trained on: short clips at 24 kHz as Opus of 15 kbit/s, MiniLM in 8 bits.

    aural corpus build libre --out libre
    python tools/pack_clips.py libre/manifest.parquet packed

Clips of the first edition with a caption or a class are taken in an order drawn with seed 0: all of the validation
split (at most 5 s of each), and of the training split at most 26 of a spoken language (2 s), 9 notes of a soundfont per
class (1.6 s) and 100 other recordings per class (3.6 s). Each keeps its words and its first three further captions. A
clip that libsndfile cannot read as Opus is repeated to 0.8 s (16 kbit/s) or, if that does not help, stored as Vorbis.
The last line says whether these are the 4,607 clips of the shipped training. Opus needs PyAV
(`pip install "aural[av]"`). MiniLM, from its package, is written to minilm.safetensors.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import io
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file

from aural.audio.length import windows
from aural.core.config import read_mapping
from aural.core.files import atomic_write
from aural.core.weights import weight_card
from aural.data.libre.cards import SOURCES
from aural.data.manifest import TRAINING_SPLITS, Row, read_manifest, write_manifest
from aural.models.format import Header
from aural.models.packaged import MINILM
from aural.models.rounding import in_steps

RATE_HZ, WINDOW_S, LEAST_S = 24_000, 5.0, 0.8
BITS_PER_S, REPEATED_BITS_PER_S = 15_000, 16_000
MOST = {"speech": (26, 2.0), "note": (9, 1.6), "recording": (100, 3.6)}
"""Clips per class or language, and seconds of each."""
SHIPPED = "25445001996f94a3b6556e2020df52f15556e85228ea6ea6bd3133f78661a936"
"""SHA-256 of the paths, one a line, of the clips of the shipped training."""
Wave = NDArray[np.float32]


def kind_of(row: Row) -> str:
    if row.language:
        return "speech"
    return "note" if row.source.startswith("notes-") else "recording"


def chosen(rows: Sequence[Row]) -> Iterator[tuple[Row, float]]:
    """Yield the clips to pack with their longest duration in seconds, in the drawn order."""
    taken: Counter[tuple[str, str]] = Counter()
    for place in np.random.default_rng(0).permutation(len(rows)):
        row = rows[place]
        if row.split not in TRAINING_SPLITS or not (row.caption_label or row.class_name):
            continue
        if row.split != "train":
            yield row, WINDOW_S
            continue
        kind = kind_of(row)
        most, longest_s = MOST[kind]
        key = (kind, row.class_name or row.language)
        if taken[key] < most:
            taken[key] += 1
            yield row, longest_s


def as_opus(wave: Wave, bits_per_s: int) -> bytes:
    """Return an Ogg Opus file of a wave (T,) at 24 kHz."""
    import av

    file = io.BytesIO()
    with av.open(file, "w", format="ogg") as container:
        stream = container.add_stream("libopus", rate=RATE_HZ)
        stream.bit_rate, stream.layout = bits_per_s, "mono"
        stream.options = {"compression_level": "3", "frame_duration": "60"}
        samples = (np.clip(wave, -1, 1) * 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.sample_rate = RATE_HZ
        for part in (frame, None):
            for packet in stream.encode(part):
                container.mux(packet)
    return file.getvalue()


def readable(file: bytes) -> bool:
    try:
        return len(soundfile.read(io.BytesIO(file))[0]) > 100
    except soundfile.LibsndfileError:
        return False


def packed(wave: Wave) -> bytes:
    """Return a file of a wave (T,) that libsndfile reads."""
    if readable(file := as_opus(wave, BITS_PER_S)):
        return file
    repeats = math.ceil(LEAST_S * RATE_HZ / len(wave))
    if readable(file := as_opus(np.tile(wave, repeats), REPEATED_BITS_PER_S)):
        return file
    vorbis = io.BytesIO()
    soundfile.write(vorbis, wave, RATE_HZ, format="OGG", subtype="VORBIS")
    return vorbis.getvalue()


def stripped(row: Row, path: str, duration_s: float) -> Row:
    """Return a row with its words and without what describes the original file."""
    return dataclasses.replace(
        row, path=path, duration_s=round(duration_s, 3), captions=row.captions[:3], sample_rate_hz=RATE_HZ, channels=1,
        sha256="", fingerprint=b"", transcript="", meta="", tags=[], speaker="", group="",
    )  # fmt: skip


def minilm() -> dict[str, NDArray[np.generic]]:
    """Return MiniLM's matrices as integers and steps, and its vectors as float16."""
    config = weight_card("libre-small").bundled() / "config.json"
    tensors = MINILM.tensors(Header.parse(read_mapping(config), str(config)).clap)
    stored = in_steps({name: tensor.to(torch.float32).numpy() for name, tensor in tensors.items()})
    return {
        name: values if values.ndim > 1 or name.endswith(".steps") else values.astype(np.float16)
        for name, values in stored.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    manifest = read_manifest(options.manifest)
    rows: list[Row] = []
    digest = hashlib.sha256()
    (options.out / "c").mkdir(parents=True, exist_ok=True)
    for row, longest_s in chosen([row for row in manifest if SOURCES[row.source].edition == 1]):
        digest.update(f"{row.path}\n".encode())
        window = next(iter(windows(manifest.file(row), RATE_HZ, WINDOW_S, shorter=None)))
        wave = window.samples[: round(longest_s * RATE_HZ)]
        path = f"c/{len(rows)}.opus"
        with atomic_write(options.out / path) as part:
            part.write_bytes(packed(wave))
        rows.append(stripped(row, path, len(wave) / RATE_HZ))
    write_manifest(options.out, rows)
    save_file(minilm(), options.out / "minilm.safetensors", metadata={"format": "pt"})
    same = "the clips" if digest.hexdigest() == SHIPPED else "not the clips"
    print(f"{len(rows)} clips: {same} of the shipped training")


if __name__ == "__main__":
    main()
