"""Captioners with a frozen decoder: trained on texts alone or on sounds, with and without ways to close the gap.

An arm names what its bridge reads and learns from, and how captions are written. Tasks, per test scene:

    CIDEr-D, ROUGE-L, true-claims (share of the claims of a caption that are true), event-F1 (named classes),
    test-loss and train-loss (nats per token), loss-gap, frozen (1 where the decoder's weights did not change);
    -several: CIDEr-D and true-claims of scenes with two or more sounds
    -hidden and -shown: event-F1 and CIDEr-D of scenes with and without a class that no training caption names

Further arms: `nearest` takes the caption of a training scene that is nearest to the sound, `NAME-other` writes for the
sound of another scene, `75-percent-of-NAME` has the scores of an arm times 0.75.

Legend: N scenes, E joint dimensions, P prefix positions, W width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from aural.core.config import Config
from aural.data.simulate.read_back import event_f1, true_share
from aural.evaluate.metrics.captions import cider_d, rouge_l, tokenize
from aural.generate.prompts import nearest_texts
from aural.generate.rerank import hybrid_order
from aural.generate.search import Limits, beam, nucleus
from aural.nn.bridges.diffusion import DiffusionConfig, DiffusionLink
from aural.nn.bridges.memory import Memory
from aural.nn.bridges.noise import noisy
from aural.nn.bridges.shift import Shift
from aural.reproduce.scene_world import Sizes
from aural.reproduce.shared import shared_arrays
from aural.reproduce.studies.caption_material import Material, Side, material, percent
from aural.reproduce.studies.scene_pair import Training
from aural.reproduce.studies.sound_bridges import BridgeConfig, Fit, Heard, fitted, mean_loss, prompts
from aural.reproduce.studies.word_decoder import END, HINT, SAY, Padded, Reading, WordDecoder, padded
from aural.reproduce.study import Scores, StudyContext
from aural.train.draw import ITEM, generator

LIMITS = Limits(max_tokens=40, stop_ids=(END,))
TAGS = 3
ROWS = 256
"""Scenes that are captioned at once."""


class Arm(Config):
    """One captioner.

    learn: from the vectors of captions alone, or from scenes. noise: deviation on the vectors of captions. gap: what is
    done to the vector of a sound before the bridge. tags: a hint with the nearest class names. soft: whether there is
    a prefix at all. regress, contrast: weights of the squared distance and of InfoNCE between a projection of the mean
    prefix and the vector of the caption. mix: share of the scenes of a batch that are joined with another one.
    decode: beam search, or the best of 20 drawn texts by likelihood and by likelihood and cosine.
    """

    learn: Literal["text", "audio"] = "audio"
    bridge: BridgeConfig = BridgeConfig()
    noise: float = 0.0
    gap: Literal["none", "shift", "memory", "diffusion"] = "none"
    tags: bool = False
    soft: bool = True
    regress: float = 0.0
    contrast: float = 0.0
    mix: float = 0.0
    weight_decay: float = 0.02
    frame_drop: float = 0.0
    """Share of the frames that are replaced by zeros in training."""
    vector_drop: float = 0.0
    """Share of the scenes of a batch whose vector is replaced by zeros in training, so that frames have to be read."""
    scenes: int = 0
    """Training scenes; 0: all."""
    decode: Literal["beam", "likely", "hybrid"] = "beam"

    def training(self) -> Arm:
        """Return the arm without what counts only after training."""
        return self.model_copy(update={"gap": "none", "decode": "beam"})


def run(
    context: StudyContext,
    *,
    arms: Mapping[str, Mapping[str, Any]],
    also: Sequence[str] = (),
    hidden: int = 0,
    fresh: int = 0,
    base: Mapping[str, Any] | None = None,
    reading: Mapping[str, Any] | None = None,
    fit: Mapping[str, Any] | None = None,
    sizes: Mapping[str, Any] | None = None,
) -> Scores:
    """Return arm -> task -> scores.

    also: further arms. hidden: every so many-th class is in no training caption. fresh: the towers do not learn from
    every so many-th training scene, and a diffusion model learns from these alone.
    """
    chosen = Sizes(quadruples=0, **(sizes or {}))
    data = material(context, Training(**(base or {})), Reading(**(reading or {})), chosen, fresh=fresh)
    labels = sorted(data.names)
    secret = set(labels[1::hidden]) if hidden else set()
    parts = {name: Arm.parse(dict(values), name) for name, values in arms.items()}
    before = data.decoder.digest()
    lab = Lab(context, data, Fit(**(fit or {})), secret)
    texts = {name: lab.captions(arm, roll=0) for name, arm in parts.items()}
    scores: dict[str, dict[str, Any]] = {name: lab.losses(arm) for name, arm in parts.items()}
    for name in also:
        if name == "nearest":
            texts[name] = nearest(data)
        elif name.endswith("-other"):
            texts[name] = lab.captions(parts[name.removesuffix("-other")], roll=1)
        elif "-percent-of-" not in name:
            raise KeyError(f'"{name}" is no further arm')
    for name, written in texts.items():
        scores.setdefault(name, {}).update(caption_scores(written, data, secret))
    for name, arm in parts.items():
        scores[name] |= lab.gap_sizes(arm) | {"frozen": float(data.decoder.digest() == before)}
    for name in also:
        if "-percent-of-" in name:
            scores[name] = percent(name, scores)
    _print(context, texts, data)
    return scores


def caption_scores(written: Sequence[str], data: Material, secret: set[str]) -> dict[str, NDArray[np.float64]]:
    """Return the scores of one caption per test scene."""
    references = [[tokenize(text) for text in texts] for texts in data.test.captions]
    said = [tokenize(text) for text in written]
    test = data.test
    scores = {
        "CIDEr-D": cider_d(said, references),
        "ROUGE-L": rouge_l(said, references),
        "true-claims": rows_of([true_share(t, data.spoken, j) for t, j in zip(written, test.judges, strict=True)]),
        "event-F1": rows_of([event_f1(t, data.spoken, test.labels(n)) for n, t in enumerate(written)]),
    }
    several = np.array([len(judge.events) > 1 for judge in test.judges])
    for name in ("CIDEr-D", "true-claims") if several.any() else ():
        scores[f"{name}-several"] = scores[name][several]
    has = np.array([bool(test.labels(n) & secret) for n in range(len(test))])
    for name in ("CIDEr-D", "event-F1") if has.any() and not has.all() else ():
        scores |= {f"{name}-hidden": scores[name][has], f"{name}-shown": scores[name][~has]}
    return scores


def rows_of(values: Sequence[float]) -> NDArray[np.float64]:
    """Return scores as an array (N,)."""
    return np.asarray(values, np.float64)


def kept_rows(rng: np.random.Generator, shape: tuple[int, ...], share: float) -> Tensor:
    """Return a tensor of ones with zeros in a random share of its places.

    >>> kept_rows(np.random.default_rng(0), (2, 1), 0.0).tolist()
    [[1.0], [1.0]]
    """
    return torch.from_numpy(rng.random(shape) >= share).float()


def nearest(data: Material) -> list[str]:
    """Return the first caption of the training scene whose sound is nearest to each test scene."""
    closest = (data.test.vector @ data.train.vector.T).argmax(1).tolist()
    return [data.train.captions[n][0] for n in closest]


class Lab:
    """Trains and asks the bridges of one seed."""

    def __init__(self, context: StudyContext, data: Material, fit: Fit, secret: set[str]) -> None:
        self.context, self.data, self.fit, self.secret = context, data, fit, secret
        self.kept = np.array([n for n in range(len(data.train)) if not data.train.labels(n) & secret], np.int64)
        self.pairs = np.intersect1d(self.kept, data.fresh) if len(data.fresh) else self.kept
        self.trained: dict[str, Heard] = {}
        self.link: DiffusionLink | None = None
        names = sorted(set(data.names.values()))
        rows = data.embed(names).cpu().numpy()
        self.hints = {
            side: nearest_texts(side_of.vector.cpu().numpy(), rows, names, count=TAGS)
            for side, side_of in (("train", data.train), ("test", data.test))
        }

    def bridge(self, arm: Arm) -> Heard:
        """Return the trained bridge of an arm."""
        training = arm.training()
        name = training.model_dump_json()
        if name not in self.trained:
            self.trained[name] = self._train(training, name)
        return self.trained[name]

    def _train(self, arm: Arm, name: str) -> Heard:
        side, decoder = self.data.train, self.data.decoder
        frames = side.frames(arm.bridge.frames)
        kept = self.kept[: arm.scenes] if arm.scenes else self.kept
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.context.seed)
            bridge = Heard(arm.bridge, side.vector.shape[1], frames.shape[2], decoder).to(decoder.device)
        encoded = {
            (n, k): decoder.words.encode(side.captions[n][k]) for n in kept for k in range(len(side.captions[n]))
        }

        def step(module: Heard, numbers: NDArray[np.int64], rng: np.random.Generator) -> Tensor:
            chosen = kept[numbers]
            which = rng.integers(side.text.shape[1], size=len(chosen))
            index = torch.from_numpy(chosen).to(decoder.device)
            text = side.text[index, torch.from_numpy(which).to(decoder.device)]
            torch_rng = torch.Generator().manual_seed(int(rng.integers(2**62)))
            vector = side.vector[index] if arm.learn == "audio" else noisy(text, arm.noise, torch_rng)
            heard = frames[index]
            if arm.vector_drop:
                vector = vector * kept_rows(rng, (len(chosen), 1), arm.vector_drop).to(vector)
            if arm.frame_drop:
                heard = heard * kept_rows(rng, (*heard.shape[:2], 1), arm.frame_drop).to(heard)
            words = [list(encoded[int(n), int(k)]) for n, k in zip(chosen, which, strict=True)]
            if arm.mix:
                heard, words = self._mixed(heard, words, arm.mix, rng)
            given = [[*self._hint(arm, "train", int(n), rng), SAY] for n in chosen]
            batch = padded([(g, [*w, END]) for g, w in zip(given, words, strict=True)], decoder.device)
            if not arm.soft:
                return mean_loss(decoder, None, vector, heard, batch).mean() + 0 * module.scale
            prefix, cache = module(vector, heard)
            loss = decoder.token_losses(prefix, batch, cache).sum() / batch.target.sum()
            if arm.regress or arm.contrast:
                assert prefix is not None
                guess = torch.nn.functional.normalize(module.head(prefix.mean(1)), dim=-1)
                loss = loss + arm.regress * (guess - text).square().sum(1).mean()
                logits = guess @ text.T / 0.1
                loss = loss + arm.contrast * cross_entropy(logits, torch.arange(len(guess), device=logits.device))
            return loss

        fit = replace(self.fit, weight_decay=arm.weight_decay)
        return fitted(self.context, bridge, len(kept), step, fit, self._key(name))

    def _key(self, name: str) -> str:
        """Return what a trained bridge depends on in addition to its settings."""
        side = self.data.train
        sums = [float(side.vector.double().sum()), float(side.text.double().sum()), float(side.tagger.double().sum())]
        return repr((name, [round(one, 3) for one in sums], sorted(self.secret), len(side)))

    def _mixed(
        self, frames: Tensor, words: list[list[int]], share: float, rng: np.random.Generator
    ) -> tuple[Tensor, list[list[int]]]:
        """Join scenes with the next one of the batch: every second frame of both, and both captions."""
        frames, words = frames.clone(), list(words)
        then = self.data.decoder.words.encode(", then")
        plain_frames, plain = frames.clone(), list(words)
        for n in np.flatnonzero(rng.random(len(words)) < share):
            other = (int(n) + 1) % len(words)
            frames[n] = torch.cat([plain_frames[n, ::2], plain_frames[other, ::2]])
            words[n] = [*plain[n], *then, *plain[other]]
        return frames, words

    def _hint(self, arm: Arm, side: str, number: int, rng: np.random.Generator | None = None) -> list[int]:
        if not arm.tags:
            return []
        names = self.hints[side][number]
        if arm.learn == "text" and rng is not None:  # no sound in training: the true names, and one by chance
            others = [name for label, name in sorted(self.data.names.items()) if label not in self.secret]
            true = [self.data.names[label] for label in sorted(self.data.train.labels(number))]
            names = list(dict.fromkeys([*true, others[int(rng.integers(len(others)))]]))
            names = [names[i] for i in rng.permutation(len(names))][: TAGS + 1]
        return [HINT, *self.data.decoder.words.encode(" , ".join(names))]

    def _vectors(self, arm: Arm, side: Side) -> Tensor:
        """Return the vectors of sounds after the gap is closed."""
        train = self.data.train
        texts = train.text[torch.from_numpy(self.kept).to(train.text.device)].flatten(0, 1)
        if arm.gap == "shift":
            return Shift(train.vector, texts).to(texts.device)(side.vector)
        if arm.gap == "memory":
            return Memory(texts)(side.vector)
        if arm.gap == "diffusion":
            return self._linked()(side.vector)
        return side.vector

    def _linked(self) -> DiffusionLink:
        """Return the diffusion model, trained on pairs of training scenes and their captions."""
        if self.link is not None:
            return self.link
        train, device = self.data.train, self.data.decoder.device
        steps = 2 if self.context.smoke else 1500
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.context.seed)
            link = DiffusionLink(DiffusionConfig(dim=train.vector.shape[1])).to(device)

        @torch.enable_grad()
        def compute() -> dict[str, NDArray[Any]]:
            optimizer = torch.optim.AdamW(link.parameters(), lr=1e-3, weight_decay=0.02)
            for number in range(steps):
                rng = generator(self.context.seed, ITEM, 13, number)
                chosen = torch.from_numpy(rng.choice(self.pairs, min(128, len(self.pairs)))).to(device)
                which = torch.from_numpy(rng.integers(train.text.shape[1], size=len(chosen))).to(device)
                text, torch_rng = train.text[chosen, which], torch.Generator().manual_seed(number)
                loss = link.loss(train.vector[chosen], text, torch_rng) + link.loss(text, text, torch_rng)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
            return {name: tensor.detach().cpu().numpy() for name, tensor in link.state_dict().items()}

        stored = shared_arrays(
            self.context, "link", repr((1, steps, self.context.seed, self._key(f"link {len(self.pairs)}"))), compute
        )
        link.load_state_dict({name: torch.from_numpy(array) for name, array in stored.items()})
        self.link = link.eval()
        return self.link

    @torch.no_grad()
    def captions(self, arm: Arm, roll: int) -> list[str]:
        """Return a caption per test scene. roll: take the sound of the scene that is so many places before."""
        side, decoder = self.data.test, self.data.decoder
        vector = self._vectors(arm, side).roll(roll, 0)
        frames = side.frames(arm.bridge.frames).roll(roll, 0)
        bridge = self.bridge(arm)
        written: list[str] = []
        for part in torch.arange(len(side)).split(ROWS):
            numbers = [(int(n) - roll) % len(side) for n in part]
            tokens = [[*self._hint(arm, "test", n), SAY] for n in numbers]
            prefix = bridge(vector[part], frames[part])[0] if arm.soft else None
            written += self._write(arm, *prompts(decoder, prefix, tokens), side.vector.roll(roll, 0)[part])
        return written

    def _write(self, arm: Arm, vectors: Tensor, mask: Tensor, sounds: Tensor) -> list[str]:
        words: WordDecoder = self.data.decoder
        if arm.decode == "beam":
            best = beam(words.decoder, vectors, LIMITS, width=5, mask=mask)
            return [words.words.text(one[0].ids) for one in best]
        rng = torch.Generator().manual_seed(self.context.seed)
        drawn = nucleus(words.decoder, vectors, LIMITS, generator=rng, p=0.9, count=20, mask=mask)
        chosen = []
        for sound, texts in zip(sounds, drawn, strict=True):
            said = [words.words.text(one.ids) or "silence" for one in texts]
            likely = [one.mean_log_likelihood for one in texts]
            fits = (self.data.embed(said) @ sound).tolist()
            order = hybrid_order(likely, fits, weight=0.0 if arm.decode == "likely" else 0.5)
            chosen.append(said[int(order[0])])
        return chosen

    @torch.no_grad()
    def losses(self, arm: Arm) -> dict[str, Any]:
        """Return the loss on test and training scenes from their sounds, first captions, and the difference."""
        values = {}
        bridge = self.bridge(arm)
        for name, side in (("test", self.data.test), ("train", self.data.train)):
            chosen = torch.from_numpy(self.kept[:500]) if name == "train" else torch.arange(len(side))
            vector = self._vectors(arm, side)
            rows = []
            for part in chosen.split(256):
                given = [([*self._hint(arm, name, int(n)), SAY], self._first(side, int(n))) for n in part]
                batch: Padded = padded(given, self.data.decoder.device)
                module = bridge if arm.soft else None
                rows.append(
                    mean_loss(self.data.decoder, module, vector[part], side.frames(arm.bridge.frames)[part], batch)
                )
            values[name] = torch.cat(rows).double().cpu().numpy()
        gap = float(values["test"].mean() - values["train"].mean())
        return {"test-loss": values["test"], "train-loss": float(values["train"].mean()), "loss-gap": gap}

    def _first(self, side: Side, number: int) -> list[int]:
        return [*self.data.decoder.words.encode(side.captions[number][0]), END]

    def gap_sizes(self, arm: Arm) -> dict[str, float]:
        """Return the distance of the means of sounds and captions, and 1 - the mean cosine of pairs, on test scenes."""
        audio, text = self._vectors(arm, self.data.test), self.data.test.text
        distance = float((audio.mean(0) - text.flatten(0, 1).mean(0)).norm())
        cosine = float(torch.einsum("ne,nke->nk", audio, text).mean())
        return {"centroid-distance": distance, "cosine-gap": 1 - cosine}


def _print(context: StudyContext, texts: Mapping[str, Sequence[str]], data: Material) -> None:
    """Write the captions of the first test scenes as a table."""
    rows = [
        f"| {data.test.captions[n][0]} | " + " | ".join(written[n] for written in texts.values()) + " |"
        for n in range(min(20, len(data.test)))
    ]
    head = ["| reference | " + " | ".join(texts) + " |", "|---" * (len(texts) + 1) + "|"]
    (context.out / "captions.md").write_text("\n".join([*head, *rows]) + "\n", encoding="utf-8")
