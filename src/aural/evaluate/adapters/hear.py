"""A module in the convention of HEAR, the Holistic Evaluation of Audio Representations.

    python -m heareval.embeddings.runner aural.evaluate.adapters.hear --model PATH --tasks-dir tasks

A model whose sample rate is none of HEAR's receives sounds at the next higher one and resamples them. A scene is
embedded over all of its windows. There is a timestamp every `HOP_MS`; it is embedded from the model's window centered
on it, as far as the sound reaches.

Legend: N sounds, T samples, M timestamps, E joint dimensions.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from aural.core.types import Clip

HOP_MS: Final = 1000.0
RATES_HZ: Final = (16_000, 22_050, 44_100, 48_000)  # rates of the sounds that HEAR provides


class HearModel(nn.Module):
    """A wrapper of any embedder with the attributes that HEAR reads."""

    def __init__(self, embedder: Any, window_s: float) -> None:
        super().__init__()
        self.embedder = [embedder]  # in a list, so that its towers are not parameters that HEAR trains
        self.window_s = window_s
        self.sample_rate = next((rate for rate in RATES_HZ if rate >= embedder.sample_rate_hz), RATES_HZ[-1])
        self.scene_embedding_size = int(embedder.embed_dim)
        self.timestamp_embedding_size = int(embedder.embed_dim)


def load_model(model_file_path: str = "") -> HearModel:
    """Load a model by name or path, as `aural.load` does; an empty path loads the default model."""
    from aural.core.names import DEFAULT_MODEL
    from aural.models.load import load

    model = load(model_file_path or DEFAULT_MODEL, engine="torch")
    return HearModel(model, model.window_s)


def get_scene_embeddings(audio: Tensor, model: HearModel) -> Tensor:
    """Embed sounds (N, T) at the `sample_rate` of the model as (N, E)."""
    rows = model.embedder[0].embed_audio([Clip(wave[None], model.sample_rate) for wave in _waves(audio)])
    return torch.from_numpy(np.asarray(rows, np.float32)).to(audio.device)


def get_timestamp_embeddings(audio: Tensor, model: HearModel) -> tuple[Tensor, Tensor]:
    """Embed sounds (N, T) as (N, M, E) and return the timestamps (N, M) in milliseconds."""
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
