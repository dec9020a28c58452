"""Batches by number: sources mixed, decoded, augmented and tokenised in workers; a position is the number of a step.

Legend: B clips of this process, T samples, N frames, F mel bands, K captions a clip, L tokens, H wrong captions.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any, TypeAlias, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from aural.audio.augment import augment, masks
from aural.audio.length import fit_shorter
from aural.core.errors import AudioError, AuralError, ConfigError, DataError, near_miss
from aural.core.types import FloatArray
from aural.encoders.tokenize import Tokenizer, load_backend
from aural.models.clap import ClapConfig
from aural.train.config import Recipe
from aural.train.draw import ITEM, SPARE, Deck, generator, number
from aural.train.mels import fit_mel
from aural.train.sources import Item, Source, open_source
from aural.train.tasks import Labels

Batch: TypeAlias = dict[str, Any]
Text = TypeVar("Text")
TRIES = 8


class Batches(Dataset[Batch]):
    """The batch of each step, for one process of several: a function of the recipe and the step alone.

    "wave" (B, T) float32, or "mel" (B, N, F) int16; "ids" and "mask" (B K, L); "audio_group" (B,) and "text_group"
    (B K,); with wrong captions "hard_ids", "hard_mask" (B H, L), "hard_text_mask" (B, H) and "hard_kinds", a list of
    B H names ("order", "count" ...; "" for none); with mask augmentation
    "rectangles" (B, M, 4); with tasks "task" (B,) and "label.TASK"; "keys", "captions" and "bad", lists of words.
    """

    def __init__(self, recipe: Recipe, *, rank: int = 0, world: int = 1) -> None:
        self.recipe, self.data, self.clap = recipe, recipe.data, recipe.model.clap
        self.rank, self.size = rank, recipe.loop.batch // world
        if recipe.loop.batch % world:
            raise DataError(f"loop.batch is {recipe.loop.batch}, which {world} processes cannot share equally")
        audio = self.clap.audio
        self.sources: list[Source] = [open_source(s, self.data, audio, recipe.seed) for s in self.data.sources]
        weights = [s.weight for s in self.data.sources]
        if recipe.tasks:
            sizes = [len(source) for source in self.sources]
            weights = [w * n**recipe.task_sampling for w, n in zip(weights, sizes, strict=True)]
        self._check_kinds()
        self.deck = Deck(weights, recipe.seed)
        self.clips = sum(len(source) for source in self.sources)
        if recipe.loop.batch > self.clips:
            raise DataError(
                f"loop.batch is {recipe.loop.batch}, but the data hold {self.clips} clips: lower it or add data"
            )
        self.tokenizer = None if recipe.tasks else tokenizer_of(self.clap)
        self.labels = Labels(recipe, self.sources) if recipe.tasks else None

    def _check_kinds(self) -> None:
        """Refuse a kind of false caption that no source makes. Shards do not list theirs, so they are not checked."""
        if not all(hasattr(source, "kinds") for source in self.sources):
            return
        kinds = sorted({kind for source in self.sources for kind in source.kinds})  # type: ignore[attr-defined]
        for kind in self.data.negative_kinds:
            if kind not in kinds:
                raise ConfigError(f'data.negative_kinds: no source makes "{kind}"; {near_miss(kind, kinds)}')

    @property
    def steps(self) -> int:
        """Length of the run in steps."""
        loop = self.recipe.loop
        return loop.steps or max(1, round(loop.epochs * self.clips / loop.batch))

    def __getitem__(self, step: int) -> Batch:
        """The batch of `step`; an error becomes a sentence under "error", so that it crosses from a worker unharmed."""
        first = step * self.recipe.loop.batch + self.rank * self.size
        try:
            bad: list[str] = []
            items = [self._item(i, bad) for i in range(first, first + self.size)]
            return self._joined(items, first) | {"bad": bad}
        except AuralError as error:
            return {"error": (type(error), str(error))}

    def _item(self, i: int, bad: list[str]) -> tuple[int, Item]:
        """Sample i with its source's number; one that cannot be read is told in `bad` and replaced by a drawn one."""
        place, count = self.deck.draw(i)
        source, seed = self.sources[place], self.recipe.seed
        for attempt in range(TRIES):
            at = count if attempt == 0 else number(seed, SPARE, i, attempt) % len(source)
            try:
                item = source.item(at, generator(seed, ITEM, i))
            except (AudioError, DataError) as error:
                bad.append(str(error))
                continue
            if item.captions or self.labels is not None:
                return place, item
            bad.append(f"{item.key}: has no caption in {', '.join(self.data.captions)}")
        raise DataError(f"{bad[-1]}; {TRIES} clips in a row could not be used, so the run stops here")

    def _joined(self, found: list[tuple[int, Item]], first: int) -> Batch:
        items = [item for _, item in found]
        draws = [generator(self.recipe.seed, ITEM, first + j, 1) for j in range(len(items))]
        batch: Batch = {"keys": [item.key for item in items]}
        batch |= self._sounds(items, draws)
        if self.labels is not None:
            return batch | self.labels.collate(found)
        K, H = self.data.captions_per_clip, self.data.negatives
        texts = [text for item, draw in zip(items, draws, strict=True) for text in choose(item.captions, K, draw)]
        batch |= {"captions": texts} | dict(zip(("ids", "mask"), self._tokens(texts), strict=True))
        group = torch.tensor([zlib.crc32(item.key.encode()) for item in items])
        batch |= {"audio_group": group, "text_group": group.repeat_interleave(K)}
        if H:
            wrong = [choose(self._negatives(item), H, draw) for item, draw in zip(items, draws, strict=True)]
            ids, mask = self._tokens([text for row in wrong for text, _ in row])
            there = torch.tensor([[bool(text) for text, _ in row] for row in wrong])
            kinds = [kind for row in wrong for _, kind in row]
            batch |= {"hard_ids": ids, "hard_mask": mask, "hard_text_mask": there, "hard_kinds": kinds}
        return batch

    def _negatives(self, item: Item) -> list[tuple[str, str]]:
        """Return the (text, kind) of each false caption of the kinds that the recipe asks for; ("", "") for none."""
        wanted = self.data.negative_kinds
        pairs = zip(item.negatives, item.negative_kinds, strict=True)
        return [(text, kind) for text, kind in pairs if not wanted or kind in wanted] or [("", "")]

    def _sounds(self, items: list[Item], draws: list[np.random.Generator]) -> Batch:
        config, audio = self.data.augment, self.clap.audio
        pairs = list(zip(items, draws, strict=True))
        frames = round(audio.window_s * audio.sample_rate_hz) // audio.mel.hop + 1
        if all(item.mel is not None for item in items):
            mels = [fit_mel(item.mel, frames, self.data.crop, draw) for item, draw in pairs if item.mel is not None]
            batch: Batch = {"mel": torch.from_numpy(np.stack(mels))}
        elif any(item.mel is not None for item in items):
            raise DataError("some sources hold log-mels and some sounds; mix only sources of one kind")
        else:
            waves = [self._augmented(item.wave, draw) for item, draw in pairs if item.wave is not None]
            wave = np.stack(waves)
            batch = {"wave": torch.from_numpy(to_pcm16(wave) if self.data.pcm16 else wave)}
        if config.time_masks or config.band_masks:
            rectangles = [masks(frames, audio.mel.n_mels, config, draw) for _, draw in pairs]
            batch["rectangles"] = torch.tensor(rectangles)
        return batch

    def _augmented(self, wave: FloatArray, draw: np.random.Generator) -> FloatArray:
        changed, length = augment(wave, self.data.augment, draw)[: len(wave)], len(wave)
        return changed if len(changed) == length else fit_shorter(changed, length, self.clap.audio.shorter)

    def _tokens(self, texts: list[str]) -> tuple[Tensor, Tensor]:
        assert self.tokenizer is not None
        tokens = self.tokenizer(texts)
        width = self.clap.text.max_tokens - tokens.ids.shape[1] if self.data.pad_text == "full" else 0
        pad = torch.nn.functional.pad
        return pad(tokens.ids, (0, width), value=self.clap.text.pad_id), pad(tokens.mask, (0, width))

    def stream(self, start: int, stop: int, *, pin: bool = False) -> Iterator[Batch]:
        """The batches of steps `start` to `stop`, made ahead by the recipe's workers."""
        workers = min(self.data.workers, max(stop - start, 0))
        options: dict[str, Any] = {"prefetch_factor": self.data.prefetch} if workers else {}
        loader = DataLoader(
            self, batch_size=None, sampler=range(start, stop), num_workers=workers, pin_memory=pin, **options
        )  # type: ignore[arg-type]
        for batch in loader:
            if "error" in batch:
                kind, sentence = batch["error"]
                raise kind(sentence)
            yield batch


