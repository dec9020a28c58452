"""Text <-> audio retrieval with several captions a clip, and paraphrase retrieval.

Legend: N clips, M captions, Q queries, D documents.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aural.core.errors import DataError
from aural.core.types import FloatArray
from aural.evaluate.cards import TaskCard
from aural.evaluate.chance import chance_ranks
from aural.evaluate.metrics import retrieval_arrays
from aural.evaluate.outcome import RUNNERS, Context, Outcome, space_of
from aural.evaluate.truth import Examples, captions, examples

CURVE = (1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000)


def captions_of(found: Examples, card: TaskCard) -> tuple[list[str], NDArray[np.int64]]:
    """All captions (M) and the clip of each (M,)."""
    texts = [(text, n) for n, one in enumerate(found.rows) for text in captions(one, card)]
    return [text for text, _ in texts], np.array([n for _, n in texts], np.int64)


def right_ones(texts: list[str], owner: NDArray[np.int64], clips: int, *, equal: bool) -> NDArray[np.bool_]:
    """(M, N): which clips a caption is right for; with `equal` also the clips that carry the same words."""
    right = np.zeros((len(texts), clips), bool)
    right[np.arange(len(texts)), owner] = True
    if equal:
        key = np.unique(np.array([text.strip().lower() for text in texts]), return_inverse=True)[1].ravel()
        by_text = np.zeros((int(key.max()) + 1, clips), bool)
        by_text[key, owner] = True
        right = by_text[key]
    return right


@RUNNERS.register("retrieval/zero-shot")
def retrieval(context: Context, card: TaskCard) -> Outcome:
    """text-to-audio: every caption is a query; audio-to-text: every clip is one. Resamples draw clips."""
    found, audio = context.heard(examples(card, context.root))
    texts, owner = captions_of(found, card)
    text = context.store.texts(texts)
    right = right_ones(texts, owner, len(audio), equal=card.equal_captions)
    if card.direction == "text-to-audio":
        outcome = _outcome(card.metric, text @ audio.T, right, owner)
    else:
        outcome = _outcome(card.metric, audio @ text.T, right.T, np.arange(len(audio)))
    outcome.space = _space(audio, text, owner, texts)
    return outcome


@RUNNERS.register("paraphrase/zero-shot")
def paraphrase(context: Context, card: TaskCard) -> Outcome:
    """Every caption is a query, the other captions are documents; right are those of the same clip."""
    found = examples(card, context.root)
    found = found.subset(np.array([len(captions(one, card)) > 1 for one in found.rows]))
    if not len(found.numbers):
        raise DataError(f"{found.corpus.folder}: no clip has two captions")
    texts, owner = captions_of(found, card)
    text = context.store.texts(texts)
    scores = text @ text.T
    right = owner[:, None] == owner[None]
    others = ~np.eye(len(texts), dtype=bool)
    size = (len(texts), len(texts) - 1)
    return _outcome(card.metric, scores[others].reshape(size), right[others].reshape(size), owner)


def _outcome(metric: str, scores: FloatArray, right: NDArray[np.bool_], units: NDArray[np.int64]) -> Outcome:
    arrays = retrieval_arrays(scores, right)
    outcome = Outcome(arrays | {"units": np.unique(units, return_inverse=True)[1].ravel().astype(np.int64)})
    documents = scores.shape[1]
    steps = [k for k in CURVE if k < documents] + [documents]
    outcome.curve = {"k": [float(k) for k in steps], "R@k": [float(np.mean(arrays["first"] <= k)) for k in steps]}
    outcome.details = {"queries": len(scores), "documents": documents}
    outcome.chance = chance_ranks(metric, right)
    return outcome


def _space(audio: FloatArray, text: FloatArray, owner: NDArray[np.int64], texts: list[str]) -> dict[str, object]:
    pairs = np.stack([owner, np.arange(len(owner))], axis=1)
    first = {int(n): texts[m] for m, n in reversed(list(enumerate(owner)))}
    return space_of(audio, text, pairs, [*(first[n][:60] for n in range(len(audio))), *(t[:60] for t in texts)])
