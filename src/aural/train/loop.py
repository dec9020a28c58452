"""The training loop: evaluate and save at intervals, step, log.

All randomness is a function of the recipe's seed and the step. A run that resumes from a checkpoint therefore repeats
the uninterrupted run, bit for bit on the CPU.
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

from aural.core.errors import CheckpointError, ConfigError, DataError, one_line
from aural.nn.window import use_kernels
from aural.objectives import OBJECTIVES
from aural.train import checkpoint, parallel
from aural.train.config import Recipe
from aural.train.finish import keep_batch, write_report
from aural.train.loader import Batch, Batches, ahead, to_device
from aural.train.losses import SYSTEM_TENSORS, Losses
from aural.train.optimizer import Averaged, Schedule, build_optimizer
from aural.train.parallel import Place
from aural.train.retrieval import retrieval
from aural.train.selected import system_of
from aural.train.shorthand import objectives_of, teachers_of
from aural.train.step import Stepper
from aural.train.system import Plan, System, calibrate
from aural.train.teacher import Teachers
from aural.train.track import Tracker

Evaluator: TypeAlias = Callable[[System], Mapping[str, float]]
CALIBRATION_STEPS = 4


def train(
    recipe: Recipe,
    out: str | Path,
    *,
    resume: bool = False,
    device: str | None = None,
    evaluators: Mapping[str, Evaluator] | None = None,
) -> Path:
    """Run a recipe into the folder `out` and return the folder of the finished model.

    Args:
        recipe: see `aural.train.recipes.load_recipe`.
        out: a new folder, or with `resume` the folder of an interrupted run of the same recipe.
        resume: continue from the newest checkpoint.
        device: "cpu", "cuda", "cuda:N"; None or "auto": CUDA if there is one.
        evaluators: functions from the system, in evaluation mode, to named scores; the recipe's `evaluators` picks some
            of them by name.

    Raises:
        AuralError: what cannot work is refused before the first step, in one sentence.
    """
    with parallel.process_group(device) as place, torch.random.fork_rng(enabled=place.world == 1):
        return TrainingRun(recipe, Path(out), place, evaluators or {}, resume).go()


@dataclass
class Step:
    """A step whose loss may not have been copied from the device yet."""

    number: int
    scalars: dict[str, Tensor]
    numbers: dict[str, float]
    batch: Batch
    sent: tuple[Tensor, torch.cuda.Event] | None = None
    """The scalars in host memory, and when they are there."""

    def send(self) -> None:
        """Start to copy the scalars to the host if they are on CUDA. `float(tensor)` would wait for all queued work."""
        values = [value.detach().reshape(()).double() for value in self.scalars.values()]
        if values[0].is_cuda:
            event = torch.cuda.Event()
            self.sent = torch.stack(values).to("cpu", non_blocking=True), event
            event.record()

    def read(self) -> dict[str, float]:
        """Return the scalars as numbers; wait for them if necessary."""
        if self.sent is None:
            return {name: float(value) for name, value in self.scalars.items()}
        values, event = self.sent
        event.synchronize()
        return dict(zip(self.scalars, values.tolist(), strict=True))


class TrainingRun:
    """The state of a run; `go` is the loop."""

    def __init__(
        self, recipe: Recipe, out: Path, place: Place, evaluators: Mapping[str, Evaluator], resume: bool
    ) -> None:
        self.recipe, self.out, self.place = recipe, out, place
        prepared = prepare(recipe, place)
        self.batches, self.teachers = prepared.batches, prepared.teachers
        self.evaluators = pick_evaluators(recipe, evaluators, prepared.plan)
        self.steps = self.batches.steps
        if place.first:
            checkpoint.claim(out, recipe, resume=resume)
        self.sharded = recipe.loop.parallel == "fsdp" and place.world > 1
        self.plain = build_seeded(recipe, self.batches, place.device)
        newest = checkpoint.newest(out) if resume else None
        batch_norm = self.plain.config.batch_norm
        if batch_norm == "calibrated" and newest is None:
            calibrate(self.plain, self._first_batches())
        if batch_norm == "sync":
            self.plain = nn.SyncBatchNorm.convert_sync_batchnorm(self.plain)
        if place.device.type == "cuda" and recipe.loop.precision == "bf16":
            use_kernels(self.plain)
        self.teachers.start(self.plain, place.device, sharded=self.sharded)
        self.model = parallel.wrap(self.plain, recipe.loop.parallel, place)
        self.optimizer = build_optimizer(self.plain, recipe.optimizer, place.device)
        epoch = self.batches.steps_per_epoch if recipe.schedule.name == "plateau" else 0
        self.schedule = Schedule(recipe.schedule, recipe.optimizer.lr, self.steps, epoch)
        self.averaged = Averaged(self.plain, recipe.optimizer.ema) if recipe.optimizer.ema else None
        self.report = self.plain.report()
        self.bad = self.seen = 0
        """Unreadable clips of the run, and clips since its start or continuation, of this process."""
        self.start = self._restore(newest) if newest else 0
        self.saved = self.start if newest else None
        """The step of the newest checkpoint."""
        self.model.train()
        if recipe.loop.compile:
            # DDP would split each tower into two dozen graphs, compile them for minutes, and gain nothing here
            torch._dynamo.config.optimize_ddp = False
            compile_parts(self.plain, graphs=recipe.loop.graphs)
        self.stepper = Stepper(
            self.model, prepared.losses, recipe, plan=prepared.plan, device=place.device, teachers=self.teachers
        )
        self.tracker = Tracker(out, recipe.track, out.name, self.start, self.steps) if place.first else None
        self.lag = 1 if place.device.type == "cuda" else 0  # steps whose loss is read later, so that none waits

    def go(self) -> Path:
        """Run the loop; return the folder of the finished model."""
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
            if self.saved != self.steps:
                self.save(self.steps)
            return self._finish()
        except RuntimeError as error:  # torch raises it at an arbitrary place of the loop when a worker dies
            if "DataLoader worker" not in str(error):
                raise
            raise DataError(
                "a loader worker died (often for lack of memory): continue with --resume and fewer data.workers"
            ) from None
        finally:
            if self.tracker is not None:
                self.tracker.close()

    def _update(self, step: int, waiting: list[Step]) -> None:
        """Clip the gradient, take an optimizer step, and update the averages and teachers."""
        config = self.recipe.optimizer
        self.schedule.apply(self.optimizer, step)
        if config.clip_grad:
            norm = parallel.clip(self.model, config.clip_grad)
            if waiting:
                waiting[-1].scalars["grad_norm"] = norm
        if waiting:
            waiting[-1].send()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.averaged is not None:
            self.averaged.update(step)
        self.teachers.follow(step)

    def _note(self, step: int, scalars: dict[str, Tensor], batch: Batch) -> Step:
        """Collect what is logged of a step; stop when too many clips could not be read."""
        numbers = {"lr": self.schedule.rate(step), "clips_per_s": self.rate, "loader_wait_s": self.waited_s}
        if not self.sharded:
            scalars = scalars | self.plain.watch()
        self.bad += len(batch["bad"])
        if batch["bad"] and self.place.first:
            with (self.out / "skipped.txt").open("a", encoding="utf-8") as file:
                file.writelines(f"step {step}: {sentence}\n" for sentence in batch["bad"])
        self.seen += len(batch["keys"])
        if "padding" in batch:
            numbers |= {"clips": len(batch["keys"]) * self.place.world, "padding": round(batch["padding"][0], 5)}
        if self.bad > max(1, self.recipe.loop.max_bad_share * self.seen):
            raise DataError(
                f"{self.bad} of {self.seen} clips could not be used, more than loop.max_bad_share allows; "
                f"the last: {batch['bad'][-1] if batch['bad'] else 'see skipped.txt'}"
            )
        return Step(step, scalars, numbers, batch)

    def _log(self, waiting: list[Step], keep: int) -> None:
        """Read and write the losses of all but the newest `keep` steps; stop at one that is not finite."""
        while len(waiting) > keep:
            step = waiting.pop(0)
            numbers = step.read()
            if not math.isfinite(numbers["loss"]):
                file = keep_batch(self.out, step.number, self.place.rank, step.batch)
                raise DataError(
                    f"the loss of step {step.number} is {numbers['loss']}; its batch is saved in {file}: look at it, "
                    "lower the rate or set optimizer.clip_grad, and continue with --resume"
                )
            self.schedule.observe(numbers["loss"])
            if self.tracker is not None:
                self.tracker.step({"step": step.number} | self.report.step(numbers) | step.numbers)

    def evaluate(self, step: int) -> None:
        """Call every evaluator with the (averaged) system; the other processes wait."""
        if not self.evaluators:
            return
        state = parallel.whole_state(self.plain) if self.sharded else None
        if self.place.first and self.tracker is not None:
            with self._evaluated(state) as system:
                for name, evaluator in self.evaluators.items():
                    scores = {f"{name}.{k}": float(v) for k, v in evaluator(system).items()}
                    self.tracker.step({"step": step} | scores)
        if self.place.world > 1:
            torch.distributed.barrier()

    @contextmanager
    def _evaluated(self, state: dict[str, Tensor] | None) -> Iterator[System]:
        """Yield the system in evaluation mode, with averaged weights if there are any.

        state: whole tensors of a sharded system, loaded into a second system.
        """
        if state is not None:
            copy = self.plain.blank(self.batches)
            copy.load_state_dict(state)
            yield copy.to(self.place.device).eval()
            return
        if self.averaged is not None:
            self.averaged.swap()
        self.plain.eval()
        try:
            yield self.plain
        finally:
            self.plain.train()
            if self.averaged is not None:
                self.averaged.swap()

    def save(self, step: int) -> None:
        """Write a checkpoint: all processes take part, the first one writes."""
        state = parallel.whole_state(self.plain)
        optimizer = parallel.optimizer_state(self.plain, self.optimizer, self.sharded)
        ema = {k: parallel.full(v) for k, v in self.averaged.tensors.items()} if self.averaged else None
        if self.place.first:
            cuda = torch.cuda.get_rng_state_all() if self.place.device.type == "cuda" else []
            random = {"seed": self.recipe.seed, "torch": torch.get_rng_state(), "cuda": cuda}
            rest = {"optimizer": optimizer, "schedule": self.schedule.state_dict(), "random": random, "bad": self.bad}
            rest |= {"seen": self.report.seen, "teachers": self.teachers.state()}
            checkpoint.save(self.out, step, model=state, ema=ema, rest=rest, keep=self.recipe.loop.keep)
        self.saved = step
        if self.place.world > 1:
            torch.distributed.barrier()

    def _restore(self, folder: Path) -> int:
        """Load a checkpoint; return the number of steps that were done."""
        model, ema, rest = checkpoint.read(folder)
        try:
            parallel.load_state(self.plain, self.optimizer, model, rest["optimizer"], self.sharded)
            if rest.get("teachers"):
                self.teachers.load(rest["teachers"], self.place.device)
        except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(f"{folder}: does not fit the recipe ({one_line(error, 120)})") from None
        self.schedule.load_state_dict(rest["schedule"])
        if self.averaged is not None and ema is not None:
            for name, tensor in ema.items():
                self.averaged.tensors[name].copy_(tensor)
        torch.set_rng_state(rest["random"]["torch"])
        self.report.seen = rest["seen"]
        self.bad = int(rest["bad"])
        return int(rest["step"])

    def _finish(self) -> Path:
        """Write the finished model and the report; return the model's folder."""
        state = parallel.whole_state(self.plain)
        if self.averaged is not None:
            state = {name: parallel.full(tensor) for name, tensor in self.averaged.tensors.items()}
        if self.place.first:
            write_report(self.out, self.recipe, self.report)
            self.plain.export(self.out / "model", self.recipe, state)
        return self.out / "model"

    def _first_batches(self) -> Iterator[Batch]:
        """Yield whole global batches of the first steps, the same on every process."""
        batches = self.batches if self.place.world == 1 else Batches(self.recipe)
        for step in range(min(CALIBRATION_STEPS, self.steps)):
            batch = batches[step]
            if "error" in batch:
                raise batch["error"][0](batch["error"][1])
            yield {k: v for k, v in to_device(batch, self.place.device).items() if isinstance(v, Tensor)}

    def _timed(self) -> Iterator[tuple[int, Batch]]:
        """Yield steps and batches; measure clips per second and the time that the loop waited for each batch."""
        self.rate, self.waited_s = 0.0, 0.0
        batches = ahead(self.batches.stream(self.start, self.steps, pin=self.lag > 0), self.place.device)
        began = time.perf_counter()
        for step in range(self.start, self.steps):
            asked = time.perf_counter()
            batch = next(batches)
            now = time.perf_counter()
            self.waited_s = round(now - asked, 6)
            clips = len(batch["keys"]) * self.place.world
            self.rate = round(clips / max(now - began, 1e-9), 3) if step > self.start else 0.0
            began = now
            yield step, batch


