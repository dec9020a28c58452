"""Studies: claim cards that need no training run of `aural train`.

A card names `study = "package.module:function"`. The function is called once per seed and returns scores per item:

    def run(context: StudyContext, **options) -> Scores:
        rng = np.random.default_rng(context.seed)
        ...
        return {"ours": {"accuracy": correct}, "control": {"accuracy": control_correct}}

The first key is the arm, the second the task that the card's checks name. A value is a number, or an array (N,) with
one score per item; the score of the arm is its mean. All arms of a task must score the same items in the same order.
The options are the card's `options`. A study may write tables (.md) and pictures (.svg) into `context.out`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from aural.core.errors import ConfigError, DataError
from aural.reproduce.card import ClaimCard

Scores: TypeAlias = Mapping[str, Mapping[str, NDArray[Any] | float]]
Study: TypeAlias = Callable[..., Scores]


@dataclass(frozen=True)
class StudyContext:
    """Arguments of a study apart from its options."""

    seed: int
    smoke: bool
    """Take the smallest sizes that still run every line; the scores do not count."""
    device: str
    data: Path | None
    """Folder of the corpus, if one was given."""
    out: Path
    """An existing folder of this seed for tables and pictures."""
    shared: Path | None = None
    """Folder of the arrays that all studies of a smoke test share; None: `out`."""


def open_study(card: ClaimCard) -> Study:
    """Import the function that the card names."""
    module_name, colon, attribute = card.study.partition(":")
    if not colon:
        raise ConfigError(f'{card.name}: study "{card.study}" must be "package.module:function"')
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ConfigError(f"{card.name}: study {card.study} cannot be imported ({error})") from None
    function = getattr(module, attribute, None)
    if not callable(function):
        raise ConfigError(f'{card.name}: module {module_name} has no function "{attribute}"')
    return function  # type: ignore[no-any-return]


def run_study(card: ClaimCard, context: StudyContext) -> dict[str, dict[str, NDArray[np.float64]]]:
    """Call the card's study for one seed; return arm -> task -> scores (N,) in float64.

    Raises DataError where the study lacks an arm or task of a check, or where a score is not finite.
    """
    returned = open_study(card)(context, **card.options)
    scores = {
        arm: {task: np.atleast_1d(np.asarray(values, np.float64)) for task, values in tasks.items()}
        for arm, tasks in returned.items()
    }
    for check in card.check:
        for arm, _ in check.terms:
            if check.task not in scores.get(arm, {}):
                raise DataError(f'{card.name}: the study returned no "{check.task}" for arm "{arm}"')
            values = scores[arm][check.task]
            if values.ndim != 1 or not np.isfinite(values).all():
                raise DataError(f'{card.name}: "{check.task}" of arm "{arm}" must be finite scores of shape (N,)')
    return scores
