"""aural in the convention of HEAR (the holistic evaluation of audio representations): this file is such a module.

    python -m heareval.embeddings.runner aural.evaluate.adapters.hear --model PATH --tasks-dir tasks

A model of another rate than HEAR's gets sounds at the next higher one and resamples them, as it does any sound.
Scenes are embedded as everywhere else: the whole sound in windows. Timestamps stand every `HOP_MS`; each is embedded
from the model's window centered on it, as far as the sound reaches.

Legend: N sounds, T samples, M timestamps, E joint dimensions.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from aural.core.types import Clip

HOP_MS: Final = 1000.0
RATES_HZ: Final = (16_000, 22_050, 44_100, 48_000)  # those that HEAR gives sounds at


class HearModel(nn.Module):
    """The attributes that HEAR reads, around any embedder."""

    def __init__(self, embedder: Any, window_s: float) -> None:
        super().__init__()
        self.embedder = [embedder]  # in a list: its towers are no parameters for HEAR to train
        self.window_s = window_s
        self.sample_rate = next((rate for rate in RATES_HZ if rate >= embedder.sample_rate_hz), RATES_HZ[-1])
        self.scene_embedding_size = int(embedder.embed_dim)
        self.timestamp_embedding_size = int(embedder.embed_dim)


def load_model(model_file_path: str = "") -> HearModel:
    """A model by name or path as `aural.load` takes it; empty: the default."""
    from aural.core.names import DEFAULT_MODEL
    from aural.models.load import load

    model = load(model_file_path or DEFAULT_MODEL, engine="torch")
    return HearModel(model, model.window_s)


def get_scene_embeddings(audio: Tensor, model: HearModel) -> Tensor:
    """(N, T) at the `sample_rate` of the HearModel to (N, E)."""
    rows = model.embedder[0].embed_audio([Clip(wave[None], model.sample_rate) for wave in _waves(audio)])
    return torch.from_numpy(np.asarray(rows, np.float32)).to(audio.device)


def get_timestamp_embeddings(audio: Tensor, model: HearModel) -> tuple[Tensor, Tensor]:
    """(N, T) to (N, M, E) and the times (N, M) in ms."""
    waves = _waves(audio)
    rate, half = model.sample_rate, round(model.window_s * model.sample_rate / 2)
    times = np.arange(0.0, 1000 * waves.shape[1] / rate, HOP_MS)
    clips = []
    for wave in waves:
        for time_ms in times:
            center = round(time_ms * rate / 1000)
            clips.append(Clip(wave[None, max(0, center - half) : center + half], rate))
    rows = np.asarray(model.embedder[0].embed_audio(clips), np.float32).reshape(len(waves), len(times), -1)
    stamps = np.repeat(times[None].astype(np.float32), len(waves), axis=0)
    return torch.from_numpy(rows).to(audio.device), torch.from_numpy(stamps).to(audio.device)


def _waves(audio: Tensor) -> Any:
    return audio.detach().cpu().numpy().astype(np.float32)
