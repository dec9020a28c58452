"""Fine-tuning: train the audio tower and a linear head on a task's labels, then score its test clips.

Every epoch reads one window per training clip, at a random place if the clip is longer; a test clip is scored by the
mean of its windows' logits. Towers are trained on the card's train splits, or fold by fold as probes are. Each finished
fold is stored on disk, so an interrupted run trains no fold twice and gives the same numbers.

Legend: B clips of a batch, T samples of a window, E joint dimensions, K classes, N test clips.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from aural.audio.length import windows
from aural.core.errors import AuralError, DataError
from aural.core.types import FloatArray
from aural.evaluate.examples import Examples, LoadedTask
from aural.evaluate.kinds import KINDS
from aural.evaluate.outcome import Context, Outcome
from aural.evaluate.runners.folds import join_folds, note_drawn_folds, train_and_test
from aural.evaluate.runners.label_outcome import probability_outcome

TEST_BATCH = 8


@dataclass
class TrainableTower:
    """A tower that can be trained: `make` returns a new module from windows (B, T) to (B, E) for every fold."""

    make: Callable[[], nn.Module]
    sample_rate_hz: int
    window_s: float
    shorter: Any


@dataclass
class TowerWithHead:
    """A tower and the linear head that are trained together, with the task's kind of labels."""

    tower: TrainableTower
    net: nn.Module
    head: nn.Linear
    single_label: bool

    @property
    def device(self) -> torch.device:
        """The device of the head's weights."""
        return self.head.weight.device


def tower_of(embedder: Any) -> TrainableTower:
    """Return the trainable tower of an embedder: one of our models, or an object with `audio_module()`.

    `audio_module()` returns a new copy of the module. Raises DataError for other objects.
    """
    if getattr(embedder, "audio_module", None) is not None:
        shorter = getattr(embedder, "shorter", "repeat")
        return TrainableTower(embedder.audio_module, int(embedder.sample_rate_hz), float(embedder.window_s), shorter)
    if hasattr(embedder, "clap"):
        audio = embedder.config.audio
        return TrainableTower(lambda: embedder.clap().audio, audio.sample_rate_hz, audio.window_s, audio.shorter)
    raise DataError("the model gives no module to train (`audio_module`)")


@KINDS["zero-shot-single-label"].runner("fine-tune")
@KINDS["zero-shot-multi-label"].runner("fine-tune")
def fine_tune(context: Context, task: LoadedTask) -> Outcome:
    """Score the test clips of all folds by towers trained on their training clips."""
    tower = tower_of(context.embedder)
    tests, scores = [], []
    for train, test in train_and_test(context, task):
        probabilities = _fold(context, task, tower, train, test)
        readable = ~np.isnan(probabilities[:, 0])
        tests.append(test.subset(readable))
        scores.append(probabilities[readable])
    outcome = probability_outcome(task, *join_folds(tests, scores))
    outcome.details["fine-tune"] = context.fine_tune.model_dump()
    return note_drawn_folds(outcome, task)


def _fold(context: Context, task: LoadedTask, tower: TrainableTower, train: Examples, test: Examples) -> FloatArray:
    digest = hashlib.sha256(train.labels.tobytes() + "\0".join(train.classes).encode()).hexdigest()
    members = [str(context.seed), context.fine_tune.model_dump_json(), digest]
    members += [one.corpus.revision(one.numbers) for one in (train, test)]
    single = task.kind.truth == "one label"
    return context.cache.array("fine-tune", members, lambda: fit_and_predict(context, tower, train, test, single))


def fit_and_predict(
    context: Context, tower: TrainableTower, train: Examples, test: Examples, single_label: bool
) -> FloatArray:
    """Return the probabilities (N, K) of the test clips by a tower trained on `train`; NaN for unreadable sounds."""
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):  # dropout uses the global generator, which is restored afterwards
        torch.manual_seed(context.seed)
        net = tower.make().requires_grad_(True)
        device = next(net.parameters()).device
        head = nn.Linear(_width(net, tower, device), train.labels.shape[1]).to(device)
        model = TowerWithHead(tower, net, head, single_label)
        _train(context, model, train)
        return _predict(context, model, test)


