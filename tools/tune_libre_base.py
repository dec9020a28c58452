"""Tune `libre-base`: the linear map and the names of YAMNet's branch, the text tower and, with a branch rate, YAMNet.

    aural corpus build libre --out libre
    python tools/tune_libre_base.py libre/manifest.parquet tuned --plan tools/tune_libre_base.json

The sounds are read once: eight versions of each clip (shift, speed, gain, noise, another clip in the background) are
kept as log-mels and as features of the frozen towers, so that batches are large. Every step draws clips in proportion
to 1 / sqrt(size of their class), with a version of each, masks spans of the log-mel, and minimizes

    contrast * InfoNCE against captions + classes * cross-entropy against prompts of class names
    + tags * cross-entropy of the frozen tagger's classes against their names + keep * distance to the tagger's scores

A run with a teacher trains one tower alone, libre-small's or YAMNet with the linear map, with the teacher's text tower
and `distill` times the distance to its embeddings. Only validation clips, and with --dev the clips of another manifest,
are scored. The folder gets one safetensors file per run with the tensors that changed, as float16;
`tools/make_libre_base.py --tuned FILE` and `tools/make_libre_fast.py` continue.
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
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, log_softmax

from aural.core.weights import WEIGHTS
from aural.data.libre.cards import SOURCES
from aural.data.manifest import TRAINING_SPLITS, Manifest, Row, read_manifest
from aural.data.text import Example
from aural.models.clap import Clap
from aural.models.load import load
from aural.models.tagger import Tagger
from aural.nn.functional import unit
from make_libre_base import UNFAMILIAR, captions_of, ridge
from tune_model import Run, Texts, assemble, between, branch_of, bundled, changed, put, trainable
from tune_sounds import first_windows, masked
from tune_texts import TextLosses, TextTask, misspelled_texts
from tune_views import Views

PROMPTS = ("the sound of {}", "{}", "This is a sound of {}.", "a recording of {}")
VERSIONS = 8
NEGATIVES = 96
"""Class names that are drawn per step in addition to those of the batch; as many names of the tagger's classes."""
SHARES = (0.25, 0.5, 0.75)
"""Of the way from the start of a run to its end, where it is scored too."""
Places: TypeAlias = "np.ndarray[Any, np.dtype[np.int64]]"


