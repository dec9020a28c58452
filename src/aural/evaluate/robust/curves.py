"""Robustness curves: the score of a task over the level of each change."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from aural.core.errors import AuralError, WriteError
from aural.core.types import Clip, FloatArray
from aural.evaluate.adapters.embedders import model_hash
from aural.evaluate.cache import EmbeddingCache
from aural.evaluate.cards import TaskCard
from aural.evaluate.data_root import Corpus, DataRoot
from aural.evaluate.examples import LoadedTask
from aural.evaluate.metrics import METRICS
from aural.evaluate.outcome import Context
from aural.evaluate.records import write_json
from aural.evaluate.robust.changes import SOUND_CHANGES, WORD_CHANGES, Level, SoundChange, WordChange
from aural.evaluate.runners import KINDS

CHANGED_KINDS: Final = ("zero-shot-single-label", "zero-shot-multi-label", "retrieval", "pairs")


@dataclass(frozen=True)
class ChangedCache:
    """An embedding cache that changes sounds or words before they are embedded."""

    cache: EmbeddingCache
    sound: tuple[str, SoundChange, Level] | None = None
    word: WordChange | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.cache, name)

    def audio(self, corpus: Corpus, numbers: Any, **options: Any) -> FloatArray:
        """Return the embeddings of the changed sounds, as `EmbeddingCache.audio` does."""
        if self.sound is None:
            return self.cache.audio(corpus, numbers, **options)
        name, apply, level = self.sound

        def change(number: int) -> Clip:
            from aural.audio.io import read

            one = corpus.rows[number]
            duration_s = (one.duration_s or None) if one.start_s else None
            clip = read(corpus.file(number), start_s=one.start_s, duration_s=duration_s)
            seed = [ord(c) for c in f"{name} {level} {one.path}"]
            return apply(clip, level, np.random.default_rng(seed))

        return self.cache.audio(corpus, numbers, variant=f"{name} {level}", change=change, **options)

    def texts(self, texts: Sequence[str]) -> FloatArray:
        """Return the embeddings of the changed words, as `EmbeddingCache.texts` does."""
        return self.cache.texts([self.word(text) for text in texts] if self.word else list(texts))


def robustness(
    embedder: Any,
    tasks: Iterable[TaskCard],
    data: DataRoot,
    out: str | Path,
    *,
    changes: Sequence[str] = (),
    cache: str | Path | None = None,
    seed: int = 0,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, dict[str, Any]]:
    """Score tasks on changed sounds and words, and write OUT/robustness.json.

    Returns task -> change -> levels and scores, with the score of the unchanged task as `clean`. changes: names of
    `SOUND_CHANGES` and `WORD_CHANGES`; empty: all. Tasks of other kinds than `CHANGED_KINDS` are left out.
    """
    out = Path(out)
    embeddings = EmbeddingCache(Path(cache) if cache else out / "cache", embedder, model_hash(embedder))
    curves: dict[str, dict[str, Any]] = {}
    for card in tasks:
        if card.kind not in CHANGED_KINDS:
            continue
        scorer = _Scorer(LoadedTask(_with_one_prompt(card), data), embeddings, embedder, seed)
        try:
            curves[card.name] = _curves_of(scorer, changes, say)
        except WriteError:
            raise
        except AuralError as error:
            say(f"{card.name}: not scored; {error}")
        write_json(out / "robustness.json", curves)
    return curves


@dataclass(frozen=True)
class _Scorer:
    """Scores one task with changed embeddings."""

    task: LoadedTask
    embeddings: EmbeddingCache
    embedder: Any
    seed: int

    def score(self, sound: tuple[str, SoundChange, Level] | None = None, word: WordChange | None = None) -> float:
        """Return the card's metric on changed sounds or words."""
        changed: Any = ChangedCache(self.embeddings, sound, word)
        outcome = KINDS[self.task.card.kind].runners["zero-shot"](Context(changed, self.embedder, self.seed), self.task)
        return METRICS[self.task.card.metric](outcome.arrays, None)


def _with_one_prompt(card: TaskCard) -> TaskCard:
    """Return the card with its own template alone: prompt sensitivity is part of the zero-shot record."""
    return card.model_copy(update={"prompts": (card.prompt,)})


def _curves_of(scorer: _Scorer, changes: Sequence[str], say: Callable[[str], None]) -> dict[str, Any]:
    name_of_task, metric = scorer.task.card.name, scorer.task.card.metric
    clean = scorer.score()
    curves: dict[str, Any] = {}
    for name in [n for n in SOUND_CHANGES if not changes or n in changes]:
        change = SOUND_CHANGES[name]
        scores = [scorer.score(sound=(name, change.apply, level)) for level in change.levels]
        numeric = all(isinstance(level, float) for level in change.levels)
        say(f"{name_of_task}, {name}: {clean:.3f} -> " + ", ".join(f"{value:.3f}" for value in scores))
        levels: list[Level] = list(change.levels)
        if not numeric:
            levels, scores = ["unchanged", *levels], [clean, *scores]
        curves[name] = _curve(change.axis, metric, levels, scores, clean)
    words = [n for n in WORD_CHANGES if not changes or n in changes]
    if words:
        scores = [clean, *(scorer.score(word=WORD_CHANGES[name]) for name in words)]
        names: list[Level] = ["unchanged", *words]
        curves["words"] = _curve("", metric, names, scores, clean)
        pairs = zip(names, scores, strict=True)
        say(f"{name_of_task}, words: " + ", ".join(f"{name} {value:.3f}" for name, value in pairs))
    return curves


def _curve(axis: str, metric: str, levels: list[Level], scores: list[float], clean: float) -> dict[str, Any]:
    return {
        "axis": axis,
        "metric": metric,
        "numeric": all(isinstance(level, float) for level in levels),
        "levels": levels,
        "scores": scores,
        "clean": clean,
    }
