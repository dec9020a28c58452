"""Worlds: sources of synthetic items with a complete truth record. Item i is a pure function of a seed and i.

A world is registered in `WORLDS` under the name that `aural data world` and recipes use. To add one, subclass `World`,
give it a `config_type`, and write `item`; see `ScenesWorld` for an example.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from pydantic import Field

from aural.core.config import Config
from aural.core.registry import Registry, build
from aural.core.types import FloatArray
from aural.data.manifest import read_manifest


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