class Trainer:
    """Trains one run after another from the same start."""

    def __init__(self, clap: Clap, tagger: Tagger, rows: list[Row], views: Views, folder: Path) -> None:
        self.start, self.rows, self.views, self.folder = clap, rows, views, folder
        self.extra: dict[str, dict[str, list[str]]] = {}  # captions by name of their file and by path
        self.device = views.small.device
        self.texts, self.names = Texts(clap, self.device), tagger.classes
        self.train = np.array(self.places("train"))
        self.class_names = np.array([row.class_name for row in rows])
        self.spoken = np.array([row.language for row in rows])
        self.classes = sorted({row.class_name for row in rows if row.split in TRAINING_SPLITS} - {""})
        self.generator: torch.Generator | None = None  # of masks and dropout; None while a model is scored

    def places(self, split: str) -> list[int]:
        return [i for i, row in enumerate(self.rows) if row.split == split]

    def parts(self, clap: Clap, run: Run, version: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        """Return libre-small's embedding (B, E) and the branch's features (B, D) of versions of clips (B,)."""
        views = self.views
        pooled = views.small[version, places]
        if run.tower_rate:
            pooled = clap.audio.encoder(views.narrow[version, places].float()).pooled.float()
        heard = views.heard[version, places]
        if run.branch_rate:
            mel = views.mel[version, places].float()
            if self.generator is not None and run.augment:
                mel = masked(mel, self.generator)
            heard = branch_of(clap).encoder(mel).pooled.float()
        return clap.audio.projection(pooled).float(), heard

    def joint(self, clap: Clap, run: Run, small: Tensor, heard: Tensor) -> Tensor:
        """Return unit embeddings (B, E): the mixture, or those of the student's tower alone."""
        if run.student == "small":
            return unit(small)
        dropped = heard
        if self.generator is not None:
            kept = torch.rand(heard.shape, generator=self.generator, device=self.device) >= run.dropout
            dropped = heard * kept / (1 - run.dropout)
            present = torch.rand((len(small), 1), generator=self.generator, device=self.device) >= run.small_dropout
            small = small * present
        if run.student == "tagger":
            return unit(branch_of(clap).linear(dropped))
        return unit(branch_of(clap).mixed(small, heard, dropped))

    @torch.inference_mode()
    def embed(self, clap: Clap, run: Run, places: Sequence[int], version: int = 0) -> Tensor:
        """Return unit embeddings (N, E) of one version of clips."""
        rows = []
        for part in torch.as_tensor(places, device=self.device).split(512):
            small, heard = self.parts(clap, run, torch.full_like(part, version), part)
            rows.append(self.joint(clap, run, small, heard))
        return torch.cat(rows)

    def initial(self, run: Run) -> Clap:
        """Return the model before a run: the ridge regression and the class names, or the teacher's text tower."""
        clap = copy.deepcopy(self.start)
        branch = branch_of(clap)
        if run.teacher:
            return put(clap, self.finished(run.teacher))
        captions = sorted({text for i in self.used for text in self.captions[i]})
        vectors = dict(zip(captions, self.texts.every(clap, captions).cpu(), strict=True))
        target = torch.stack([unit(torch.stack([vectors[t] for t in self.captions[i]]).mean(0)) for i in self.used])
        names = self.texts.every(clap, [f"the sound of {name.lower()}" for name in self.names])
        x = np.log1p(self.views.heard[0].cpu().numpy()[self.used].clip(0).astype(np.float64))
        w, b = ridge(x, target.numpy(), self.weight)
        branch.linear.weight.data.copy_(torch.tensor(w.T))
        branch.linear.bias.data.copy_(torch.tensor(b))
        branch.names.weight.data.copy_(names.T)
        branch.mix.data.copy_(torch.tensor(run.mix))
        clap.logit_scale.data.fill_(math.log(20.0))
        return clap

    def finished(self, name: str, patience_s: float = 300) -> dict[str, Tensor]:
        """Return the tensors of a bundled model or of a run, which another process may still be training."""
        file, begin = self.folder / f"{name}.safetensors", time.monotonic()
        if name in WEIGHTS and not file.is_file():
            return bundled(name)
        while not file.is_file() and time.monotonic() - begin < patience_s:
            time.sleep(1)
        return load_file(file)

    def prepare(self, run: Run) -> None:
        """Choose the clips, weights and captions of a run."""
        train = [i for i in self.train if SOURCES[self.rows[i].source].edition <= run.edition]
        draw = np.random.default_rng(1).permutation(train)[: round(run.share * len(train))]
        self.used = np.sort(draw)
        counts = Counter(self.class_names[self.used])
        weight = 1 / np.sqrt([counts[self.class_names[i]] for i in self.used])
        self.weight = weight / weight.sum()
        self.captions, self.drawn = {}, {}
        for i in self.used:
            row = self.rows[i]
            captions = captions_of(row) or [row.class_name]
            label = [row.caption_label or row.class_name]
            self.captions[i] = label if run.grains == "label" else captions
            more = [text for kind in run.extra for text in self.extra[kind].get(row.path, [])]
            self.drawn[i] = label if run.grains == "label" else [*captions, *row.captions, *more]

    def fit(self, run: Run) -> tuple[Clap, Clap]:
        """Train one run and return the model before it and the model with averaged weights."""
        self.prepare(run)
        start = self.initial(run)
        clap = copy.deepcopy(start)
        if run.average:
            saved = [self.finished(name) for name in run.average]
            mean = {key: torch.stack([part[key].float() for part in saved]).mean(0) for key in saved[0]}
            put(clap, mean)
            return start, between(start, clap, run.part, clap)
        taught = None if not run.teacher else self.taught(run)
        numbers = np.random.default_rng(run.seed)
        self.generator = torch.Generator(self.device).manual_seed(run.seed)
        groups = trainable(clap, run)
        tasks = [TextTask.parse(task, "toggles") for task in run.toggles]
        losses = TextLosses(tasks, clap.text, self.texts.tokenizer, run.seed).to(self.device)
        groups += [{"params": list(losses.parameters()), "lr": run.rate}] if list(losses.parameters()) else []
        parameters = [p for group in groups for p in group["params"]]
        average = [p.detach().clone() for p in parameters]
        optimizer = torch.optim.AdamW(groups, weight_decay=1e-3)
        rates = [group["lr"] for group in groups]
        for step in range(run.steps):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * min(1, (step + 1) / 30) * (0.5 + 0.5 * math.cos(math.pi * step / run.steps))
            batch = numbers.choice(self.used, run.batch, p=self.weight)
            loss = self.loss(clap, run, batch, numbers, taught)
            if tasks:
                loss = loss + losses(self.examples(batch, np.random.default_rng((run.seed, step))), self.device)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            decay = min(run.decay, (step + 1) / (step + 10))
            torch._foreach_lerp_(average, [p.detach() for p in parameters], 1 - decay)
        for parameter, value in zip(parameters, average, strict=True):
            parameter.data.copy_(value)
        self.generator = None
        return start, clap.requires_grad_(False)

    def examples(self, batch: Places, rng: np.random.Generator) -> list[Example]:
        """Return a caption of each class of a batch of clips (B,), with the others of its clip as paraphrases."""
        examples = []
        for i in {self.class_names[i] or i: i for i in batch}.values():
            row = self.rows[i]
            files = [text for file in self.extra.values() for text in file.get(row.path, [])]
            texts = list(dict.fromkeys([*(captions_of(row) or [row.class_name]), *row.captions, *files]))
            text, *others = (texts[k] for k in rng.permutation(len(texts)))
            examples.append(Example("sentence", text, paraphrases=tuple(others)))
        return examples

    def taught(self, run: Run) -> Tensor:
        """Return the teacher's embeddings (V, N, E) of all versions of all clips."""
        saved = self.finished(run.teacher)
        settings = Run(branch_rate=1.0 if any(".branch.encoder." in key for key in saved) else 0.0)
        teacher = put(copy.deepcopy(self.start), saved)
        everything = range(len(self.rows))
        versions = range(len(self.views.small))
        return torch.stack([self.embed(teacher, settings, everything, v) for v in versions]).clone()

    def loss(self, clap: Clap, run: Run, batch: Places, numbers: np.random.Generator, taught: Tensor | None) -> Tensor:
        """Return the loss of a batch of clips (B,)."""
        places = torch.as_tensor(batch, device=self.device)
        versions = len(self.views.small) if run.augment else 1
        version = torch.as_tensor(numbers.integers(versions, size=len(batch)), device=self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            small, heard = self.parts(clap, run, version, places)
        rows = self.joint(clap, run, small, heard)
        loss = torch.zeros((), device=self.device)
        if run.contrast or run.classes or run.tags:
            loss = self.loss_of_words(clap, run, batch, rows, numbers)
        if run.keep and run.branch_rate:
            loss = loss + run.keep * binary_cross_entropy_with_logits(
                branch_of(clap).classes(heard), self.views.scores[places]
            )
        if taught is not None:
            loss = loss + run.distill * (1 - (rows * taught[version, places]).sum(1)).mean()
        return loss

    def loss_of_words(self, clap: Clap, run: Run, batch: Places, rows: Tensor, numbers: np.random.Generator) -> Tensor:
        """Return the loss of embeddings (B, E) against captions, class names and the names of the tagger's classes."""
        device, size = self.device, len(batch)
        places = torch.as_tensor(batch, device=device)
        template = PROMPTS[numbers.integers(len(PROMPTS))]
        named, spoken = self.class_names[batch], self.spoken[batch]
        others = numbers.choice(self.classes, min(NEGATIVES, len(self.classes)), replace=False)
        classes = sorted({*named, *others} - {""})
        score = self.views.scores[places]
        top = score.amax(0).topk(NEGATIVES).indices.cpu().numpy()
        tags = np.unique(np.concatenate([top, numbers.choice(len(self.names), NEGATIVES, replace=False)]))
        captions = [numbers.choice(self.drawn[i]) for i in batch]
        prompts = [template.format(name) for name in classes]
        prompts += [template.format(self.names[i].lower()) for i in tags]
        autocast = torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")
        with autocast, torch.set_grad_enabled(run.text_rate > 0):
            texts = self.texts(clap, [*captions, *prompts])
        scale = clap.logit_scale.exp().clamp(max=60)
        cosines = scale * rows @ texts[:size].T
        same = (named[:, None] == named[None]) & (named != "")[:, None]
        if run.languages:
            same &= spoken[:, None] == spoken[None]
        same |= batch[:, None] == batch[None]
        same &= ~np.eye(size, dtype=bool)
        cosines = cosines.masked_fill(torch.as_tensor(same, device=device), -1e4)
        truth = torch.arange(size, device=device)
        loss = run.contrast * (cross_entropy(cosines, truth) + cross_entropy(cosines.T, truth)) / 2
        has = np.flatnonzero(named != "")
        index = {name: i for i, name in enumerate(classes)}
        target = torch.tensor([index[named[i]] for i in has], device=device)
        logits = scale * rows[torch.as_tensor(has, device=device)] @ texts[size : size + len(classes)].T
        loss = loss + run.classes * cross_entropy(logits, target)
        share = score[:, torch.as_tensor(tags, device=device)]
        logits = log_softmax(scale * rows @ texts[size + len(classes) :].T, 1)
        return loss - run.tags * (share * logits).sum() / share.sum()

    @torch.inference_mode()
    def validate(self, clap: Clap, run: Run) -> dict[str, Places]:
        """Return the ranks of the validation clips among all classes and of the clips of --dev among their classes.

        valid and dev: rank of a clip's class. _retrieval: of the clip for each of its captions; _typos: for the same
        captions, misspelled; _paraphrase: for its captions in the files of --captions.
        """
        ranks: dict[str, Places] = {}
        new = sorted({self.rows[i].class_name for i in self.places("eval-only")})
        for key, split, classes in (("valid", "valid", self.classes), ("dev", "eval-only", new)):
            places = [i for i in self.places(split) if self.rows[i].class_name]
            if not places:
                continue
            prompts = self.texts.every(clap, [PROMPTS[0].format(name) for name in classes])
            rows = self.embed(clap, run, places)
            named = [classes.index(self.rows[i].class_name) for i in places]
            ranks[key] = ranked(rows, prompts, named)
            captions = [(t, k) for k, i in enumerate(places) for t in captions_of(self.rows[i])]
            paths = [self.rows[i].path for i in places]
            more = [(t, k) for file in self.extra.values() for k, path in enumerate(paths) for t in file.get(path, [])]
            kinds = {"retrieval": captions, "paraphrase": more}
            kinds["typos"] = list(
                zip(misspelled_texts([t for t, _ in captions]), [k for _, k in captions], strict=True)
            )
            for kind, pairs in kinds.items():
                if pairs:
                    texts = self.texts.every(clap, [t for t, _ in pairs])
                    ranks[f"{key}_{kind}"] = ranked(texts, rows, [k for _, k in pairs])
                    ranks[f"{key}_{kind}_clip"] = np.array([k for _, k in pairs])
        return ranks

    def go(self, run: Run) -> None:
        """Train, score, print and save one run."""
        begin = time.monotonic()
        with torch.random.fork_rng():  # dropout of the toggles
            torch.manual_seed(run.seed)
            start, model = self.fit(run)
        ranks = self.validate(model, run)
        if run.save:
            part = self.folder / f"{run.name}.part"
            save_file(changed(model, run), part)
            part.rename(self.folder / f"{run.name}.safetensors")
        np.savez(self.folder / f"{run.name}.ranks.npz", **ranks)
        settings = {k: v for k, v in dataclasses.asdict(run).items() if v != getattr(Run(), k)}
        report = {"name": run.name, **settings, **summary(ranks), "seconds": round(time.monotonic() - begin)}
        print(json.dumps(report), flush=True)
        if run.save and not run.teacher:
            into = copy.deepcopy(start)
            for share in SHARES:
                scores = summary(self.validate(between(start, model, share, into), run))
                print(json.dumps({"name": run.name, "share": share, **scores}), flush=True)


def ranked(questions: Tensor, answers: Tensor, truth: Sequence[int]) -> Places:
    """Return the rank (N,), from 1, of the true one of unit rows `answers` (K, E) for unit rows `questions` (N, E)."""
    cosines = questions @ answers.T
    place = torch.as_tensor(truth, device=cosines.device)[:, None]
    ranks: Places = ((cosines > cosines.gather(1, place)).sum(1) + 1).cpu().numpy()
    return ranks


def summary(ranks: dict[str, Places]) -> dict[str, float]:
    """Return the top-1 accuracy of the classes and the mean reciprocal ranks."""
    scores = {f"{key}_top1": float((ranks[key] == 1).mean()) for key in ("valid", "dev") if key in ranks}
    kinds = [key for key in ranks if not key.endswith("_clip")]
    scores |= {f"{key}_mrr" if key in ("valid", "dev") else key: float((1 / ranks[key]).mean()) for key in kinds}
    return {name: round(score, 3) for name, score in scores.items()}


def chosen_rows(manifest: Manifest, training: bool) -> list[Row]:
    """Return the rows with a caption or a class of the training splits, or of all other splits."""
    return [
        row
        for row in manifest
        if (row.split in TRAINING_SPLITS) == training
        and (row.class_name or captions_of(row))
        and (row.source not in UNFAMILIAR or not training)
    ]


def read_captions(file: Path) -> dict[str, list[str]]:
    """Return the captions of all levels of detail by path."""
    clips = json.loads(file.read_text(encoding="utf-8"))["clips"]
    return {path: [text for texts in levels.values() for text in texts] for path, levels in clips.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--dev", type=Path, help="manifest of further sounds that are scored among their classes")
    parser.add_argument("--plan", type=Path, help="JSON list of runs; default: one run with the default settings")
    parser.add_argument("--views", type=Path, help="file of the versions of all clips, written if missing")
    parser.add_argument("--captions", type=Path, action="append", default=[], help="file of `aural corpus captions`")
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args()
    begin, device = time.monotonic(), torch.device(options.device)
    tagger = load("yamnet", engine="torch", device="cpu")
    assert isinstance(tagger, Tagger)
    clap = assemble(tagger).to(device)
    files = [read_manifest(file) for file in (options.manifest, options.dev) if file]
    chosen = [chosen_rows(content, training=place == 0) for place, content in enumerate(files)]
    plan = [Run()] if options.plan is None else [Run(**run) for run in json.loads(options.plan.read_text())]
    if options.views is not None and options.views.is_file():
        views = Views.read(options.views, device, mels=any(run.branch_rate or run.tower_rate for run in plan))
    else:
        audio = clap.config.audio
        sounds = [
            first_windows(content, part, audio.sample_rate_hz, audio.window_s)
            for content, part in zip(files, chosen, strict=True)
        ]
        views = Views.compute(clap, torch.from_numpy(np.concatenate(sounds)).to(device), VERSIONS)
        if options.views is not None:
            views.save(options.views)
    options.out.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(clap, tagger, [row for part in chosen for row in part], views, options.out)
    trainer.extra = {file.stem: read_captions(file) for file in options.captions}
    print(f"{len(trainer.train)} training clips, {time.monotonic() - begin:.0f} s", flush=True)
    for run in plan:
        trainer.go(run)


if __name__ == "__main__":
    main()
