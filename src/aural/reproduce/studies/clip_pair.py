"""A small audio transformer and vectors of frozen MiniLM, on recordings of the corpus: parts of several studies.

Unlike `frozen_text`, the audio encoder also reads a part of its patches, and heads of other losses can be added.

Legend: B clips, N frames, F mel bands, P patches, V visible patches, D features, E joint dimensions, M texts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from aural.audio.augment import AugmentConfig
from aural.encoders.vit import Vit, VitConfig
from aural.nn.functional import unit
from aural.nn.projection import projection
from aural.objectives import InfoNCE
from aural.reproduce.studies.frozen_text import Data, load_data, scores_of_rows, text_table
from aural.reproduce.studies.scene_pair import SMOKE, Training
from aural.reproduce.studies.small_encoders import embedded, inputs, masked
from aural.reproduce.studies.voices import from_bytes, to_bytes
from aural.reproduce.study import StudyContext
from aural.reproduce.worlds import MEL

FRAMES: Final = 250
WIDTH: Final = 384
EMBED_DIM: Final = 128
MASKS: Final = AugmentConfig(time_masks=1, time_mask_frames=16, band_masks=1, band_mask_bands=6)
ENCODER: Final = VitConfig(
    n_mels=MEL.n_mels, patch_frames=10, patch_mels=16, stride_frames=10, stride_mels=16, dim=128, depth=4, heads=4,
    mlp_ratio=2.0, drop_path=0.0, max_frames=FRAMES,
)  # fmt: skip


class ClipPair(nn.Module):
    """Two towers with a learned temperature: log-mels, and texts as places in a table of frozen vectors."""

    def __init__(self, vectors: Tensor, seed: int, encoder: VitConfig = ENCODER) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.encoder = Vit(encoder)
        self.projection = projection("mlp", encoder.dim, EMBED_DIM)
        self.text = projection("mlp", vectors.shape[1], EMBED_DIM)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        self.vectors = vectors
        self.to(vectors.device)

    @property
    def scale(self) -> Tensor:
        """The factor of the cosines."""
        return self.logit_scale.clamp(max=math.log(100.0)).exp()

    def embed_mel(self, mel: Tensor) -> Tensor:
        """Return unit rows (B, E) of log-mels."""
        return unit(self.projection(self.encoder(mel).pooled))

    def embed_visible(self, mel: Tensor, visible: Tensor) -> Tensor:
        """Return unit rows (B, E) from the patches `visible` (B, V) alone."""
        return unit(self.projection(self.encoder.encode_visible(mel, visible)[:, 1:].mean(1)))

    def embed_texts(self, places: Tensor) -> Tensor:
        """Return unit rows (M, E) of texts."""
        return unit(self.text(self.vectors[places]))

    def matched(self, audio: Tensor, text: Tensor) -> Tensor:
        """Return the InfoNCE loss of unit rows (B, E)."""
        return InfoNCE()({"audio_emb": audio, "text_emb": text, "logit_scale": self.scale})["loss"]


def load(context: StudyContext) -> tuple[Data, Tensor]:
    """Return the clips of the corpus, see `half_decibels`, and the vectors (M, WIDTH) of all texts."""
    data = half_decibels(load_data(context))
    return data, text_table(context, data, "minilm", 8 if context.smoke else WIDTH)


def half_decibels(data: Data) -> Data:
    """Return the clips with log-mels rounded to half a decibel, so that they can be stored in 8 bits."""
    mels = [from_bytes(to_bytes(part.mel.cpu().numpy())) for part in (data.train, data.test)]
    train, test = (torch.from_numpy(mel).to(data.device) for mel in mels)
    return replace(data, train=replace(data.train, mel=train), test=replace(data.test, mel=test))


def smaller(training: Training, context: StudyContext) -> Training:
    """Return the settings, or those of a smoke test."""
    return SMOKE if context.smoke else training


def batch_mel(data: Data, numbers: Sequence[int], rng: np.random.Generator) -> Tensor:
    """Return masked log-mels (B, N, F) of training clips."""
    return masked(inputs(data.train.mel[list(numbers)]), rng, MASKS)


def batch_texts(data: Data, numbers: Sequence[int], rng: np.random.Generator) -> Tensor:
    """Return the place of one drawn caption per training clip (B,)."""
    captions = [data.train.captions[i] for i in numbers]
    drawn = [of_clip[int(rng.integers(len(of_clip)))] for of_clip in captions]
    return torch.tensor(drawn, device=data.device)


def drawn_patches(count: int, patches: int, share: float, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Return the sorted numbers of drawn patches per clip (B, V), V = share of the patches, and of the others."""
    order = rng.random((count, patches)).argsort(1)
    kept = round(share * patches)
    parts = (np.sort(order[:, :kept], axis=1), np.sort(order[:, kept:], axis=1))
    return torch.from_numpy(parts[0]), torch.from_numpy(parts[1])


@torch.no_grad()
def scores_of(
    pair: ClipPair, data: Data, embed: Callable[[Tensor], Tensor] | None = None
) -> dict[str, NDArray[np.float64]]:
    """Return the scores per test clip of the tasks of `frozen_text`; embed: of log-mels, default `embed_mel`."""
    audio = embedded(pair, embed or pair.embed_mel, data.test.mel)
    text = pair.embed_texts(torch.arange(len(data.texts), device=data.device)).double().cpu().numpy()
    return scores_of_rows(audio, text, data)
