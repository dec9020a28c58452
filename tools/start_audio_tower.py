"""Try self-supervised encoders as start of an audio tower for `libre-base`, alone and next to YAMNet's branch.

    aural corpus build libre --out libre
    python tools/start_audio_tower.py libre/manifest.parquet tried --views views.safetensors

An encoder reads the log-mel of YAMNet's branch. It is trained without captions on the training clips, by masked
contrast (a transformer) or by prediction of the next steps (a recurrent unit), or keeps its random weights. Then each
arm is trained with captions and class names against the frozen text vectors of `libre-base`, all with the same
settings:

    yamnet                a linear map on the frozen features of YAMNet's tower
    KIND-random           the encoder from random weights and a linear map
    KIND-start            the encoder from its pretraining and a linear map
    yamnet+KIND-random    both features side by side, the encoder from random weights
    yamnet+KIND-start     both features side by side, the encoder from its pretraining

KIND is masked-contrast or next-step. Validation clips are scored among all classes, and the clips of --dev among
their classes: top-1 accuracy of class names, and recall at 10 of clips for captions if they have any. The shipped
libre-base is scored too, but it was trained on the same clips with more texts, names and steps. `--compare` prints
the differences of stored scores with 95% intervals. An arm whose scores are stored is not trained again.

Legend: B clips, N frames, F bands, D features, E joint dimensions.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from aural.data.manifest import read_manifest
from aural.encoders.sequence import SequenceEncoder
from aural.evaluate.stats import paired_mean_interval, t_interval
from aural.models.load import load
from aural.models.tagger import Tagger
from aural.nn.functional import unit
from aural.train.systems.self_supervised import SelfSupervised, SelfSupervisedConfig
from make_libre_base import captions_of
from tune_libre_base import PROMPTS, VERSIONS, Trainer, chosen_rows, ranked
from tune_model import Run, assemble, bundled, put
from tune_sounds import first_windows, masked
from tune_views import Views

KINDS = {
    "masked-contrast": {
        "context": "transformer",
        "quantizer": {"kind": "gumbel", "groups": 2, "codes": 64},
        "pretexts": [{"name": "masked-contrast"}],
    },
    "next-step": {
        "context": "recurrent",
        "quantizer": None,
        "pretexts": [{"name": "next-step", "options": {"predictor": "transformer"}}],
    },
}
SIZES = {"n_mels": 64, "dim": 192, "depth": 3, "heads": 4, "hidden_dim": 384, "stride": 2}
CROP = 320
"""Frames of 10 ms that a step of pretraining sees of a clip."""
RATE = 1e-3
CLASSES = 0.5
"""Weight of the cross-entropy against class names next to the contrast with captions."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Steps and batches of pretraining and of training with captions."""

    steps: int = 1200
    batch: int = 64
    fit_steps: int = 800
    fit_batch: int = 256


class FrameEncoder(SelfSupervised):
    """An encoder with pretext tasks whose batches hold the frames instead of waveforms."""

    def frames(self, batch: dict[str, Tensor]) -> Tensor:  # type: ignore[override]
        return batch["frames"]


class Tower(nn.Module):
    """A linear map of the features of an encoder, of YAMNet's features, or of both, to unit embeddings (B, E)."""

    def __init__(self, encoder: SequenceEncoder | None, heard: int, embed_dim: int) -> None:
        super().__init__()
        self.encoder, self.heard = encoder, heard
        self.norm = nn.LayerNorm(encoder.dim) if encoder is not None else None
        self.linear = nn.Linear(heard + (encoder.dim if encoder is not None else 0), embed_dim)
        self.scale = nn.Parameter(torch.tensor(math.log(20.0)))

    def forward(self, mel: Tensor, heard: Tensor) -> Tensor:
        parts = [heard.clamp(min=0).log1p()] if self.heard else []
        if self.encoder is not None and self.norm is not None:
            parts.append(self.norm(self.encoder(mel).pooled.float()))
        return unit(self.linear(torch.cat(parts, 1)))


