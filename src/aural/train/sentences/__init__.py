"""Objectives of sentence vectors; importing this package registers them in `TOGGLES`."""

from aural.train.sentences.base import TOGGLES, Shape, Step, Toggle
from aural.train.sentences.contrast import Contrast, DebiasedNegatives, Propensity, Refined
from aural.train.sentences.documents import Discourse, Neighbors, NextWords, Turns
from aural.train.sentences.field import ExamplesField
from aural.train.sentences.graded import Entailment, Graded, Ranked
from aural.train.sentences.guided import CrossView, Future, Past, SelfGuided
from aural.train.sentences.masked import Masked
from aural.train.sentences.phrase import Phrase
from aural.train.sentences.prompting import Labels, Prompt
from aural.train.sentences.restoring import Bottleneck, Denoise, Edits

__all__ = [
    "TOGGLES",
    "Bottleneck",
    "Contrast",
    "CrossView",
    "DebiasedNegatives",
    "Denoise",
    "Discourse",
    "Edits",
    "Entailment",
    "ExamplesField",
    "Future",
    "Graded",
    "Labels",
    "Masked",
    "Neighbors",
    "NextWords",
    "Past",
    "Phrase",
    "Prompt",
    "Propensity",
    "Ranked",
    "Refined",
    "SelfGuided",
    "Shape",
    "Step",
    "Toggle",
    "Turns",
]  # fmt: skip
