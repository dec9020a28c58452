"""Reproduce the reference packages' preprocessing exactly (compat="peer"), with random crops and known bugs.

For parity only: concatenated stereo channels (msclap), random crops, `!` as padding (msclap 2023), 16-bit quantizing
(laion_clap), and a random clip marked as longer (transformers, PANN-14). `seed` is the seed of the global generator
that the reference package draws from. Sources: msclap 1.3.4 CLAPWrapper.py, laion_clap 1.1.7 hook.py and
training/data.py, transformers feature_extraction_clap.py; tests/golden/README.md describes them.

Legend: B clips, T samples, N frames, F mel bands.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from aural.audio.io import read, to_mono
from aural.audio.length import fit_shorter
from aural.audio.mel import LogMel
from aural.audio.resample import resample, resample_sinc
from aural.core.errors import AudioError, AuralError
from aural.core.types import AudioSource, FloatArray
from aural.encoders.tokenize import Tokenizer, Tokens
from aural.models.checkpoint import Peer
from aural.models.clap import AudioConfig


class PeerInputs(NamedTuple):
    """The inputs of the audio encoder: log-mel (B, N, F) or (B, 4, N, F), and the flags (B,) of longer clips."""

    mel: Tensor
    longer: Tensor | None


def audio_inputs(
    peer: Peer, config: AudioConfig, front_end: LogMel, sources: Sequence[AudioSource], seed: int
) -> PeerInputs:
    """Compute the inputs that the reference package computes for one call with these sources."""
    length = round(config.window_s * config.sample_rate_hz)
    if peer == "msclap":
        rng = random.Random(seed)
        waves = [_msclap_wave(source, config.sample_rate_hz, length, rng) for source in sources]
        return PeerInputs(front_end(torch.from_numpy(np.stack(waves))), None)
    draws = np.random.RandomState(seed)
    clips = [_clip(source, config.sample_rate_hz, quantize=peer == "laion") for source in sources]
    if not config.encoder_options.get("fusion", False):
        waves = [_crop_or_fill(clip, length, draws) for clip in clips]
        wave = torch.from_numpy(np.stack(waves))
        mel = front_end(wave.double()).float() if peer == "transformers" else front_end(wave)
        return PeerInputs(mel, None)
    mels, longer = zip(*(_fused_mel(clip, length, front_end, draws, peer) for clip in clips), strict=True)
    flags = torch.tensor(longer)
    if not flags.any():
        if peer == "transformers":
            flags[draws.randint(0, len(flags))] = True
        elif config.encoder == "cnn14":
            flags[torch.randint(0, len(flags), (1,), generator=torch.Generator().manual_seed(seed))] = True
    return PeerInputs(torch.stack(mels), flags)


def _msclap_wave(source: AudioSource, rate: int, length: int, rng: random.Random) -> FloatArray:
    clip = read(source)
    samples = resample_sinc(clip.samples, clip.sample_rate_hz, rate).reshape(-1)
    if not samples.size:
        raise AudioError("an empty sound cannot be repeated to the window's length")
    if length >= samples.shape[0]:
        return fit_shorter(samples, length, "repeat")
    start = rng.randrange(samples.shape[0] - length)
    return samples[start : start + length]


def _clip(source: AudioSource, rate: int, quantize: bool) -> FloatArray:
    """Return mono samples at `rate`, exactly ceil(T * rate / from) of them, as librosa.load does."""
    clip = read(source)
    samples = resample(to_mono(clip.samples), clip.sample_rate_hz, rate)[0]
    want = math.ceil(clip.frames * rate / clip.sample_rate_hz)
    samples = np.pad(samples[:want], (0, max(0, want - samples.shape[0])))
    if quantize:
        samples = (np.clip(samples, -1.0, 1.0) * np.float32(32767)).astype(np.int16).astype(np.float32)
        samples /= np.float32(32767)
    return samples


def _crop_or_fill(clip: FloatArray, length: int, draws: np.random.RandomState) -> FloatArray:
    if clip.shape[0] <= length:
        return fit_shorter(clip, length, "repeat-pad")
    start = draws.randint(0, clip.shape[0] - length + 1)
    return clip[start : start + length]


def _fused_mel(
    clip: FloatArray, length: int, front_end: LogMel, draws: np.random.RandomState, peer: Peer
) -> tuple[Tensor, bool]:
    """Return (4, N, F): the clip shrunk to N frames and a piece of each third, or a short clip four times."""
    double = peer == "transformers"

    def mel_of(samples: FloatArray) -> Tensor:
        wave = torch.from_numpy(samples)[None]
        return front_end(wave.double() if double else wave)[0].float()

    if clip.shape[0] <= length:
        return mel_of(fit_shorter(clip, length, "repeat-pad")).expand(4, -1, -1), False
    mel, frames = mel_of(clip), front_end.frames(length)
    if mel.shape[0] == frames:
        pieces, longer = mel.expand(4, -1, -1), False
    else:
        thirds = np.array_split(np.arange(mel.shape[0] - frames + 1), 3)
        starts = [draws.choice(third if len(third) else np.zeros(1, np.int64)) for third in thirds]
        shrunk = torch.nn.functional.interpolate(
            mel[None, None], (frames, mel.shape[1]), mode="bilinear", antialias=not double, align_corners=False
        )[0, 0]
        pieces, longer = torch.stack([shrunk, *(mel[start : start + frames] for start in starts)]), True
    if peer == "laion":  # laion_clap also crops the waveform, which the fused network does not use
        draws.randint(0, clip.shape[0] - length + 1)
    return pieces, longer


class TextInputs(NamedTuple):
    """The inputs of the text encoder: tokens, and the positions (B,) that pooling takes, if it is not the last."""

    tokens: Tokens
    last: Tensor | None


def text_inputs(peer: Peer, tokenizer: Tokenizer, texts: Sequence[str], pad_to: int) -> TextInputs:
    """Compute the token ids that the reference package computes for one call with these texts."""
    if peer != "msclap":
        return TextInputs(tokenizer(texts), None)
    gpt2 = bool(tokenizer.suffix)
    if gpt2:  # "!" is the pad token there, so it is split off before byte pairs are merged
        tokenizer.backend.add_special_tokens(["!"])
    rows = [tokenizer.ids(text) for text in texts]
    lengths = {max(len(row), pad_to) for row in rows}
    if len(lengths) > 1:
        raise AuralError(
            f"a text of {max(lengths)} tokens and a shorter one: the reference package fails on this mix; "
            'embed them separately, or leave compat="peer" off'
        )
    ids = torch.zeros(len(rows), lengths.pop(), dtype=torch.int64)
    mask = torch.zeros_like(ids)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
        mask[i, : len(row)] = 1
    return TextInputs(Tokens(ids, mask, 0), (ids != 0).sum(1) - 1 if gpt2 else None)
