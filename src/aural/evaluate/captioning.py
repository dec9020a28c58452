"""Captioning: what a model writes of each clip, against its reference captions.

CIDEr-D, ROUGE-L and BLEU are computed here (`caption_metrics`). METEOR and SPICE need Java programs, FENSE a model:
they come from aac-metrics where it is installed with them; a part that is missing is named and the rest is scored.
SPIDEr is the mean of CIDEr-D and SPICE, so it needs both.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from aural.core.errors import DataError, MissingDependencyError
from aural.evaluate.caption_metrics import bleu_counts, cider_d, plain, rouge_l
from aural.evaluate.cards import TaskCard
from aural.evaluate.chance import others_captions
from aural.evaluate.metrics import METRICS
from aural.evaluate.outcome import RUNNERS, Context, Outcome
from aural.evaluate.store import source
from aural.evaluate.truth import PART, Examples, captions, examples

PEERS: Final = {"METEOR": "meteor", "SPICE": "spice", "FENSE": "fense"}  # names in aac-metrics
CHANCE_DRAWS: Final = 5


@RUNNERS.register("captioning/zero-shot")
def captioning(context: Context, card: TaskCard) -> Outcome:
    """One sentence a clip, written in parts that a resumed run does not repeat."""
    if not hasattr(context.embedder, "caption"):
        raise DataError("the model writes no captions (it has no `caption`)")
    found = examples(card, context.root)
    written = _written(context, found)
    references = [captions(one, card) for one in found.rows]
    arrays, missing = scored(written, references)
    outcome = Outcome(arrays | {"units": np.arange(len(written))})
    told = next(name for name in card.all_metrics if name in arrays or name.startswith("BLEU-"))
    outcome.chance = chance(told, references)
    outcome.notes = [f"{name}: {why}" for name, why in missing.items()]
    outcome.details = {"examples": [[r[0], w] for r, w in zip(references[:20], written, strict=False)]}
    return outcome


def chance(metric: str, references: Sequence[Sequence[str]]) -> float | None:
    """What a writer gets that gives each clip a caption of some other clip; None where there is one clip alone."""
    if len(references) < 2:
        return None
    foreign = metric in PEERS or metric == "SPIDEr"  # a Java program or a model a draw: one has to do
    values = []
    for written in others_captions(references, 1 if foreign else CHANCE_DRAWS):
        arrays, missing = scored(written, references, peers=foreign)
        if metric in missing:
            return None
        values.append(METRICS[metric](arrays, None))
    return float(np.mean(values))


def scored(
    written: Sequence[str], references: Sequence[Sequence[str]], *, peers: bool = True
) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Arrays over clips by metric (and what BLEU sums); metric -> why it is not there.

    peers=False leaves METEOR, SPICE and FENSE out.
    """
    candidates = [plain(text) for text in written]
    truths = [[plain(text) for text in some] for some in references]
    arrays: dict[str, NDArray[Any]] = dict(bleu_counts(candidates, truths))
    arrays["ROUGE-L"] = rouge_l(candidates, truths)
    missing: dict[str, str] = {}
    try:
        arrays["CIDEr-D"] = cider_d(candidates, truths)
    except DataError as error:
        missing["CIDEr-D"] = str(error)
    for name, key in PEERS.items() if peers else ():
        texts = (list(written), [list(some) for some in references]) if name == "FENSE" else (candidates, truths)
        try:
            arrays[name] = _peers(key, *texts)
        except Exception as error:
            # whatever Java, a download or a model throws: the part is named, the others go on
            missing[name] = " ".join(f"{type(error).__name__}: {error}".split())[:160]
    if "CIDEr-D" in arrays and "SPICE" in arrays:
        arrays["SPIDEr"] = (arrays["CIDEr-D"] + arrays["SPICE"]) / 2
    else:
        missing["SPIDEr"] = "needs CIDEr-D and SPICE"
    return arrays, missing


def _peers(key: str, candidates: list[str], truths: list[list[str]]) -> NDArray[np.float64]:
    """(N,) sentence scores by a function of aac-metrics, which finds its jars where `aac-metrics-download` put them."""
    try:
        import aac_metrics.functional as functions
    except ImportError:
        raise MissingDependencyError(
            f"{key} is scored by aac-metrics; docs/evaluate/README.md says how to add it"
        ) from None
    return np.asarray(getattr(functions, key)(candidates, truths)[1][key], np.float64)


def _written(context: Context, found: Examples) -> list[str]:
    sentences: list[str] = []
    for at in range(0, len(found.numbers), PART):
        numbers = [int(n) for n in found.numbers[at : at + PART]]
        path = context.store.path("captions", [found.corpus.key(n) for n in numbers]).with_suffix(".json")
        if not path.is_file():
            some = list(context.embedder.caption([source(found.corpus, n) for n in numbers]))
            if len(some) != len(numbers):
                raise DataError(f"caption gave {len(some)} sentences for {len(numbers)} clips")
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_suffix(f".{os.getpid()}.part")
            part.write_text(json.dumps([str(s) for s in some], ensure_ascii=False), encoding="utf-8")
            os.replace(part, path)
        sentences += json.loads(path.read_text(encoding="utf-8"))
        context.say(min(at + PART, len(found.numbers)), len(found.numbers))
    return sentences
