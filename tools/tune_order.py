"""Teach the order of events to a model: residuals of low rank on the moment of its features and on its texts.

    aural corpus build libre --out libre
    python tools/tune_order.py libre FOLDER --model libre-base --hold 60 --out base

Loss: two sounds of the same events in both orders against their captions, text by sound and sound by text, plus `hold`
times the squared change of all other similarities, those of clips with their captions and prompts included, plus the
distance by which clips and these texts move. Nothing else of the model changes. Seeds 0, 1, ... are trained and
reported on validation sounds (with --test also on test sounds); seed 0 is written to --out: the model with both
residuals, in 8 bits, and its ONNX graphs. FOLDER keeps the vectors of sounds.
--kinds order,attribute also trains on sounds whose levels are exchanged, with "loud" and "quiet" in the captions.

The report has the accuracy of order (chance 0.50) of a caption in the simulator's words and of short ones, the same
with the sound of another quadruple, and recall and mean reciprocal rank of clips by captions, both ways.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from aural.core.config import read_mapping
from aural.core.errors import ConfigError
from aural.core.files import atomic_write, write_text
from aural.data.manifest import read_manifest
from aural.models.clap import AudioTower, ClapConfig
from aural.models.format import WEIGHTS, Header, LazyTensors
from aural.models.frame_calibration import weights_digest
from aural.models.load import load
from aural.models.onnx_export import export_onnx
from aural.models.pipeline import Model
from aural.models.prefix import strip_prefix
from aural.models.rounding import in_8_bits, in_steps
from aural.models.weight_files import read_safetensors
from aural.nn.functional import unit
from aural.nn.moment import MomentResidual
from aural.nn.projection import LowRank
from order_pairs import PARTS, Part, load_part

BATCH, STEPS, WARMUP, RATE, DECAY, RANK, FOCUS = 64, 400, 20, 3e-3, 0.05, 64, 2.0
STILL, SOUND_STILL = 3.0, 3.0
"""Weights of the squared distances by which captions and prompts of clips, and clips themselves, move."""
FLOOR = 0.3
"""Share of the mean size of all moments that is added to that of each feature before it is divided by it."""
RESIDUALS = ("audio.moment.", "text.projection.")


class OrderHeads(nn.Module):
    """Both residuals: of sounds, unit vectors (..., E) with moments (..., D), and of texts (..., E)."""

    def __init__(self, size: Tensor, embed_dim: int, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.moment = MomentResidual(len(size), RANK, embed_dim)
        self.words = LowRank(embed_dim)
        self.moment.scale.data = 1 / (size + FLOOR * size.mean())
        self.moment.scale.requires_grad_(False)
        nn.init.normal_(self.moment.up.weight, std=0.02)
        nn.init.normal_(self.words.up.weight, std=0.02)
        nn.init.zeros_(self.words.up.bias)
        self.log_scale = nn.Parameter(torch.tensor(math.log(20.0)))

    def audio(self, vectors: Tensor, moments: Tensor) -> Tensor:
        return unit(vectors + self.moment(moments))

    def text(self, vectors: Tensor) -> Tensor:
        return unit(self.words(vectors))

    @torch.no_grad()
    def rounded(self) -> OrderHeads:
        """Round the matrices as they are stored, and return self for inference."""
        for parameter in (self.moment.down.weight, self.moment.up.weight, self.words.down.weight, self.words.up.weight):
            parameter.copy_(torch.from_numpy(in_8_bits(parameter.numpy())))
        return self.eval()

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors under the names of a checkpoint."""
        parts = zip(RESIDUALS, (self.moment, self.words), strict=True)
        return {f"{prefix}{name}": t.detach() for prefix, part in parts for name, t in part.state_dict().items()}


