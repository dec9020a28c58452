"""Tune `libre-base`: the mixture, the updates of the text tower and, with a branch rate, YAMNet's branch end to end.

    aural corpus build libre --out libre
    python tools/tune_libre_base.py libre/manifest.parquet tuned --plan tools/tune_libre_base.json

Every step draws clips in proportion to 1 / sqrt(size of their class), augments their sounds (shift, speed, gain, noise,
another clip in the background, masks on the log-mel) and minimizes

    InfoNCE against captions + classes * cross-entropy against prompts of class names
    + tags * cross-entropy of the frozen tagger's classes against their names + keep * distance to the tagger's scores

Only validation clips, and with --dev the clips of another manifest, are scored. The folder gets one safetensors file
per run with the tensors that changed, as float16; `tools/make_libre_base.py --tuned FILE` takes the text tower
from one.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import json
import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, log_softmax

from aural.core.config import read_mapping
from aural.core.weights import weight_card
from aural.data.manifest import TRAINING_SPLITS, Row, read_manifest
from aural.encoders.tokenize import Tokenizer, load_backend
from aural.models.clap import Clap, TaggedBranch
from aural.models.format import Header
from aural.models.load import load
from aural.models.packaged import MINILM
from aural.models.tagger import Tagger
from aural.models.weight_files import read_safetensors
from aural.nn.functional import unit
from aural.nn.lora import add_low_rank
from make_libre_base import captions_of, config_of, ridge
from tune_sounds import augmented, first_windows, masked

PROMPTS = ("the sound of {}", "{}", "This is a sound of {}.", "a recording of {}")
RANK = 16
Places: TypeAlias = "np.ndarray[Any, np.dtype[np.int64]]"
NEGATIVES = 96
"""Class names that are drawn per step in addition to those of the batch; as many names of the tagger's classes."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """The settings of one run. A rate of 0 freezes a part."""

    name: str = "tuned"
    seed: int = 0
    steps: int = 600
    batch: int = 256
    rate: float = 3e-4
    """Of the linear map, the names and the mixture."""
    branch_rate: float = 1e-4
    text_rate: float = 3e-4
    small_rate: float = 1e-4
    """Of libre-small's projection."""
    classes: float = 0.5
    tags: float = 0.5
    keep: float = 1.0
    dropout: float = 0.2
    small_dropout: float = 0.5
    """Share of clips for which libre-small's embedding, which was trained on them before, is left out."""
    augment: bool = True
    fresh_text: bool = False
    """Start the updates of the text tower at zero, not at libre-small's."""
    mix: tuple[float, float, float] = (0.75, 1.0, 0.15)
    decay: float = 0.99
    """Of the averaged weights, which are scored and saved."""
    save: bool = True


@dataclass
class Data:
    """Sounds (N, T) as int16 on the device, their rows, and the frozen tagger's scores (N, K)."""

    rows: list[Row]
    waves: Tensor
    scores: Tensor
    classes: list[str]

    def places(self, split: str) -> list[int]:
        return [i for i, row in enumerate(self.rows) if row.split == split]


def assemble(tagger: Tagger) -> Clap:
    """Return libre-small with YAMNet's branch; its text tower has the low-rank updates as parameters."""
    folder = weight_card("libre-small").bundled()
    header = Header.parse(read_mapping(folder / "config.json"), str(folder / "config.json"))
    stored = read_safetensors(folder / "model.safetensors")
    clap = Clap(config_of(header.clap))
    add_low_rank(clap.text, RANK)
    state = clap.state_dict() | stored | MINILM.tensors(header.clap)
    for part, module in (("encoder", tagger.network.network.encoder), ("classes", tagger.network.classes)):
        state |= {f"audio.branch.{part}.{name}": tensor for name, tensor in module.state_dict().items()}
    clap.load_state_dict({name: tensor.float() for name, tensor in state.items()}, strict=True)
    return clap.eval().requires_grad_(False)


class Texts:
    """Embeds texts with the text tower of a model, each token sequence tokenized once."""

    def __init__(self, clap: Clap, device: torch.device) -> None:
        text = clap.config.text
        self.tokenizer = Tokenizer(
            load_backend(text.tokenizer), special=text.special_tokens, max_tokens=text.max_tokens,
            pad_id=text.pad_id, keep=100_000,
        )  # fmt: skip
        self.device = device

    def __call__(self, clap: Clap, texts: Sequence[str]) -> Tensor:
        """Return unit embeddings (B, E); equal texts are computed once."""
        place = {text: i for i, text in enumerate(dict.fromkeys(texts))}
        tokens = self.tokenizer(list(place))
        vectors = clap.text(tokens.ids.to(self.device), tokens.mask.to(self.device)).float()
        return unit(vectors)[[place[text] for text in texts]]


