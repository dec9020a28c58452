"""OpenFLAM: LAION's HTSAT and RoBERTa with frames of 0.3125 s and a bias and a scale per text.

Wu et al. (2025), "FLAM: Frame-Wise Language-Audio Modeling", arXiv 2505.05335. The file is a flat state dict with the
names of laion_clap. Weights and code of the publisher are for non-commercial research (Adobe Research License); this
module was written from the formulas of the paper and the names of the tensors.

With frame vectors a_f, text vector t (unit rows), scale s(t) = exp(g(t)) and bias b(t), where g and b are small
networks on the state of the text tower: p = sigmoid(s a_f . t + b), and the score without the prior of the text (Eq. 7)
is p / (p + sigmoid(b)).

Legend: M texts, F frames, E joint dimensions, D width of the text tower.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from aural.core.types import AudioSource, FloatArray
from aural.encoders.convert import laion
from aural.encoders.convert.base import check_keys, translate
from aural.encoders.htsat import HtsatConfig
from aural.models.checkpoint import Checkpoint
from aural.models.clap import ClapConfig, layout
from aural.models.device import pick_device
from aural.models.external import laion_layout
from aural.models.families.base import FILES, OpenOptions
from aural.models.frames import ScoredFrames, stream_frames
from aural.models.pipeline import Model, ModelOptions
from aural.models.prefix import strip_prefix
from aural.nn.functional import unit

HEADS = ("fc_per_text_logit_bias.", "fc_per_text_logit_scale.")
SCALE = "aed_logit_scale"


class Flam(ScoredFrames, Model):
    """A FLAM model: a two-tower model that also scores frames. A saved copy is the two-tower model alone."""

    def __init__(self, checkpoint: Checkpoint, heads: Mapping[str, Tensor], options: OpenOptions) -> None:
        settings = ModelOptions(precision=options.precision, tokenizer=options.tokenizer, offline=options.offline)
        super().__init__(checkpoint, name=options.name, device=pick_device(options.device), options=settings)
        dim = checkpoint.config.text.dim
        self.text_bias, self.text_scale = (_head(strip_prefix(heads, name), dim).to(self.device) for name in HEADS)
        self.common_scale = heads[SCALE].float().exp().to(self.device)

    def stream_probabilities(
        self, clip: AudioSource, texts: Sequence[str]
    ) -> Iterator[tuple[FloatArray, NDArray[np.float64]]]:
        """Yield scores (F, M) of texts in the frames of a window, without the prior of the text, and times (F, 2)."""
        tokens = self.tokenizer(list(texts))
        with torch.inference_mode():
            pooled = self.text_tower.encoder(tokens.ids.to(self.device), tokens.mask.to(self.device)).pooled
            words = unit(self.text_tower.projection(pooled).float())
            scale = self.text_scale(pooled).exp() * self.common_scale  # (M, 1)
            bias = self.text_bias(pooled)
        for frames in stream_frames(self, clip):
            with torch.inference_mode():
                probability = torch.sigmoid(words @ torch.from_numpy(frames.vectors).to(self.device).T * scale + bias)
                scores = probability / (probability + torch.sigmoid(bias))  # (M, F)
            yield scores.float().cpu().numpy().T, frames.times_s


def _head(state: Mapping[str, Tensor], dim: int) -> nn.Module:
    """Return the network (M, D) to (M, 1) that computes the logarithm of a scale, or a bias."""
    head = nn.Sequential(nn.Linear(dim, dim), nn.GELU(), nn.Linear(dim, 1))
    head.load_state_dict({name: tensor.float() for name, tensor in state.items()}, strict=True)
    return head.requires_grad_(False).eval()


@FILES.register("fc_per_text_logit_bias.0.weight")
def open_flam(state: Mapping[str, Tensor], path: Path, options: OpenOptions) -> Flam:
    """Open OpenFLAM's weight file, of any depth of HTSAT and RoBERTa.

    Raises CheckpointError when a tensor is missing, unexpected or misshaped.
    """
    heads = {name: tensor for name, tensor in state.items() if name.startswith(HEADS) or name == SCALE}
    towers = {name: tensor for name, tensor in state.items() if name not in heads}
    config = _config(towers, str(path))
    htsat = HtsatConfig.parse(config.audio.encoder_options, str(path))
    publisher = laion.publisher(htsat, False, config.embed_dim, complete=False)
    tensors = translate(towers, layout(config), publisher, str(path))
    dim = config.text.dim
    shapes: dict[str, tuple[int, ...]] = {SCALE: ()}
    for name in HEADS:
        shapes |= {f"{name}0.weight": (dim, dim), f"{name}0.bias": (dim,)}
        shapes |= {f"{name}2.weight": (1, dim), f"{name}2.bias": (1,)}
    check_keys(heads, shapes, str(path))
    return Flam(Checkpoint(config, tensors, "none", str(path)), heads, options)


def _config(state: Mapping[str, Tensor], where: str) -> ClapConfig:
    """Return LAION's config with the depth of the file's text tower; a shorter sound is padded with zeros."""
    config, _, _ = laion_layout(state, where)
    depth = sum(f"text_branch.encoder.layer.{i}.output.dense.bias" in state for i in range(64))
    return config.model_copy(
        update={
            "audio": config.audio.model_copy(update={"shorter": "pad"}),
            "text": config.text.model_copy(update={"depth": depth}),
        }
    )
