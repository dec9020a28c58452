"""Tune the tower of `libre-base` end to end: YAMNet's branch, the mixture and the low-rank updates of the text tower.

    aural corpus build libre --out libre
    python tools/tune_libre_base.py libre/manifest.parquet tuned --device cuda

Every step draws clips in proportion to 1 / sqrt(size of their class), augments their sounds (shift, speed, gain, noise,
another clip in the background, masks on the log-mel) and minimizes

    InfoNCE against captions + classes * cross-entropy against prompts of class names
    + tags * cross-entropy of the frozen tagger's classes against their names + keep * distance to the tagger's scores

Only validation clips, and with --dev the clips of another manifest, are scored. The folder gets one safetensors file per run with
the tensors that changed, as float16; `tools/make_libre_base.py --tuned FILE` builds the model from one.
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
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import torch
from make_libre_base import captions_of, config_of, ridge
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, interpolate, log_softmax

from aural.audio.length import fit_shorter, windows
from aural.core.config import read_mapping
from aural.core.weights import weight_card
from aural.data.manifest import TRAINING_SPLITS, Manifest, Row, read_manifest
from aural.encoders.tokenize import Tokenizer, load_backend
from aural.models.clap import Clap
from aural.models.format import Header
from aural.models.load import load
from aural.models.packaged import MINILM
from aural.models.rounding import with_steps
from aural.models.tagger import Tagger
from aural.models.weight_files import read_safetensors
from aural.nn.functional import unit
from aural.nn.lora import add_low_rank

PROMPTS = ("the sound of {}", "{}", "This is a sound of {}.", "a recording of {}")
RANK = 16
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
    fixed_mix: bool = False
    single_tower: bool = False
    """Use the branch alone and learn from the embeddings of the run `teacher`."""
    teacher: str = ""
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


def first_windows(manifest: Manifest, rows: Sequence[Row], rate_hz: int, window_s: float) -> np.ndarray:
    """Return the first window of each row, filled with complete repeats and zeros, as int16 (N, T)."""

    def one(row: Row) -> np.ndarray:
        window = next(iter(windows(manifest.file(row), rate_hz, window_s, shorter=None)))
        wave = fit_shorter(window.samples, round(rate_hz * window_s), "repeat-pad")
        return np.rint(np.clip(wave, -1, 1) * 32767).astype(np.int16)

    with ThreadPoolExecutor() as pool:
        return np.stack(list(pool.map(one, rows)))


def assemble(text_file: Path | None, tagger: Tagger) -> Clap:
    """Return libre-small with YAMNet's branch; its text tower has the low-rank updates as parameters."""
    folder = weight_card("libre-small").bundled()
    header = Header.parse(read_mapping(folder / "config.json"), str(folder / "config.json"))
    stored = read_safetensors(folder / "model.safetensors")
    text = MINILM.tensors(header.clap) if text_file is None else with_steps(read_safetensors(text_file))
    clap = Clap(config_of(header.clap))
    add_low_rank(clap.text, RANK)
    state = clap.state_dict() | stored | text
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


def augmented(wave: Tensor, generator: torch.Generator) -> Tensor:
    """Shift, change the speed of, scale and disturb waves (B, T)."""
    size, length = wave.shape

    def uniform(low: float, high: float) -> Tensor:
        return torch.rand((size, 1), generator=generator, device=wave.device) * (high - low) + low

    factor = float(torch.exp(uniform(math.log(0.85), math.log(1.18))[0, 0]))
    faster = interpolate(wave[:, None], scale_factor=1 / factor, mode="linear")[:, 0]
    wave = faster.repeat(1, 2)[:, :length]
    shift = (uniform(0, 1) * length).long()
    wave = wave.gather(1, (torch.arange(length, device=wave.device)[None] + shift) % length)
    power = wave.square().mean(1, keepdim=True).sqrt()
    other = wave.roll(1, 0)
    level = power / power.roll(1, 0).clamp_min(1e-5)
    wave = wave + (uniform(0, 1) < 0.3) * other * level * 10 ** (-uniform(3, 20) / 20)
    noise = torch.randn(wave.shape, generator=generator, device=wave.device)
    wave = wave + (uniform(0, 1) < 0.25) * noise * power * 10 ** (-uniform(5, 40) / 20)
    return (wave * 10 ** (uniform(-12, 6) / 20)).clamp(-1, 1)


def masked(mel: Tensor, generator: torch.Generator) -> Tensor:
    """Set two spans of frames and two of bands of log-mels (B, N, F) to the least value. Park et al. (2019)."""
    floor = mel.amin((1, 2), keepdim=True)
    for axis, longest in ((1, 32), (1, 32), (2, 8), (2, 8)):
        size = mel.shape[axis]
        width, at = (torch.rand((len(mel), 1), generator=generator, device=mel.device) for _ in range(2))
        start = at * (size - width * longest)
        place = torch.arange(size, device=mel.device)[None]
        hidden = (place >= start) & (place < start + width * longest)  # (B, size)
        mel = torch.where(hidden[:, :, None] if axis == 1 else hidden[:, None], floor, mel)
    return mel


