"""Several seeds: a method that draws (folds, shots, first weights) runs once for each; mean and spread are told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from aural.evaluate.cards import TaskCard
from aural.evaluate.metrics import METRICS
from aural.evaluate.outcome import Context, Outcome, Runner
from aural.evaluate.stats import mean_and_spread

DRAWN: Final = ("linear-probe", "knn", "few-shot", "fine-tune")


def over_seeds(runner: Runner, context: Context, card: TaskCard, seeds: int) -> Outcome:
    """The outcome of the context's own seed; `details["seeds"]` holds the card's metric for it and the next ones.

    Where nothing is drawn (a probe on published folds has one solution) the deviation is 0, and truly so.
    """
    outcome = runner(context, card)
    if seeds < 2:
        return outcome
    values: dict[str, float] = {}
    for seed in range(context.seed, context.seed + seeds):
        found = outcome if seed == context.seed else runner(replace(context, seed=seed), card)
        values[str(seed)] = METRICS[card.metric](found.arrays, None)
    mean, deviation = mean_and_spread(list(values.values()))
    told: dict[str, Any] = {"metric": card.metric, "values": values, "mean": mean, "deviation": deviation}
    outcome.details["seeds"] = told
    return outcome
