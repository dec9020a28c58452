"""Train `libre-base`: the tower of libre-small with the frozen tagger YAMNet as a second branch.

    aural corpus build libre --out libre
    python tools/tune_libre_base.py libre/manifest.parquet tuned --plan tools/tune_libre_base.json
    python tools/make_libre_base.py libre/manifest.parquet base --features base.npz \\
        --tuned tuned/frozen-branch.safetensors

The second command updates the text tower together with the towers of sound (on a GPU). The third trains the mixture on
features that are computed once (about 45 ms of one core per window of 5 s): a ridge regression from YAMNet's features
to the mean sentence vector of a clip's captions in closed form, then steps of InfoNCE against captions, of
cross-entropy against class names, and of cross-entropy of YAMNet's classes against their names. For half of the clips
libre-small's embedding, which was trained on them before, is left out. The temperature and the least cosine of a match
are chosen on the validation split. Test splits are not read.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, log_softmax

from aural.audio.length import windows
from aural.audio.mel import PRESETS
from aural.core.errors import ConfigError
from aural.core.files import atomic_write
from aural.core.weights import weight_card
from aural.data.manifest import TRAINING_SPLITS, Manifest, Row, read_manifest
from aural.models.clap import AudioTower, ClapConfig, TaggedBranchConfig
from aural.models.format import LazyTensors, save_own
from aural.models.load import load
from aural.models.onnx_export import export_onnx
from aural.models.packaged import MINILM, PackagedBranch
from aural.models.pipeline import Model
from aural.models.prefix import strip_prefix
from aural.models.rounding import in_steps
from aural.models.tagger import Tagger
from aural.models.weight_files import read_safetensors
from aural.nn.functional import unit

WINDOWS_A_CLIP = 2
UNFAMILIAR = ("enigma", "flare", "foobillardplus", "freedroidrpg", "openarena", "plee-the-bear", "sound-icons")
"""Sources that are not used, because most of the 129 sounds by which models are chosen are clips of them."""
FLOOR = math.log(0.001)
RIDGE, MIX = 0.3, (0.75, 1.0, 0.15)
SHIPPED_MIX = (0.5, 1.0, 0.15)
"""Set after training. Of 24 mixtures it has the highest mean reciprocal rank on average over the validation split and
129 sounds, with 53 names, of packages that no model here was trained on (docs/models.md)."""
STEPS, WARMUP, BATCH, RATE, DROPOUT = 400, 30, 256, 3e-3, 0.2
LEFT_OUT = 0.5
"""Share of clips of a batch for which libre-small's embedding is left out."""
CLASSES, TAGS = 0.5, 0.5
"""Weights of the cross-entropies against the names of the corpus's classes and of YAMNet's."""
DECAY = 0.99
"""Of the averaged weights, which are kept."""
TAGGER = ("audio.branch.encoder.", "audio.branch.classes.")
CLOSENESS = (0.0, 0.0, 5.0, 12.0)
"""How strongly the drawn classes resemble that of the clip, for the temperature."""
RECALL = 0.7
"""Share of validation clips whose best class among ten has the least cosine of a match."""


@dataclass
class Windows:
    """Features of windows: those of libre-small (N, 320), then YAMNet's (N, 1024); `clip` numbers the paths."""

    paths: list[str]
    clip: np.ndarray
    features: np.ndarray

    @staticmethod
    def read(file: Path) -> Windows:
        with np.load(file) as stored:
            return Windows(stored["paths"].tolist(), stored["clip"], stored["features"].astype(np.float32))


def config_of(small: ClapConfig) -> ClapConfig:
    """Return libre-small's config with the branch."""
    options = {"hop_frames": 100, "floor": FLOOR}
    branch = TaggedBranchConfig(mel=PRESETS["yamnet-24k"], encoder="mobilenet", encoder_options=options, classes=521)
    return small.model_copy(update={"audio": small.audio.model_copy(update={"branch": branch})})


