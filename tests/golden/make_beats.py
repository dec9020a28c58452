"""Run BEATs on random weights and write what it gives: layouts/beats.txt and parity_beats.npz.

    .peers/bin/python tests/golden/make_beats.py [--full] [--out FOLDER]

The code is Microsoft's, as glap_model 0.0.13 carries it; the network is smaller than the published ones, or with
--full of their size (layouts/beats_full.txt, parity_beats_full.npz). An .npz holds

    audio_names (A,), audio (A, 96 or 768)           the mean of the states, one file per call, divided by its length
    mel (24, 128)                             the first frames of the normalized filter bank of the first file
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import soundfile
import torch
from beats_weights import CONFIG, FULL, RATE_HZ, SECONDS, beats_state, wave
from layouts import HERE, format_tensors


def main() -> None:
    from glap_model.models.audioencoders.beats.BEATs import BEATs, BEATsConfig

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=HERE)
    parser.add_argument("--full", action="store_true")
    arguments = parser.parse_args()
    out, name = arguments.out, "beats_full" if arguments.full else "beats"
    (out / "layouts").mkdir(parents=True, exist_ok=True)
    peer = BEATs(BEATsConfig(FULL if arguments.full else CONFIG)).eval()
    rows = [(key, tuple(value.shape), "f32") for key, value in peer.state_dict().items()]
    (out / "layouts" / f"{name}.txt").write_text(format_tensors(rows))
    peer.load_state_dict(beats_state(rows), strict=True)
    audio, mels = [], []
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        for sound in SECONDS:
            path = Path(folder) / "sound.wav"
            soundfile.write(path, wave(sound), RATE_HZ, subtype="FLOAT")
            samples = torch.from_numpy(soundfile.read(path, dtype="float32")[0])[None]
            mels.append(peer.preprocess(samples)[0].numpy())
            row = peer.extract_features(samples)[0].mean(1)[0].numpy()
            audio.append(row / np.linalg.norm(row))
    np.savez_compressed(
        out / f"parity_{name}.npz", audio_names=np.array(list(SECONDS)), audio=np.stack(audio), mel=mels[0][:24]
    )
    print(np.stack(audio).shape, mels[0].shape)


if __name__ == "__main__":
    main()
