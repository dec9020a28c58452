"""PE-AV's audio-text model and PE-A-Frame through transformers' PeAudio classes (Meta, 2025; transformers 5).

A folder of PeAudioModel (PE-A-Frame) holds the keys `audio_encoder.*`, `audio_head.*`, `text_model.*` (ModernBERT),
`text_audio_head.*` and the scale and bias; one of PeAudioVideoModel (PE-AV) holds them below `audio_model.*`, with the
text model at the top. The same folder gives one vector per sound (the class token) and one per
40 ms (all other tokens); PE-A-Frame is trained for the second. Its logits are products of vectors that are not
normalized, so `frame_probabilities` uses the lengths that unit rows lose.

Audio: 48 kHz mono, padded at the end by reflection to a multiple of 1920 samples. Text: the folder's tokenizer, state
of the first token.

Legend: N items, T samples, F frames, E joint dimensions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from aural.core.errors import CheckpointError
from aural.core.types import AudioSource, FloatArray
from aural.core.vectors import unit_rows
from aural.encoders.tokenize import Tokenizer
from aural.models.external import read_extractor_config
from aural.models.families.base import FOLDERS, FamilyModel, OpenOptions, Traits, transformers_class
from aural.models.frames import Frames, ScoredFrames, joined, window_frames
from aural.models.prefix import strip_prefix
from aural.models.weight_files import folder_tensors

WINDOW_S = 30.0
"""Longer sounds are split; the position embeddings would allow 400 s."""


class Head(nn.Module):
    """LayerNorm and a linear map without bias, as in PeAudioContrastiveHead."""

    def __init__(self, dim: int, embed_dim: int) -> None:
        super().__init__()
        self.layer_norm = nn.LayerNorm(dim, eps=1e-6)
        self.proj = nn.Linear(dim, embed_dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(self.layer_norm(x))


class PeAudio(ScoredFrames, FamilyModel):
    """A model of the PE-AV family; each tower is built on first use."""

    def __init__(
        self, folder: Path, values: Mapping[str, Any], state: Mapping[str, Tensor], options: OpenOptions
    ) -> None:
        self.config = transformers_class("PeAudioConfig").from_dict(dict(values))
        self.folder, self.state = folder, state
        extractor = read_extractor_config(folder)
        self.hop = int(extractor.get("hop_length", 1920))
        scale, bias = (float(self.state[f"text_audio_logit_{name}"].float()) for name in ("scale", "bias"))
        traits = Traits(
            embed_dim=self.config.text_config.hidden_size,
            sample_rate_hz=int(extractor.get("sampling_rate", 48000)),
            window_s=WINDOW_S,
            logit_scale=scale,
            logit_bias=bias,
        )
        super().__init__(traits, options)

    @cached_property
    def audio_encoder(self) -> nn.Module:
        encoder = transformers_class("PeAudioEncoder")
        return self.filled(lambda: encoder(self.config.audio_config), self.state, "audio_encoder.", str(self.folder))

    @cached_property
    def audio_head(self) -> nn.Module:
        dim = self.config.audio_config.hidden_size
        return self.filled(lambda: Head(dim, self.embed_dim), self.state, "audio_head.", str(self.folder))

    @cached_property
    def text_model(self) -> nn.Module:
        auto = transformers_class("AutoModel")
        return self.filled(
            lambda: auto.from_config(self.config.text_config), self.state, "text_model.", str(self.folder)
        )

    @cached_property
    def text_head(self) -> nn.Module:
        return self.filled(
            lambda: Head(self.embed_dim, self.embed_dim), self.state, "text_audio_head.", str(self.folder)
        )

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The folder's tokenizer, which adds [CLS] and [SEP]."""
        return self.folder_tokenizer(self.folder, self.config.text_config)

    def audio_states(self, waves: Tensor) -> tuple[Tensor, Tensor]:
        """Return the vectors (N, E) of sounds and (N, F, E) of their frames, not normalized."""
        extra = -waves.shape[1] % self.hop
        if extra:
            waves = nn.functional.pad(waves[:, None], (0, extra), mode="reflect")[:, 0]
        out = self.audio_encoder(input_values=waves[:, None])
        return self.audio_head(out.pooler_output), self.audio_head(out.last_hidden_state)

    def audio_rows(self, waves: Tensor) -> Tensor:
        return self.audio_states(waves)[0]

    def text_rows(self, texts: Sequence[str]) -> Tensor:
        tokens = self.tokenizer(texts)
        ids, mask = tokens.ids.to(self.device), tokens.mask.to(self.device)
        out = self.text_model(input_ids=ids, attention_mask=mask, output_hidden_states=True)
        return self.text_head(out.hidden_states[-1][:, 0])

    # Frames --------------------------------------------------------------------------------------------------------

    def frames(self, clip: AudioSource) -> Iterator[Frames]:
        """Yield a clip's frames (F, E), not normalized, one window at a time."""

        def states(wave: FloatArray) -> FloatArray:
            with self.computing():
                rows = self.audio_states(torch.from_numpy(wave).to(self.device)[None])[1][0]
            vectors: FloatArray = rows.float().cpu().numpy()
            return vectors

        return window_frames(clip, self.audio_input, states, self.hop / self.sample_rate_hz)

    def embed_frames(self, clip: AudioSource) -> tuple[FloatArray, list[tuple[float, float]]]:
        """Embed one clip as unit rows (F, E), one per 40 ms, with the (start, end) of each frame in seconds."""
        rows, times = joined(self.frames(clip))
        return unit_rows(rows), times

    def stream_probabilities(
        self, clip: AudioSource, texts: Sequence[str]
    ) -> Iterator[tuple[FloatArray, NDArray[np.float64]]]:
        """Yield the probability (F, M) that each text describes each frame of a window, and the times (F, 2)."""
        with self.computing():
            words = self.text_rows(list(texts)).float().cpu().numpy()
        for frames in self.frames(clip):
            logits = frames.vectors @ words.T * self.logit_scale + (self.logit_bias or 0.0)
            yield (1 / (1 + np.exp(-logits))).astype(np.float32), frames.times_s


@FOLDERS.register("pe_audio")
def open_pe_audio(folder: Path, values: Mapping[str, Any], options: OpenOptions) -> PeAudio:
    """Open a folder of PeAudioModel or PeAudioFrameLevelModel; `values` is the content of its config.json."""
    return PeAudio(folder, values, folder_tensors(folder), options)


@FOLDERS.register("pe_audio_video")
def open_pe_audio_video(folder: Path, values: Mapping[str, Any], options: OpenOptions) -> PeAudio:
    """Open the audio-text part of a folder of PeAudioVideoModel; its video part is not read.

    Raises CheckpointError when config.json states no audio encoder.
    """
    try:
        parts = {"text_config": values["text_config"], "audio_config": values["audio_video_config"]["audio_config"]}
    except (KeyError, TypeError):
        raise CheckpointError(
            f"{folder}/config.json: text_config or audio_config is missing; download it again"
        ) from None
    tensors = folder_tensors(folder)
    shared = {name: tensor for name, tensor in tensors.items() if name.startswith("text_model.")}
    return PeAudio(folder, parts, shared | strip_prefix(tensors, "audio_model."), options)
