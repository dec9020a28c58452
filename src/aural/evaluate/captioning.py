"""Captioning: what a model writes of each clip, against its reference captions, by aac-metrics.

CIDEr-D and ROUGE-L are computed by aac-metrics in Python on texts cut into words here (lower case, punctuation
dropped, as the PTB tokenizer of the challenges does). SPICE, METEOR and FENSE need a Java program or a model; where one
is missing it is named and the rest is scored. SPIDEr is the mean of CIDEr-D and SPICE, so it needs both.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aural.core.errors import DataError, MissingDependencyError
from aural.evaluate.cards import TaskCard
from aural.evaluate.outcome import RUNNERS, Context, Outcome
from aural.evaluate.store import source
from aural.evaluate.truth import PART, Examples, captions, examples

WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")


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
    outcome.notes = [f"{name}: {why}" for name, why in missing.items()]
    outcome.details = {"examples": [[r[0], w] for r, w in zip(references[:20], written, strict=False)]}
    return outcome


def plain(text: str) -> str:
    """Lower case, words apart by one space, no punctuation."""
    return " ".join(WORD.findall(text.lower()))


def scored(
    written: Sequence[str], references: Sequence[Sequence[str]]
) -> tuple[dict[str, NDArray[np.float64]], dict[str, str]]:
    """metric -> (N,) sentence scores; metric -> why it is not there."""
    try:
        import aac_metrics.functional as metrics
    except ImportError:
        raise MissingDependencyError("captions are scored by aac-metrics; pip install aac-metrics") from None
    candidates = [plain(text) for text in written]
    truths = [[plain(text) for text in some] for some in references]
    plans: dict[str, tuple[Any, str, bool]] = {
        "CIDEr-D": (metrics.cider_d, "cider_d", True),
        "ROUGE-L": (metrics.rouge_l, "rouge_l", True),
        "METEOR": (metrics.meteor, "meteor", True),
        "SPICE": (metrics.spice, "spice", True),
        "FENSE": (metrics.fense, "fense", False),
    }
    arrays: dict[str, NDArray[np.float64]] = {}
    missing: dict[str, str] = {}
    for name, (function, key, is_plain) in plans.items():
        try:
            result = function(
                candidates if is_plain else list(written), truths if is_plain else [*map(list, references)]
            )
            arrays[name] = np.asarray(result[1][key], np.float64)
        except Exception as error:
            # whatever Java, a download or a model throws: the part is named, the others go on
            missing[name] = " ".join(f"{type(error).__name__}: {error}".split())[:160]
    if "CIDEr-D" in arrays and "SPICE" in arrays:
        arrays["SPIDEr"] = (arrays["CIDEr-D"] + arrays["SPICE"]) / 2
    else:
        missing["SPIDEr"] = "needs CIDEr-D and SPICE"
    return arrays, missing


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
