"""Objectives of sentence vectors; importing this package registers them in `TOGGLES`."""

from aural.train.sentences.base import TOGGLES, Shape, Step, Toggle
from aural.train.sentences.field import ExamplesField
from aural.train.sentences.masked import Masked

__all__ = ["TOGGLES", "ExamplesField", "Masked", "Shape", "Step", "Toggle"]
