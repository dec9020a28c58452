"""Tiny models and sounds for tests: whole models of a megabyte or two, so that a test takes milliseconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray

from aural.audio.mel import MelConfig
from aural.encoders.htsat import HtsatConfig
from aural.encoders.text import TEXT_TOWERS, TextConfig
from aural.models.clap import AudioConfig, Clap, ClapConfig
from aural.models.format import save_own

RATE_HZ = 16000
TINY_BERT = TEXT_TOWERS["bert"].model_copy(
    update={"dim": 16, "depth": 1, "heads": 2, "hidden_dim": 32, "positions": 64, "max_tokens": 32}
)
TINY_ROBERTA = TEXT_TOWERS["roberta"].model_copy(
    update={"dim": 16, "depth": 1, "heads": 2, "hidden_dim": 32, "positions": 80}
)
TINY_HTSAT = HtsatConfig(embed_dim=24, depths=(2, 2, 1, 1), heads=(1, 2, 4, 8), drop_path=0.0)


def tiny_config(text: TextConfig = TINY_BERT, *, logit_bias: bool = False) -> ClapConfig:
    """CNN9 of width 4 at 16 kHz with windows of 1 s, and a one-layer text tower."""
    mel = MelConfig(sample_rate_hz=RATE_HZ, n_fft=512, hop=160, n_mels=32, fmin_hz=50, fmax_hz=8000)
    audio = AudioConfig(
        sample_rate_hz=RATE_HZ,
        window_s=1.0,
        mel=mel,
        encoder="cnn9",
        encoder_options={"n_mels": 32, "width": 4},
        projection="mlp",
    )
    return ClapConfig(embed_dim=24, audio=audio, text=text, logit_bias=logit_bias)


def tiny_htsat_config() -> ClapConfig:
    """What ClapModel can hold: a narrow HTSAT at 48 kHz and a one-layer RoBERTa."""
    mel = MelConfig(sample_rate_hz=48000, hop=480, fmin_hz=50, fmax_hz=14000)
    audio = AudioConfig(
        sample_rate_hz=48000,
        window_s=10.0,
        shorter="repeat-pad",
        mel=mel,
        encoder="htsat",
        encoder_options=TINY_HTSAT.model_dump(mode="json"),
        projection="mlp",
    )
    return ClapConfig(embed_dim=24, audio=audio, text=TINY_ROBERTA)


def tiny_state(config: ClapConfig, seed: int = 0) -> dict[str, torch.Tensor]:
    """Weights drawn from `seed`, with statistics of BatchNorm that are not 0 and 1 and biases that are not 0."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        state = Clap(config).state_dict()
    for name, tensor in state.items():
        draw = torch.rand(tensor.shape, generator=generator) if tensor.is_floating_point() else None
        if draw is None or "front_end" in name or name == "logit_scale":
            continue
        if name.endswith("running_var"):
            state[name] = 0.5 + draw
        elif name.endswith(("running_mean", "bias")):
            state[name] = 0.2 * (draw - 0.5)
    return state


def save_tiny(folder: Path, config: ClapConfig | None = None, seed: int = 0) -> Path:
    """A folder in aural's own format."""
    config = config or tiny_config()
    return save_own(folder, config, tiny_state(config, seed), source="tiny")


def tone(seconds: float, rate_hz: int = RATE_HZ, hz: float = 440.0, seed: int = 0) -> NDArray[np.float32]:
    """(T,): a tone that rises, with a little noise, so that every part of it sounds different."""
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    noise = np.random.default_rng(seed).standard_normal(t.size)
    return (0.3 * np.sin(2 * np.pi * hz * t * (1 + 0.2 * t)) + 0.02 * noise).astype(np.float32)


def write_wav(path: Path, seconds: float = 0.5, rate_hz: int = RATE_HZ, hz: float = 440.0, seed: int = 0) -> Path:
    soundfile.write(path, tone(seconds, rate_hz, hz, seed), rate_hz)
    return path


def save_place(folder: Path) -> Path:
    """Write a tiny model, two tones (a.wav, b.wav) and a broken sound (bad.wav) to a folder."""
    save_tiny(folder / "model")
    for name, hertz in (("a.wav", 440), ("b.wav", 1200)):
        write_wav(folder / name, hz=hertz)
    (folder / "bad.wav").write_bytes(b"RIFF")
    return folder