class Trainer:
    """Trains one run after another from the same start."""

    def __init__(self, clap: Clap, texts: Texts, data: Data, names: list[str]) -> None:
        self.start, self.texts, self.data, self.names = clap, texts, data, names
        self.device = data.waves.device
        self.train = np.array(data.places("train"))
        counts = Counter(data.rows[i].class_name for i in self.train)
        weight = [1 / math.sqrt(counts[data.rows[i].class_name]) for i in self.train]
        self.weight = np.array(weight) / np.sum(weight)
        self.teachers: dict[str, Tensor] = {}

    def parts(self, clap: Clap, wave: Tensor, run: Run | None = None, generator: torch.Generator | None = None):
        """Return libre-small's embedding, the branch's features for the map (some set to 0), and all features."""
        audio, branch = clap.audio, clap.audio.branch
        assert branch is not None
        with torch.no_grad():
            with torch.autocast(self.device.type, enabled=False):
                own, mel = audio.front_end(wave), branch.front_end(wave)
            pooled = audio.encoder(own).pooled.float()
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
    def embed(self, clap: Clap, places: Sequence[int], single_tower: bool = False) -> Tensor:
        """Return unit embeddings (N, E) of sounds as they are."""
        rows = []
        for first in range(0, len(places), 256):
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
                small, _, heard = self.parts(clap, self.wave(list(places[first : first + 256])))
            rows.append(unit(mixture(clap, small.float(), heard, heard, single_tower)))
        return torch.cat(rows)

    def wave(self, places: Sequence[int]) -> Tensor:
        return self.data.waves[torch.as_tensor(places, device=self.device)].float() / 32767

    def initial(self, run: Run) -> Clap:
        """Return the model before a run: the ridge regression and the class names of the run's text tower."""
        clap = copy.deepcopy(self.start)
        branch = clap.audio.branch
        assert branch is not None
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
        branch = self.start.audio.branch
        assert branch is not None
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
        numbers, device = np.random.default_rng(run.seed), self.device
        generator = torch.Generator(device).manual_seed(run.seed)
        groups = trainable(clap, run)
        parameters = [p for group in groups for p in group["params"]]
        average = [p.detach().clone() for p in parameters]
        optimizer = torch.optim.AdamW(groups, weight_decay=1e-3)
        rates = [group["lr"] for group in groups]
        named = np.array([row.class_name for row in self.data.rows])
        teacher = self.teachers.get(run.teacher)
        for step in range(run.steps):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * min(1, (step + 1) / 30) * (0.5 + 0.5 * math.cos(math.pi * step / run.steps))
            batch = numbers.choice(self.train, run.batch, p=self.weight)
            loss = self.loss(clap, run, batch, named, numbers, generator)
            if teacher is not None:
                loss = loss + 4 * (1 - (self.rows * teacher[torch.as_tensor(batch, device=device)]).sum(1)).mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            decay = min(run.decay, (step + 1) / (step + 10))
            torch._foreach_lerp_(average, [p.detach() for p in parameters], 1 - decay)
        for parameter, value in zip(parameters, average, strict=True):
            parameter.data.copy_(value)
        return clap.requires_grad_(False)

    def loss(self, clap: Clap, run: Run, batch, named, numbers, generator: torch.Generator) -> Tensor:
        device = self.device
        wave = self.wave(batch)
        if run.augment:
            wave = augmented(wave, generator)
        template = PROMPTS[numbers.integers(len(PROMPTS))]
        own = sorted({name for name in named[batch] if name})
        classes = own + [c for c in numbers.choice(self.data.classes, min(NEGATIVES, len(self.data.classes)), replace=False) if c not in own]
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
        rows = self.rows = unit(mixture(clap, small, dropped, heard, run.single_tower))
        scale = clap.logit_scale.exp().clamp(max=60)
        cosines = scale * rows @ texts[: len(batch)].T
        same = (named[batch][:, None] == named[batch][None]) & (named[batch] != "")[:, None]
        same &= ~np.eye(len(batch), dtype=bool)
        cosines = cosines.masked_fill(torch.as_tensor(same, device=device), -1e4)
        truth = torch.arange(len(batch), device=device)
        loss = (cross_entropy(cosines, truth) + cross_entropy(cosines.T, truth)) / 2
        has = np.flatnonzero(named[batch] != "")
        index = {name: i for i, name in enumerate(classes)}
        target = torch.tensor([index[named[batch[i]]] for i in has], device=device)
        vectors = texts[len(batch) : len(batch) + len(classes)]
        loss = loss + run.classes * cross_entropy(scale * rows[torch.as_tensor(has, device=device)] @ vectors.T, target)
        if run.tags:
            share = score[:, torch.as_tensor(tags, device=device)]
            logits = log_softmax(scale * rows @ texts[len(batch) + len(classes) :].T, 1)
            loss = loss - run.tags * (share * logits).sum() / share.sum()
        branch = clap.audio.branch
        assert branch is not None
        if run.keep and run.branch_rate:
            loss = loss + run.keep * binary_cross_entropy_with_logits(branch.classes(heard), score)
        return loss

    @torch.inference_mode()
    def validate(self, clap: Clap, single_tower: bool) -> dict[str, float]:
        """Return scores of the validation clips among all classes and of the clips of --dev among theirs."""
        scores: dict[str, float] = {}
        for key, split, classes in (
            ("valid", "valid", self.data.classes),
            ("dev", "eval-only", sorted({self.data.rows[i].class_name for i in self.data.places("eval-only")})),
        ):
            places = [i for i in self.data.places(split) if self.data.rows[i].class_name]
            if not places:
                continue
            prompts = self.texts(clap, [PROMPTS[0].format(name) for name in classes])
            rows = self.embed(clap, places, single_tower)
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

    def mixtures(self, clap: Clap) -> dict[str, float]:
        """Return the mean of both MRR of each of 15 mixtures, best first."""
        mix = clap.audio.branch.mix  # type: ignore[union-attr]
        trained, means = mix.detach().clone(), {}
        for weights in product((0.0, 0.5, 0.75, 1.0, 1.5), (1.0,), (0.0, 0.15, 0.3)):
            mix.data.copy_(torch.tensor(weights))
            scores = self.validate(clap, False)
            means[str(weights)] = round((scores["valid_mrr"] + scores.get("dev_mrr", scores["valid_mrr"])) / 2, 4)
        mix.data.copy_(trained)
        return dict(sorted(means.items(), key=lambda item: -item[1]))