def build_seeded(recipe: Recipe, batches: Batches, device: torch.device) -> System:
    """Construct the recipe's system on a device, its random weights drawn from the recipe's seed."""
    torch.manual_seed(recipe.seed)
    return build(recipe, batches).to(device)


@dataclass(frozen=True)
class Prepared:
    """Everything about a run that can be refused before a model is built."""

    plan: Plan
    losses: Losses | None
    batches: Batches
    teachers: Teachers


def prepare(recipe: Recipe, place: Place) -> Prepared:
    """Check a recipe and open its data.

    Raises:
        ConfigError: the recipe asks for what does not exist or does not fit together, such as an objective that needs a
            tensor that neither system, teachers nor batch give.
        DataError: the data are missing or too few.
    """
    _, config = system_of(recipe)
    parallel.check_parallel(recipe.loop.parallel, config.batch_norm, place)
    plan = config.plan(recipe)
    teachers = Teachers(teachers_of(recipe), plan, recipe.seed)
    losses = None if plan.gives_loss else Losses(objectives_of(recipe))
    if plan.gives_loss and (recipe.objectives or recipe.teachers):
        raise ConfigError("the recipe's system computes its own loss; leave objectives and teachers out")
    names = plan.gives | teachers.rows | teachers.once
    if losses is not None:
        losses.check(names, only=SYSTEM_TENSORS)
    batches = Batches(recipe, plan=plan, rank=place.rank, world=place.world)
    if losses is not None:
        losses.check(names | batches.gives)
    size = recipe.loop.batch // place.world
    if recipe.data.batching.name == "windows" and recipe.loop.micro_batch and size % recipe.loop.micro_batch:
        raise DataError(
            f"loop.micro_batch is {recipe.loop.micro_batch}, which does not divide the {size} clips per process"
        )
    return Prepared(plan, losses, batches, teachers)


def build(recipe: Recipe, batches: Batches) -> System:
    """Construct the recipe's system with its first weights; random ones come from torch's current generator."""
    kind, config = system_of(recipe)
    return kind(config, batches)


def compile_parts(system: System, *, graphs: bool = False) -> None:
    """Compile the encoders; front ends and losses are not compiled."""
    mode = "reduce-overhead" if graphs else "default"
    for encoder in system.parts().values():
        encoder.compile(mode=mode)  # type: ignore[operator]


def pick_evaluators(recipe: Recipe, given: Mapping[str, Evaluator], plan: Plan) -> dict[str, Evaluator]:
    """Return the recipe's evaluators by name."""
    evaluators: dict[str, Evaluator] = {}
    for name in recipe.evaluators:
        if name in given:
            evaluators[name] = given[name]
        elif name == "retrieval":
            evaluators[name] = retrieval(recipe, plan)
        else:
            names = ", ".join(sorted({"retrieval", *given}))
            raise ConfigError(f'evaluators: unknown evaluator "{name}"; known: {names}')
    return evaluators


__all__ = ["OBJECTIVES", "Evaluator", "TrainingRun", "train"]
