"""Score one model on several tasks, with one JSON file per task.

A run resumes after an interruption. Tasks whose data set, or whose part of the model, is missing are listed with a fix.
The files that are written are described in `records`.
"""

from __future__ import annotations

import hashlib
import os
import platform
import resource
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from aural.core.errors import AuralError, DataError, WriteError
from aural.core.files import check_folder, made_parents
from aural.evaluate.adapters.embedders import model_hash
from aural.evaluate.cache import EmbeddingCache
from aural.evaluate.cards import TaskCard, definition
from aural.evaluate.data_root import DataRoot
from aural.evaluate.examples import LoadedTask
from aural.evaluate.metrics import METRICS
from aural.evaluate.outcome import Context, Outcome
from aural.evaluate.records import (
    arrays_path,
    key_of,
    read_record,
    record_path,
    score_line,
    write_arrays,
    write_json,
)
from aural.evaluate.runners import KINDS
from aural.evaluate.seeds import RANDOM_METHODS, over_seeds
from aural.evaluate.stats import interval, per_fold
from aural.evaluate.tuning import FineTune

VERSION: Final = "4"  # of the files written; increased when a score or a file changes its meaning
PACKAGES: Final = (
    "aural",
    "torch",
    "transformers",
    "numpy",
    "scikit-learn",
    "soundfile",
    "soxr",
    "mteb",
    "aac-metrics",
)

METHOD_PROTOCOLS: Final = {  # replaces a card's protocol, which describes zero-shot
    "linear-probe": "Logistic regression on frozen embeddings of the training clips.",
    "knn": "The 10 nearest training clips vote, each weighted by its cosine.",
    "few-shot": "Logistic regression on frozen embeddings of a few training clips per class.",
    "fine-tune": "The audio tower and a linear head are trained on the training clips.",
}


@dataclass
class TaskRun:
    """The result of an evaluation."""

    out: Path
    scores: dict[str, dict[str, Any]] = field(default_factory=dict)
    """"TASK@METHOD" -> its record."""
    missing: dict[str, str] = field(default_factory=dict)
    """"TASK@METHOD" -> why it was not scored, with a fix."""


def evaluate(
    embedder: Any,
    tasks: Iterable[TaskCard],
    data: DataRoot,
    out: str | Path,
    *,
    name: str = "",
    methods: Sequence[str] = ("zero-shot",),
    cache: str | Path | None = None,
    seed: int = 0,
    seeds: int = 1,
    resamples: int | None = None,
    fine_tune: FineTune | None = None,
    say: Callable[[str], None] = lambda _: None,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> TaskRun:
    """Score a model on tasks and write the records to `out`.

    methods: those that a task's kind does not have are left out. cache: folder of embeddings (default: OUT/cache).
    seeds: number of seeds of methods that draw at random. say: receives one line per task.

    Tasks whose data or whose part of the model is missing are listed in the result, and the other tasks are scored.
    """
    out = check_folder(out)
    existed = out.is_dir()
    start = time.perf_counter()
    embeddings = EmbeddingCache(Path(cache) if cache else out / "cache", embedder, model_hash(embedder))
    run = TaskRun(out)
    with made_parents(out / "run.json"):  # a refused run, and one that scores and stores nothing, leave no folder
        for card in tasks:
            task = LoadedTask(card, data)
            for method in methods:
                if method not in KINDS[card.kind].runners:
                    continue
                key = key_of(card.name, method)
                context = Context(
                    embeddings,
                    embedder,
                    seed,
                    resamples=resamples,
                    say=partial(progress, key),
                    fine_tune=fine_tune or FineTune(),
                )
                try:
                    record = score_task(context, task, method, out, seeds if method in RANDOM_METHODS else 1)
                except WriteError:
                    raise
                except AuralError as error:
                    run.missing[key] = str(error)
                    say(f"{key}: not scored; {error}")
                    continue
                run.scores[key] = record
                say(score_line(record))
        if run.scores or existed or any(out.iterdir()):
            details = {"model": name or getattr(embedder, "name", type(embedder).__name__), "seed": seed}
            write_json(out / "run.json", details | _details(run, embeddings, time.perf_counter() - start))
    return run


def _details(run: TaskRun, embeddings: EmbeddingCache, seconds: float) -> dict[str, Any]:
    """Return what run.json states in addition to the model and the seed."""
    return {
        "model_hash": embeddings.model_hash,
        "tasks": sorted(run.scores),
        "missing": run.missing,
        "seconds": round(seconds, 3),
        "seconds_embedding": round(embeddings.seconds, 3),
        "clips_embedded": embeddings.embedded,
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        "unreadable": embeddings.unreadable,
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}",
        "versions": versions(),
    }


