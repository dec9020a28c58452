"""Fine-tuning: the audio tower and a linear head trained on a task's labels, then scored on its test clips.

Every epoch reads one window of each training clip, longer ones at a random place; a test clip is scored by the mean of
its windows' logits. Trained on the card's train splits, or fold by fold as probes are. A fold that is done is kept on
disk, so that a killed run trains no fold twice and gives the same numbers.

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
from aural.evaluate.cards import TaskCard
from aural.evaluate.outcome import RUNNERS, Context, Outcome
from aural.evaluate.probe import MULTI_THRESHOLD, joined_folds, split_folds, told
from aural.evaluate.store import source
from aural.evaluate.truth import Examples
from aural.evaluate.tuning import FineTune
from aural.evaluate.zero_shot import outcome_of

TEST_BATCH = 8


@dataclass
class Tower:
    """What is trained: a module from windows (B, T) to (B, E), fresh for every fold."""

    make: Callable[[], nn.Module]
    sample_rate_hz: int
    window_s: float
    shorter: Any


def tower_of(embedder: Any) -> Tower:
    """The trainable tower of an embedder: our own models, or an object whose `audio_module()` gives a copy of one."""
    if hasattr(embedder, "audio_module") and getattr(embedder, "audio_module", None) is not None:
        shorter = getattr(embedder, "shorter", "repeat")
        return Tower(embedder.audio_module, int(embedder.sample_rate_hz), float(embedder.window_s), shorter)
    if hasattr(embedder, "clap"):
        audio = embedder.config.audio
        return Tower(lambda: embedder.clap().audio, audio.sample_rate_hz, audio.window_s, audio.shorter)
    raise DataError("the model gives no module to train (`audio_module`)")


@RUNNERS.register("zero-shot-single-label/fine-tune")
@RUNNERS.register("zero-shot-multi-label/fine-tune")
def fine_tune(context: Context, card: TaskCard) -> Outcome:
    """Scores of all folds' test clips by towers that were trained on their training clips."""
    tower = tower_of(context.embedder)
    tests, scores = [], []
    for train, test in split_folds(context, card):
        found = _fold(context, card, tower, train, test)
        heard = ~np.isnan(found[:, 0])
        tests.append(test.subset(heard))
        scores.append(found[heard])
    whole, table = joined_folds(tests, scores)
    outcome = outcome_of(card, whole, table, np.full(len(table), MULTI_THRESHOLD, np.float32))
    outcome.details["fine-tune"] = context.fine_tune.model_dump()
    return told(outcome, context, card)


def _fold(context: Context, card: TaskCard, tower: Tower, train: Examples, test: Examples) -> FloatArray:
    assert train.targets is not None
    digest = hashlib.sha256(train.targets.tobytes() + "\0".join(train.classes).encode()).hexdigest()
    members = [str(context.seed), context.fine_tune.model_dump_json(), digest]
    members += [one.corpus.revision(one.numbers) for one in (train, test)]
    single = card.kind == "zero-shot-single-label"
    return context.store.kept(
        "fine-tune", members, lambda: fitted(context.fine_tune, tower, train, test, single, context)
    )


def fitted(how: FineTune, tower: Tower, train: Examples, test: Examples, single: bool, context: Context) -> FloatArray:
    """(N, K) probabilities for the test clips (NaN where a sound cannot be read) by a tower trained on `train`."""
    assert train.targets is not None
    devices = [] if not torch.cuda.is_available() else list(range(torch.cuda.device_count()))
    with torch.random.fork_rng(devices=devices):  # dropout draws from the global generator: it is put back afterwards
        torch.manual_seed(context.seed)
        net = tower.make().requires_grad_(True)
        device = next(net.parameters()).device
        dim = _dim(net, tower, device)
        head = nn.Linear(dim, train.targets.shape[1]).to(device)
        _train(how, tower, net, head, train, single, context)
        return _predict(tower, net, head, test, single, context)


