"""The random weights, the sentencepiece model and the sounds of GLAP's golden file."""

import json
from pathlib import Path

import numpy as np
import torch
from inputs import TEXTS
from layouts import HERE
from random_weights import random_tensor

MEL_KEY, WINDOW_KEY = "mel_scale.fb", "spectrogram.window"
SECONDS = {"short": 3.003, "long": 12.5, "loud": 6.0}
RATE_HZ = 16000


def glap_state(tensors: list[tuple[str, tuple[int, ...], str]]) -> dict[str, torch.Tensor]:
    """Return every tensor of the layout: the true window and mel filters, and random numbers of the key alone."""
    state = {}
    for key, shape, kind in tensors:
        if key.endswith(MEL_KEY):
            state[key] = mel_filters()
        elif key.endswith(WINDOW_KEY):
            state[key] = torch.from_numpy(hann(shape[0]))
        elif kind == "i64":
            state[key] = torch.tensor(45000)
        else:
            role = key.replace("init_bn.1.", "bn0.").replace("encoder_frontend.embed", "word_embeddings")
            role = role.replace("pos_embed", "position_embeddings.weight")
            state[key] = random_tensor(f"glap/{key}", role, shape)
    return state


def hann(length: int) -> np.ndarray:
    """Return a periodic Hann window in float32."""
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)).astype(np.float32)


def mel_filters() -> torch.Tensor:
    """Return HTK filters (257, 64) of 0 to 8000 Hz with peaks of 1, as torchaudio builds them."""
    import librosa

    filters = librosa.filters.mel(sr=RATE_HZ, n_fft=512, n_mels=64, fmin=0, fmax=8000, htk=True, norm=None)
    return torch.from_numpy(np.ascontiguousarray(filters.T.astype(np.float32)))


def wave(name: str) -> np.ndarray:
    """Return a sound at 16 kHz, float32; "loud" has a silent half, which the range of 120 dB limits."""
    t = np.arange(round(SECONDS[name] * RATE_HZ)) / RATE_HZ
    noise = np.random.Generator(np.random.Philox(key=len(name))).uniform(-0.2, 0.2, t.size)
    sound = np.sin(2 * np.pi * (200 * t + 90 * t**2)) * 0.3 + noise * (t % 1 < 0.4)
    if name == "loud":
        sound = np.sin(2 * np.pi * 440 * t) * (t < 3)
    return sound.astype(np.float32)


def write_sentencepiece(path: Path) -> Path:
    """Train a small sentencepiece model (BPE, as NLLB's) on the captions of the goldens."""
    from sentencepiece import SentencePieceTrainer

    captions = json.loads((HERE / "captions.json").read_text(encoding="utf-8"))["written"]
    with path.open("wb") as file:
        SentencePieceTrainer.train(
            sentence_iterator=iter([*TEXTS.values(), *captions]), model_writer=file, vocab_size=300, model_type="bpe",
            character_coverage=1.0, num_threads=1, minloglevel=2, hard_vocab_limit=False,
        )  # fmt: skip
    return path
