"""Batch fields of the sounds and the captions of a batch.

Legend: B clips of this process, T samples, N frames, F mel bands, K captions per clip, L tokens, H false captions per
clip, M masked rectangles.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from functools import partial
from typing import Annotated, TypeVar

import numpy as np
import torch
from pydantic import Field as Option

from aural.audio.augment import augment, masks
from aural.audio.length import fit_shorter
from aural.core.config import Config
from aural.core.errors import ConfigError, DataError, near_miss
from aural.core.types import FloatArray
from aural.encoders.packed import Packed
from aural.models.clap import AudioConfig
from aural.train.batching import padding
from aural.train.fields import FIELDS, Field, Sample, Setting, Tensors
from aural.train.inputs import viewed
from aural.train.mels import fit_mel
from aural.train.padded import pad_mels, pad_waves, to_pcm16
from aural.train.sources import Draw, Item
from aural.train.tokens import Tokens

T = TypeVar("T")


class ViewsConfig(Config):
    """Options of a field that can show each item several times."""

    views: Annotated[int, Option(ge=1)] = 1
    """View 0 has the plain names (`wave`), the others a number (`wave.1`)."""


@FIELDS.register("sound")
class SoundField(Field):
    """Sounds: "wave" (B, T) float32 or 16 bit, or "mel" (B, N, F) int16; "rectangles" (B, M, 4) with mask augmentation;
    "audio_group" (B,), a number per clip; with batches by length "frames" (B,), the valid frames of each clip. Each
    view is augmented by itself."""

    config_type = ViewsConfig

    def __init__(self, config: ViewsConfig, setting: Setting) -> None:
        super().__init__(config, setting)
        if setting.audio is None:
            raise ConfigError("data.fields.sound: the recipe's system has no sound tower")
        self.audio: AudioConfig = setting.audio
        self.frames = round(self.audio.window_s * self.audio.sample_rate_hz) // self.audio.mel.hop + 1

    @property
    def gives(self) -> frozenset[str]:
        tensors = ("wave", "mel", "rectangles", "frames")
        names = [viewed(name, v) for name in tensors for v in range(self.config.views)]
        return frozenset([*names, "audio_group"])

    def collate(self, samples: Sequence[Sample]) -> Tensors:
        batch: Tensors = {}
        for view in range(self.config.views):
            batch |= {viewed(name, view): tensor for name, tensor in self._view(samples).items()}
        group = torch.tensor([zlib.crc32(sample.item.key.encode()) for sample in samples])
        return batch | {"audio_group": group}

    def _view(self, samples: Sequence[Sample]) -> Tensors:
        data = self.setting.data
        by_length = data.batching.name == "lengths"
        stored = [sample.item.mel is not None for sample in samples]
        frames = [self.frames] * len(samples)
        if all(stored):
            least = self._least_frames(data.batching.shortest_s) if by_length else self.frames
            fit = partial(fit_mel, frames=self.frames, least=least, crop=data.crop)
            mels = [fit(s.item.mel, random=s.generator) for s in samples if s.item.mel is not None]
            frames = [len(mel) for mel in mels] if by_length else frames
            rows = pad_mels(mels, self._frame_grid(data.batching.round_s)) if by_length else np.stack(mels)
            batch: Tensors = {"mel": torch.from_numpy(rows)}
            width = rows.shape[1]
        elif any(stored):
            raise DataError("some sources hold log-mels and some sounds; mix only sources of one kind")
        else:
            waves = [self._augmented(s.item.wave, s.random) for s in samples if s.item.wave is not None]
            frames = [self.audio.mel.frames(len(wave)) for wave in waves] if by_length else frames
            grid = round(data.batching.round_s * self.audio.sample_rate_hz)
            wave = pad_waves(waves, grid, self.audio.mel) if by_length else np.stack(waves)
            batch = {"wave": torch.from_numpy(to_pcm16(wave) if data.pcm16 else wave)}
            width = self.audio.mel.frames(wave.shape[1])
        if by_length:
            batch |= {"frames": torch.tensor(frames), "padding": [padding(np.array(frames), width)]}
        if data.augment.time_masks or data.augment.band_masks:
            n_mels = self.audio.mel.n_mels
            rectangles = [masks(n, n_mels, data.augment, s.random) for n, s in zip(frames, samples, strict=True)]
            batch["rectangles"] = torch.tensor(rectangles)
        return batch

    def _least_frames(self, seconds: float) -> int:
        return min(self.frames, self.audio.mel.frames(round(seconds * self.audio.sample_rate_hz)))

    def _frame_grid(self, seconds: float) -> int:
        return max(1, round(seconds * self.audio.sample_rate_hz / self.audio.mel.hop))

    def _augmented(self, wave: FloatArray, random: np.random.Generator) -> FloatArray:
        length = len(wave)
        changed = augment(wave, self.setting.data.augment, random)[:length]
        return changed if len(changed) == length else fit_shorter(changed, length, self.audio.shorter)


class TextFieldConfig(ViewsConfig):
    """Options of the texts of a batch."""

    same: bool = False
    """Whether all views are the same caption (for twins by dropout) or, where there are enough, different ones."""


@FIELDS.register("text")
class TextField(Field):
    """Captions: "ids" and "mask" (B K, L), "text_group" (B K,), and "captions", a list of strings.

    With `data.pack_text`, "ids" are rows (R, W), and the fields of `Packed` replace "mask".
    """

    config_type = TextFieldConfig

    def __init__(self, config: TextFieldConfig, setting: Setting) -> None:
        super().__init__(config, setting)
        self.tokens = Tokens(setting.text, setting.data)

    @property
    def gives(self) -> frozenset[str]:
        tensors = ("ids", *Packed._fields) if self.tokens.width else ("ids", "mask")
        names = [viewed(name, v) for name in tensors for v in range(self.config.views)]
        return frozenset([*names, "text_group", "audio_group"])

    def collate(self, samples: Sequence[Sample]) -> Tensors:
        K, views = self.setting.data.captions_per_clip, self.config.views
        drawn = K if self.config.same else K * views
        texts = [choose(sample.item.captions, drawn, sample.generator) for sample in samples]
        batch: Tensors = {}
        for view in range(views):
            first = 0 if self.config.same else view * K
            captions = [text for row in texts for text in row[first : first + K]]
            batch |= {viewed(name, view): value for name, value in self._tensors(captions).items()}
        group = torch.tensor([zlib.crc32(sample.item.key.encode()) for sample in samples])
        return batch | {"audio_group": group, "text_group": group.repeat_interleave(K)}

    def _tensors(self, captions: list[str]) -> Tensors:
        if self.tokens.width:
            ids, packed = self.tokens.packed(captions)
            return {"captions": captions, "ids": ids} | packed._asdict()
        ids, mask = self.tokens(captions)
        return {"captions": captions, "ids": ids, "mask": mask}


@FIELDS.register("negatives")
class NegativesField(Field):
    """False captions: "hard_ids" and "hard_mask" (B H, L), "hard_text_mask" (B, H), true where there is one, and
    "hard_kinds", a list of B H names ("order", "count" ...; "" for none)."""

    def __init__(self, config: Config, setting: Setting) -> None:
        super().__init__(config, setting)
        self.tokens = Tokens(setting.text, setting.data)
        # shards do not list the kinds that they hold, so they are not checked
        if all(hasattr(source, "kinds") for source in setting.sources):
            kinds = sorted({kind for source in setting.sources for kind in source.kinds})  # type: ignore[attr-defined]
            for kind in setting.data.negative_kinds:
                if kind not in kinds:
                    raise ConfigError(f'data.negative_kinds: no source makes "{kind}"; {near_miss(kind, kinds)}')

    @property
    def gives(self) -> frozenset[str]:
        return frozenset({"hard_ids", "hard_mask", "hard_text_mask"})

    def collate(self, samples: Sequence[Sample]) -> Tensors:
        H = self.setting.data.negatives
        rows = [choose(self._pairs(sample.item), H, sample.generator) for sample in samples]
        ids, mask = self.tokens([text for row in rows for text, _ in row])
        there = torch.tensor([[bool(text) for text, _ in row] for row in rows])
        kinds = [kind for row in rows for _, kind in row]
        return {"hard_ids": ids, "hard_mask": mask, "hard_text_mask": there, "hard_kinds": kinds}

    def _pairs(self, item: Item) -> list[tuple[str, str]]:
        """Return text and kind of each false caption of the kinds that the recipe asks for; ("", "") for none."""
        wanted = self.setting.data.negative_kinds
        pairs = zip(item.negatives, item.negative_kinds, strict=True)
        return [(text, kind) for text, kind in pairs if not wanted or kind in wanted] or [("", "")]


def choose(texts: list[T], count: int, random: Draw) -> list[T]:
    """Return `count` of the texts in random order, none twice while there are enough."""
    if len(texts) == 1:  # no choice: the generator is not made, and its numbers are not used up
        return texts * count
    order = [int(i) for i in random().permutation(len(texts))]
    return [texts[order[j % len(order)]] for j in range(count)]
