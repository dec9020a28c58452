"""The loop: now and then evaluate, now and then save, step, log.

All randomness is a function of the recipe's seed and the step, so a run that goes on from a checkpoint repeats, on the
CPU bit for bit, what an unbroken run does.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor, nn

from aural.core.errors import AuralError, CheckpointError, DataError
from aural.models.clap import Clap
from aural.models.low_rank import with_updates
from aural.models.prefix import strip_prefix
from aural.nn.window import use_kernels
from aural.objectives import OBJECTIVES, build_objective, check_needs
from aural.objectives.base import Objective
from aural.train import checkpoint, parallel
from aural.train.config import Recipe
from aural.train.finish import keep_batch, write_model, write_report
from aural.train.loader import Batch, Batches, ahead, to_device
from aural.train.optimizer import Averaged, Schedule, build_optimizer
from aural.train.parallel import Place
from aural.train.retrieval import retrieval
from aural.train.step import Stepper
from aural.train.tasks import Report
from aural.train.towers import ManyTasks, Towers, build_clap, calibrate, load_teacher
from aural.train.track import Tracker

Evaluator: TypeAlias = Callable[[Clap], Mapping[str, float]]
CALIBRATION_STEPS = 4


def train(
    recipe: Recipe,
    out: str | Path,
    *,
    resume: bool = False,
    device: str | None = None,
    evaluators: Mapping[str, Evaluator] | None = None,
) -> Path:
    """Run a recipe into the folder `out`; returns the folder of the finished model (own format)."""
    with parallel.process_group(device) as place, torch.random.fork_rng(enabled=place.world == 1):
        return Run(recipe, Path(out), place, evaluators or {}, resume).go()


@dataclass
class Step:
    """A step whose loss may still be on its way from the device."""

    number: int
    scalars: dict[str, Tensor]
    told: dict[str, float]
    batch: Batch


class Run:
    """Everything that a run holds; `go` is the loop."""

    def __init__(
        self, recipe: Recipe, out: Path, place: Place, evaluators: Mapping[str, Evaluator], resume: bool
    ) -> None:
        self.recipe, self.out, self.place = recipe, out, place
        self.objective, self.batches = prepare(recipe, place)
        self.evaluators = pick_evaluators(recipe, evaluators)
        self.steps = self.batches.steps
        if place.first:
            checkpoint.claim(out, recipe, resume=resume)
        torch.manual_seed(recipe.seed)
        self.plain = build(recipe, self.batches).to(place.device)
        found = checkpoint.newest(out) if resume else None
        if recipe.model.batch_norm == "calibrated" and found is None:
            calibrate(self.plain, self._first_batches())
        if recipe.model.batch_norm == "sync":
            self.plain = nn.SyncBatchNorm.convert_sync_batchnorm(self.plain)
        if place.device.type == "cuda" and recipe.loop.precision == "bf16":
            use_kernels(self.plain)
        self.model = parallel.wrap(self.plain, recipe.loop.parallel, place)
        self.sharded = recipe.loop.parallel == "fsdp" and place.world > 1
        self.optimizer = build_optimizer(self.plain, recipe.optimizer, place.device)
        epoch = self.batches.clips // recipe.loop.batch
        self.schedule = Schedule(recipe.schedule, recipe.optimizer.lr, self.steps, epoch)
        self.averaged = Averaged(self.plain, recipe.optimizer.ema) if recipe.optimizer.ema else None
        self.report, self.bad = Report(recipe.tasks), 0
        self.start = self._restore(found) if found else 0
        self.model.train()
        if recipe.loop.compile:
            # DDP's own splitting of graphs compiles two dozen pieces a tower, for minutes, and gains nothing here
            torch._dynamo.config.optimize_ddp = False
            compile_encoders(self.plain, graphs=recipe.loop.graphs)
        self.stepper = Stepper(self.model, self.objective, recipe, place.device)
        self.tracker = Tracker(out, recipe.track, out.name, self.start, self.steps) if place.first else None
        self.lag = 1 if place.device.type == "cuda" else 0  # steps whose loss is read later, so that none waits

    def go(self) -> Path:
        loop, waiting = self.recipe.loop, list[Step]()
        try:
            for step, batch in self._timed():
                if loop.evaluate_every and step % loop.evaluate_every == 0:
                    self.evaluate(step)
                scalars = self.stepper.gradients(batch, step)
                waiting.append(self._note(step, scalars, batch))
                self._log(waiting, keep=self.lag)  # before the update: a loss that is not finite changes nothing (CPU)
                self._update(step, waiting)
                if (step + 1) % loop.save_every == 0:
                    self._log(waiting, keep=0)
                    self.save(step + 1)
            self._log(waiting, keep=0)
            self.evaluate(self.steps)
            self.save(self.steps)
            return self._finish()
        except RuntimeError as error:  # torch raises it wherever the loop is when a worker dies
            if "DataLoader worker" not in str(error):
                raise
            raise DataError(
                "a loader worker died (often for lack of memory): go on with --resume, with fewer data.workers"
            ) from None
        finally:
            if self.tracker is not None:
                self.tracker.close()

    def _update(self, step: int, waiting: list[Step]) -> None:
        """Clip the gradient, take a step, follow with the average."""
        config = self.recipe.optimizer
        self.schedule.apply(self.optimizer, step)
        if config.clip_grad:
            norm = parallel.clip(self.model, config.clip_grad)
            if waiting:
                waiting[-1].scalars["grad_norm"] = norm
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.averaged is not None:
            self.averaged.update(step)

    def _note(self, step: int, scalars: dict[str, Tensor], batch: Batch) -> Step:
        told = {"lr": self.schedule.rate(step), "clips_per_s": self.rate, "loader_wait_s": self.waited_s}
        scale = getattr(getattr(self.plain, "clap", None), "logit_scale", None)
        if scale is not None and not self.sharded:
            scalars = scalars | {"logit_scale": scale.detach().exp()}
        self.bad += len(batch["bad"])
        if batch["bad"] and self.place.first:
            with (self.out / "skipped.txt").open("a", encoding="utf-8") as file:
                file.writelines(f"step {step}: {sentence}\n" for sentence in batch["bad"])
        seen = (step + 1 - self.start) * self.batches.size
        if self.bad > max(1, self.recipe.loop.max_bad_share * seen):
            raise DataError(
                f"{self.bad} of {seen} clips could not be used, more than loop.max_bad_share allows; "
                f"the last: {batch['bad'][-1] if batch['bad'] else 'see skipped.txt'}"
            )
        return Step(step, scalars, told, batch)

    def _log(self, waiting: list[Step], keep: int) -> None:
        """Read and write the losses of all but the newest `keep` steps; stop at one that is not finite."""
        while len(waiting) > keep:
            step = waiting.pop(0)
            numbers = {name: float(value) for name, value in step.scalars.items()}
            if not math.isfinite(numbers["loss"]):
                kept = keep_batch(self.out, step.number, self.place.rank, step.batch)
                raise DataError(
                    f"the loss of step {step.number} is {numbers['loss']}; its batch is saved in {kept}: look at it, "
                    "lower the rate or set optimizer.clip_grad, and go on with --resume"
                )
            self.schedule.observe(numbers["loss"])
            if self.tracker is not None:
                self.tracker.step({"step": step.number} | self.report.step(numbers) | step.told)

    def evaluate(self, step: int) -> None:
        """Call every evaluator with the (averaged) model; the other processes wait."""
        if not self.evaluators:
            return
        state = parallel.whole_state(self.plain) if self.sharded else None
        if self.place.first and self.tracker is not None:
            with self._whole_model(state) as clap:
                for name, evaluator in self.evaluators.items():
                    found = {f"{name}.{k}": float(v) for k, v in evaluator(clap).items()}
                    self.tracker.step({"step": step} | found)
        if self.place.world > 1:
            torch.distributed.barrier()

    @contextmanager
    def _whole_model(self, state: dict[str, Tensor] | None) -> Iterator[Clap]:
        if state is not None:
            clap = Clap(self.recipe.model.clap)
            clap.load_state_dict(with_updates(strip_prefix(state, "clap.")))
            yield clap.to(self.place.device).eval()
            return
        if self.averaged is not None:
            self.averaged.swap()
        self.plain.eval()
        try:
            yield self.plain.clap  # type: ignore[misc]
        finally:
            self.plain.train()
            if self.averaged is not None:
                self.averaged.swap()

    def save(self, step: int) -> None:
        """Write a checkpoint: all processes take part, the first one writes."""
        state = parallel.whole_state(self.plain)
        optimizer = parallel.optimizer_state(self.plain, self.optimizer, self.sharded)
        ema = {k: parallel._full(v) for k, v in self.averaged.tensors.items()} if self.averaged else None
        if self.place.first:
            cuda = torch.cuda.get_rng_state_all() if self.place.device.type == "cuda" else []
            random = {"seed": self.recipe.seed, "torch": torch.get_rng_state(), "cuda": cuda}
            rest = {"optimizer": optimizer, "schedule": self.schedule.state_dict(), "random": random, "bad": self.bad}
            checkpoint.save(self.out, step, state, ema, rest | {"seen": self.report.seen}, self.recipe.loop.keep)
        if self.place.world > 1:
            torch.distributed.barrier()

    def _restore(self, folder: Path) -> int:
        model, ema, rest = checkpoint.read(folder)
        try:
            parallel.load_state(self.plain, self.optimizer, model, rest["optimizer"], self.sharded)
        except (RuntimeError, ValueError, KeyError) as error:
            raise CheckpointError(f"{folder}: does not fit the recipe ({str(error)[:120]})") from None
        self.schedule.load_state_dict(rest["schedule"])
        if self.averaged is not None and ema is not None:
            for name, tensor in ema.items():
                self.averaged.tensors[name].copy_(tensor)
        torch.set_rng_state(rest["random"]["torch"])
        self.report.seen, self.bad = rest["seen"], int(rest["bad"])
        return int(rest["step"])

    def _finish(self) -> Path:
        state = parallel.whole_state(self.plain)
        if self.averaged is not None:
            state = {name: parallel._full(tensor) for name, tensor in self.averaged.tensors.items()}
        if self.place.first:
            write_report(self.out, self.recipe, self.report)
            write_model(self.out, self.recipe, state)
        return self.out / "model"

    def _first_batches(self) -> Iterator[Batch]:
        """Whole global batches from the first steps, the same on every process."""
        every = self.batches if self.place.world == 1 else Batches(self.recipe)
        for step in range(min(CALIBRATION_STEPS, self.steps)):
            batch = every[step]
            if "error" in batch:
                raise batch["error"][0](batch["error"][1])
            yield {k: v for k, v in to_device(batch, self.place.device).items() if isinstance(v, Tensor)}

    def _timed(self) -> Iterator[tuple[int, Batch]]:
        """Batches with their steps; on the way, clips a second and the time that the loop waited for each."""
        self.rate, self.waited_s = 0.0, 0.0
        batches = ahead(self.batches.stream(self.start, self.steps, pin=self.lag > 0), self.place.device)
        began = time.perf_counter()
        for step in range(self.start, self.steps):
            asked = time.perf_counter()
            batch = next(batches)
            now = time.perf_counter()
            self.waited_s = round(now - asked, 6)
            self.rate = round(self.recipe.loop.batch / max(now - began, 1e-9), 3) if step > self.start else 0.0
            began = now
            yield step, batch


def prepare(recipe: Recipe, place: Place) -> tuple[Objective | None, Batches]:
    """The objective and the data, everything about them that can be refused before step 0."""
    parallel.check_parallel(recipe.loop.parallel, recipe.model.batch_norm, place)
    objective = None
    if not recipe.tasks:
        objective = build_objective(recipe.objective.name, recipe.objective.options)
        check_needs(objective, given_names(recipe), "this recipe")
    batches = Batches(recipe, rank=place.rank, world=place.world)
    if recipe.loop.micro_batch and batches.size % recipe.loop.micro_batch:
        raise DataError(
            f"loop.micro_batch is {recipe.loop.micro_batch}, which does not divide the {batches.size} clips a process"
        )
    return objective, batches


def given_names(recipe: Recipe) -> set[str]:
    """The tensors that this recipe's model and data give to an objective."""
    names = {"audio_emb", "text_emb", "logit_scale", "audio_group", "text_group"}
    names |= {"logit_bias"} if recipe.model.clap.logit_bias else set()
    return names | ({"hard_text_emb", "hard_text_mask"} if recipe.data.negatives else set())