def cosine_steps(parameters: Sequence[nn.Parameter], steps: int) -> Iterator[Callable[[Tensor], None]]:
    """Yield, `steps` times, a function that makes one step of AdamW for a loss, with a warm-up and a cosine rate."""
    optimizer = torch.optim.AdamW(parameters, lr=RATE, weight_decay=0.01)

    def descend(loss: Tensor) -> None:
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()

    for step in range(steps):
        optimizer.param_groups[0]["lr"] = (
            RATE * min(1, (step + 1) / 50) * (0.5 + 0.5 * math.cos(math.pi * step / steps))
        )
        yield descend


class Trial:
    """Pretrains encoders and trains and scores the arms of one seed on the clips of a trainer."""

    def __init__(self, trainer: Trainer, seed: int, settings: Settings) -> None:
        self.trainer, self.seed, self.settings = trainer, seed, settings
        self.views, self.device = trainer.views, trainer.device
        self.numbers = np.random.default_rng(seed)
        self.generator = torch.Generator(self.device).manual_seed(seed)
        trainer.prepare(Run(seed=seed))
        texts = sorted({text for i in trainer.used for text in trainer.drawn[i]})
        names = [prompt.format(name) for prompt in PROMPTS for name in trainer.classes]
        self.place = {text: k for k, text in enumerate(dict.fromkeys([*texts, *names]))}
        self.vectors = trainer.texts.every(trainer.start, list(self.place))
        self.prompts = [[self.place[prompt.format(name)] for name in trainer.classes] for prompt in PROMPTS]
        number = {name: k for k, name in enumerate(trainer.classes)}
        self.class_ids = np.array([number.get(name, -1) for name in trainer.class_names])
        """Number of the class of each clip; -1 without one."""

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda")

    def system(self, kind: str) -> FrameEncoder:
        """Return an encoder with the pretext task of a kind, from random weights of the seed."""
        form = KINDS[kind]
        torch.manual_seed(self.seed)
        mel = {"n_fft": 768, "hop": 240, "n_mels": SIZES["n_mels"], "fmin_hz": 125, "fmax_hz": 7500}
        audio = {
            "mel": mel | {"sample_rate_hz": 24_000}, "sample_rate_hz": 24_000, "window_s": 5.0,
            "shorter": "repeat-pad", "encoder": "sequence", "encoder_options": SIZES | {"context": form["context"]},
        }  # fmt: skip
        options = {"audio": audio, "quantizer": form["quantizer"], "pretexts": form["pretexts"]}
        return FrameEncoder(SelfSupervisedConfig.parse(options, kind)).to(self.device)

    def batch(self, size: int) -> tuple[np.ndarray, Tensor, Tensor]:
        """Return clips (B,) in proportion to 1 / sqrt(size of their class), as numbers and places, with a version."""
        batch = self.numbers.choice(self.trainer.used, size, p=self.trainer.weight)
        version = torch.as_tensor(self.numbers.integers(len(self.views.mel), size=size), device=self.device)
        return batch, torch.as_tensor(batch, device=self.device), version

    def pretrained(self, kind: str) -> tuple[SequenceEncoder, float]:
        """Return the encoder after pretraining on the training clips, and the loss of its last 50 steps."""
        system, losses = self.system(kind), []
        parameters = [p for p in system.parameters() if p.requires_grad]
        for descend in cosine_steps(parameters, self.settings.steps):
            _, places, version = self.batch(self.settings.batch)
            mel = self.views.mel[version, places]
            at = int(self.numbers.integers(max(1, mel.shape[1] - CROP)))
            with self.autocast():
                loss = system({"frames": mel[:, at : at + CROP].float()})["loss"]
            descend(loss)
            losses.append(loss.detach())
        return system.encoder, float(torch.stack(losses[-50:]).mean())

    def fitted(self, encoder: SequenceEncoder | None, *, heard: bool) -> Tower:
        """Return a tower trained against text vectors."""
        torch.manual_seed(self.seed)
        width = self.views.heard.shape[2] if heard else 0
        tower = Tower(copy.deepcopy(encoder), width, self.vectors.shape[1]).to(self.device).train()
        for descend in cosine_steps(list(tower.parameters()), self.settings.fit_steps):
            descend(self.loss(tower))
        return tower.eval()

    def loss(self, tower: Tower) -> Tensor:
        """Return the InfoNCE of a batch with captions and the cross-entropy against all class names."""
        trainer = self.trainer
        batch, places, version = self.batch(self.settings.fit_batch)
        with self.autocast():
            mel = masked(self.views.mel[version, places].float(), self.generator)
            rows = tower(mel, self.views.heard[version, places])
        drawn = zip((trainer.drawn[i] for i in batch), self.numbers.random(len(batch)), strict=True)
        captions = [self.place[texts[int(share * len(texts))]] for texts, share in drawn]
        classes = self.class_ids[batch]
        same = ((classes[:, None] == classes) & (classes >= 0)[:, None]) | (batch[:, None] == batch)
        same &= ~np.eye(len(batch), dtype=bool)
        scale = tower.scale.exp().clamp(max=60)
        cosines = scale * rows.float() @ self.vectors[captions].T
        cosines = cosines.masked_fill(torch.as_tensor(same, device=self.device), -1e4)
        truth = torch.arange(len(batch), device=self.device)
        loss = (cross_entropy(cosines, truth) + cross_entropy(cosines.T, truth)) / 2
        prompts = self.vectors[self.prompts[self.numbers.integers(len(PROMPTS))]]
        has = np.flatnonzero(classes >= 0)
        target = torch.as_tensor(classes[has], device=self.device)
        return loss + CLASSES * cross_entropy(
            scale * rows[torch.as_tensor(has, device=self.device)].float() @ prompts.T, target
        )

    @torch.inference_mode()
    def embed(self, tower: Tower, places: Sequence[int]) -> Tensor:
        """Return unit embeddings (N, E) of unchanged clips."""
        parts = torch.as_tensor(places, device=self.device).split(256)
        return torch.cat([tower(self.views.mel[0, part].float(), self.views.heard[0, part]).float() for part in parts])

    def scored(self, embed: Callable[[Sequence[int]], Tensor]) -> dict[str, np.ndarray]:
        """Return the hits of class names and of captions, with the clip of each caption, for both sets of clips."""
        trainer, hits = self.trainer, {}
        new = sorted({trainer.rows[i].class_name for i in trainer.places("eval-only")})
        for key, split, classes in (("valid", "valid", trainer.classes), ("dev", "eval-only", new)):
            places = [i for i in trainer.places(split) if trainer.rows[i].class_name]
            if not places:
                continue
            prompts = trainer.texts.every(trainer.start, [PROMPTS[0].format(name) for name in classes])
            rows = embed(places)
            truth = [classes.index(trainer.rows[i].class_name) for i in places]
            hits[f"{key}_top1"] = ranked(rows, prompts, truth) == 1
            captions = [(text, k) for k, i in enumerate(places) for text in captions_of(trainer.rows[i])]
            if not captions:
                continue
            texts = trainer.texts.every(trainer.start, [text for text, _ in captions])
            hits[f"{key}_r10"] = ranked(texts, rows, [k for _, k in captions]) <= 10
            hits[f"{key}_r10_clip"] = np.array([k for _, k in captions])
        return hits

    def go(self, kind: str, out: Path) -> None:
        """Train and score the arms of a kind that are not stored yet, print a line per arm and store their hits."""
        arms: list[tuple[str, str, bool]] = [
            ("yamnet", "", True), (f"{kind}-random", "random", False), (f"{kind}-start", "start", False),
            (f"yamnet+{kind}-random", "random", True), (f"yamnet+{kind}-start", "start", True),
        ]  # fmt: skip
        arms = [arm for arm in arms if not self.file(arm[0], out).is_file()]
        encoders: dict[str, SequenceEncoder | None] = {"": None, "random": self.system(kind).encoder}
        if any(encoder == "start" for _, encoder, _ in arms):
            begin = time.monotonic()
            encoders["start"], loss = self.pretrained(kind)
            report = {"kind": kind, "seed": self.seed, "loss": round(loss, 3), "s": round(time.monotonic() - begin)}
            print(json.dumps(report), flush=True)
        for name, encoder, heard in arms:
            begin, self.numbers = time.monotonic(), np.random.default_rng(self.seed)
            self.generator.manual_seed(self.seed)
            tower = self.fitted(encoders[encoder], heard=heard)
            self.store(name, self.scored(lambda places, tower=tower: self.embed(tower, places)), out, begin)

    def file(self, name: str, out: Path) -> Path:
        """Return the file of an arm's hits."""
        return out / f"{name}.{self.seed}.npz"

    def store(self, name: str, hits: dict[str, np.ndarray], out: Path, begin: float) -> None:
        """Print the scores of an arm and write its hits."""
        means = {key: round(float(values.mean()), 4) for key, values in hits.items() if not key.endswith("_clip")}
        print(json.dumps({"arm": name, "seed": self.seed, **means, "s": round(time.monotonic() - begin)}), flush=True)
        np.savez(self.file(name, out), **hits)  # type: ignore[arg-type]


