"""Encoders of sounds without a text side, through transformers' classes: AST and the encoder of Whisper.

AST       frames of Kaldi's filter bank, zeros up to 1024; the mean of its two class tokens
Whisper   log-mel of 30 s, zeros after a shorter sound; the mean of the states that the sound covers

They embed sounds and refuse texts; `text_head` joins one with a text encoder. Legend: N items, T samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from aural.audio.kaldi import HOP, RATE_HZ, KaldiMel
from aural.audio.mel import LogMel, MelConfig
from aural.core.errors import CheckpointError, ConfigError, one_line
from aural.models.external import read_extractor_config
from aural.models.families.base import FOLDERS, FamilyModel, OpenOptions, Traits, transformers_class

SHORTEST = 400
"""Samples; a shorter sound is extended by zeros."""


class AudioOnly(FamilyModel):
    """A model without a text tower: it embeds sounds and refuses texts."""

    def text_rows(self, texts: Sequence[str]) -> Tensor:
        raise ConfigError(f"{self.name}: has no text tower; it embeds sounds only (see `text_head` to add one)")


class FolderEncoder(AudioOnly):
    """An encoder in a transformers folder, also in that of a model with a head, which is not kept."""

    def __init__(self, folder: Path, traits: Traits, options: OpenOptions) -> None:
        super().__init__(traits, options)
        self.folder, self.settings = folder, read_extractor_config(folder)

    def pretrained(self, name: str) -> Any:
        """Return a transformers model with the weights of the folder. Raises CheckpointError when some are missing."""
        try:
            model, report = transformers_class(name).from_pretrained(
                self.folder, local_files_only=True, output_loading_info=True
            )
        except (OSError, RuntimeError, ValueError) as error:
            raise CheckpointError(
                f"{self.folder}: cannot be opened ({one_line(error, 140)}); download it again"
            ) from None
        missing = sorted(report["missing_keys"])
        if missing:
            raise CheckpointError(f'{self.folder}: "{missing[0]}" is missing; download it again')
        return model.requires_grad_(False).eval().float()


class Ast(FolderEncoder):
    """An Audio Spectrogram Transformer. Gong et al. (2021), arXiv 2104.01778."""

    def __init__(self, folder: Path, values: Mapping[str, Any], options: OpenOptions) -> None:
        self.frames = int(values.get("max_length", 1024))
        window_s = self.frames * HOP / RATE_HZ
        super().__init__(folder, Traits(int(values["hidden_size"]), RATE_HZ, window_s), options)
        self.front_end = KaldiMel(int(values.get("num_mel_bins", 128)), window="hann").to(self.device)

    @cached_property
    def encoder(self) -> Any:
        return self.pretrained("ASTModel").to(self.device)

    def audio_rows(self, waves: Tensor) -> Tensor:
        waves = nn.functional.pad(waves, (0, max(0, SHORTEST - waves.shape[1])))
        mel = self.front_end(waves)[:, : self.frames]
        mel = nn.functional.pad(mel, (0, 0, 0, self.frames - mel.shape[1]))
        if self.settings.get("do_normalize", True):
            mean, std = self.settings.get("mean", -4.2677393), self.settings.get("std", 4.5689974)
            mel = (mel - mean) / (std * 2)
        rows: Tensor = self.encoder(input_values=mel).pooler_output
        return rows


class Whisper(FolderEncoder):
    """The encoder of a Whisper model. Radford et al. (2022), arXiv 2212.04356."""

    def __init__(self, folder: Path, values: Mapping[str, Any], options: OpenOptions) -> None:
        settings = read_extractor_config(folder)
        rate, window_s = int(settings.get("sampling_rate", RATE_HZ)), float(settings.get("chunk_length", 30))
        super().__init__(folder, Traits(int(values["d_model"]), rate, window_s), options)
        mel = MelConfig(
            sample_rate_hz=rate, n_fft=int(settings.get("n_fft", 400)), hop=int(settings.get("hop_length", 160)),
            n_mels=int(values.get("num_mel_bins", 80)), fmin_hz=0, fmax_hz=8000, log="none",
        )  # fmt: skip
        self.front_end = LogMel(mel).to(self.device)

    @cached_property
    def encoder(self) -> Any:
        return self.pretrained("WhisperModel").encoder.to(self.device)

    def audio_rows(self, waves: Tensor) -> Tensor:
        length = round(self.window_s * self.sample_rate_hz)
        power = self.front_end(nn.functional.pad(waves, (0, length - waves.shape[1])))[:, :-1]
        mel = power.clamp_min(1e-10).log10()
        mel = (torch.maximum(mel, mel.amax((1, 2), keepdim=True) - 8.0) + 4.0) / 4.0
        states: Tensor = self.encoder(mel.transpose(1, 2)).last_hidden_state  # (N, frames / 2, D)
        covered = -(-waves.shape[1] // (2 * self.front_end.config.hop))
        return states[:, :covered].mean(1)


@FOLDERS.register("audio-spectrogram-transformer")
def open_ast(folder: Path, values: Mapping[str, Any], options: OpenOptions) -> Ast:
    """Open a folder of ASTModel, also one with a classifier, which is not read."""
    return Ast(folder, values, options)


@FOLDERS.register("whisper")
def open_whisper(folder: Path, values: Mapping[str, Any], options: OpenOptions) -> Whisper:
    """Open the encoder of a folder of WhisperModel or one of its heads; the decoder is not read."""
    return Whisper(folder, values, options)