def mixture(clap: Clap, small: Tensor, dropped: Tensor, heard: Tensor, single_tower: bool) -> Tensor:
    branch = clap.audio.branch
    assert branch is not None
    return branch.linear(dropped) if single_tower else branch.mixed(small, heard, dropped)


def trainable(clap: Clap, run: Run) -> list[dict]:
    """Make the parts with a rate trainable and return the optimizer's groups."""
    branch = clap.audio.branch
    assert branch is not None
    heads = [*branch.linear.parameters(), clap.logit_scale]
    if not run.single_tower:
        heads += [branch.names.weight] + ([] if run.fixed_mix else [branch.mix])
    low_rank = [p for name, p in clap.text.named_parameters() if name.endswith((".lora_a", ".lora_b"))]
    groups = [
        {"params": heads, "lr": run.rate},
        {"params": [*branch.encoder.parameters(), *branch.classes.parameters()], "lr": run.branch_rate},
        {"params": low_rank, "lr": run.text_rate},
        {"params": list(clap.audio.projection.parameters()), "lr": run.small_rate * (not run.single_tower)},
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
    parser.add_argument("--text", type=Path, help="MiniLM's tensors, where its package is not installed")
    parser.add_argument("--cache", type=Path, help="file of the decoded sounds, written if missing")
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args()
    begin, device = time.monotonic(), torch.device(options.device)
    tagger = load("yamnet", engine="torch", device="cpu")
    assert isinstance(tagger, Tagger)
    clap = assemble(options.text, tagger).to(device)
    rows: list[Row] = []
    sounds: list[np.ndarray] = []
    audio = clap.config.audio
    for file in filter(None, (options.manifest, options.dev)):
        manifest = read_manifest(file)
        chosen = [
            row
            for row in manifest
            if (row.split in TRAINING_SPLITS) == (file == options.manifest) and (captions_of(row) or row.class_name)
        ]
        cache = options.cache and options.cache / f"{len(rows)}.npy"
        if cache and cache.is_file():
            sounds.append(np.load(cache))
        else:
            sounds.append(first_windows(manifest, chosen, audio.sample_rate_hz, audio.window_s))
        if cache and not cache.is_file():
            np.save(cache, sounds[-1])
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
        scores = trainer.validate(model, run.single_tower)
        trainer.teachers[run.name] = trainer.embed(model, range(len(rows)), run.single_tower).clone()
        settings = {k: v for k, v in dataclasses.asdict(run).items() if v != getattr(Run(), k)}
        mix = [round(x, 2) for x in model.audio.branch.mix.tolist()]  # type: ignore[union-attr]
        took = round(time.monotonic() - begin)
        scores = {k: round(v, 3) for k, v in scores.items()}
        print(json.dumps({**settings, **scores, "mix": mix, "seconds": took}), flush=True)
        if not run.single_tower:
            print(json.dumps(dict(list(trainer.mixtures(model).items())[:5])), flush=True)
        if run.save:
            save_file(changed(model, run), options.out / f"{run.name}.safetensors")


if __name__ == "__main__":
    main()
