"""Pretext tasks of self-supervised encoders; importing this package registers them in `PRETEXTS`."""

from aural.train.selfsupervised.autoregressive import NextToken
from aural.train.selfsupervised.base import PRETEXTS, Outcome, Pretext, Shape, Step
from aural.train.selfsupervised.distill import Distill
from aural.train.selfsupervised.labeled import Classes, Ctc, FactsField, TranscriptsField
from aural.train.selfsupervised.masked import MaskedContrast, MaskedTokens
from aural.train.selfsupervised.next_step import NextStep
from aural.train.selfsupervised.reconstruct import FutureFrames, Reconstruct

__all__ = [
    "PRETEXTS",
    "Classes",
    "Ctc",
    "Distill",
    "FactsField",
    "FutureFrames",
    "MaskedContrast",
    "MaskedTokens",
    "NextStep",
    "NextToken",
    "Outcome",
    "Pretext",
    "Reconstruct",
    "Shape",
    "Step",
    "TranscriptsField",
]