def compare(folder: Path) -> None:
    """Print the mean of each arm and the difference of paired arms with 95% intervals by sounds and by seeds."""
    stored: dict[str, list[dict[str, np.ndarray]]] = {}
    for file in sorted(folder.glob("*.npz")):
        stored.setdefault(file.name.rsplit(".", 2)[0], []).append(dict(np.load(file)))
    keys = ("valid_top1", "valid_r10", "dev_top1", "dev_r10")
    for name, runs in stored.items():
        print(
            name,
            len(runs),
            *(f"{key} {np.mean([run[key].mean() for run in runs]):.3f}" for key in keys if key in runs[0]),
        )
    pairs = [(f"{kind}-start", f"{kind}-random") for kind in KINDS]
    pairs += [(f"yamnet+{kind}-start", f"yamnet+{kind}-random") for kind in KINDS]
    pairs += [(name, "yamnet") for name in stored if name.startswith("yamnet+")]
    for one, other in pairs:
        if one not in stored or len(stored[one]) != len(stored.get(other, [])):
            continue
        for key in (key for key in keys if key in stored[one][0]):
            both = zip(stored[one], stored[other], strict=True)
            change = np.stack([a[key].astype(float) - b[key] for a, b in both])
            clips = stored[one][0].get(f"{key}_clip", np.arange(change.shape[1]))
            low, high = paired_mean_interval(change, clips, np.random.default_rng(0))
            text = f"{one} - {other}, {key}: {change.mean():+.4f}, by sounds [{low:+.4f}, {high:+.4f}]"
            if len(change) > 1:
                text += ", by seeds [{:+.4f}, {:+.4f}]".format(*t_interval(change.mean(1)))
            print(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--dev", type=Path, help="manifest of further sounds that are scored among their classes")
    parser.add_argument(
        "--views", type=Path, required=True, help="file of the versions of all clips, written if missing"
    )
    parser.add_argument("--versions", type=int, default=VERSIONS, help="versions of each clip, the first one unchanged")
    parser.add_argument("--kinds", nargs="*", default=list(KINDS), choices=list(KINDS), help="none: write --views only")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=Settings.steps, help="of pretraining")
    parser.add_argument("--fit-steps", type=int, default=Settings.fit_steps, help="of training with captions")
    parser.add_argument("--compare", action="store_true", help="print the differences of stored scores and end")
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args()
    if options.compare:
        compare(options.out)
        return
    device = torch.device(options.device)
    tagger = load("yamnet", engine="torch", device="cpu")
    assert isinstance(tagger, Tagger)
    clap = put(assemble(tagger), bundled("libre-base")).to(device)
    files = [read_manifest(file) for file in (options.manifest, options.dev) if file]
    chosen = [chosen_rows(content, training=place == 0) for place, content in enumerate(files)]
    if options.views.is_file():
        views = Views.read(options.views, device)
    else:
        audio = clap.config.audio
        sounds = [
            first_windows(content, part, audio.sample_rate_hz, audio.window_s)
            for content, part in zip(files, chosen, strict=True)
        ]
        views = Views.compute(clap, torch.from_numpy(np.concatenate(sounds)).to(device), options.versions)
        views.save(options.views)
    options.out.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(clap, tagger, [row for part in chosen for row in part], views, options.out)
    settings = Settings(steps=options.steps, fit_steps=options.fit_steps)
    for seed in options.seeds if options.kinds else []:
        trial = Trial(trainer, seed, settings)
        if seed == min(options.seeds) and not trial.file("libre-base", options.out).is_file():
            begin = time.monotonic()
            shipped = trial.scored(lambda places: trainer.embed(clap, Run(branch_rate=1.0), places))
            trial.store("libre-base", shipped, options.out, begin)
        for kind in options.kinds:
            trial.go(kind, options.out)


if __name__ == "__main__":
    main()
