"""PSDS by sed_scores_eval: writes psds.json, made-up scores and events with what the package gives for them.

pip install --target DIR sed_scores_eval          (sed_scores_eval_np2 beside numpy 2)
PYTHONPATH=DIR python tests/golden/make_psds.py
"""

from __future__ import annotations

import importlib
import json
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

CLASSES, SEGMENTS, SEGMENT_S = ("dog", "bell", "rain"), 20, 0.5
SETTINGS = {
    "PSDS1": {"dtc_threshold": 0.7, "gtc_threshold": 0.7, "alpha_ct": 0.0, "alpha_st": 1.0},
    "PSDS2": {"dtc_threshold": 0.1, "gtc_threshold": 0.1, "cttc_threshold": 0.3, "alpha_ct": 0.5, "alpha_st": 1.0},
}


def made_up(clips: int = 24) -> tuple[list[list[list[float]]], list[list[list[Any]]]]:
    """Scores (clips, segments, classes) that know something of the events, rounded so that some are equal."""
    generator = np.random.default_rng(11)
    scores, events = [], []
    for _ in range(clips):
        table = generator.random((SEGMENTS, len(CLASSES)))
        some: list[list[Any]] = []
        for k in generator.permutation(len(CLASSES))[: generator.integers(0, 3)]:
            onset = round(float(generator.uniform(0, 8)), 2)
            offset = round(onset + float(generator.uniform(0.3, 10 - onset)), 2)
            some.append([onset, offset, int(k)])
            middle = (np.arange(SEGMENTS) + 0.5) * SEGMENT_S
            table[(middle > onset) & (middle < offset), k] += 0.8
        scores.append(np.round(table, 2).tolist())
        events.append(sorted(some))
    return scores, events


def main() -> None:
    import pandas as pd

    psds = importlib.import_module("sed_scores_eval.intersection_based").psds
    scores, events = made_up()
    edges = np.arange(SEGMENTS + 1) * SEGMENT_S
    frames, truth, durations = {}, {}, {}
    for n, (table, some) in enumerate(zip(scores, events, strict=True)):
        columns = {"onset": edges[:-1], "offset": edges[1:]}
        columns |= {name: np.array(table)[:, k] for k, name in enumerate(CLASSES)}
        frames[str(n)] = pd.DataFrame(columns)
        truth[str(n)] = [(a, b, CLASSES[k]) for a, b, k in some]
        durations[str(n)] = SEGMENTS * SEGMENT_S
    found = {
        name: float(psds(frames, truth, durations, unit_of_time="hour", max_efpr=100.0, **options)[0])
        for name, options in SETTINGS.items()
    }
    package = next(name for name in ("sed_scores_eval", "sed_scores_eval_np2") if _version(name))
    origin = f"{package} {_version(package)}, intersection_based.psds; made by tests/golden/make_psds.py"
    out = Path(__file__).with_name("psds.json")
    values = {"origin": origin, "segment_s": SEGMENT_S, "scores": scores, "events": events, "psds": found}
    out.write_text(json.dumps(values, separators=(",", ":")) + "\n", encoding="utf-8")
    print(found)


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


if __name__ == "__main__":
    main()
