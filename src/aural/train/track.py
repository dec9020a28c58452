"""Write what a run logs: metrics.jsonl, a progress bar, TensorBoard, W&B, and curves at the end."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aural.core.errors import DataError, MissingDependencyError
from aural.core.files import atomic_write, write_text
from aural.train.config import TrackConfig

METRICS = "metrics.jsonl"
CURVES = "curves.png"


class Tracker:
    """Writes one JSON object per step. When a run is resumed, lines after `start` are deleted first."""

    def __init__(self, out: Path, config: TrackConfig, title: str, start: int, steps: int) -> None:
        self.out, self.steps = out, steps
        keep_until(out / METRICS, start)
        self.file = (out / METRICS).open("a", encoding="utf-8")
        self.board = self._tensorboard() if config.tensorboard else None
        self.wandb = self._wandb(config.wandb, title) if config.wandb else None
        self.bar = _bar(title, steps, start)

    def step(self, line: Mapping[str, Any]) -> None:
        """Log one step, or one evaluation (a line with "step" and what was measured)."""
        try:
            self.file.write(json.dumps(line) + "\n")
            self.file.flush()
        except OSError as error:
            raise DataError(f"{self.out / METRICS}: cannot be written ({error.strerror}); free some space") from None
        numbers = {k: v for k, v in line.items() if k != "step" and isinstance(v, int | float)}
        if self.board is not None:
            for name, value in numbers.items():
                self.board.add_scalar(name, value, line["step"])
        if self.wandb is not None:
            self.wandb.log(numbers, step=line["step"])
        if self.bar is not None and "loss" in line:
            status = f"loss {line['loss']:.4f}  {line.get('clips_per_s', 0):.0f} clips/s"
            self.bar.update(self.bar.task_ids[0], completed=line["step"] + 1, status=status)

    def close(self) -> None:
        self.file.close()
        if self.bar is not None:
            self.bar.stop()
        if self.board is not None:
            self.board.close()
        if self.wandb is not None:
            self.wandb.finish()

    def _tensorboard(self) -> Any:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise MissingDependencyError("track.tensorboard needs tensorboard; install aural[train]") from None
        return SummaryWriter(str(self.out / "tensorboard"))

    def _wandb(self, project: str, title: str) -> Any:
        try:
            import wandb  # type: ignore[import-not-found,unused-ignore]
        except ImportError:
            raise MissingDependencyError("track.wandb needs wandb; pip install wandb, or leave it empty") from None
        return wandb.init(project=project, name=title, dir=str(self.out), resume="allow")


def _bar(title: str, steps: int, start: int) -> Any:
    """A progress bar on a terminal, None elsewhere."""
    if not sys.stderr.isatty():
        return None
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[status]}"))
    bar = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True))
    bar.add_task(title, total=steps, completed=start, status="")
    bar.start()
    return bar


def keep_until(file: Path, step: int) -> None:
    """Delete the lines of `step` and later, and an incomplete last line."""
    if not file.is_file():
        return
    kept = [line for line in lines_of(file) if line["step"] < step or (line["step"] == step and "loss" not in line)]
    write_text(file, "".join(json.dumps(line) + "\n" for line in kept))


def lines_of(file: Path) -> list[dict[str, Any]]:
    """Return the complete lines of a metrics file."""
    lines = []
    for text in file.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(text))
        except ValueError:
            continue
    return lines


def curves(out: Path, title: str) -> Path | None:
    """Plot loss, learning rate and evaluations as a PNG; return its path, or None if matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return None
    lines = lines_of(out / METRICS)
    steps = [line for line in lines if "loss" in line]
    measured = sorted({k for line in lines if "loss" not in line for k in line if k != "step"})
    figure = Figure(figsize=(5 * (3 if measured else 2), 3.6), layout="constrained")
    axes = figure.subplots(1, 3 if measured else 2)
    xs = [line["step"] for line in steps]
    losses = [line["loss"] for line in steps]
    axes[0].plot(xs, losses, color="0.75", linewidth=0.8)
    axes[0].plot(xs, smooth(losses), color="tab:blue")
    axes[0].set(title="loss", xlabel="step")
    axes[1].plot(xs, [line["lr"] for line in steps], color="tab:orange")
    axes[1].set(title="learning rate", xlabel="step")
    for name in measured:
        points = [(line["step"], line[name]) for line in lines if name in line and "loss" not in line]
        axes[2].plot(*zip(*points, strict=True), marker=".", label=name)
    if measured:
        axes[2].set(title="evaluation", xlabel="step")
        axes[2].legend(fontsize=7)
    figure.suptitle(title, fontsize=10)
    with atomic_write(out / CURVES) as part:
        figure.savefig(part, dpi=110)
    return out / CURVES


def smooth(values: list[float], weight: float = 0.9) -> list[float]:
    """Return the exponential average, corrected for the bias of its start."""
    averages = []
    total = norm = 0.0
    for value in values:
        total, norm = weight * total + (1 - weight) * value, weight * norm + (1 - weight)
        averages.append(total / norm)
    return averages
