"""`SceneSimulator`: endless scenes, each a function of (seed, index) alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aural.core.errors import DataError
from aural.core.types import Clip
from aural.data.simulate.caption import Captions, Negative, describe
from aural.data.simulate.config import SceneConfig
from aural.data.simulate.plan import plan_scene, usable
from aural.data.simulate.render import render
from aural.data.simulate.room import SimulatedRoom, simulate_rooms
from aural.data.simulate.sounds import LabelledClip, SoundBank
from aural.data.simulate.truth import SceneTruth, frame_labels


@dataclass(frozen=True, slots=True, eq=False)
class ScenePlan:
    """A scene without its sound."""

    truth: SceneTruth
    captions: Captions


@dataclass(frozen=True, slots=True, eq=False)
class Scene(ScenePlan):
    """A scene: `clip` holds float32 (1, T); every caption and paraphrase is true of it, every negative false."""

    clip: Clip

    @property
    def caption(self) -> str:
        return self.captions.caption

    @property
    def paraphrases(self) -> tuple[str, ...]:
        return self.captions.paraphrases

    @property
    def negatives(self) -> tuple[Negative, ...]:
        return self.captions.negatives

    def frame_labels(self, classes: tuple[str, ...], frame_rate_hz: float) -> NDArray[np.uint8]:
        """Return (frames, classes), see `aural.data.simulate.truth.frame_labels`."""
        return frame_labels(self.truth, classes, frame_rate_hz)


class SceneSimulator:
    """Scenes made of `clips`.

    Scene `index` depends on the clips, the settings, the seed and the index, not on the scenes made before it nor on
    the process that makes it. The sounds and rooms are prepared once, here; a forked or pickled copy carries them.

    Raises DataError for an empty list of clips, an unknown class, a silent clip, too few classes, and, with
    `longer="refuse"`, a clip longer than the shortest scene.
    """

    def __init__(self, clips: Iterable[LabelledClip], config: SceneConfig | None = None, seed: int = 0) -> None:
        self.config = config or SceneConfig()
        self.seed = seed
        self.bank = SoundBank(clips, self.config.sample_rate_hz)
        self.bank.require(self.config.classes)
        self.pool = usable(self.bank, self.config)
        self._refuse_long()
        self.rooms: list[SimulatedRoom] = []
        if self.config.room_chance > 0:
            c = self.config
            self.rooms = simulate_rooms(c.sample_rate_hz, c.rooms_per_kind, c.positions_per_room, c.room_seed)

    @property
    def labels(self) -> tuple[str, ...]:
        """Return every class that can sound, the order of `frame_labels`' columns unless another is given."""
        return self.bank.labels

    def plan(self, index: int) -> ScenePlan:
        """Truth and captions of scene `index`, without computing a sample; levels before the peak is kept below 1."""
        generator = self._generator(index)
        truth = plan_scene(self.bank, self.pool, self.rooms, self.config, generator, self.seed, index)
        return ScenePlan(truth, describe(truth, self.bank, self.config, generator))

    def scene(self, index: int) -> Scene:
        """Scene `index`, rendered."""
        plan = self.plan(index)
        clip, truth = render(plan.truth, self.bank, self.rooms)
        return Scene(truth, plan.captions, clip)

    def scenes(self, start: int = 0, stop: int | None = None, step: int = 1) -> Iterator[Scene]:
        """Yield scenes start, start + step, ... below `stop` (endless without); worker w of n takes start=w, step=n."""
        index = start
        while stop is None or index < stop:
            yield self.scene(index)
            index += step

    def frame_labels(self, scene: ScenePlan, frame_rate_hz: float, classes: tuple[str, ...] = ()) -> NDArray[np.uint8]:
        """Return (frames, classes) for the given classes (default: all); an unknown one is a DataError."""
        self.bank.require(classes)
        return frame_labels(scene.truth, classes or self.labels, frame_rate_hz)

    def _generator(self, index: int) -> np.random.Generator:
        if index < 0:
            raise DataError(f"scene {index}: scenes are numbered from 0")
        key = np.random.SeedSequence(self.seed, spawn_key=(index,))
        return np.random.Generator(np.random.Philox(key))

    def _refuse_long(self) -> None:
        if self.config.longer == "cut":
            return
        limit_s = min(self.config.event_s[1], self.config.duration_s[0])
        for sounds in self.bank.events.values():
            for sound in sounds:
                length_s = len(sound.samples) / self.config.sample_rate_hz
                if length_s > limit_s:
                    raise DataError(
                        f"{sound.clip}: sounds for {length_s:.2f} s, an event at most {limit_s:g} s; "
                        'set longer to "cut" or leave it out'
                    )