class Trainer:
    """Trains one run after another from the same start."""

    def __init__(self, clap: Clap, texts: Texts, data: Data, names: list[str]) -> None:
        self.start, self.texts, self.data, self.names = clap, texts, data, names
        self.device = data.waves.device
        self.train = np.array(data.places("train"))
        counts = Counter(data.rows[i].class_name for i in self.train)
        weight = [1 / math.sqrt(counts[data.rows[i].class_name]) for i in self.train]
        self.weight = np.array(weight) / np.sum(weight)

    def parts(
        self, clap: Clap, wave: Tensor, run: Run | None = None, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return libre-small's embedding, the branch's features for the map (some set to 0), and all features."""
        audio, branch = clap.audio, branch_of(clap)
        with torch.no_grad():
            with torch.autocast(self.device.type, enabled=False):
                narrow, mel = audio.front_end(wave), branch.front_end(wave)
            pooled = audio.encoder(narrow).pooled.float()
        if run is not None and generator is not None and run.augment:
            mel = masked(mel, generator)
        with torch.set_grad_enabled(run is not None and run.branch_rate > 0):
            heard = branch.encoder(mel).pooled.float()
        dropped = heard
        if run is not None and generator is not None and run.dropout:
            kept = torch.rand(heard.shape, generator=generator, device=heard.device) >= run.dropout
            dropped = heard * kept / (1 - run.dropout)
        return audio.projection(pooled), dropped, heard

    @torch.inference_mode()
    def embed(self, clap: Clap, places: Sequence[int]) -> Tensor:
        """Return unit embeddings (N, E) of sounds unchanged."""
        rows = []
        for first in range(0, len(places), 256):
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
                small, _, heard = self.parts(clap, self.wave(list(places[first : first + 256])))
            rows.append(unit(branch_of(clap).add_to(small.float(), heard)))
        return torch.cat(rows)

    def wave(self, places: Sequence[int]) -> Tensor:
        return self.data.waves[torch.as_tensor(places, device=self.device)].float() / 32767

    def initial(self, run: Run) -> Clap:
        """Return the model before a run: the ridge regression and the class names of the run's text tower."""
        clap = copy.deepcopy(self.start)
        branch = branch_of(clap)
        if run.fresh_text:
            for name, parameter in clap.text.named_parameters():
                if name.endswith(".lora_b"):
                    parameter.zero_()
        with torch.inference_mode():
            vectors = {
                text: v
                for first in range(0, len(self.captions), 512)
                for text, v in zip(
                    self.captions[first : first + 512],
                    self.texts(clap, self.captions[first : first + 512]).cpu(),
                    strict=True,
                )
            }
            target = torch.stack(
                [unit(torch.stack([vectors[t] for t in captions_of(self.data.rows[i])]).mean(0)) for i in self.train]
            )
            names = self.texts(clap, [f"the sound of {name.lower()}" for name in self.names])
        x = np.log1p(self.heard[self.train].clip(0).astype(np.float64))
        w, b = ridge(x, target.numpy(), self.weight)
        branch.linear.weight.data.copy_(torch.tensor(w.T))
        branch.linear.bias.data.copy_(torch.tensor(b))
        branch.names.weight.data.copy_(names.T)
        branch.mix.data.copy_(torch.tensor(run.mix))
        clap.logit_scale.data.fill_(math.log(20.0))
        return clap

    def prepare(self) -> None:
        """Compute the frozen features and scores, and list all captions of training clips."""
        features, scores = [], []
        branch = branch_of(self.start)
        for first in range(0, len(self.data.rows), 256):
            with torch.inference_mode():
                heard = self.parts(self.start, self.wave(range(first, min(first + 256, len(self.data.rows)))))[2]
                features.append(heard)
                scores.append(branch.classes(heard).sigmoid())
        self.heard = torch.cat(features).cpu().numpy()
        self.data.scores = torch.cat(scores).clone()
        self.captions = sorted({t for i in self.train for t in captions_of(self.data.rows[i])})
        self.all_captions = {i: [*captions_of(self.data.rows[i]), *self.data.rows[i].captions] for i in self.train}

    def fit(self, run: Run) -> Clap:
        """Train one run and return the model with averaged weights."""
        clap = self.initial(run)
        numbers = np.random.default_rng(run.seed)
        generator = torch.Generator(self.device).manual_seed(run.seed)
        groups = trainable(clap, run)
        parameters = [p for group in groups for p in group["params"]]
        average = [p.detach().clone() for p in parameters]
        optimizer = torch.optim.AdamW(groups, weight_decay=1e-3)
        rates = [group["lr"] for group in groups]
        for step in range(run.steps):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * min(1, (step + 1) / 30) * (0.5 + 0.5 * math.cos(math.pi * step / run.steps))
            batch = numbers.choice(self.train, run.batch, p=self.weight)
            loss = self.loss(clap, run, batch, numbers, generator)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            decay = min(run.decay, (step + 1) / (step + 10))
            torch._foreach_lerp_(average, [p.detach() for p in parameters], 1 - decay)
        for parameter, value in zip(parameters, average, strict=True):
            parameter.data.copy_(value)
        return clap.requires_grad_(False)

    def loss(
        self, clap: Clap, run: Run, batch: Places, numbers: np.random.Generator, generator: torch.Generator
    ) -> Tensor:
        """Return the loss of a batch of clips (B,)."""
        device, branch = self.device, branch_of(clap)
        wave = self.wave(batch)
        if run.augment:
            wave = augmented(wave, generator)
        template = PROMPTS[numbers.integers(len(PROMPTS))]
        named = np.array([self.data.rows[i].class_name for i in batch])
        classes = sorted({str(name) for name in named if name})
        classes += [
            c
            for c in numbers.choice(self.data.classes, min(NEGATIVES, len(self.data.classes)), replace=False)
            if c not in classes
        ]
        score = self.data.scores[torch.as_tensor(batch, device=device)]
        top = score.amax(0).topk(NEGATIVES).indices.cpu().numpy()
        tags = np.unique(np.concatenate([top, numbers.choice(len(self.names), NEGATIVES, replace=False)]))
        captions = [numbers.choice(self.all_captions[i]) for i in batch]
        prompts = [template.format(name) for name in classes]
        prompts += [template.format(self.names[i].lower()) for i in tags]
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            small, dropped, heard = self.parts(clap, wave, run, generator)
            texts = self.texts(clap, [*captions, *prompts])
        small = small.float()
        if run.small_dropout:
            small = small * (torch.rand((len(batch), 1), generator=generator, device=device) >= run.small_dropout)
        rows = unit(branch.mixed(small, heard, dropped))
        scale = clap.logit_scale.exp().clamp(max=60)
        cosines = scale * rows @ texts[: len(batch)].T
        spoken = np.array([self.data.rows[i].language for i in batch])
        same = (named[:, None] == named[None]) & (named != "")[:, None] & (spoken[:, None] == spoken[None])
        same &= ~np.eye(len(batch), dtype=bool)
        cosines = cosines.masked_fill(torch.as_tensor(same, device=device), -1e4)
        truth = torch.arange(len(batch), device=device)
        loss = (cross_entropy(cosines, truth) + cross_entropy(cosines.T, truth)) / 2
        has = np.flatnonzero(named != "")
        index = {name: i for i, name in enumerate(classes)}
        target = torch.tensor([index[named[i]] for i in has], device=device)
        vectors = texts[len(batch) : len(batch) + len(classes)]
        loss = loss + run.classes * cross_entropy(scale * rows[torch.as_tensor(has, device=device)] @ vectors.T, target)
        if run.tags:
            share = score[:, torch.as_tensor(tags, device=device)]
            logits = log_softmax(scale * rows @ texts[len(batch) + len(classes) :].T, 1)
            loss = loss - run.tags * (share * logits).sum() / share.sum()
        if run.keep and run.branch_rate:
            loss = loss + run.keep * binary_cross_entropy_with_logits(branch.classes(heard), score)
        return loss

    @torch.inference_mode()
    def validate(self, clap: Clap) -> dict[str, float]:
        """Return scores of the validation clips among all classes and of the clips of --dev among their classes."""
        scores: dict[str, float] = {}
        for key, split, classes in (
            ("valid", "valid", self.data.classes),
            ("dev", "eval-only", sorted({self.data.rows[i].class_name for i in self.data.places("eval-only")})),
        ):
            places = [i for i in self.data.places(split) if self.data.rows[i].class_name]
            if not places:
                continue
            prompts = self.texts(clap, [PROMPTS[0].format(name) for name in classes])
            rows = self.embed(clap, places)
            cosines = rows @ prompts.T
            truth = torch.tensor([classes.index(self.data.rows[i].class_name) for i in places], device=self.device)
            rank = (cosines > cosines.gather(1, truth[:, None])).sum(1) + 1.0
            losses = {s: float(cross_entropy(s * cosines, truth)) for s in range(5, 61)}
            scores |= {f"{key}_top1": float((rank == 1).float().mean()), f"{key}_mrr": float((1 / rank).mean())}
            scores[f"{key}_scale"] = min(losses, key=lambda s: losses[s])
            captions = [t for i in places for t in captions_of(self.data.rows[i])]
            clip = torch.tensor([k for k, i in enumerate(places) for _ in captions_of(self.data.rows[i])])
            cosines = self.texts(clap, captions) @ rows.T
            rank = (cosines > cosines.gather(1, clip[:, None].to(self.device))).sum(1) + 1.0
            scores[f"{key}_retrieval"] = float((1 / rank).mean())
        return scores


def branch_of(clap: Clap) -> TaggedBranch:
    branch = clap.audio.branch
    assert branch is not None
    return branch


def trainable(clap: Clap, run: Run) -> list[dict[str, Any]]:
    """Make the parts with a rate trainable and return the optimizer's groups."""
    branch = branch_of(clap)
    heads = [*branch.linear.parameters(), clap.logit_scale, branch.names.weight, branch.mix]
    low_rank = [p for name, p in clap.text.named_parameters() if name.endswith((".lora_a", ".lora_b"))]
    groups = [
        {"params": heads, "lr": run.rate},
        {"params": [*branch.encoder.parameters(), *branch.classes.parameters()], "lr": run.branch_rate},
        {"params": low_rank, "lr": run.text_rate},
        {"params": list(clap.audio.projection.parameters()), "lr": run.small_rate},
    ]
    groups = [group for group in groups if group["lr"] > 0]
    for group in groups:
        for parameter in group["params"]:
            parameter.requires_grad_(True)
    return groups


def changed(clap: Clap, run: Run) -> dict[str, Tensor]:
    """Return the tensors that a run changes, as float16."""
    parts = ["audio.branch.linear.", "audio.branch.names.", "audio.branch.mix", "audio.projection.", "logit_scale"]
    parts += ["audio.branch.encoder.", "audio.branch.classes."] if run.branch_rate else []
    return {
        name: tensor.detach().half().cpu().contiguous()
        for name, tensor in clap.state_dict().items()
        if (name.startswith(tuple(parts)) and ".front_end." not in name) or name.endswith((".lora_a", ".lora_b"))
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--dev", type=Path, help="manifest of further sounds that are scored among their classes")
    parser.add_argument("--plan", type=Path, help="JSON list of runs; default: one run with the default settings")
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args()
    begin, device = time.monotonic(), torch.device(options.device)
    tagger = load("yamnet", engine="torch", device="cpu")
    assert isinstance(tagger, Tagger)
    clap = assemble(tagger).to(device)
    rows: list[Row] = []
    sounds: list[Any] = []
    audio = clap.config.audio
    for file in filter(None, (options.manifest, options.dev)):
        manifest = read_manifest(file)
        chosen = [
            row
            for row in manifest
            if (row.split in TRAINING_SPLITS) == (file == options.manifest) and (captions_of(row) or row.class_name)
        ]
        sounds.append(first_windows(manifest, chosen, audio.sample_rate_hz, audio.window_s))
        rows += chosen
    classes = sorted({row.class_name for row in rows if row.split in TRAINING_SPLITS} - {""})
    data = Data(rows, torch.from_numpy(np.concatenate(sounds)).to(device), torch.empty(0), classes)
    trainer = Trainer(clap, Texts(clap, device), data, tagger.classes)
    trainer.prepare()
    print(f"{len(trainer.train)} training clips, {time.monotonic() - begin:.0f} s", flush=True)
    plan = [Run()] if options.plan is None else [Run(**run) for run in json.loads(options.plan.read_text())]
    options.out.mkdir(parents=True, exist_ok=True)
    for run in plan:
        begin = time.monotonic()
        model = trainer.fit(run)
        scores = trainer.validate(model)
        settings = {k: v for k, v in dataclasses.asdict(run).items() if v != getattr(Run(), k)}
        mix = [round(x, 2) for x in branch_of(model).mix.tolist()]
        took = round(time.monotonic() - begin)
        print(
            json.dumps({**settings, **{k: round(v, 3) for k, v in scores.items()}, "mix": mix, "seconds": took}),
            flush=True,
        )
        if run.save:
            save_file(changed(model, run), options.out / f"{run.name}.safetensors")


if __name__ == "__main__":
    main()
