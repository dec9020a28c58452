"""`evaluate`: every task of a list for one model, one JSON file a task, resumable, missing data named.

OUT/
  run.json              what ran: model, versions, times, what is missing and how to get it
  scores/TASK@METHOD.json   score, interval, per class, confusion, curve, space, revisions
  arrays/TASK@METHOD.npz    the predictions: any metric and any paired test can be computed from them
  cache/                embeddings by model hash and data (shared with --cache)
"""

from __future__ import annotations

import hashlib
import json
import math
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

import numpy as np

from aural.core.errors import AuralError, DataError
from aural.evaluate.cards import TaskCard, definition
from aural.evaluate.embedders import model_hash
from aural.evaluate.metrics import METRICS
from aural.evaluate.outcome import RUNNERS, Context, Outcome
from aural.evaluate.seeds import DRAWN, over_seeds
from aural.evaluate.stats import interval, per_fold
from aural.evaluate.store import Store
from aural.evaluate.truth import DataRoot, examples
from aural.evaluate.tuning import FineTune

VERSION: Final = "3"  # of the files written: a change of what a score means counts this up
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

METHOD_SAID: Final = {  # what stands in the place of a card's protocol, which tells of zero-shot
    "linear-probe": "Logistic regression on frozen embeddings of the training clips.",
    "knn": "The 10 nearest training clips vote, each weighted by its cosine.",
    "few-shot": "Logistic regression on frozen embeddings of a few training clips a class.",
    "fine-tune": "The audio tower and a linear head are trained on the training clips.",
}


@dataclass
class Run:
    """What an evaluation did."""

    out: Path
    scores: dict[str, dict[str, Any]] = field(default_factory=dict)  # "TASK@METHOD" -> its record
    missing: dict[str, str] = field(default_factory=dict)  # "TASK@METHOD" -> why it did not run, and the mend


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
) -> Run:
    """Score the tasks; those whose data or a part of the model is missing are named and the rest runs."""
    register_runners()
    out = Path(out)
    for folder in ("scores", "arrays"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    start, tuning = time.perf_counter(), fine_tune or FineTune()
    store = Store(Path(cache) if cache else out / "cache", embedder, model_hash(embedder))
    run = Run(out)
    for card in tasks:
        for method in methods:
            if f"{card.kind}/{method}" not in RUNNERS:
                continue
            key = f"{card.name}@{method}"
            context = Context(
                store, data, embedder, seed, resamples=resamples, say=partial(progress, key), fine_tune=tuning
            )
            try:
                record = score_task(context, card, method, out, seeds if method in DRAWN else 1)
            except AuralError as error:
                run.missing[key] = str(error)
                say(f"{key}: not scored; {error}")
                continue
            run.scores[key] = record
            say(line(record))
    details = {
        "model": name or getattr(embedder, "name", type(embedder).__name__),
        "model_hash": store.model_hash,
        "tasks": sorted(run.scores),
        "missing": run.missing,
        "seed": seed,
        "seconds": round(time.perf_counter() - start, 3),
        "seconds_embedding": round(store.seconds, 3),
        "clips_embedded": store.embedded,
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        "unreadable": store.unreadable,
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}",
        "versions": versions(),
    }
    write_json(out / "run.json", details)
    return run


def score_task(context: Context, card: TaskCard, method: str, out: Path, seeds: int = 1) -> dict[str, Any]:
    """One task by one method; read from disk where the same model, data, card and seed were scored before."""
    key = f"{card.name}@{method}"
    path, table = out / "scores" / f"{key}.json", out / "arrays" / f"{key}.npz"
    stamp = _stamp(context, card, method, seeds)
    if path.is_file() and table.is_file():
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if record.get("stamp") == stamp:
            return record
    start = time.perf_counter()
    outcome = over_seeds(RUNNERS[f"{card.kind}/{method}"], context, card, seeds)
    record = _record(context, card, method, outcome) | {"stamp": stamp}
    record["seconds"] = round(time.perf_counter() - start, 3)
    part = table.with_suffix(f".{os.getpid()}.part")
    with part.open("wb") as stream:
        np.savez_compressed(stream, **outcome.arrays)  # type: ignore[arg-type]
    os.replace(part, table)
    write_json(path, record)
    return record


