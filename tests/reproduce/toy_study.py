"""Studies for the tests of the runner."""

from __future__ import annotations

import os

import numpy as np

from aural.reproduce.study import Scores, StudyContext


def gain(context: StudyContext, *, shift: float = 1.0) -> Scores:
    """Two arms whose items differ by `shift` and noise."""
    rng = np.random.default_rng(context.seed)
    plain = rng.normal(0, 1, 50)
    (context.out / "table.md").write_text("| a |\n")
    return {"plain": {"score": plain}, "ours": {"score": plain + shift + rng.normal(0, 0.1, 50)}}


def fails_once(context: StudyContext) -> Scores:
    """Seed 1 raises, seed 2 dies, unless the file "healthy" exists."""
    if not (context.out.parents[3] / "healthy").exists():
        if context.seed == 1:
            raise ZeroDivisionError("seed 1 is bad luck")
        if context.seed == 2:
            os._exit(9)
    return gain(context)


def nothing(context: StudyContext) -> Scores:
    """A study that forgot an arm."""
    return {"plain": {"score": 0.0}}
