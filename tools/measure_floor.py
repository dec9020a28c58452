"""Measure the least cosine of a match of a model, by which `--reject` answers "nothing matches".

    python tools/measure_floor.py libre/manifest.parquet MODEL [--write]

Only clips of the validation split with a class are read. A clip is asked about ten classes, once with its class among
them and once without; the least cosine accepts 70% of the matches (`make_libre_base.least_cosine`). With --write, MODEL
is a folder and its `config.json` receives the value.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from aural.audio.io import read
from aural.core.files import atomic_write
from aural.core.scoring import label_prompts
from aural.data.manifest import read_manifest
from aural.models.load import load
from make_libre_base import TRAINING_SPLITS, least_cosine


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("model", help="name or folder of a model")
    parser.add_argument("--write", action="store_true", help="store the value in the folder's config.json")
    options = parser.parse_args()
    manifest, model = read_manifest(options.manifest), load(options.model)
    named = [row for row in manifest if row.split in TRAINING_SPLITS and row.class_name]
    classes = sorted({row.class_name for row in named})
    clips = [row for row in named if row.split == "valid"]
    sounds = model.embed_audio(read(manifest.file(row)) for row in clips)
    truth = np.array([classes.index(row.class_name) for row in clips])
    scores = least_cosine(sounds @ model.embed_text(label_prompts(classes)).T, truth)
    print(json.dumps({"clips": len(clips), "classes": len(classes)} | scores))
    if options.write:
        path = Path(options.model) / "config.json"
        config = json.loads(path.read_text(encoding="utf-8")) | {"least_cosine": round(scores["least_cosine"], 3)}
        with atomic_write(path) as part:
            part.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