def train(part: Part, kinds: list[str], seed: int, hold: float) -> OrderHeads:
    """Return residuals that were trained on the quadruples, with all other similarities held."""
    vectors, moments, captions = part.clips
    size = part.quadruples["order"][1].square().mean((0, 1)).sqrt()
    heads, rng = OrderHeads(size, vectors.shape[1], seed), np.random.default_rng(seed)
    optimizer = torch.optim.AdamW((p for p in heads.parameters() if p.requires_grad), lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / WARMUP, 0.5 * (1 + math.cos(math.pi * step / STEPS)))
    )
    for _ in range(STEPS):
        drawn = torch.from_numpy(rng.choice(len(vectors), BATCH, replace=False))
        plain = captions[drawn].flatten(0, 1)  # captions and prompts
        audio, text = heads.audio(vectors[drawn], moments[drawn]), heads.text(plain)
        loss = hold * (audio @ text.T - vectors[drawn] @ plain.T).square().mean()
        moved = (text - plain).square().sum(1).mean(), (audio - vectors[drawn]).square().sum(1).mean()
        loss = loss + STILL * moved[0] + SOUND_STILL * moved[1]
        for kind in kinds:
            loss = loss + quadruple_loss(heads, part.quadruples[kind], rng, hold)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return heads.rounded()


def quadruple_loss(
    heads: OrderHeads, quadruples: tuple[Tensor, Tensor, Tensor], rng: np.random.Generator, hold: float
) -> Tensor:
    """Return the loss of a batch of quadruples, one form of the captions of each."""
    sounds, moments, texts = quadruples
    drawn = torch.from_numpy(rng.choice(len(sounds), BATCH, replace=False))
    forms = torch.from_numpy(rng.integers(texts.shape[1], size=BATCH))
    plain, captions = sounds[drawn], texts[drawn, forms]
    now = similarities(heads.audio(plain, moments[drawn]), heads.text(captions))
    change = now - similarities(plain, captions)
    same = torch.eye(BATCH, dtype=torch.bool)
    held = change[~same].square().mean() + change[same].mean((1, 2)).square().mean()
    logits = heads.log_scale.exp() * now[same]  # (B, sound, caption)
    true = torch.arange(2).expand(BATCH, 2).flatten()
    focus = [cross_entropy(one.flatten(0, 1), true) for one in (logits, logits.transpose(1, 2))]
    return FOCUS * (focus[0] + focus[1]) / 2 + hold * held


def similarities(audio: Tensor, text: Tensor) -> Tensor:
    """Return (B, B, sound, caption) of rows (B, 2, E)."""
    return torch.einsum("qae,pte->qpat", audio, text)


@torch.no_grad()
def accuracies(heads: OrderHeads | None, quadruples: tuple[Tensor, Tensor, Tensor], shift: int = 0) -> list[float]:
    """Return how often the true caption has the higher cosine, of the simulator's words and of short captions.

    shift: give each quadruple the sounds of the one `shift` later. A tie counts half.
    """
    sounds, moments, texts = quadruples
    audio = sounds if heads is None else heads.audio(sounds, moments)
    fits = torch.einsum("qae,qfte->qfat", audio.roll(shift, 0), texts if heads is None else heads.text(texts))
    gain = torch.stack([fits[..., 0, 0] - fits[..., 0, 1], fits[..., 1, 1] - fits[..., 1, 0]], dim=-1)
    right = (gain.sign() + 1) / 2
    return [float(right[:, 0].mean()), float(right[:, 1:].mean())]


@torch.no_grad()
def recalls(heads: OrderHeads | None, clips: tuple[Tensor, Tensor, Tensor]) -> list[float]:
    """Return R@10 of clips by captions and of captions by clips, and the mean reciprocal ranks."""
    vectors, moments, texts = clips[0], clips[1], clips[2][:, 0]
    audio, text = (vectors, texts) if heads is None else (heads.audio(vectors, moments), heads.text(texts))
    similarity = text @ audio.T
    ranks = [(s > s.diagonal()[:, None]).sum(1) + 1.0 for s in (similarity, similarity.T)]
    return [float((rank <= 10).float().mean()) for rank in ranks] + [float((1 / rank).mean()) for rank in ranks]


