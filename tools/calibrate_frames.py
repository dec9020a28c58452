"""Calibrate the frames of a bundled model on validation scenes, for `aural locate`.

    aural corpus build libre --out libre
    python tools/calibrate_frames.py libre libre-small

Scenes are simulated from the clips of the validation split, and for the report from those of the test split. Each scene
has as texts the classes that sound in it and as many that do not, drawn by a seeded generator. The three numbers of
`aural.models.frame_calibration` are fitted by logistic regression; the default threshold has the best F1 score of
spans on the validation scenes. Run it again whenever the weights change.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, roc_auc_score

from aural.core.scoring import NEUTRAL, label_prompts
from aural.core.weights import weight_card
from aural.data.manifest import Manifest, read_manifest
from aural.evaluate.metrics.calibration import calibration_error
from aural.evaluate.metrics.psds import Setting, count_detections
from aural.evaluate.scenes import HELD_OUT, VALIDATION, build_scenes
from aural.models.embedding import EmbeddingModel
from aural.models.frame_calibration import FrameCalibration, weights_digest, write_calibration
from aural.models.load import load
from aural.models.locate import LocateConfig, Track

THRESHOLDS = np.arange(0.1, 0.91, 0.05)
HALF = Setting(dtc=0.5, gtc=0.5)


def frame_truth(times_s: NDArray[np.float64], events: list[list[Any]], classes: list[str]) -> NDArray[np.bool_]:
    """Return whether a class sounds in a frame (W, K): for half of it, or in it most of all frames if it is shorter."""
    truth = np.zeros((len(times_s), len(classes)), bool)
    lengths = times_s[:, 1] - times_s[:, 0]
    for onset_s, offset_s, label in events:
        shared = np.minimum(times_s[:, 1], offset_s) - np.maximum(times_s[:, 0], onset_s)
        covered = shared >= lengths / 2
        covered[shared.argmax()] = True
        truth[covered, classes.index(label)] = True
    return truth


@dataclass(frozen=True)
class Asked:
    """One text with one scene: scaled cosines (W, 2) with the text and the neutral prompt, times, and the truth."""

    cosines: NDArray[np.float64]
    times_s: list[tuple[float, float]]
    truth: NDArray[np.bool_]
    events_s: NDArray[np.float64]


def asked(model: EmbeddingModel, scenes: Manifest) -> list[Asked]:
    """Return all pairs of a scene and a text, half of them true."""
    rows = list(scenes.rows())
    classes = sorted({tag for row in rows for tag in row.tags})
    texts = model.embed_text(label_prompts([*classes, NEUTRAL]))
    generator = np.random.default_rng(0)
    result = []
    for row in rows:
        vectors, times = model.embed_frames(scenes.file(row))
        events = json.loads(row.meta)["events"]
        truth = frame_truth(np.asarray(times), events, classes)
        present = np.flatnonzero(truth.any(axis=0))
        others = np.setdiff1d(np.arange(len(classes)), present)
        absent = generator.choice(others, min(len(present), len(others)), replace=False)
        cosines = model.logit_scale * (vectors @ texts.T).astype(np.float64)
        for k in [*present, *absent]:
            spans = np.array([(a, b) for a, b, label in events if label == classes[k]]).reshape(-1, 2)
            result.append(Asked(cosines[:, [k, -1]], times, truth[:, k], spans))
    return result


def span_f1(questions: list[Asked], fit: LogisticRegression, threshold: float) -> float:
    """Return the F1 score of spans; a span is right if at least half of it is an event's, and the reverse."""
    config = LocateConfig(threshold=threshold)
    right = wrong = events = 0
    for one in questions:
        track = Track("", threshold, config)
        for (start_s, end_s), p in zip(one.times_s, fit.predict_proba(one.cosines)[:, 1].tolist(), strict=True):
            track.add(start_s, end_s, p)
        track.close()
        spans = np.array([(span.onset_s, span.offset_s) for span in track.spans()]).reshape(-1, 2)
        hits, misses, _ = count_detections(spans, one.events_s, {}, HALF)
        right, wrong, events = right + hits, wrong + misses, events + len(one.events_s)
    return 2 * right / max(right + wrong + events, 1)


def calibrate(model: EmbeddingModel, digest: str, scenes: dict[str, Manifest]) -> FrameCalibration:
    """Fit the calibration on validation scenes and measure it on test scenes."""
    questions = {part: asked(model, manifest) for part, manifest in scenes.items()}
    inputs = {part: np.concatenate([one.cosines for one in asked_]) for part, asked_ in questions.items()}
    truth = {part: np.concatenate([one.truth for one in asked_]) for part, asked_ in questions.items()}
    fit = LogisticRegression(C=np.inf).fit(inputs["validation"], truth["validation"])
    threshold = float(max(THRESHOLDS, key=lambda t: span_f1(questions["validation"], fit, float(t))))
    errors = {}
    for part, y in truth.items():
        p, raw = fit.predict_proba(inputs[part])[:, 1], expit(inputs[part] @ [1, -1])
        errors[part] = calibration_error(p, y)
        print(
            f"{part}: {len(y)} pairs, prior {y.mean():.3f}, ECE {errors[part]:.4f} (score of aural classify "
            f"{calibration_error(raw, y):.4f}), AUROC {roc_auc_score(y, p):.3f} ({roc_auc_score(y, raw):.3f}), AP "
            f"{average_precision_score(y, p):.3f} ({average_precision_score(y, raw):.3f}), spans' F1 "
            f"{span_f1(questions[part], fit, threshold):.3f} at {threshold:.2f}, highest {p.max():.2f}"
        )
    return FrameCalibration(
        weights_sha256=digest,
        text=round(float(fit.coef_[0, 0]), 4),
        neutral=round(float(fit.coef_[0, 1]), 4),
        offset=round(float(fit.intercept_[0]), 4),
        threshold=round(threshold, 2),
        prior=round(float(truth["validation"].mean()), 4),
        ece_validation=round(errors["validation"], 4),
        ece_test=round(errors["test"], 4),
        measured=f"200 validation and 200 test scenes, texts half absent, {datetime.now(UTC):%Y-%m-%d}",
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path, help="Folder of the free corpus.")
    parser.add_argument("names", nargs="+", help="Bundled models.")
    parser.add_argument("--scenes", type=Path, help="Folder in which the scenes are kept; default: a temporary one.")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        place = arguments.scenes or Path(temporary)
        folders = {}
        for part, splits in (("validation", VALIDATION), ("test", HELD_OUT)):
            folders[part] = place / part
            if not folders[part].is_dir():
                place.mkdir(parents=True, exist_ok=True)
                build_scenes(read_manifest(arguments.corpus), folders[part], splits=splits)
        for name in arguments.names:
            folder = weight_card(name).bundled()
            scenes = {part: read_manifest(path) for part, path in folders.items()}
            write_calibration(folder, calibrate(load(name, device="cpu"), weights_digest(folder), scenes))
            print(f"{folder}: written")
