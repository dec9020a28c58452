"""Evaluation with several seeds: methods that draw folds, shots or initial weights run once per seed."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from aural.evaluate.examples import LoadedTask
from aural.evaluate.kinds import Runner
from aural.evaluate.metrics import METRICS
from aural.evaluate.outcome import Context, Outcome
from aural.evaluate.stats import mean_and_spread

RANDOM_METHODS: Final = ("linear-probe", "knn", "few-shot", "fine-tune")


def over_seeds(runner: Runner, context: Context, task: LoadedTask, seeds: int) -> Outcome:
    """Return the outcome of the context's seed; `details["seeds"]` holds the card's metric for it and the next seeds.

    Where nothing is drawn (a probe on published folds has one solution) the deviation is 0.
    """
    outcome: Outcome = runner(context, task)
    if seeds < 2:
        return outcome
    metric = task.card.metric
    values: dict[str, float] = {}
    for seed in range(context.seed, context.seed + seeds):
        of_seed = outcome if seed == context.seed else runner(replace(context, seed=seed), task)
        values[str(seed)] = METRICS[metric](of_seed.arrays, None)
    mean, deviation = mean_and_spread(list(values.values()))
    outcome.details["seeds"] = {"metric": metric, "values": values, "mean": mean, "deviation": deviation}
    return outcome
