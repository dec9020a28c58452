"""Runners of the task kinds: importing this package registers them in `kinds.KINDS`."""

from aural.evaluate.kinds import KINDS
from aural.evaluate.runners import (
    captioning,
    entailment,
    finetune,
    frames,
    layers,
    pairs,
    probe,
    questions,
    retrieval,
    sentences,
    temporal,
    zero_shot,
)

__all__ = [
    "KINDS",
    "captioning",
    "entailment",
    "finetune",
    "frames",
    "layers",
    "pairs",
    "probe",
    "questions",
    "retrieval",
    "sentences",
    "temporal",
    "zero_shot",
]
