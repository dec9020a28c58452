"""A sound encoder and a text encoder, both frozen, joined by a linear map of the sounds into the space of the texts.

As in LiT (Zhai et al., 2022, arXiv 2111.07991), the text side is unchanged. A folder holds

    config.json         {"model_type": "aural_text_head", "audio": PLACE, "text": PLACE}; a place is a folder or file,
                        relative to this folder if it is no absolute path, or a name of `aural models list`
    head.safetensors    weight (E, D), bias (E,), logit_scale (the logarithm of the scale)

Legend: N pairs, D width of the sound encoder, E dimensions of the texts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from aural.core.errors import CheckpointError, ConfigError
from aural.core.files import atomic_write, make_folder, write_text
from aural.core.types import AudioSource, FloatArray
from aural.encoders.convert.base import check_keys
from aural.models.embedding import EmbeddingModel
from aural.models.families.base import FOLDERS, FamilyModel, OpenOptions
from aural.models.families.opening import open_registered
from aural.models.open import locate
from aural.models.weight_files import read_safetensors
from aural.nn.functional import unit

MODEL_TYPE, HEAD = "aural_text_head", "head.safetensors"
START_SCALE = 1 / 0.07
STEPS, RATE = 300, 1e-2


class TextHead(FamilyModel):
    """A sound encoder with a linear head and a text encoder: a model of sounds and texts."""

    def __init__(self, audio: FamilyModel, text: FamilyModel, head: Mapping[str, Tensor], options: OpenOptions) -> None:
        self.audio, self.text = audio, text
        width, dim = audio.embed_dim, text.embed_dim
        check_keys(head, {"weight": (dim, width), "bias": (dim,), "logit_scale": ()}, f"{options.name}/{HEAD}")
        traits = replace(audio.traits, embed_dim=dim, logit_scale=float(head["logit_scale"].float().exp()))
        super().__init__(traits, options)
        self.weight, self.bias = (head[name].float().to(self.device) for name in ("weight", "bias"))

    def audio_rows(self, waves: Tensor) -> Tensor:
        return nn.functional.linear(unit(self.audio.audio_rows(waves).float()), self.weight, self.bias)

    def text_rows(self, texts: Sequence[str]) -> Tensor:
        return self.text.text_rows(texts)


def fit_head(
    audio: FloatArray, text: FloatArray, *, generator: torch.Generator, steps: int = STEPS, rate: float = RATE
) -> dict[str, Tensor]:
    """Return the head that maps sounds (N, D) next to their texts (N, E), both unit rows.

    The loss is InfoNCE in both directions over all pairs at once, so a text that occurs twice counts against itself;
    give each text once. Adam with a cosine schedule from `rate`.

    Raises ConfigError unless there are at least two pairs.
    """
    if len(audio) != len(text) or len(audio) < 2:
        raise ConfigError(f"{len(audio)} sounds and {len(text)} texts; give one text per sound and at least two pairs")
    x, y = torch.from_numpy(audio), torch.from_numpy(text)
    weight = torch.randn(y.shape[1], x.shape[1], generator=generator) / x.shape[1] ** 0.5
    head = {"weight": weight, "bias": torch.zeros(y.shape[1]), "logit_scale": torch.tensor(START_SCALE).log()}
    for tensor in head.values():
        tensor.requires_grad_(True)
    optimizer = torch.optim.Adam(head.values(), lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    right = torch.arange(len(x))
    for _ in range(steps):
        logits = head["logit_scale"].exp() * unit(nn.functional.linear(x, head["weight"], head["bias"])) @ y.T
        loss = (nn.functional.cross_entropy(logits, right) + nn.functional.cross_entropy(logits.T, right)) / 2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return {name: tensor.detach() for name, tensor in head.items()}


def write_text_head(
    target: str | Path,
    audio: str | Path,
    text: str | Path,
    pairs: Sequence[tuple[AudioSource, str]],
    *,
    seed: int = 0,
    offline: bool = False,
) -> Path:
    """Train a head on pairs of a sound and its text, write the folder and return it; `aural.load` opens it.

    audio, text: the places of the two encoders (see the module's docstring).
    """
    folder = make_folder(target, ConfigError)
    towers = [_tower(folder, str(place), OpenOptions(str(place), offline=offline)) for place in (audio, text)]
    sounds = towers[0].embed_audio([sound for sound, _ in pairs])
    words = towers[1].embed_text([caption for _, caption in pairs])
    head = fit_head(sounds.astype(np.float32), words, generator=torch.Generator().manual_seed(seed))
    from safetensors.torch import save_file

    with atomic_write(folder / HEAD, ConfigError) as part:
        save_file(head, part, metadata={"format": "pt"})
    values = {"model_type": MODEL_TYPE, "audio": str(audio), "text": str(text)}
    write_text(folder / "config.json", json.dumps(values, indent=2) + "\n", ConfigError)
    return folder


def _tower(folder: Path, place: str, options: OpenOptions) -> FamilyModel:
    """Open one of the two encoders."""
    inside = folder / place
    opened: EmbeddingModel | None = open_registered(
        inside if inside.exists() else locate(place, offline=options.offline), options
    )
    if not isinstance(opened, FamilyModel):
        raise CheckpointError(f"{place}: is a model of sounds and texts already, or of no known family")
    return opened


@FOLDERS.register(MODEL_TYPE)
def open_text_head(folder: Path, values: Mapping[str, Any], options: OpenOptions) -> TextHead:
    """Open a folder that `write_text_head` wrote; the tokenizer option belongs to the text encoder."""
    places = [values.get(name) for name in ("audio", "text")]
    if not all(isinstance(place, str) for place in places):
        raise CheckpointError(f'{folder}/config.json: "audio" and "text" must name the two encoders')
    audio, text = (_tower(folder, str(place), replace(options, name=str(place))) for place in places)
    return TextHead(audio, text, read_safetensors(folder / HEAD), options)