def build(recipe: Recipe, batches: Batches) -> nn.Module:
    """The module that is trained."""
    if recipe.tasks:
        assert batches.labels is not None
        return ManyTasks(recipe, batches.labels)
    calibrated = recipe.model.batch_norm == "calibrated"
    return Towers(build_clap(recipe.model), recipe.model.locked, calibrated, load_teacher(recipe))


def compile_encoders(model: nn.Module, *, graphs: bool = False) -> None:
    """Compile the encoders; the front end and the loss stay as they are."""
    mode = "reduce-overhead" if graphs else "default"
    clap = getattr(model, "clap", None)
    for encoder in (clap.audio.encoder, clap.text.encoder) if clap is not None else (model.encoder,):
        encoder.compile(mode=mode)  # type: ignore[union-attr,operator]


def pick_evaluators(recipe: Recipe, given: Mapping[str, Evaluator]) -> dict[str, Evaluator]:
    """The recipe's evaluators by name."""
    found: dict[str, Evaluator] = {}
    for name in recipe.evaluators:
        if name == "retrieval" and name not in given:
            found[name] = retrieval(recipe)
        elif name in given:
            found[name] = given[name]
        else:
            raise AuralError(
                f'evaluators: "{name}" is not known here; known: {", ".join(sorted({"retrieval", *given}))}'
            )
    return found


__all__ = ["OBJECTIVES", "Evaluator", "Run", "train"]
