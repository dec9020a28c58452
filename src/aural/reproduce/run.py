"""Run claim cards: train every arm with every seed, score the models, and write the effect.

    OUT/CARD/stages/STAGE/SEED/run/       a training run that arms build on
    OUT/CARD/trials/ARM/SEED/run/         the training run of an arm (deleted when its scores are written)
                            /TASK@METHOD.npz
                            /done.json    written last: this trial is finished (seconds, device)
                            /error.txt    why it failed; the other trials go on
    OUT/CARD/effect.json                  a function of the scores alone
    OUT/CARD/run.json                     commit, device, seconds, versions

A run that is killed goes on when the same command is repeated. On the CPU it ends with the same effect.json to the
byte: training resumes from its checkpoints bit for bit, and finished trials are not repeated.
"""

from __future__ import annotations

import json
import os
import shutil
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from aural.core.errors import AuralError, ConfigError, DataError
from aural.core.files import atomic_write, delete, locked, write_text
from aural.reproduce import effect
from aural.reproduce.card import PLACEHOLDER, RESERVED, ClaimCard
from aural.reproduce.pool import Task, run_all

SMOKE_CHANGES: Final = ("loop.steps=2", "loop.batch=8", "schedule.warmup=0", "loop.save_every=1000")
SMOKE_SEEDS: Final = 2
EFFECT: Final = "effect.json"
DONE: Final = "done.json"


@dataclass(frozen=True)
class Options:
    """Options of a run over several cards."""

    out: Path
    data: Path | None = None
    """Folder of libre-mini, or of any corpus with a manifest; None: the cache."""
    seeds: int = 0
    """Number of seeds; 0: those of the card."""
    device: str = "auto"
    jobs: int = 1
    smoke: bool = False
    budget_s: float = 0.0
    """No new trial starts after this many seconds; 0: no limit."""


@dataclass(frozen=True)
class Trial:
    """One training run with its scores, or one seed of a study; everything a worker process needs."""

    card: ClaimCard
    kind: str
    """ "stages", "trials" or "study"."""
    name: str
    seed: int
    options: Options
    world: Path | None

    @property
    def key(self) -> str:
        return f"{self.card.name}/{self.kind}/{self.name}/{self.seed}"

    @property
    def folder(self) -> Path:
        return self.options.out / self.key

    @property
    def changes(self) -> tuple[str, ...]:
        """Changes of the base recipe, placeholders replaced."""
        card = self.card
        changes = card.stages[self.name].changes if self.kind == "stages" else card.arms[self.name]
        values = {"world": str(self.world)}
        if self.world is not None:
            from aural.reproduce.worlds import classes_of, corpus_of

            values |= {"data": str(corpus_of(self.world)), "classes": classes_of(self.world)}
        values |= {stage: str(_stage_model(self, stage)) for stage in card.stages}
        smoke = (*SMOKE_CHANGES, *card.smoke) if self.options.smoke else ()
        every = (*card.common, *changes, *smoke, f"seed={self.seed}")
        return tuple(PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), change) for change in every)

    @property
    def base(self) -> str:
        base = self.card.stages[self.name].base if self.kind == "stages" else ""
        return base or self.card.base

    @property
    def stamp(self) -> str:
        """Scores of another card, size or kind of data are not taken over."""
        return f"{self.card.hash} smoke={self.options.smoke} world={self.world.name if self.world else ''}"

    def needs(self) -> tuple[str, ...]:
        """Return the keys of the stages that this trial builds on."""
        if self.kind == "study":
            return ()
        changes = self.card.stages[self.name].changes if self.kind == "stages" else self.card.arms[self.name]
        named = {n for change in (*self.card.common, *changes) for n in PLACEHOLDER.findall(change)}
        return tuple(replace(self, kind="stages", name=n).key for n in sorted(named - {*RESERVED}))

    def is_done(self) -> bool:
        file = self.folder / DONE
        return file.is_file() and json.loads(file.read_text(encoding="utf-8")).get("stamp") == self.stamp


def _stage_model(trial: Trial, stage: str) -> Path:
    return replace(trial, kind="stages", name=stage).folder / "run" / "model"


