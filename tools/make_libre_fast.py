"""Build `libre-fast`: the network of YAMNet, tuned as the student of libre-base, is its only tower of sound.

    aural corpus build libre --out libre
    python tools/tune_libre_base.py libre/manifest.parquet tuned --plan tools/tune_libre_fast.json
    python tools/make_libre_fast.py libre/manifest.parquet fast --student tuned/fast.safetensors

The second command trains the student (on a GPU); its text tower is that of libre-base. The third writes the model and
its graphs. The temperature and the least cosine of a match are chosen on the validation split.
"""

from __future__ import annotations

import argparse
import json
import math
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from aural.audio.length import windows
from aural.audio.mel import PRESETS
from aural.data.manifest import TRAINING_SPLITS, Manifest, read_manifest
from aural.models.clap import AudioConfig, AudioTower, ClapConfig
from aural.models.format import LazyTensors
from aural.models.load import load
from aural.models.low_rank import is_update
from aural.models.pipeline import Model
from aural.models.weight_files import read_safetensors
from aural.nn.functional import unit
from make_libre_base import FLOOR, WINDOWS_A_CLIP, captions_of, validation_scores, write_bundle

PARTS = (("audio.branch.encoder.", "encoder."), ("audio.branch.linear.", "projection."))
"""Where a student's run of tune_libre_base.py keeps the tensors of the tower, and their names there."""


def config_of(teacher: ClapConfig) -> ClapConfig:
    """Return the config of the student of a teacher."""
    options = {"hop_frames": 100, "floor": FLOOR}
    audio = AudioConfig(
        mel=PRESETS["yamnet-24k"], encoder="mobilenet", encoder_options=options, projection="log-linear",
        sample_rate_hz=teacher.audio.sample_rate_hz, window_s=teacher.audio.window_s, shorter=teacher.audio.shorter,
    )  # fmt: skip
    return teacher.model_copy(update={"audio": audio})


def tower_of(config: ClapConfig, student: dict[str, Tensor]) -> AudioTower:
    """Return the tower of sound with the tensors of a student's run."""
    tower = AudioTower(config.audio, config.embed_dim)
    state = tower.state_dict()
    for before, after in PARTS:
        state |= {f"{after}{name.removeprefix(before)}": t for name, t in student.items() if name.startswith(before)}
    tower.load_state_dict(state, strict=True)
    return tower.eval()


@torch.inference_mode()
def validate(tower: AudioTower, teacher: Model, manifest: Manifest) -> dict[str, float]:
    """Return the scores on the validation clips among all classes."""
    rows = [row for row in manifest if row.split in TRAINING_SPLITS and row.class_name and captions_of(row)]
    classes = sorted({row.class_name for row in rows})
    clips = [row for row in rows if row.split == "valid"]
    audio, vectors = tower.config, []
    for row in clips:
        waves = windows(manifest.file(row), audio.sample_rate_hz, audio.window_s, shorter=audio.shorter)
        wave = np.stack([window.samples for window in islice(waves, WINDOWS_A_CLIP)])
        vectors.append(unit(tower(torch.from_numpy(wave))).mean(0))
    prompts = torch.from_numpy(teacher.embed_text([f"the sound of {name}" for name in classes]))
    truth = torch.tensor([classes.index(row.class_name) for row in clips])
    return validation_scores(unit(torch.stack(vectors)), prompts, truth)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--student", type=Path, required=True, help="file of a run of tune_libre_base.py")
    options = parser.parse_args()
    torch.set_num_threads(1)
    teacher = load("libre-base", engine="torch", device="cpu")
    tensors = teacher.checkpoint.tensors
    assert isinstance(tensors, LazyTensors)
    config = config_of(teacher.config)
    tower = tower_of(config, read_safetensors(options.student))
    scores = validate(tower, teacher, read_manifest(options.manifest))
    print(json.dumps(scores))
    stored = {name: t for name, t in tensors.stored.items() if name.startswith("text.")}
    assert any(is_update(name) for name in stored)
    stored |= {f"audio.{name}": t for name, t in tower.state_dict().items()}
    stored["logit_scale"] = torch.tensor(math.log(scores["scale"]))
    write_bundle(
        options.out,
        config,
        stored,
        source="student of libre-base, tools/make_libre_fast.py",
        least_cosine=scores["least_cosine"],
    )


if __name__ == "__main__":
    main()