def assemble(small: Model, tagger: Tagger, names: np.ndarray, tuned: dict[str, Tensor]) -> AudioTower:
    """Return the tower before training, with the class names' vectors (521, E) in `names`, and the tuned tagger."""
    tower = AudioTower(config_of(small.config).audio, small.embed_dim)
    state = tower.state_dict() | strip_prefix(small.checkpoint.tensors, "audio.")
    state |= {f"branch.encoder.{k}": t for k, t in tagger.network.network.encoder.state_dict().items()}
    state |= {f"branch.classes.{k}": t for k, t in tagger.network.classes.state_dict().items()}
    state |= {k.removeprefix("audio."): t.float() for k, t in tuned.items() if k.startswith(TAGGER)}
    state["branch.names.weight"], state["branch.mix"] = torch.from_numpy(names.T.copy()), torch.tensor(MIX)
    tower.load_state_dict(state, strict=True)
    return tower.eval()


def compute(tower: AudioTower, manifest: Manifest, file: Path) -> None:
    """Compute the features of the first windows of every training and validation clip and write them to `file`."""
    rows = [row for row in manifest if row.split in TRAINING_SPLITS and row.source not in UNFAMILIAR]
    audio, found, clip = tower.config, [], []
    for number, row in enumerate(rows):
        waves = windows(manifest.file(row), audio.sample_rate_hz, audio.window_s, shorter=audio.shorter)
        wave = torch.from_numpy(np.stack([window.samples for window in islice(waves, WINDOWS_A_CLIP)]))
        with torch.inference_mode():
            parts = [tower.encoder(tower.front_end(wave)).pooled, tower.branch(wave)]
        found.append(torch.cat(parts, dim=1).numpy().astype(np.float16))
        clip += [number] * len(wave)
    with atomic_write(file, ConfigError) as part, part.open("wb") as out:
        np.savez(out, paths=[row.path for row in rows], clip=clip, features=np.concatenate(found))


def captions_of(row: Row) -> list[str]:
    return [text for text in (row.caption_label, row.caption_short, row.caption_detailed) if text]