def score_task(context: Context, task: LoadedTask, method: str, out: Path, seeds: int = 1) -> dict[str, Any]:
    """Score one task by one method, or read the stored record of the same model, data, card and seed."""
    key = key_of(task.card.name, method)
    stamp = _stamp(context, task, method, seeds)
    if record_path(out, key).is_file() and arrays_path(out, key).is_file():
        stored = read_record(out, key)
        if stored.get("stamp") == stamp:
            return stored
    start = time.perf_counter()
    task.kind.check_model(context.embedder)
    outcome = over_seeds(KINDS[task.card.kind].runners[method], context, task, seeds)
    record = _record(context, task, method, outcome) | {"stamp": stamp}
    record["seconds"] = round(time.perf_counter() - start, 3)
    write_arrays(out, key, outcome)
    write_json(record_path(out, key), record)
    return record


def _record(context: Context, task: LoadedTask, method: str, outcome: Outcome) -> dict[str, Any]:
    card = task.card
    scores, intervals = {}, {}
    for name in card.all_metrics:
        try:
            scores[name] = METRICS[name](outcome.arrays, None)
        except KeyError:
            continue  # this run could not compute its array; the notes say why
        intervals[name] = interval(METRICS[name], outcome.arrays, context.generator(), resamples=context.resamples)
    if card.metric not in scores:
        why = "; ".join(outcome.notes)
        outcome.notes.append(f"the card's metric {card.metric} could not be computed")
        if not scores:
            raise DataError(f"nothing of {card.name} could be scored: {why}")
    primary = card.metric if card.metric in scores else next(iter(scores))
    return {
        "task": card.name,
        "title": card.title,
        "method": method,
        "kind": card.kind,
        "dimension": card.dimension,
        "aspect": card.aspect,
        "metric": primary,
        "definition": f"{METHOD_PROTOCOLS.get(method, card.protocol)} {definition(primary)}".strip(),
        "score": scores[primary],
        "interval": intervals[primary],
        "chance": outcome.chance,
        "scores": scores,
        "intervals": intervals,
        "units": int(outcome.arrays["units"].max()) + 1,
        "folds": per_fold(METRICS[primary], outcome.arrays),
        "classes": list(outcome.classes),
        "per_class": outcome.per_class,
        "per_class_metric": outcome.per_class_metric,
        "confusion": outcome.confusion,
        "curve": outcome.curve,
        "prompts": outcome.prompts,
        "space": outcome.space,
        "details": outcome.details,
        "notes": outcome.notes,
        "published": [score.model_dump() for score in card.published],
        "dataset": card.dataset,
        "clips": len(task.test.numbers),
        "clips_missing": task.test.corpus.missing,
        "data_revision": task.test.corpus.revision(task.test.numbers),
        "license": card.license,
        "citation": card.citation,
    }


def _stamp(context: Context, task: LoadedTask, method: str, seeds: int) -> str:
    """Return a hash of everything that a score depends on."""
    clips = [task.test]
    if task.train is not None and (method != "zero-shot" or task.card.kind == "entailment"):
        clips.append(task.train)
    parts = (
        VERSION,
        context.cache.model_hash,
        *(one.corpus.revision(one.numbers) for one in clips),
        method,
        str((context.seed, seeds, context.resamples, context.shots, context.repeats)),
        context.fine_tune.model_dump_json() if method == "fine-tune" else "",
        task.card.model_dump_json(),
    )
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]


def versions() -> dict[str, str]:
    """Return the installed versions of the packages that a score may depend on."""
    installed = {}
    for name in PACKAGES:
        try:
            installed[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return installed
