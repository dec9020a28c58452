"""Retrieval scores of stored vectors by laion-clap's own evaluation: writes retrieval.npz (vectors and its numbers).

    .peers/bin/python tests/golden/make_retrieval.py

`training.train.evaluate_clotho_audiocaps` is the package's code for Clotho and AudioCaps (five captions a clip); its
"model" here only hands over the stored vectors.
"""

from __future__ import annotations

import contextlib
import sys
import types
from importlib import metadata, util
from pathlib import Path

import numpy as np
import torch

CLIPS, CAPTIONS, DIM = 40, 5, 24


def stored() -> tuple[np.ndarray, np.ndarray]:
    """Sounds (40, 24) and captions (200, 24), five a sound and near it."""
    generator = np.random.default_rng(6)
    audio = generator.standard_normal((CLIPS, DIM))
    text = np.repeat(audio, CAPTIONS, axis=0) + 1.6 * generator.standard_normal((CLIPS * CAPTIONS, DIM))
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (audio, text)]
    return unit[0].astype(np.float32), unit[1].astype(np.float32)


def main() -> None:
    folder = Path(next(iter(util.find_spec("laion_clap").submodule_search_locations)))
    sys.path.insert(0, str(folder))
    sys.modules.setdefault("wandb", types.ModuleType("wandb"))
    for name in (
        "clap_module",
        "training.distributed",
    ):  # what the module imports besides and this function never calls
        sys.modules[name] = types.ModuleType(name)
    sys.modules["clap_module"].ClipLoss = sys.modules["clap_module"].gather_features = None
    sys.modules["training.distributed"].is_master = None
    sys.modules["clap_module"].tokenize = lambda texts: torch.zeros(len(texts), 1)
    from training.train import evaluate_clotho_audiocaps

    audio, text = stored()

    def model(sounds: object, texts: object, device: object) -> object:
        if sounds is None and texts is None:
            return torch.tensor(1.0), torch.tensor(1.0)
        return torch.from_numpy(audio if sounds is not None else text)

    batch = {"full_text": [["x"] * CAPTIONS] * CLIPS, "__url__": ["a/clotho/test/0.tar"] * CLIPS}
    data = {"val": types.SimpleNamespace(dataloader=[batch])}
    args = types.SimpleNamespace(tmodel="transformer")
    found = evaluate_clotho_audiocaps(model, data, 0, args, contextlib.nullcontext, torch.device("cpu"))
    (numbers,) = found.values() if all(isinstance(value, dict) for value in found.values()) else (found,)
    origin = f"laion-clap {metadata.version('laion-clap')}, training/train.py, evaluate_clotho_audiocaps"
    scores = {str(name).rpartition("/")[2]: float(value) for name, value in numbers.items()}
    print(scores)
    out = Path(__file__).with_name("retrieval.npz")
    np.savez_compressed(
        out, audio=audio, text=text, origin=origin, names=list(scores), values=np.array(list(scores.values()))
    )


if __name__ == "__main__":
    main()