def ridge(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return W (D, E) and b (E,) of the weighted ridge regression y ~ x W + b on standardized features."""
    weight = weight / weight.sum()
    mean_x, mean_y = weight @ x, weight @ y
    scale = np.sqrt(weight @ np.square(x - mean_x)) + 1e-3
    z = (x - mean_x) / scale * np.sqrt(weight)[:, None]
    gram = z.T @ z + RIDGE * np.eye(x.shape[1])
    w = np.linalg.solve(gram, z.T @ ((y - mean_y) * np.sqrt(weight)[:, None])) / scale[:, None]
    return w, mean_y - mean_x @ w


class Trainer:
    """The training clips of a manifest with their features and the vectors of their captions and classes."""

    def __init__(self, model: Model, tower: AudioTower, manifest: Manifest, stored: Windows) -> None:
        rows = {row.path: row for row in manifest}
        self.tower, self.stored = tower, stored
        self.rows = [rows[path] for path in stored.paths]
        self.windows: dict[int, list[int]] = {}
        for number, clip in enumerate(stored.clip):
            if captions_of(self.rows[clip]):
                self.windows.setdefault(int(clip), []).append(number)
        split = {name: [c for c in self.windows if self.rows[c].split == name] for name in TRAINING_SPLITS}
        self.train, self.valid = (np.array(split[name]) for name in TRAINING_SPLITS)
        texts = sorted({text for clip in self.windows for text in captions_of(self.rows[clip])})
        self.texts = dict(zip(texts, torch.from_numpy(model.embed_text(texts)), strict=True))
        self.classes = sorted({self.rows[clip].class_name for clip in self.windows} - {""})
        self.prompts = torch.from_numpy(model.embed_text([f"the sound of {name}" for name in self.classes]))
        with torch.inference_mode():
            small = tower.projection(torch.from_numpy(stored.features[:, : tower.encoder.dim]))
        self.small, self.heard = small.clone(), torch.from_numpy(stored.features[:, tower.encoder.dim :])
        self.names = tower.branch.names.weight.detach().T.clone()
        with torch.inference_mode():
            scores = tower.branch.classes(self.heard).sigmoid()
        self.scores = scores.clone()
        counts = Counter(self.rows[clip].class_name for clip in self.train)
        weight = [1 / math.sqrt(counts[self.rows[c].class_name] if self.rows[c].class_name else 50) for c in self.train]
        self.weight = np.array(weight) / np.sum(weight)

    def start(self) -> None:
        """Solve the linear map."""
        targets = [unit(torch.stack([self.texts[t] for t in captions_of(self.rows[c])]).mean(0)) for c in self.train]
        number = np.concatenate([[i] * len(self.windows[c]) for i, c in enumerate(self.train)])
        chosen = np.concatenate([self.windows[c] for c in self.train])
        share = np.array([1 / len(self.windows[c]) for c in self.train])
        x = np.log1p(self.stored.features[chosen, self.tower.encoder.dim :].clip(0).astype(np.float64))
        w, b = ridge(x, torch.stack(targets).numpy()[number], (self.weight * share)[number])
        linear = self.tower.branch.linear
        linear.weight.data, linear.bias.data = torch.tensor(w.T).float().contiguous(), torch.tensor(b).float()

    def fit_all(self, seeds: int) -> None:
        """Train from the closed form with seeds 0, 1, ... and keep the mean of the weights. Wortsman et al. (2022)."""
        branch = self.tower.branch
        start = {name: tensor.clone() for name, tensor in branch.state_dict().items()}
        ends = []
        for seed in range(seeds):
            branch.load_state_dict(start)
            self.fit(seed)
            ends.append({name: tensor.clone() for name, tensor in branch.state_dict().items()})
        branch.load_state_dict({name: torch.stack([end[name] for end in ends]).mean(0) for name in start})

    def fit(self, seed: int) -> None:
        """Train the linear map and the names and keep their averaged values."""
        numbers = np.random.default_rng(seed)
        generator = torch.Generator().manual_seed(seed)
        branch = self.tower.branch
        log_scale = nn.Parameter(torch.tensor(math.log(20.0)))
        parameters = [*branch.linear.parameters(), branch.names.weight, log_scale]
        average = [p.detach().clone() for p in parameters]
        optimizer = torch.optim.AdamW(parameters, lr=RATE, weight_decay=1e-3)
        for step in range(STEPS):
            for group in optimizer.param_groups:
                group["lr"] = RATE * min(1, (step + 1) / WARMUP) * (0.5 + 0.5 * math.cos(math.pi * step / STEPS))
            batch = self.train[numbers.choice(len(self.train), BATCH, p=self.weight)]
            loss = self.loss(batch, log_scale.exp().clamp(max=60), numbers, generator)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            decay = min(DECAY, (step + 1) / (step + 10))
            torch._foreach_lerp_(average, [p.detach() for p in parameters], 1 - decay)
        for parameter, value in zip(parameters, average, strict=True):
            parameter.data.copy_(value)

    def loss(
        self, batch: np.ndarray, scale: Tensor, numbers: np.random.Generator, generator: torch.Generator
    ) -> Tensor:
        """Return the loss of a batch of clips (B,), one window and one caption of each."""
        chosen = [numbers.choice(self.windows[c]) for c in batch]
        heard = self.heard[chosen]
        kept = torch.rand(heard.shape, generator=generator) >= DROPOUT
        small = self.small[chosen] * (torch.rand((len(batch), 1), generator=generator) >= LEFT_OUT)
        rows = unit(self.tower.branch.mixed(small, heard, heard * kept / (1 - DROPOUT)))
        texts = torch.stack([self.texts[numbers.choice(captions_of(self.rows[c]))] for c in batch])
        named = np.array([self.rows[c].class_name for c in batch])
        spoken = np.array([self.rows[c].language for c in batch])
        same = (named[:, None] == named[None]) & (named != "")[:, None] & (spoken[:, None] == spoken[None])
        same &= ~np.eye(len(batch), dtype=bool)
        cosines = (scale * rows @ texts.T).masked_fill(torch.from_numpy(same), -1e4)
        truth = torch.arange(len(batch))
        loss = (cross_entropy(cosines, truth) + cross_entropy(cosines.T, truth)) / 2
        target = torch.tensor([self.classes.index(name) for name in named if name])
        loss = loss + CLASSES * cross_entropy(scale * rows[torch.from_numpy(named != "")] @ self.prompts.T, target)
        scores = self.scores[chosen]
        names = log_softmax(scale * rows @ self.names.T, dim=1)
        return loss - TAGS * (scores * names).sum() / scores.sum()

    def validate(self) -> dict[str, float]:
        """Return the scores on the validation clips among all classes, and the scale with the least cross-entropy."""
        clips = [c for c in self.valid if self.rows[c].class_name]
        with torch.inference_mode():
            rows = unit(self.tower.branch.add_to(self.small, self.heard))
            mean = unit(torch.stack([rows[self.windows[c]].mean(0) for c in clips]))
        truth = torch.tensor([self.classes.index(self.rows[c].class_name) for c in clips])
        return validation_scores(mean, self.prompts, truth)


def validation_scores(rows: Tensor, prompts: Tensor, truth: Tensor) -> dict[str, float]:
    """Return scores of unit embeddings (N, E) among classes with `prompts` (K, E), their numbers in `truth` (N,).

    The scale is that with the least cross-entropy.
    """
    cosines = rows @ prompts.T
    rank = (cosines > cosines.gather(1, truth[:, None])).sum(1) + 1.0
    losses = losses_of_scales(cosines.numpy(), truth.numpy(), (prompts @ prompts.T).numpy())
    best = min(losses, key=lambda s: losses[s])
    top1, mrr = float((rank == 1).float().mean()), float((1 / rank).mean())
    scores = {"clips": len(rows), "top1": top1, "mrr": mrr, "cross_entropy": losses[best], "scale": best}
    return scores | least_cosine(cosines.numpy(), truth.numpy())


def losses_of_scales(cosines: np.ndarray, truth: np.ndarray, alike: np.ndarray, draws: int = 20) -> dict[float, float]:
    """Return the mean cross-entropy at each scale, from cosines (N, K) with all classes.

    A clip is asked `draws` times about its class and 3 to 59 others (evenly in the logarithm), drawn at random
    or by the cosines `alike` (K, K) of the classes' prompts: users ask about few labels, often of one kind.
    """
    numbers = np.random.default_rng(0)
    scales = [5 + s / 2 for s in range(111)]
    total = np.zeros(len(scales))
    for row, correct in zip(cosines, truth, strict=True):
        others = np.delete(np.arange(len(row)), correct)
        for _ in range(draws):
            share = np.exp(numbers.choice(CLOSENESS) * alike[correct, others])
            count = min(int(np.exp(numbers.uniform(math.log(3), math.log(60)))), len(others))
            drawn = row[numbers.choice(others, count, replace=False, p=share / share.sum())]
            total += np.log1p(np.exp(np.outer(scales, drawn - row[correct])).sum(1))
    return dict(zip(scales, total / (len(cosines) * draws), strict=True))


def least_cosine(cosines: np.ndarray, truth: np.ndarray, labels: int = 10, draws: int = 200) -> dict[str, float]:
    """Return the least cosine of a match and the share of false matches at it, from cosines (N, K) with all classes.

    A clip is asked about `labels` classes, drawn `draws` times: once with its class among them, which is a match, and
    once without, which is none. The least cosine accepts `RECALL` of the matches.
    """
    numbers, present, absent = np.random.default_rng(0), [], []
    for row, correct in zip(cosines, truth, strict=True):
        others = np.delete(row, correct)
        drawn = np.stack([numbers.choice(others, labels, replace=False) for _ in range(draws)])
        absent.append(drawn.max(1))
        present.append(np.maximum(drawn[:, 1:].max(1), row[correct]))
    least = float(np.quantile(np.concatenate(present), 1 - RECALL))
    return {"least_cosine": least, "false_matches": float((np.concatenate(absent) >= least).mean())}


def with_tuned(small: Model, tuned: dict[str, Tensor]) -> Model:
    """Return libre-small with the text tower's updates and the projection that a run of tune_libre_base.py saved."""
    parts = {k: t for k, t in tuned.items() if k.startswith(("text.", "audio.projection."))}
    tensors = read_safetensors(weight_card("libre-small").bundled() / "model.safetensors") | parts
    tensors |= MINILM.tensors(small.config)
    checkpoint = dataclasses.replace(small.checkpoint, tensors=LazyTensors(tensors, int8=True))
    return Model(checkpoint, name="tuned libre-small")


def store_integers(file: Path) -> None:
    """Store the matrices of the audio tower as int8, since they are rounded when the model is opened."""
    tensors = load_file(file)
    audio = {name: tensors.pop(name) for name in list(tensors) if name.startswith("audio.")}
    with atomic_write(file, ConfigError) as part:
        save_file(tensors | in_steps(audio), part, metadata={"format": "pt"})


def write_bundle(
    out: Path,
    config: ClapConfig,
    stored: Mapping[str, Tensor],
    *,
    source: str,
    least_cosine: float,
    branch_from: PackagedBranch | None = None,
) -> None:
    """Write a bundled model and its graphs to `out`, whose README.md, if there is one, stays as the model card."""
    readme = out / "README.md"
    save_own(
        out,
        config,
        stored,
        source=source,
        card=readme.read_text(encoding="utf-8") if readme.is_file() else f"# {out.name}\n",
        dtype=torch.float16,
        text_from=MINILM,
        branch_from=branch_from,
        int8=True,
        least_cosine=round(least_cosine, 3),
    )
    store_integers(out / "model.safetensors")
    export_onnx(out, out, bare=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--features", type=Path, required=True, help="file of the features, written if missing")
    parser.add_argument("--tuned", type=Path, help="file of tune_libre_base.py; default: libre-small as it is")
    parser.add_argument("--seeds", type=int, default=3, help="the shipped weights are the mean of these runs")
    options = parser.parse_args()
    torch.set_num_threads(1)
    small, tagger = load("libre-small", engine="torch", device="cpu"), load("yamnet", engine="torch", device="cpu")
    assert isinstance(tagger, Tagger)
    tuned = read_safetensors(options.tuned) if options.tuned else {}
    if tuned:
        small = with_tuned(small, tuned)
    manifest = read_manifest(options.manifest)
    names = small.embed_text([f"the sound of {name.lower()}" for name in tagger.classes])
    tower = assemble(small, tagger, names, tuned)
    if not options.features.is_file():
        compute(tower, manifest, options.features)
    trainer = Trainer(small, tower, manifest, Windows.read(options.features))
    trainer.start()
    before = trainer.validate()
    trainer.fit_all(options.seeds)
    tower.branch.mix.data = torch.tensor(SHIPPED_MIX)
    scores = trainer.validate()
    print(json.dumps({"train": len(trainer.train), "start": before, "trained": scores}))
    card = weight_card("yamnet")
    branch_from = PackagedBranch(
        module="aural", file=f"{card.folder}/model.safetensors", sha256=str(card.sha256), install="aural"
    )
    config = config_of(small.config)
    assert isinstance(small.checkpoint.tensors, LazyTensors)
    stored = dict(small.checkpoint.tensors.stored)
    stored |= {f"audio.branch.{k}": t for k, t in tower.branch.state_dict().items()}
    stored["logit_scale"] = torch.tensor(math.log(scores["scale"]))
    write_bundle(
        options.out,
        config,
        stored,
        source=f"libre-small and yamnet, tools/make_libre_base.py, {options.seeds} seeds, {len(trainer.train)} clips",
        least_cosine=scores["least_cosine"],
        branch_from=None if any(name.startswith(TAGGER) for name in tuned) else branch_from,
    )


if __name__ == "__main__":
    main()