def reproduce(
    cards: Sequence[ClaimCard], options: Options, say: Callable[[str], None] = lambda line: None
) -> dict[str, dict[str, Any]]:
    """Run the cards; return name -> effect of every card that finished.

    Trials of all cards share the jobs. A failed trial is reported and does not stop the others.
    """
    from aural.reproduce import worlds

    began = time.monotonic()
    trials: list[Trial] = []
    for card in cards:
        world = worlds.prepare(card.world, options.data, options.out, smoke=options.smoke, jobs=options.jobs)
        _check_before_training(card)
        trials += list_trials(card, options, world)
    tasks = [Task(t.key, t.needs(), work, (t,)) for t in trials if not t.is_done()]
    say(f"{len(tasks)} of {len(trials)} runs to do, {options.jobs} at a time")
    effects: dict[str, dict[str, Any]] = {}

    def write_effect(key: str) -> None:
        """Write the effect of the card that a run belongs to, as soon as its last run is finished."""
        card = next(card for card in cards if card.name == key.partition("/")[0])
        of_card = [t for t in trials if t.card is card]
        if not all(t.is_done() for t in of_card):
            return
        try:
            effects[card.name] = finish(card, of_card, options)
            say(f"{card.name}: {effects[card.name]['verdict']}")
        except AuralError as error:  # the runs of other cards go on
            say(f"failed: {card.name}: {error}")

    until = began + options.budget_s if options.budget_s else 0.0
    failed = run_all(tasks, options.jobs, until=until, done=write_effect, say=say)
    for card in cards:
        of_card = [t for t in trials if t.card is card]
        missing = [t.key for t in of_card if not t.is_done()]
        if missing:
            say(f"{card.name}: no effect yet; {len(missing)} of {len(of_card)} runs are missing ({missing[0]} ...)")
        elif card.name not in effects:
            write_effect(card.name)
    for key, reason in failed.items():
        say(f"failed: {key}: {reason}")
    return effects


def list_trials(card: ClaimCard, options: Options, world: Path | None) -> list[Trial]:
    """Return all runs of a card, seed by seed, stages before arms."""
    listed: list[Trial] = []
    for seed in seeds_of(card, options):
        names = [("study", "all")] if card.study else []
        names += [("stages", name) for name in card.stages] + [("trials", name) for name in card.arms if card.base]
        listed += [Trial(card, kind, name, seed, options, world) for kind, name in names]
    return listed


def seeds_of(card: ClaimCard, options: Options) -> tuple[int, ...]:
    """Return the seeds to run: the card's, the first ones of it, or more in ascending order."""
    count = options.seeds or (min(SMOKE_SEEDS, len(card.seeds)) if options.smoke else len(card.seeds))
    extra = (seed for seed in range(count + len(card.seeds)) if seed not in card.seeds)
    return (*card.seeds, *extra)[:count] if count > len(card.seeds) else card.seeds[:count]


def _check_before_training(card: ClaimCard) -> None:
    """Refuse unknown tasks, metrics and studies before anything is trained."""
    if card.study:
        from aural.reproduce.study import open_study

        open_study(card)
        return
    from aural.evaluate.metrics import METRICS
    from aural.reproduce.measure import check_task

    for name in card.tasks:
        check_task(name)
    for check in card.check:
        if check.metric:
            _ = METRICS[check.metric]


def work(trial: Trial) -> None:
    """Do one run in this process, unless another process finished it meanwhile. Errors are written to error.txt."""
    folder = trial.folder
    with locked(folder / "lock"):
        if trial.is_done():
            return
        began = time.perf_counter()
        (folder / "error.txt").unlink(missing_ok=True)
        _forget_other_stamp(trial)
        for part in folder.glob(".*.part*"):  # left by a process that was killed while it wrote
            part.unlink()
        try:
            device = _study(trial) if trial.kind == "study" else _train(trial)
        except Exception as error:
            write_text(folder / "error.txt", traceback.format_exc())
            if isinstance(error, AuralError):
                raise
            raise DataError(f"{type(error).__name__}: {error} (details in {folder / 'error.txt'})") from error
        done = {"stamp": trial.stamp, "seconds": round(time.perf_counter() - began, 2), "device": device}
        write_text(folder / DONE, json.dumps(done) + "\n")
        if trial.kind == "trials":
            shutil.rmtree(folder / "run", ignore_errors=True)


def _forget_other_stamp(trial: Trial) -> None:
    """Delete what was trained for another card or size; keep what belongs to this one."""
    file = trial.folder / "stamp.txt"
    if not file.is_file() or file.read_text(encoding="utf-8") != trial.stamp:
        for path in trial.folder.iterdir():
            if path.name != "lock":
                delete(path)
        write_text(file, trial.stamp)


