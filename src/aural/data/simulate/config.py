"""Settings of the scene simulator."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from aural.core.config import Config

Range = tuple[float, float]
SHORTEST_S, LONGEST_S, MOST_EVENTS, MOST_REPETITIONS = 2.0, 120.0, 12, 4


class SceneConfig(Config):
    """Distributions of scenes; every range is (lowest, highest), both included, drawn uniformly.

    Levels are RMS dBFS (see `aural.data.simulate.truth`). Probabilities are in 0 to 1. The three margins decide which
    claims a caption may make: a difference below a margin is never mentioned.
    """

    sample_rate_hz: int = 32_000
    duration_s: Range = (10.0, 10.0)
    events: tuple[int, int] = (1, 6)
    classes: tuple[str, ...] = ()  # events are drawn from these labels; empty: from all
    class_exponent: float = 0.0  # 0: every class alike; s: the k-th class with weight k^-s (Zipf), in the order given
    event_s: Range = (0.1, 3.0)  # a longer sound is cut (see `longer`), a shorter one is not used for an event
    longer: Literal["cut", "refuse"] = "cut"
    level_db: Range = (-38.0, -18.0)
    pair_level_db: float = 12.0  # two sounds at once differ by at most this, so that none is masked
    overlap_chance: float = 0.35
    repeat_chance: float = 0.35
    repetitions: tuple[int, int] = (2, 4)
    repetition_gap_s: Range = (0.3, 0.7)
    background_chance: float = 0.6
    background_snr_db: Range = (6.0, 24.0)  # below the quietest event
    room_chance: float = 0.6
    rooms_per_kind: int = 6
    positions_per_room: int = 6
    room_seed: int = 0
    order_margin_s: float = 0.3  # "before": silence of the earlier sound for so long
    overlap_margin_s: float = 0.3  # "while": together for so long, or for half of the shorter sound
    loudness_margin_db: float = 6.0  # "louder"
    faint_margin_db: float = 12.0  # "faint": below the loudest event
    paraphrases: int = 3
    negatives_per_kind: int = 1
    alike: tuple[tuple[str, ...], ...] = ()  # labels that may be heard for one another: never "absent" for each other

    @model_validator(mode="after")
    def _possible(self) -> SceneConfig:
        for name in ("duration_s", "events", "event_s", "level_db", "repetitions", "repetition_gap_s"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name} runs from {low} to {high}; put the lower bound first")
        if not SHORTEST_S <= self.duration_s[0] <= self.duration_s[1] <= LONGEST_S:
            raise ValueError(f"duration_s must be in {SHORTEST_S:g} to {LONGEST_S:g} s")
        if not 1 <= self.events[0] <= self.events[1] <= MOST_EVENTS:
            raise ValueError(f"events must be in 1 to {MOST_EVENTS}")
        if not 2 <= self.repetitions[0] <= self.repetitions[1] <= MOST_REPETITIONS:
            raise ValueError(f"repetitions must be in 2 to {MOST_REPETITIONS}")
        if self.event_s[0] < 0.02 or self.repetition_gap_s[0] < 0.2 or self.order_margin_s < 0.1:
            raise ValueError("event_s starts at 0.02 s, repetition_gap_s at 0.2 s, order_margin_s at 0.1 s or above")
        if self.events[0] * (self.event_s[0] + self.order_margin_s) > self.duration_s[0]:
            raise ValueError(
                f"{self.events[0]} events of {self.event_s[0]:g} s with {self.order_margin_s:g} s between them do not "
                f"fit into {self.duration_s[0]:g} s; lengthen duration_s or ask for fewer events"
            )
        chances = ("overlap_chance", "repeat_chance", "background_chance", "room_chance")
        if any(not 0 <= getattr(self, name) <= 1 for name in chances):
            raise ValueError(f"{', '.join(chances)} must be in 0 to 1")
        if self.loudness_margin_db <= 0 or self.faint_margin_db <= 0 or self.overlap_margin_s <= 0:
            raise ValueError("margins must be above 0")
        return self
