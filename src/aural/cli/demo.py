"""`aural demo`: classify the bundled sounds with the default model and print right and wrong answers."""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path

from aural.cli.files import json_line
from aural.cli.options import EngineOption, JsonOption, ModelOption, ModelOptions, OfflineOption
from aural.core.errors import DataError
from aural.core.names import DEFAULT_MODEL
from aural.core.printable import safe_print as print
from aural.core.weights import weight_cards


def bundled_sounds() -> tuple[dict[Path, str], list[str]]:
    """Return the bundled sound files with their true labels, and the list of all labels to choose from."""
    folder = Path(str(resources.files("aural"))) / "sounds"
    values = tomllib.loads((folder / "sounds.toml").read_text(encoding="utf-8"))
    truth = {folder / f"{name}.ogg": sound["label"] for name, sound in values["sounds"].items()}
    return truth, sorted([*truth.values(), *values["distractors"]])


def demo(
    model: ModelOption = DEFAULT_MODEL,
    engine: EngineOption = "auto",
    offline: OfflineOption = False,
    as_json: JsonOption = False,
) -> None:
    """Classify the bundled sounds with the bundled model."""
    truth, labels = bundled_sounds()
    loaded = ModelOptions(engine=engine, offline=offline).open(model)
    classifier = loaded.classifier(labels)
    right = 0
    if not as_json:
        print(f"{len(truth)} sounds, {len(labels)} labels to choose from, model {model}\n")
    for result, (file, label) in zip(loaded.stream_audio(truth), truth.items(), strict=True):
        if result.error is not None or result.embedding is None:
            raise result.error or DataError(f"{file}: no embedding was computed")
        best = classifier.predict(result.embedding, 3)
        right += best[0].label == label
        if as_json:
            predictions = [{"label": p.label, "score": round(p.score, 6)} for p in best]
            print(json_line({"file": file.name, "truth": label, "predictions": predictions}))
        else:
            mark = "+" if best[0].label == label else "-"
            print(f"{mark} {file.name:<24} " + "   ".join(f"{p.label} {100 * p.score:.0f}%" for p in best))
    if not as_json:
        print(f"\n{right} of {len(truth)} right.")
        card = weight_cards().get(model)
        if card is not None and card.status != "published":
            print(f"{card.name}: {card.notes}")
        folder = next(iter(truth)).parent
        print(f"These sounds are in {folder}. Now classify your own sounds:")
        print('aural classify FILES_OR_DIRS --labels "a dog barking,rain"')
