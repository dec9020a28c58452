"""Write the report and the curves of a run, or the batch that failed."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from aural.core.files import atomic_write, write_text
from aural.train.config import Recipe
from aural.train.loader import Batch
from aural.train.tasks import Report
from aural.train.track import METRICS, curves, lines_of


def write_report(out: Path, recipe: Recipe, report: Report) -> None:
    """Write curves.png and, for supervised tasks, report.md."""
    if recipe.track.curves:
        curves(out, recipe.shows)
    if report.kinds:
        write_text(out / "report.md", report.table(lines_of(out / METRICS)))


def keep_batch(out: Path, step: int, rank: int, batch: Batch) -> Path:
    """Save a batch for inspection, its tensors, names and captions; return the file."""
    file = out / f"bad-batch-step-{step:08d}-rank-{rank}.pt"
    with atomic_write(file) as part:
        torch.save({k: v.cpu() if isinstance(v, Tensor) else v for k, v in batch.items()}, part)
    return file