def _dim(net: nn.Module, tower: Tower, device: torch.device) -> int:
    with torch.no_grad():
        silence = torch.zeros(2, round(tower.window_s * tower.sample_rate_hz), device=device)
        return int(net.eval()(silence).shape[1])


def _train(
    how: FineTune, tower: Tower, net: nn.Module, head: nn.Module, train: Examples, single: bool, context: Context
) -> None:
    assert train.targets is not None
    device = next(head.parameters()).device
    count, order = len(train.numbers), np.random.default_rng([context.seed, 1])
    targets = torch.from_numpy(train.targets.astype(np.float32)).to(device)
    groups = [{"params": net.parameters(), "lr": how.tower_lr}, {"params": head.parameters(), "lr": how.head_lr}]
    optimizer = torch.optim.AdamW(groups, weight_decay=how.weight_decay)
    steps = how.epochs * math.ceil(count / how.batch)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate(step, steps, how.warmup))
    net.train()
    for epoch in range(how.epochs):
        shuffled = order.permutation(count)
        for at in range(0, count, how.batch):
            chosen, waves = _windows(tower, train, shuffled[at : at + how.batch], epoch, context)
            if len(chosen) > 1:  # batch statistics need two
                logits = head(net(waves.to(device)))
                wanted = targets[chosen]
                loss = (
                    nn.functional.cross_entropy(logits, wanted.argmax(dim=1))
                    if single
                    else nn.functional.binary_cross_entropy_with_logits(logits, wanted)
                )
                if not bool(torch.isfinite(loss)):
                    raise DataError(f"fine-tuning gave a loss of {float(loss)} in epoch {epoch + 1}; lower tower_lr")
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            schedule.step()
        context.say(epoch + 1, how.epochs)


def rate(step: int, steps: int, warmup: float) -> float:
    """Share of the full rate at a step: linear up over the warm-up, then half a cosine down to 0 at `steps`."""
    rise = warmup * steps
    if step < rise:
        return (step + 1) / (rise + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(steps - rise, 1)))


def _windows(
    tower: Tower, train: Examples, chosen: NDArray[np.int64], epoch: int, context: Context
) -> tuple[list[int], Tensor]:
    """The clips that can be read, and one window of each (B, T), at a place drawn from seed, epoch and clip."""
    kept, waves = [], []
    for n in chosen:
        generator = random.Random(f"{context.seed} {epoch} {train.corpus.key(int(train.numbers[n]))}")
        try:
            clip = source(train.corpus, int(train.numbers[n]))
            options: dict[str, Any] = {"longer": "random", "shorter": tower.shorter, "generator": generator}
            (window,) = windows(clip, tower.sample_rate_hz, tower.window_s, **options)
        except AuralError as error:
            context.store.unreadable[train.corpus.rows[int(train.numbers[n])].path] = str(error)
            continue
        kept.append(int(n))
        waves.append(window.samples)
    if not waves:
        return [], torch.empty(0)
    return kept, torch.from_numpy(np.stack(waves))


def _predict(
    tower: Tower, net: nn.Module, head: nn.Module, test: Examples, single: bool, context: Context
) -> FloatArray:
    assert test.targets is not None
    device = next(head.parameters()).device
    net.eval()
    rows = np.full(test.targets.shape, np.nan, np.float32)
    for n, number in enumerate(test.numbers):
        try:
            clip = source(test.corpus, int(number))
            cut = [w.samples for w in windows(clip, tower.sample_rate_hz, tower.window_s, shorter=tower.shorter)]
        except AuralError as error:
            context.store.unreadable[test.corpus.rows[int(number)].path] = str(error)
            continue
        with torch.inference_mode():
            parts = [torch.from_numpy(np.stack(cut[a : a + TEST_BATCH])) for a in range(0, len(cut), TEST_BATCH)]
            logits = torch.cat([head(net(part.to(device))) for part in parts]).mean(dim=0)
            found = logits.softmax(dim=0) if single else logits.sigmoid()
        rows[n] = found.float().cpu().numpy()
    return rows
