"""Write parity/yamnet.npz: what TensorFlow Lite's reference kernels give for windows of real sounds.

    python -m venv .litert && .litert/bin/pip install ai-edge-litert==2.3.0 soundfile soxr
    .litert/bin/python tests/golden/make_yamnet.py yamnet.tflite

yamnet.tflite is lite-model_yamnet_classification_tflite_1 (sha256 10c95ea3...317de). One window of 15,600 samples is
taken from each bundled sound and the speech clip, in the middle. Stored are integers as the network has them: `input`
(the quantized log-mel), `features` (1,024), `logits` and `scores` (521), all int8, and `scores` of the optimized
kernels (XNNPACK), which differ from the reference kernels.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import numpy as np
import soundfile
import soxr
from ai_edge_litert.interpreter import Interpreter, OpResolverType

HERE = Path(__file__).resolve().parent
SOUNDS = HERE.parents[1] / "src" / "aural" / "sounds"
TENSORS = {"input": 28, "features": 115, "logits": 118, "scores": 119}
LENGTH, RATE_HZ = 15600, 16000


def window(file: Path) -> np.ndarray:
    """Return the middle 0.975 s of a sound at 16 kHz, with zeros after a shorter sound."""
    samples, rate_hz = soundfile.read(file, dtype="float32", always_2d=True)
    wave = soxr.resample(samples.mean(1), rate_hz, RATE_HZ)
    start = max(0, (len(wave) - LENGTH) // 2)
    wave = wave[start : start + LENGTH]
    return np.pad(wave, (0, LENGTH - len(wave))).astype(np.float32)


def run(path: Path, waves: list[np.ndarray], resolver: OpResolverType) -> dict[str, np.ndarray]:
    """Return the integers of each stored tensor, (N, ...)."""
    network = Interpreter(
        str(path), num_threads=1, experimental_op_resolver_type=resolver, experimental_preserve_all_tensors=True
    )
    network.allocate_tensors()
    rows: dict[str, list[np.ndarray]] = {name: [] for name in TENSORS}
    for wave in waves:
        network.set_tensor(0, wave)
        network.invoke()
        for name, index in TENSORS.items():
            rows[name].append(network.get_tensor(index).reshape(-1).copy())
    return {name: np.stack(row) for name, row in rows.items()}


if __name__ == "__main__":
    path = Path(sys.argv[1])
    assert hashlib.sha256(path.read_bytes()).hexdigest().startswith("10c95ea3")
    files = [*sorted(SOUNDS.glob("*.ogg")), HERE / "audio" / "speech.wav"]
    waves = [window(file) for file in files]
    stored = run(path, waves, OpResolverType.BUILTIN_REF)
    optimized = run(path, waves, OpResolverType.AUTO)
    np.savez_compressed(
        HERE / "parity" / "yamnet.npz",
        files=[file.name for file in files],
        optimized_scores=optimized["scores"],
        **stored,
    )