def _train(trial: Trial) -> str:
    import torch

    from aural.train.loop import train
    from aural.train.recipes import load_recipe

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # results must not depend on --jobs
    try:
        recipe, run = load_recipe(trial.base, trial.changes), trial.folder / "run"
        device = None if trial.options.device == "auto" else trial.options.device
        model = train(recipe, run, resume=(run / "recipe.json").is_file(), device=device)
        if trial.kind == "stages":
            shutil.rmtree(run / "checkpoints", ignore_errors=True)
        else:
            _score(trial, model, device)
    finally:
        torch.set_num_threads(threads)
        torch.cuda.empty_cache()  # the process may run another trial, and others share the device
    return _device_name(trial.options.device)


def _score(trial: Trial, model: Path, device: str | None) -> None:
    import aural
    from aural.reproduce.measure import score_model
    from aural.reproduce.worlds import data_root

    root = data_root(trial.world, trial.options.data)
    score_model(aural.load(model, device=device), trial.card.tasks, root, trial.folder, trial.seed)


def _study(trial: Trial) -> str:
    from aural.reproduce.study import StudyContext, run_study

    options = trial.options
    context = StudyContext(trial.seed, options.smoke, options.device, options.data, trial.folder, options.out)
    scores = run_study(trial.card, context)
    arrays = {f"{arm}|{task}": values for arm, tasks in scores.items() for task, values in tasks.items()}
    with atomic_write(trial.folder / "scores.npz") as part:
        np.savez_compressed(part, **arrays)  # type: ignore[arg-type]
    return _device_name(options.device)


def _device_name(device: str) -> str:
    import torch

    if device == "cpu" or not torch.cuda.is_available():
        return "cpu"
    return torch.cuda.get_device_name(torch.device("cuda" if device == "auto" else device))


def read_trials(card: ClaimCard, trials: Sequence[Trial]) -> dict[str, dict[int, dict[str, effect.Measured]]]:
    """Read the stored scores of finished runs: arm -> seed -> task -> measurement."""
    measured: dict[str, dict[int, dict[str, effect.Measured]]] = {}
    if card.study:
        for trial in trials:
            with np.load(trial.folder / "scores.npz", allow_pickle=False) as stored:
                for key in sorted(stored.files):
                    arm, _, task = key.partition("|")
                    measured.setdefault(arm, {}).setdefault(trial.seed, {})[task] = effect.mean_of(stored[key])
        return measured
    from aural.reproduce.measure import read_measured

    keys = {(name, "") for name in card.tasks} | {(c.task, c.metric) for c in card.check}
    for trial in trials:
        if trial.kind != "trials":
            continue
        for task, metric in sorted(keys):
            scores = measured.setdefault(trial.name, {}).setdefault(trial.seed, {})
            scores[f"{task}/{metric}" if metric else task] = read_measured(trial.folder, task, metric)
    return measured


def finish(card: ClaimCard, trials: Sequence[Trial], options: Options) -> dict[str, Any]:
    """Write effect.json and run.json of a card whose runs are all finished; return the effect."""
    from aural.reproduce.provenance import details

    folder = options.out / card.name
    content = effect.effect_of(card, read_trials(card, trials), seeds_of(card, options), smoke=options.smoke)
    write_text(folder / EFFECT, json.dumps(content, indent=1) + "\n")
    done = [json.loads((t.folder / DONE).read_text(encoding="utf-8")) for t in trials]
    seconds = {t.key.removeprefix(f"{card.name}/"): one["seconds"] for t, one in zip(trials, done, strict=True)}
    devices = sorted({one["device"] for one in done})
    write_text(folder / "run.json", json.dumps(details(card, devices, seconds, options.jobs), indent=1) + "\n")
    return content


def parse_budget(text: str) -> float:
    """Return seconds of "90s", "10m" or "2h"; 0 for an empty text.

    >>> parse_budget("10m")
    600.0
    """
    units = {"s": 1.0, "m": 60.0, "h": 3600.0}
    if not text:
        return 0.0
    number, unit = text[:-1], text[-1]
    try:
        seconds = float(number) * units[unit]
    except (ValueError, KeyError):
        raise ConfigError(f'--budget "{text}": write a number with s, m or h, for example 10m') from None
    if not 0 < seconds < float("inf"):
        raise ConfigError(f'--budget "{text}": must be above 0; leave it out for no limit')
    return seconds


def cpu_count() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