def report(name: str, part: Part, heads: list[OrderHeads]) -> None:
    """Print the scores before and after."""
    for label, head in (("before", None), *((f"seed {seed}", one) for seed, one in enumerate(heads))):
        scores: dict[str, Any] = {kind: accuracies(head, one) for kind, one in part.quadruples.items()}
        scores["order, another sound"] = accuracies(head, part.quadruples["order"], shift=1)
        scores["R@10 and MRR of clips"] = recalls(head, part.clips)
        print(f"{name}, {label}:", {key: [round(x, 3) for x in values] for key, values in scores.items()}, flush=True)


def with_residuals(config: ClapConfig) -> ClapConfig:
    """Return the config with both residuals."""
    return config.model_copy(
        update={"audio": config.audio.model_copy(update={"moment": RANK}), "text_projection": "low-rank"}
    )


def without_residuals(model: Model) -> Model:
    """Return the model without the residuals of an earlier run of this tool."""
    tensors = model.checkpoint.tensors
    assert isinstance(tensors, LazyTensors)
    kept = {name: tensor for name, tensor in tensors.stored.items() if not name.startswith(RESIDUALS)}
    audio = model.config.audio.model_copy(update={"moment": 0})
    config = model.config.model_copy(update={"audio": audio, "text_projection": "none"})
    return Model(
        dataclasses.replace(model.checkpoint, config=config, tensors=LazyTensors(kept, tensors.int8)), name=model.name
    )


def write(source: Path, out: Path, heads: OrderHeads) -> None:
    """Write the model of a folder with the residuals to another folder, and its ONNX graphs."""
    header = Header.parse(read_mapping(source / "config.json"), str(source))
    made = f"{header.source.partition(', tools/tune_order.py')[0]}, tools/tune_order.py"
    header = header.model_copy(update={"clap": with_residuals(header.clap), "source": made})
    stored = {n: t.numpy() for n, t in read_safetensors(source / WEIGHTS).items() if not n.startswith(RESIDUALS)}
    out.mkdir(parents=True, exist_ok=True)
    new = in_steps({name: tensor.numpy() for name, tensor in heads.tensors().items()})
    with atomic_write(out / WEIGHTS, ConfigError) as part:
        save_file(stored | new, part, metadata={"format": "pt"})
    write_text(out / "config.json", json.dumps(header.model_dump(mode="json"), indent=2) + "\n", ConfigError)
    if out != source:
        write_text(out / "README.md", (source / "README.md").read_text(encoding="utf-8"), ConfigError)
    export_onnx(out, out, bare=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("folder", type=Path, help="Keeps the vectors of sounds.")
    parser.add_argument("--model", default="libre-base")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--hold", type=float, default=60.0)
    parser.add_argument("--kinds", default="order", help="order, or order,attribute")
    parser.add_argument("--test", action="store_true", help="Also report on test sounds.")
    parser.add_argument("--out", type=Path, help="Folder of the new model.")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    opened = load(arguments.model, engine="torch", device="cpu")
    source = opened.checkpoint.folder
    assert source is not None
    model = without_residuals(opened)
    tower = AudioTower(with_residuals(model.config).audio, model.embed_dim)
    missing = tower.load_state_dict(strip_prefix(model.checkpoint.tensors, "audio."), strict=False)
    assert all(name.startswith("moment.") for name in missing.missing_keys)
    assert not missing.unexpected_keys
    manifest, digest = read_manifest(arguments.corpus), weights_digest(source)[:8]
    arguments.folder.mkdir(parents=True, exist_ok=True)
    names = [name for name in PARTS if name != "test" or arguments.test]
    parts = {
        name: load_part(model, tower.eval(), manifest, arguments.folder / f"order-{name}-{digest}.npz", name)
        for name in names
    }
    heads = [train(parts["train"], arguments.kinds.split(","), seed, arguments.hold) for seed in range(arguments.seeds)]
    for name in names[1:]:
        report(name, parts[name], heads)
    if arguments.out:
        write(source, arguments.out, heads[0])


if __name__ == "__main__":
    main()
