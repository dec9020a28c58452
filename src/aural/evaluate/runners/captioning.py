"""Captioning: score the sentences that a model writes against the clips' reference captions.

CIDEr-D, ROUGE-L and BLEU are computed by `metrics.captions`. METEOR and SPICE need Java programs and FENSE a model;
they are computed by aac-metrics where it is installed with them. A metric that cannot be computed is listed in the
notes, and the others are reported. SPIDEr is the mean of CIDEr-D and SPICE, so it needs both.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from aural.core.errors import DataError, MissingDependencyError
from aural.core.files import write_text
from aural.evaluate.data_root import PART
from aural.evaluate.examples import Examples, LoadedTask, captions
from aural.evaluate.kinds import KINDS
from aural.evaluate.metrics import METRICS
from aural.evaluate.metrics.captions import bleu_counts, cider_d, rouge_l, tokenize
from aural.evaluate.metrics.chance import captions_of_other_clips
from aural.evaluate.outcome import Context, Outcome

PEER_METRICS: Final = {"METEOR": "meteor", "SPICE": "spice", "FENSE": "fense"}  # names in aac-metrics
CHANCE_DRAWS: Final = 5


@KINDS["captioning"].runner("zero-shot")
def captioning(context: Context, task: LoadedTask) -> Outcome:
    """Score one written sentence per clip. Sentences are stored in parts, which a resumed run does not repeat."""
    card, clips = task.card, task.test
    written = _write(context, clips)
    references = [captions(one, card) for one in clips.rows]
    arrays, missing = score_captions(written, references)
    outcome = Outcome(arrays | {"units": np.arange(len(written))}, clips.ids)
    reported = next(name for name in card.all_metrics if name in arrays or name.startswith("BLEU-"))
    outcome.chance = chance(reported, references)
    outcome.notes = [f"{name}: {why}" for name, why in missing.items()]
    outcome.details = {"examples": [[r[0], w] for r, w in zip(references[:20], written, strict=False)]}
    return outcome


def chance(metric: str, references: Sequence[Sequence[str]]) -> float | None:
    """Return the score of writing a caption of another clip for each clip; None for a single clip."""
    if len(references) < 2:
        return None
    slow = metric in PEER_METRICS or metric == "SPIDEr"  # a Java program or a model per draw: one draw has to do
    values = []
    for written in captions_of_other_clips(references, 1 if slow else CHANCE_DRAWS):
        arrays, missing = score_captions(written, references, peers=slow)
        if metric in missing:
            return None
        values.append(METRICS[metric](arrays, None))
    return float(np.mean(values))


def score_captions(
    written: Sequence[str], references: Sequence[Sequence[str]], *, peers: bool = True
) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Return (arrays over clips by metric, with the counts of BLEU; metric -> why it is missing).

    peers=False leaves METEOR, SPICE and FENSE out.
    """
    candidates = [tokenize(text) for text in written]
    truths = [[tokenize(text) for text in texts] for texts in references]
    arrays: dict[str, NDArray[Any]] = dict(bleu_counts(candidates, truths))
    arrays["ROUGE-L"] = rouge_l(candidates, truths)
    missing: dict[str, str] = {}
    try:
        arrays["CIDEr-D"] = cider_d(candidates, truths)
    except DataError as error:
        missing["CIDEr-D"] = str(error)
    for name, key in PEER_METRICS.items() if peers else ():
        texts = (list(written), [list(some) for some in references]) if name == "FENSE" else (candidates, truths)
        try:
            arrays[name] = _peer_scores(key, *texts)
        except Exception as error:
            # Java, a download or a model may raise anything: the metric is reported as missing, the others are kept
            missing[name] = " ".join(f"{type(error).__name__}: {error}".split())[:160]
    if "CIDEr-D" in arrays and "SPICE" in arrays:
        arrays["SPIDEr"] = (arrays["CIDEr-D"] + arrays["SPICE"]) / 2
    else:
        missing["SPIDEr"] = "needs CIDEr-D and SPICE"
    return arrays, missing


def _peer_scores(key: str, candidates: list[str], truths: list[list[str]]) -> NDArray[np.float64]:
    """Return (N,) sentence scores of a function of aac-metrics, which finds its jars by itself."""
    try:
        import aac_metrics.functional as functions
    except ImportError:
        raise MissingDependencyError(
            f"{key} is scored by aac-metrics; docs/evaluate/README.md says how to install it"
        ) from None
    return np.asarray(getattr(functions, key)(candidates, truths)[1][key], np.float64)


def _write(context: Context, clips: Examples) -> list[str]:
    sentences: list[str] = []
    for at in range(0, len(clips.numbers), PART):
        numbers = [int(n) for n in clips.numbers[at : at + PART]]
        path = context.cache.path("captions", [clips.corpus.key(n) for n in numbers]).with_suffix(".json")
        if not path.is_file():
            written = list(context.embedder.caption([clips.corpus.source(n) for n in numbers]))
            if len(written) != len(numbers):
                raise DataError(f"caption gave {len(written)} sentences for {len(numbers)} clips")
            write_text(path, json.dumps([str(s) for s in written], ensure_ascii=False), parents=True)
        sentences += json.loads(path.read_text(encoding="utf-8"))
        context.say(min(at + PART, len(clips.numbers)), len(clips.numbers))
    return sentences