def _width(net: nn.Module, tower: TrainableTower, device: torch.device) -> int:
    with torch.no_grad():
        silence = torch.zeros(2, round(tower.window_s * tower.sample_rate_hz), device=device)
        return int(net.eval()(silence).shape[1])


def _train(context: Context, model: TowerWithHead, train: Examples) -> None:
    how, net, head = context.fine_tune, model.net, model.head
    count, order = len(train.numbers), np.random.default_rng([context.seed, 1])
    targets = torch.from_numpy(train.labels.astype(np.float32)).to(model.device)
    groups = [{"params": net.parameters(), "lr": how.tower_lr}, {"params": head.parameters(), "lr": how.head_lr}]
    optimizer = torch.optim.AdamW(groups, weight_decay=how.weight_decay)
    steps = how.epochs * math.ceil(count / how.batch)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate(step, steps, how.warmup))
    net.train()
    for epoch in range(how.epochs):
        shuffled = order.permutation(count)
        for at in range(0, count, how.batch):
            chosen, waves = _windows(context, model.tower, train, shuffled[at : at + how.batch], epoch)
            if len(chosen) > 1:  # batch statistics need two clips
                loss = _loss(head(net(waves.to(model.device))), targets[chosen], model.single_label)
                if not bool(torch.isfinite(loss)):
                    raise DataError(f"fine-tuning gave a loss of {float(loss)} in epoch {epoch + 1}; lower tower_lr")
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            schedule.step()
        context.say(epoch + 1, how.epochs)


def _loss(logits: Tensor, targets: Tensor, single_label: bool) -> Tensor:
    if single_label:
        return nn.functional.cross_entropy(logits, targets.argmax(dim=1))
    return nn.functional.binary_cross_entropy_with_logits(logits, targets)


def rate(step: int, steps: int, warmup: float) -> float:
    """Return the share of the full rate at a step: linear up over the warm-up, then half a cosine to 0 at `steps`."""
    rise = warmup * steps
    if step < rise:
        return (step + 1) / (rise + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(steps - rise, 1)))


def _windows(
    context: Context, tower: TrainableTower, train: Examples, chosen: NDArray[np.int64], epoch: int
) -> tuple[list[int], Tensor]:
    """Return the readable clips and one window of each (B, T), at a place drawn from seed, epoch and clip."""
    kept, waves = [], []
    for n in chosen:
        number = int(train.numbers[n])
        generator = random.Random(f"{context.seed} {epoch} {train.corpus.key(number)}")
        try:
            clip = train.corpus.source(number)
            options: dict[str, Any] = {"longer": "random", "shorter": tower.shorter, "generator": generator}
            (window,) = windows(clip, tower.sample_rate_hz, tower.window_s, **options)
        except AuralError as error:
            context.cache.unreadable[train.corpus.rows[number].path] = str(error)
            continue
        kept.append(int(n))
        waves.append(window.samples)
    if not waves:
        return [], torch.empty(0)
    return kept, torch.from_numpy(np.stack(waves))


def _predict(context: Context, model: TowerWithHead, test: Examples) -> FloatArray:
    tower, net, head = model.tower, model.net, model.head
    net.eval()
    rows = np.full(test.labels.shape, np.nan, np.float32)
    for n, number in enumerate(test.numbers):
        try:
            clip = test.corpus.source(int(number))
            waves = [w.samples for w in windows(clip, tower.sample_rate_hz, tower.window_s, shorter=tower.shorter)]
        except AuralError as error:
            context.cache.unreadable[test.corpus.rows[int(number)].path] = str(error)
            continue
        with torch.inference_mode():
            parts = [torch.from_numpy(np.stack(waves[a : a + TEST_BATCH])) for a in range(0, len(waves), TEST_BATCH)]
            logits = torch.cat([head(net(part.to(model.device))) for part in parts]).mean(dim=0)
            probabilities = logits.softmax(dim=0) if model.single_label else logits.sigmoid()
        rows[n] = probabilities.float().cpu().numpy()
    return rows