def _record(context: Context, card: TaskCard, method: str, outcome: Outcome) -> dict[str, Any]:
    scores, intervals = {}, {}
    for name in card.all_metrics:
        try:
            scores[name] = METRICS[name](outcome.arrays, None)
        except KeyError:
            continue  # a part that this run could not compute, named in the notes
        intervals[name] = interval(METRICS[name], outcome.arrays, context.generator(), resamples=context.resamples)
    if card.metric not in scores:
        why = "; ".join(outcome.notes)
        outcome.notes.append(f"the card's metric {card.metric} could not be computed")
        if not scores:
            raise DataError(f"nothing of {card.name} could be scored: {why}")
    primary = card.metric if card.metric in scores else next(iter(scores))
    found = examples(card, context.root)
    folds = per_fold(METRICS[primary], outcome.arrays)
    return {
        "task": card.name,
        "title": card.title,
        "method": method,
        "kind": card.kind,
        "metric": primary,
        "definition": f"{METHOD_SAID.get(method, card.protocol)} {definition(primary)}".strip(),
        "score": scores[primary],
        "interval": intervals[primary],
        "chance": outcome.chance,
        "scores": scores,
        "intervals": intervals,
        "units": int(outcome.arrays["units"].max()) + 1,
        "folds": folds,
        "classes": list(outcome.classes),
        "per_class": outcome.per_class,
        "per_class_metric": outcome.per_class_metric,
        "confusion": outcome.confusion,
        "curve": outcome.curve,
        "prompts": outcome.prompts,
        "space": outcome.space,
        "details": outcome.details,
        "notes": outcome.notes,
        "known": [known.model_dump() for known in card.known],
        "dataset": card.dataset,
        "clips": len(found.numbers),
        "clips_missing": found.corpus.missing,
        "data_revision": found.corpus.revision(found.numbers),
        "license": card.license,
        "citation": card.citation,
    }


def _stamp(context: Context, card: TaskCard, method: str, seeds: int) -> str:
    """What a score depends on."""
    found = [examples(card, context.root)]
    if card.train and (method != "zero-shot" or card.kind == "entailment"):
        found.append(examples(card, context.root, card.train))
    parts = (
        VERSION,
        context.store.model_hash,
        *(one.corpus.revision(one.numbers) for one in found),
        method,
        str((context.seed, seeds, context.resamples, context.shots, context.repeats)),
        context.fine_tune.model_dump_json() if method == "fine-tune" else "",
        card.model_dump_json(),
    )
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]


def line(record: dict[str, Any]) -> str:
    """A score in one line."""
    low, high = record["interval"]
    known = next((k for k in record["known"] if _like(k, record)), None)
    said = f", published {known['value']:.3f} ({known['model']})" if known else ""
    return (
        f"{record['task']}@{record['method']}: {record['metric']} {record['score']:.3f} "
        f"[{low:.3f}, {high:.3f}], {record['units']} clips{spread(record)}{said}"
    )


def spread(record: dict[str, Any]) -> str:
    """Mean and standard deviation over seeds, where there are several."""
    found = record["details"].get("seeds")
    return f", {len(found['values'])} seeds {found['mean']:.3f} ± {found['deviation']:.3f}" if found else ""


def _like(known: dict[str, Any], record: dict[str, Any]) -> bool:
    return known["metric"] in ("", record["metric"]) and known["method"] == record["method"]


def register_runners() -> None:
    """Import the runners, which register themselves by kind and method."""
    from aural.evaluate import captioning, finetune, frames, pairs, probe, retrieval, zero_shot  # noqa: F401


def versions() -> dict[str, str]:
    """Installed versions of the packages that a score may depend on."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def write_json(path: Path, values: dict[str, Any]) -> None:
    """In one step; NaN becomes null."""
    part = path.with_suffix(f".{os.getpid()}.part")
    part.write_text(json.dumps(_finite(values), indent=1, ensure_ascii=False), encoding="utf-8")
    os.replace(part, path)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
