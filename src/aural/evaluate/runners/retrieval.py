"""Text-to-audio and audio-to-text retrieval with several captions per clip, and paraphrase retrieval.

Legend: N clips, M captions, Q queries, D documents.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aural.core.errors import DataError
from aural.core.types import FloatArray
from aural.evaluate.cards import TaskCard
from aural.evaluate.examples import Examples, LoadedTask, captions
from aural.evaluate.kinds import KINDS
from aural.evaluate.metrics.chance import chance_ranks
from aural.evaluate.metrics.ranking import retrieval_arrays
from aural.evaluate.outcome import Context, Outcome, space_of, units_of

CURVE = (1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000)


def captions_of(clips: Examples, card: TaskCard) -> tuple[list[str], NDArray[np.int64]]:
    """Return all M captions of the clips, and the clip of each (M,)."""
    texts = [(text, n) for n, one in enumerate(clips.rows) for text in captions(one, card)]
    return [text for text, _ in texts], np.array([n for _, n in texts], np.int64)


def relevance(texts: list[str], owner: NDArray[np.int64], clips: int, *, equal: bool) -> NDArray[np.bool_]:
    """Return which clips are relevant for each caption, (M, N).

    A caption's own clip is relevant; with `equal`, so are the clips that have a caption with the same words.
    """
    relevant = np.zeros((len(texts), clips), bool)
    relevant[np.arange(len(texts)), owner] = True
    if equal:
        key = np.unique(np.array([text.strip().lower() for text in texts]), return_inverse=True)[1].ravel()
        by_text = np.zeros((int(key.max()) + 1, clips), bool)
        by_text[key, owner] = True
        relevant = by_text[key]
    return relevant


@KINDS["retrieval"].runner("zero-shot")
def retrieval(context: Context, task: LoadedTask) -> Outcome:
    """Rank clips for every caption (text-to-audio) or captions for every clip (audio-to-text).

    Bootstrap resamples draw clips, each with all its captions.
    """
    card = task.card
    clips, audio = context.readable(task.test)
    texts, owner = captions_of(clips, card)
    text = context.cache.texts(texts)
    relevant = relevance(texts, owner, len(audio), equal=card.equal_captions)
    if card.direction == "text-to-audio":
        outcome = _outcome(card.metric, text @ audio.T, relevant, owner)
    else:
        outcome = _outcome(card.metric, audio @ text.T, relevant.T, np.arange(len(audio)))
    outcome.unit_ids = clips.ids
    outcome.space = _space(audio, text, owner, texts)
    return outcome


@KINDS["paraphrase"].runner("zero-shot")
def paraphrase(context: Context, task: LoadedTask) -> Outcome:
    """Rank the other captions for every caption; those of the same clip are relevant."""
    card, clips = task.card, task.test
    clips = clips.subset(np.array([len(captions(one, card)) > 1 for one in clips.rows]))
    if not len(clips.numbers):
        raise DataError(f"{clips.corpus.folder}: no clip has two captions")
    texts, owner = captions_of(clips, card)
    text = context.cache.texts(texts)
    scores = text @ text.T
    relevant = owner[:, None] == owner[None]
    others = ~np.eye(len(texts), dtype=bool)
    size = (len(texts), len(texts) - 1)
    outcome = _outcome(card.metric, scores[others].reshape(size), relevant[others].reshape(size), owner)
    outcome.unit_ids = clips.ids
    return outcome


def _outcome(metric: str, scores: FloatArray, relevant: NDArray[np.bool_], units: NDArray[np.int64]) -> Outcome:
    arrays = retrieval_arrays(scores, relevant)
    outcome = Outcome(arrays | {"units": units_of(units)})
    documents = scores.shape[1]
    steps = [k for k in CURVE if k < documents] + [documents]
    outcome.curve = {"k": [float(k) for k in steps], "R@k": [float(np.mean(arrays["first"] <= k)) for k in steps]}
    outcome.details = {"queries": len(scores), "documents": documents}
    outcome.chance = chance_ranks(metric, relevant)
    return outcome


def _space(audio: FloatArray, text: FloatArray, owner: NDArray[np.int64], texts: list[str]) -> dict[str, object]:
    pairs = np.stack([owner, np.arange(len(owner))], axis=1)
    first = {int(n): texts[m] for m, n in reversed(list(enumerate(owner)))}
    return space_of(audio, text, pairs, [*(first[n][:60] for n in range(len(audio))), *(t[:60] for t in texts)])
