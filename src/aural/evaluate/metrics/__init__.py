"""Metrics by exact name: importing this package registers all of them in `METRICS`."""

from aural.evaluate.metrics import captions, labels, psds, ranking, sentences
from aural.evaluate.metrics.base import METRICS, RESAMPLED, Arrays, ItemMetric, Metric, Weights, item_metric

__all__ = [
    "METRICS",
    "RESAMPLED",
    "Arrays",
    "ItemMetric",
    "Metric",
    "Weights",
    "captions",
    "item_metric",
    "labels",
    "psds",
    "ranking",
    "sentences",
]
