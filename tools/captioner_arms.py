"""What the bridges of the bundled captioner learn from, and their sizes."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from aural.nn.bridges.mapper import MapperConfig, MlpMapper


@dataclass(frozen=True)
class Arm:
    """What a bridge learns from.

    prompts: bundled sentences that the prompt names. text: share of the rows that are vectors of texts in the place of
    sounds. cosine: of such a row with its text, on average; that of test clips is 0.35 with the nearest of their texts.
    mix: mean share of another clip in the vector of a clip that libre-base has learned; half as much in others. noise:
    deviation of the noise on sounds, times the deviation of pairs.
    """

    prompts: int = 0
    text: float = 1.0
    cosine: float = 0.32
    mix: float = 0.4
    noise: float = 0.2
    hidden: int = 160
    length: int = 8


ARMS = {"text": Arm(), "text-hard": Arm(prompts=4), "both-hard": Arm(prompts=4, text=0.5)}


def new_bridge(arm: Arm, d_in: int, d_out: int) -> MlpMapper:
    """Return a bridge whose first prefixes are small."""
    bridge = MlpMapper(MapperConfig(d_in=d_in, d_out=d_out, kind="mlp", length=arm.length, hidden=arm.hidden))
    nn.init.normal_(bridge.out.weight, std=0.02)
    return bridge
