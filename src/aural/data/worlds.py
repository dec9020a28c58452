"""Worlds: sources of synthetic items with a complete truth record. Item i is a pure function of a seed and i.

A world is registered in `WORLDS` under the name that `aural data world` and recipes use. To add one, subclass `World`,
give it a `config_type`, and write `item`; see `ScenesWorld` for an example.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field

from aural.audio.io import read
from aural.audio.voice import measure_voice
from aural.core.config import Config
from aural.core.errors import ConfigError, DataError
from aural.core.registry import Registry, build
from aural.core.types import FloatArray
from aural.data.manifest import Manifest, Row, read_manifest
from aural.data.notes import NotesConfig, played
from aural.data.speech.simulator import RATE_HZ, SpeechConfig, caption_of, facts_of, plan, render
from aural.data.speech.words import WordsConfig, spoken_words
from aural.data.store import read_store
from aural.data.text.real import RealTextsConfig, example_of, read_texts
from aural.data.text.world import TextConfig, epoch_order, examples_of


@dataclass(frozen=True)
class WorldItem:
    """One item of a world: true and false captions, the truth record, and a wave (T,), or None in a world of texts."""

    key: str
    captions: tuple[str, ...]
    facts: Mapping[str, Any]
    wave: FloatArray | None = None
    sample_rate_hz: int = 0
    negatives: tuple[str, ...] = ()
    negative_kinds: tuple[str, ...] = field(default=())


class World(ABC):
    """An endless sequence of items. Item i depends only on the options, the seed and i.

    Splits are disjoint by construction: the options select the material of training items, and test items use none of
    it.
    """

    config_type: ClassVar[type[Config]] = Config
    kinds: tuple[str, ...] = ()
    """Kinds of false captions that items carry."""
    labels: tuple[str, ...] = ()
    """Classes that can occur in an item, sorted."""

    def __init__(self, config: Any) -> None:
        self.config = config

    def __len__(self) -> int:
        """Return the number of items per epoch."""
        return 1000

    @abstractmethod
    def item(self, index: int) -> WorldItem:
        """Return item `index`, counted from 0."""

    def control(self, index: int) -> WorldItem:
        """Return item `index` with the captions and facts of the next item, as a control.

        A model must score at chance on controls. A score above chance shows that it uses more than the sound.
        """
        item, other = self.item(index), self.item(index + 1)
        return replace(
            item,
            key=f"{item.key} (control)",
            captions=other.captions,
            facts=other.facts,
            negatives=other.negatives,
            negative_kinds=other.negative_kinds,
        )


WORLDS: Registry[type[World]] = Registry("world")


def open_world(name: str, options: Mapping[str, Any]) -> World:
    """Build the world of that exact name from its options.

    Raises:
        ConfigError: unknown name, or unknown or unsuitable options.
    """
    world: World = build(WORLDS, name, options)
    return world


class ScenesConfig(Config):
    """Options of the world "scenes"."""

    manifest: str
    """Manifest of the labeled clips that scenes are mixed from, or its folder."""
    split: str = "train"
    """Split whose clips are used. Scenes of two splits share no clip."""
    seed: int = 0
    scenes: dict[str, Any] = Field(default_factory=dict)
    """Options of `SceneConfig`."""


@WORLDS.register("scenes")
class ScenesWorld(World):
    """Scenes mixed from labeled clips, with known order, overlap, level, count, background and room.

    See `SceneSimulator`.
    """

    config_type = ScenesConfig

    def __init__(self, config: ScenesConfig) -> None:
        super().__init__(config)
        from aural.data.simulate import SceneConfig, SceneSimulator
        from aural.data.simulate.caption import KINDS
        from aural.data.simulate.corpus import clips_of

        scenes = SceneConfig.parse(config.scenes, f"scenes of {config.manifest}")
        clips = clips_of(read_manifest(config.manifest), scenes.sample_rate_hz, split=config.split)
        self.clips = len(clips)
        self.simulator = SceneSimulator(clips, scenes, config.seed)
        self.labels = self.simulator.labels
        self.kinds = tuple(KINDS)

    def __len__(self) -> int:
        return self.clips

    def item(self, index: int) -> WorldItem:
        scene = self.simulator.scene(index)
        return WorldItem(
            key=f"scene {index}",
            captions=(scene.caption, *scene.paraphrases),
            facts=scene.truth.to_facts(),
            wave=scene.clip.samples[0],
            sample_rate_hz=scene.clip.sample_rate_hz,
            negatives=tuple(negative.text for negative in scene.negatives),
            negative_kinds=tuple(negative.kind for negative in scene.negatives),
        )


@WORLDS.register("speech")
class SpeechWorld(World):
    """Sentences spoken by espeak-ng with planted pitch, range, rate, level and emotion, and the times of phonemes.

    With `manifest`, every second item is a real clip of speech, whose facts are measured. Sounds of espeak-ng are free
    of its license (GPL-3.0-or-later applies to the program). Real clips have the licenses of their rows.
    """

    config_type = SpeechConfig

    def __init__(self, config: SpeechConfig) -> None:
        super().__init__(config)
        plan(config, 0)  # refuses unknown languages and splits
        self.manifest = read_manifest(config.manifest) if config.manifest else None
        self.real = speech_rows(self.manifest, config) if self.manifest else []

    def item(self, index: int) -> WorldItem:
        if self.real and index % 2:
            assert self.manifest is not None
            return real_speech(self.manifest, self.real[index // 2 % len(self.real)], f"speech {index}")
        one = plan(self.config, index)
        wave, phones = render(one)
        return WorldItem(
            key=f"speech {index}: {one.text}",
            captions=(caption_of(one),),
            facts=facts_of(one, wave, phones),
            wave=wave,
            sample_rate_hz=RATE_HZ,
        )


def speech_rows(manifest: Manifest, config: SpeechConfig) -> list[Row]:
    """Return the clips of a manifest that hold speech in one of the languages, of the split."""
    rows = [row for row in manifest.filter(split=config.split) if row.language in config.languages]
    if not rows:
        raise DataError(f"{manifest.folder}: split {config.split} has no speech in {', '.join(config.languages)}")
    return rows


def real_speech(manifest: Manifest, row: Row, key: str) -> WorldItem:
    """Return a real clip of speech as an item; its facts are measured and taken from its row."""
    clip = read(
        manifest.file(row), sample_rate_hz=RATE_HZ, mono=True, start_s=row.start_s, duration_s=row.duration_s or None
    )
    facts = {name: getattr(row, name) for name in ("language", "speaker", "transcript", "license", "source")}
    measured = asdict(measure_voice(clip.samples[0], RATE_HZ))
    return WorldItem(
        key=f"{key}: {row.path}",
        captions=tuple(text for text in (row.caption_label, *row.captions) if text),
        facts={"synthetic": ""} | facts | {"measured": {name: round(value, 3) for name, value in measured.items()}},
        wave=clip.samples[0],
        sample_rate_hz=RATE_HZ,
    )


@WORLDS.register("text")
class TextWorld(World):
    """Texts with known meaning, without sounds: sentences, stories, dialogues, phrases and planted bias.

    The facts of an item are an `aural.data.text.Example`.
    """

    config_type = TextConfig

    def __init__(self, config: TextConfig) -> None:
        super().__init__(config)
        self.examples = examples_of(config.model_dump_json())

    def __len__(self) -> int:
        return int(self.config.size)

    def item(self, index: int) -> WorldItem:
        place = self.examples.place(index)
        example = self.examples.example(place)
        negatives = tuple(text for text in (example.contradicted,) if text)
        return WorldItem(
            key=f"text {self.config.kind} {place}",
            captions=(example.text, *example.paraphrases),
            facts=example.to_facts(),
            negatives=negatives,
            negative_kinds=("contradiction",) * len(negatives),
        )


@WORLDS.register("real-texts")
class RealTextsWorld(World):
    """Real texts of distribution packages: descriptions of pictures in many languages, or glosses with their words."""

    config_type = RealTextsConfig

    def __init__(self, config: RealTextsConfig) -> None:
        super().__init__(config)
        self.texts = read_texts(config)

    def __len__(self) -> int:
        return len(self.texts)

    def item(self, index: int) -> WorldItem:
        epoch, at = divmod(index, len(self.texts))
        record = self.texts[int(epoch_order(len(self.texts), 0, epoch)[at])]
        example = example_of(record, self.config.languages)
        return WorldItem(record.key, (example.text, *example.paraphrases), example.to_facts())


@WORLDS.register("words")
class WordsWorld(World):
    """Two random words without meaning, spoken by espeak-ng in one of several languages, with phoneme times."""

    config_type = WordsConfig

    def __len__(self) -> int:
        return int(self.config.size)

    def item(self, index: int) -> WorldItem:
        one = spoken_words(self.config, index % self.config.size)
        return WorldItem(f"words {index}: {one.text}", (one.text,), one.facts(), one.wave, RATE_HZ)


@WORLDS.register("notes")
class NotesWorld(World):
    """Short melodies with a known key, mode, style and instrument."""

    config_type = NotesConfig

    def __len__(self) -> int:
        return int(self.config.size)

    def item(self, index: int) -> WorldItem:
        wave, facts = played(self.config, index % self.config.size)
        caption = f"A {facts['instrument']} plays {facts['style']} in {facts['key']} {facts['mode']}."
        return WorldItem(f"notes {index}", (caption,), facts, wave, RATE_HZ)


class StoredConfig(Config):
    """Options of the world "stored"."""

    files: tuple[Path, ...] = Field(min_length=1)
    """Files of stored sounds (see `aural.data.store`)."""
    seed: int = 0
    """Seed of the order of the sounds."""
    sizes: tuple[Annotated[int, Field(ge=0)], ...] = ()
    """Number of first sounds to use of each file, 0 for all; empty: all of all files."""


@WORLDS.register("stored")
class StoredWorld(World):
    """Sounds with facts from files of arrays, in an order that differs between epochs."""

    config_type = StoredConfig

    def __init__(self, config: StoredConfig) -> None:
        super().__init__(config)
        self.stores = [read_store(file) for file in config.files]
        sizes = config.sizes or (0,) * len(self.stores)
        if len(sizes) != len(self.stores):
            raise ConfigError(f'world "stored": {len(sizes)} sizes for {len(self.stores)} files; give one per file')
        counts = [min(size or len(store), len(store)) for store, size in zip(self.stores, sizes, strict=True)]
        self.places = [(store, i) for store, count in zip(self.stores, counts, strict=True) for i in range(count)]

    def __len__(self) -> int:
        return len(self.places)

    def item(self, index: int) -> WorldItem:
        epoch, at = divmod(index, len(self.places))
        store, place = self.places[int(epoch_order(len(self.places), self.config.seed, epoch)[at])]
        facts = store.facts[place]
        caption = str(facts.get("transcript") or facts.get("class") or "")
        return WorldItem(f"stored {place}", (caption,), facts, store.waves[place], store.sample_rate_hz)
