"""Print the peak memory above that of the loaded model while a ten-hour wav is embedded in windows.

    python bench/long_file.py [--hours 10] [--model NAME_OR_PATH]

Without --model, a narrow CNN9 with random weights reads windows of 60 s; memory does not depend on the weights.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

from aural.audio.mel import MelConfig
from aural.core.errors import AuralError
from aural.encoders.text import TEXT_TOWERS
from aural.models.clap import AudioConfig, Clap, ClapConfig
from aural.models.format import save_own
from aural.models.load import load

RATE_HZ = 8000


def write_long(path: Path, hours: float) -> Path:
    """Write a glide over noise with 8 bits at 8 kHz, 29 MB per hour, and return its path."""
    t = np.arange(60 * RATE_HZ) / RATE_HZ
    minute = 0.4 * np.sin(2 * np.pi * 200 * t * (1 + t / 60)) + 0.1 * np.random.default_rng(0).standard_normal(t.size)
    with soundfile.SoundFile(path, "w", RATE_HZ, 1, "PCM_U8") as file:
        for _ in range(round(60 * hours)):
            file.write(minute.astype(np.float32))
    return path


def random_model(folder: Path) -> Path:
    mel = MelConfig(sample_rate_hz=16000, hop=320, fmin_hz=50, fmax_hz=8000, n_mels=64)
    audio = AudioConfig(
        sample_rate_hz=16000, window_s=60.0, mel=mel, encoder="cnn9", encoder_options={"n_mels": 64, "width": 8}
    )
    text = TEXT_TOWERS["bert"].model_copy(update={"dim": 16, "depth": 1, "heads": 2, "hidden_dim": 32})
    config = ClapConfig(embed_dim=64, audio=audio, text=text)
    return save_own(folder, config, Clap(config).state_dict())


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=10.0)
    parser.add_argument("--model")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = write_long(Path(folder) / "long.wav", arguments.hours)
        model = load(arguments.model or random_model(Path(folder) / "model"), device="cpu")
        assert model.audio_tower is not None  # built, with its weights mapped
        before, started = peak_mib(), time.perf_counter()
        (result,) = model.stream_audio([path])
        if result.error is not None:
            raise AuralError(str(result.error))
        took_s = time.perf_counter() - started
    print(f"{result.duration_s / 3600:.2f} h in {len(result.times_s)} windows, {took_s:.0f} s")
    print(f"peak above the loaded model: {peak_mib() - before:.0f} MiB")


if __name__ == "__main__":
    main()
