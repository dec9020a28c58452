"""Augmented versions of the clips for `tune_libre_base.py`, computed once: log-mels and features of frozen towers.

Legend: V versions, N clips, T samples, L frames, F mel bands, K classes of the tagger, B clips of a batch.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from aural.models.clap import Clap
from tune_model import branch_of
from tune_sounds import augmented

CHUNK = 128
"""Clips that are augmented together; they share a change of speed, and their neighbours are their backgrounds."""


@dataclass
class Views:
    """Version 0 of each clip is unchanged. The log-mels are float16.

    narrow: log-mels (V, N, L, F) of libre-small's front end, `mel` of the tagger's. small: pooled features
    (V, N, 320) of libre-small, heard: (V, N, 1024) of the frozen tagger. scores: its scores (N, K) of version 0.
    """

    narrow: Tensor
    mel: Tensor
    small: Tensor
    heard: Tensor
    scores: Tensor

    @staticmethod
    @torch.inference_mode()
    def compute(clap: Clap, waves: Tensor, versions: int, seed: int = 0) -> Views:
        """Compute the views of sounds (N, T), int16, on their device."""
        generator = torch.Generator(waves.device).manual_seed(seed)
        order = torch.randperm(len(waves), generator=generator, device=waves.device)
        audio, branch = clap.audio, branch_of(clap)
        stored: list[list[Tensor]] = []
        for version in range(versions):
            parts: list[list[Tensor]] = []
            for places in order.split(CHUNK):
                wave = waves[places].float() / 32767
                if version:
                    wave = augmented(wave, generator)
                narrow, mel = audio.front_end(wave), branch.front_end(wave)
                small, heard = audio.encoder(narrow).pooled, branch.encoder(mel).pooled
                parts.append([narrow.half(), mel.half(), small.float(), heard.float()])
            back = order.argsort()
            stored.append([torch.cat(part)[back] for part in zip(*parts, strict=True)])
        narrow, mel, small, heard = (torch.stack(part).clone() for part in zip(*stored, strict=True))
        return Views(narrow, mel, small, heard, branch.classes(heard[0]).sigmoid().clone())

    def save(self, file: Path) -> None:
        save_file({f.name: getattr(self, f.name).contiguous() for f in fields(self)}, file)

    @staticmethod
    def read(file: Path, device: torch.device, *, mels: bool = True) -> Views:
        """Read the views of a file; without `mels`, which only towers that are trained need, the log-mels are empty."""
        with safe_open(file, "pt", device=str(device)) as stored:
            empty = torch.empty(0, device=device)
            left_out = () if mels else ("narrow", "mel")
            return Views(**{f.name: empty if f.name in left_out else stored.get_tensor(f.name) for f in fields(Views)})
