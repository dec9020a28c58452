"""Measure what a wrong sample rate and a missing end-of-text token do to the vectors of msclap 2023.

mteb's wrapper of msclap passed sounds of 48 kHz to a model of 44.1 kHz and texts without ` <|endoftext|>`; version
2.26.24 of mteb corrects both. Published weights cannot be part of this repository,
so msclap is measured with random weights in the published layout: cosines between vectors of right and wrong inputs,
and how often the nearest other item changes. The same change of rate is then scored with the bundled trained model.

    python bench/mteb_msclap.py

The scores of the free tasks with the wrong rate, where `libre` is the folder of the free corpus:

    PYTHONPATH=bench aural evaluate --model mteb_msclap:rate_wrong --suite libre --data libre=libre --out wrong
    aural evaluate --model libre-base --suite libre --data libre=libre --out right && aural compare right wrong
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import aural
from aural.audio.io import read, write
from aural.cli.demo import bundled_sounds
from aural.core.types import Clip

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "golden"))
CAPTIONS = ROOT / "tests" / "golden" / "captions.json"


def wrong_rate(path: Path, factor_hz: tuple[int, int], rate_hz: int) -> Clip:
    """Return a sound resampled to `rate_hz` times the factor but declared as `rate_hz`."""
    played_hz = round(rate_hz * factor_hz[0] / factor_hz[1])
    return Clip(read(path, sample_rate_hz=played_hz, mono=True).samples, rate_hz)


class WrongRate:
    """A model that reads every sound at 48/44.1 of its rate, as mteb's wrapper passed them to msclap."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    def embed_audio(self, clips: Any, **options: Any) -> Any:
        """Return the vectors (N, E) of sounds that play 8.8% too slowly."""
        rate_hz = self.model.sample_rate_hz
        return self.model.embed_audio([wrong_rate(clip, (48000, 44100), rate_hz) for clip in clips], **options)


def rate_wrong() -> WrongRate:
    """Return the bundled model with the wrong rate."""
    return WrongRate(aural.load("libre-base", device="cpu"))


def summary(right: Any, wrong: Any) -> dict[str, float]:
    """Return the cosines of pairs of rows, and the share of rows whose nearest other row changes."""
    cosines = (right * wrong).sum(1)
    nearest = [np.argmax(rows @ rows.T - 2 * np.eye(len(rows)), axis=1) for rows in (right, wrong)]
    between = right @ right.T - np.eye(len(right))
    return {
        "count": len(right),
        "mean": float(cosines.mean()),
        "least": float(cosines.min()),
        "mean_between_items": float(between.sum() / (len(right) * (len(right) - 1))),
        "nearest_changes": float((nearest[0] != nearest[1]).mean()),
    }


def msclap(files: list[Path], texts: list[str]) -> dict[str, Any]:
    from random_weights import write_checkpoint

    with tempfile.TemporaryDirectory() as folder:
        model = aural.load(write_checkpoint("msclap_2023", folder), engine="torch", device="cpu")
        right = model.embed_audio(files, longer="first")
        wrong = model.embed_audio([wrong_rate(file, (48000, 44100), 44100) for file in files], longer="first")
        with_end = model.embed_text(texts)
        model.tokenizer.suffix = ""
        without = model.embed_text(texts)
    return {
        "48 kHz read as 44.1 kHz": summary(right, wrong),
        "text without its end token": summary(with_end, without),
    }


def libre_small(truth: dict[Path, str], labels: list[str]) -> dict[str, Any]:
    model = aural.load("libre-small", device="cpu")
    files = list(truth)
    rows = {"right": model.embed_audio(files)}
    with tempfile.TemporaryDirectory() as folder:
        wrong = [wrong_rate(file, (48000, 44100), model.sample_rate_hz) for file in files]
        paths = [write(Path(folder) / f"{i}.wav", clip, subtype="FLOAT") for i, clip in enumerate(wrong)]
        rows["rate wrong by 48/44.1"] = model.embed_audio(paths)
    classifier = model.classifier(labels)
    expected = [labels.index(label) for label in truth.values()]
    scored = {name: float((classifier.scores(v).argmax(1) == expected).mean()) for name, v in rows.items()}
    return {"accuracy": scored, "vectors": summary(*rows.values())}


def main() -> None:
    """Print one JSON object."""
    truth, labels = bundled_sounds()
    captions = json.loads(CAPTIONS.read_text(encoding="utf-8"))
    texts = sorted({text for text in _strings(captions) if text})[:200]
    print(
        json.dumps(
            {"msclap 2023, random": msclap(list(truth), texts), "libre-small": libre_small(truth, labels)}, indent=2
        )
    )


def _strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    parts = list(value.values()) if isinstance(value, dict) else value
    if not isinstance(parts, list):
        return []
    return [text for part in parts for text in _strings(part)]


if __name__ == "__main__":
    main()