def choose(texts: list[Text], count: int, random: np.random.Generator) -> list[Text]:
    """Draw `count` of the texts, none twice while there are enough."""
    order = [int(i) for i in random.permutation(len(texts))]
    return [texts[order[j % len(order)]] for j in range(count)]


def tokenizer_of(clap: ClapConfig) -> Tokenizer:
    """The tokenizer of the text tower."""
    text = clap.text
    backend = load_backend(text.tokenizer)
    return Tokenizer(
        backend, special=text.special_tokens, max_tokens=text.max_tokens, pad_id=text.pad_id, suffix=text.suffix
    )


def rms_db(wave: FloatArray) -> float:
    """Level of a window, dB re full scale."""
    return float(10 * np.log10(np.mean(np.square(wave, dtype=np.float64)) + 1e-20))


def to_pcm16(wave: FloatArray) -> NDArray[np.int16]:
    """Full scale 1.0 is 32768, as in files."""
    return np.rint(np.clip(wave * 32768.0, -32768, 32767)).astype(np.int16)


def ahead(batches: Iterator[Batch], device: torch.device) -> Iterator[Batch]:
    """Batches on the device; on CUDA the next one is copied, on a stream of its own, while this one is computed."""
    if device.type != "cuda":
        yield from (to_device(batch, device) for batch in batches)
        return
    copies, ready = torch.cuda.Stream(device), list[Batch]()
    for batch in batches:
        with torch.cuda.stream(copies):
            ready.append(to_device(batch, device))
        if len(ready) > 1:
            yield ready.pop(0)
        torch.cuda.current_stream(device).wait_stream(copies)
        for tensor in ready[-1].values():
            if isinstance(tensor, Tensor):
                tensor.record_stream(torch.cuda.current_stream(device))
    yield from ready


def to_device(batch: Batch, device: torch.device) -> Batch:
    """Tensors moved (without waiting, from pinned memory), lists kept."""
    return {k: v.to(device, non_blocking=True) if isinstance(v, Tensor) else v for k, v in batch.items()}
