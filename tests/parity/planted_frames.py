"""A PE-A-Frame folder with random towers whose text head is solved so that two texts answer to parts of one sound.

    python tests/parity/planted_frames.py FOLDER

writes FOLDER/model and FOLDER/scene.wav, and prints the command of `aural locate` that reports the parts.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import soundfile
import torch
from safetensors.torch import load_file, save_file
from transformers_folders import write_pe_audio

import aural
from aural.core.names import DEFAULT_TEMPLATE

RATE_HZ, SECONDS, LOGIT = 48000, 6.0, 4.0
PARTS = {"heavy rain": (1.0, 2.0), "a whistle": (3.0, 5.0)}
"""Text -> onset and offset in seconds of its part of the scene."""


def scene(path: Path) -> Path:
    """Write a scene of weak noise with loud noise and a tone in the parts."""
    times_s = np.arange(round(RATE_HZ * SECONDS)) / RATE_HZ
    noise = np.random.default_rng(0).standard_normal(len(times_s))
    rain, tone = ((times_s >= start) & (times_s < stop) for start, stop in PARTS.values())
    wave = 0.002 * noise + 0.3 * noise * rain + 0.3 * np.sin(2 * np.pi * 880 * times_s) * tone
    soundfile.write(path, wave.astype(np.float32), RATE_HZ, subtype="FLOAT")
    return path


def plant(folder: Path, sound: Path) -> None:
    """Replace the text head by the one whose logits on the sound's frames are closest to +4 in a part and -4 elsewhere.

    The least-squares directions of the frames, and the smallest matrix that maps the texts' states to them.
    """
    model = aural.load(folder, device="cpu")
    frames = list(model.frames(sound))
    vectors = np.concatenate([part.vectors for part in frames]).astype(np.float64)  # (F, E)
    middles_s = np.concatenate([part.times_s for part in frames]).mean(1)
    inside = np.stack([(middles_s > start) & (middles_s < stop) for start, stop in PARTS.values()], 1)
    logits = (np.where(inside, LOGIT, -LOGIT) - model.logit_bias) / model.logit_scale
    directions = np.linalg.lstsq(vectors, logits, rcond=1e-6)[0]  # (E, texts)
    tokens = model.tokenizer([DEFAULT_TEMPLATE.format(text) for text in PARTS])
    with model.computing():
        out = model.text_model(input_ids=tokens.ids, attention_mask=tokens.mask, output_hidden_states=True)
        states = model.text_head.layer_norm(out.hidden_states[-1][:, 0]).numpy()  # (texts, E)
    file = folder / "model.safetensors"
    matrix = torch.from_numpy((directions @ np.linalg.pinv(states.T)).astype(np.float32))
    save_file(load_file(file) | {"text_audio_head.proj.weight": matrix}, file, metadata={"format": "pt"})


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_pe_audio(folder / "model")
    plant(folder / "model", scene(folder / "scene.wav"))
    texts = " ".join(f'-t "{text}"' for text in PARTS)
    print(f"aural locate {folder / 'scene.wav'} {texts} --model {folder / 'model'}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
