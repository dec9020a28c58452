"""Synthesize the sounds of the training examples: tones of several pitches and rhythms, and a CSV that names them."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import soundfile

RATE_HZ = 16_000
PITCHES = {"low": 220.0, "middle": 660.0, "high": 1980.0}
RHYTHMS = {"steady": 0.0, "slowly pulsing": 2.0, "quickly pulsing": 9.0}


def write_tones(folder: Path, per_class: int = 4) -> Path:
    """Write one-second tones and `captions.csv` (columns file, caption, split); return the path of the CSV."""
    random = np.random.default_rng(0)
    seconds = np.arange(RATE_HZ) / RATE_HZ
    rows = []
    for pitch, frequency_hz in PITCHES.items():
        for rhythm, pulses_hz in RHYTHMS.items():
            for number in range(per_class):
                detuned_hz = frequency_hz * 2 ** random.uniform(-0.1, 0.1)
                envelope = 0.5 + 0.5 * np.sign(np.sin(2 * np.pi * pulses_hz * seconds + 1e-6))
                wave = 0.3 * envelope * np.sin(2 * np.pi * detuned_hz * seconds + random.uniform(0, 6))
                wave += 0.01 * random.standard_normal(RATE_HZ)
                name = f"{pitch}-{rhythm.replace(' ', '-')}-{number}.wav"
                soundfile.write(folder / name, wave.astype(np.float32), RATE_HZ)
                split = "test" if number == per_class - 1 else "train"
                rows.append({"file": name, "caption": f"a {pitch} {rhythm} tone", "split": split})
    path = folder / "captions.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, ["file", "caption", "split"])
        writer.writeheader()
        writer.writerows(rows)
    return path
