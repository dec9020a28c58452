"""Train bridges from vectors of libre-base to the frozen decoder, one after the other, and let each write captions.

libre-base has learned most training clips, so that their vectors are nearer to their captions than those of other
clips, and a bridge that learns from them as they are trusts them too much. Vectors of such clips are therefore mixed
with that of another clip, so that the captions that are picked for them are about as good as those of validation clips
(`mixed`). Vectors of texts become like those of sounds by the part of the vector of a sound that is at right angles to
its caption, drawn from clips that libre-base has not learned.

Legend: B rows of a batch, E dimensions, P prefix positions, L tokens, W width of the decoder, V kept tokens.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from aural.nn.bridges.mapper import MlpMapper
from aural.nn.bridges.noise import paired_deviation
from aural.nn.functional import unit
from captioner_arms import ARMS, Arm, new_bridge
from captioner_data import Data, TokenRow, batch_of
from captioner_decoder import open_packed
from captioner_writing import candidates_of

CHECKS = 8
"""Times that the loss on the clips of `dev` is computed; the weights with the lowest are kept."""


LEFT_OUT = 0.3
"""Share of the texts that are removed from the prompt, because not every sound has a caption that is bundled."""


def losses(model: Any, prefix: Tensor, ids: Tensor, target: Tensor) -> Tensor:
    """Return the mean negative log-probability per row of the tokens to predict. Rows are padded on the right."""
    words = model.get_input_embeddings()(ids)
    vectors = torch.cat([prefix.to(words.dtype), words], dim=1)
    states = model.model(inputs_embeds=vectors, use_cache=False).last_hidden_state[:, prefix.shape[1] : -1]
    wanted = target[:, 1:].bool()
    per_token = cross_entropy(model.lm_head(states[wanted]).float(), ids[:, 1:][wanted], reduction="none")
    row = torch.arange(len(ids), device=ids.device)[:, None].expand_as(wanted)[wanted]
    return per_token.new_zeros(len(ids)).index_add(0, row, per_token) / wanted.sum(1)


def rate(done: float) -> float:
    """Return the learning rate at a share of the training, as a share of the highest: up in 5%, then down to 0."""
    return min(done / 0.05, 1 - (done - 0.05) / 0.95)


class Draw:
    """Draws the rows of a batch."""

    def __init__(self, data: Data, arm: Arm, args: argparse.Namespace) -> None:
        self.data, self.arm, self.questions, self.batch = data, arm, args.questions, args.batch
        self.rng, self.random = np.random.default_rng(args.seed), random.Random(args.seed)
        labels = [row["label"] for row in data.rows["audio"]]
        counts = {label: labels.count(label) for label in set(labels)}
        weights = np.array([counts[label] ** -0.5 for label in labels])
        self.weights = weights / weights.sum()
        seen = torch.tensor([row["seen"] for row in data.rows["audio"]], device=data.device)
        self.mix = arm.mix * (0.5 + 0.5 * seen.float())
        sounds = data.sound["audio"]
        pairs = torch.tensor([data.number.get(row["texts"][0], -1) for row in data.rows["audio"]], device=data.device)
        paired = pairs >= 0
        self.deviation = paired_deviation(sounds[paired], data.text[pairs[paired]])
        chosen = paired & ~seen if bool((paired & ~seen).any()) else paired
        texts = data.text[pairs[chosen]]
        self.rest = unit(sounds[chosen] - (sounds[chosen] * texts).sum(1, keepdim=True) * texts)
        self.generator = torch.Generator(data.device).manual_seed(args.seed)
        self.learned = [n for n in data.singles if data.kind[n] == "single"]

    def sounds(self, index: Tensor) -> Tensor:
        """Return vectors (B, E) of training clips, those that libre-base has learned mixed with another one."""
        every = self.data.sound["audio"]
        other = every[torch.randint(len(every), index.shape, generator=self.generator, device=every.device)]
        varied = 0.7 + 0.5 * torch.rand(len(index), generator=self.generator, device=every.device)
        share = (self.mix[index] * varied)[:, None]
        return unit((1 - share) * every[index] + share * other)

    def moved(self, texts: Tensor) -> Tensor:
        """Return vectors (B, E) of texts in the place of sounds: c text + sqrt(1 - c^2) rest.

        rest: the part of the vector of a random clip that is at right angles to its caption.
        """
        pick = torch.randint(len(self.rest), texts.shape[:1], generator=self.generator, device=texts.device)
        varied = 0.8 + 0.4 * torch.rand(len(texts), 1, generator=self.generator, device=texts.device)
        cosine = self.arm.cosine * varied
        return unit(cosine * texts + (1 - cosine.square()).sqrt() * self.rest[pick])

    def __call__(self) -> tuple[Tensor, list[TokenRow]]:
        """Return vectors (B, E) and token rows."""
        data, texts = self.data, round(self.arm.text * self.batch)
        chosen = self.rng.choice(len(self.weights), self.batch - texts, p=self.weights)
        words = [str(self.rng.choice(data.rows["audio"][int(n)]["texts"])) for n in chosen]
        index = torch.from_numpy(chosen).to(data.device)
        vectors, left_out = self.sounds(index), data.left_out["audio"][index]
        noise = torch.randn(vectors.shape, generator=self.generator, device=data.device)
        vectors = unit(vectors + self.arm.noise * self.deviation * noise)
        if texts:
            some = [self.random.choice(data.singles if n % 4 == 0 else self.learned) for n in range(texts)]
            words += [data.texts[n] for n in some]
            removed = torch.zeros(texts, len(data.known), dtype=torch.bool)
            for n, text in enumerate(words[-texts:]):
                removed[n, data.named.get(text, 0)] = text in data.named and self.random.random() < LEFT_OUT
            vectors = torch.cat([vectors, self.moved(data.text[torch.tensor(some, device=data.device)])])
            left_out = torch.cat([left_out, removed.to(data.device)])
        near = data.near(vectors, self.arm.prompts, left_out)
        rows = [self.row(text, places) for text, places in zip(words, near, strict=True)]
        return vectors, rows

    def row(self, text: str, near: list[int]) -> TokenRow:
        """Return a caption, or with the chance `questions` a question about presence or a choice among three."""
        others = [self.data.texts[self.random.choice(self.learned)] for _ in range(2)]
        task = self.random.random()
        if task >= self.questions or text in others or others[0] == others[1]:
            return self.data.caption(text, near)
        if task < self.questions / 2:
            there = self.random.random() < 0.5
            return self.data.presence(text if there else others[0], there)
        options = [text, *others]
        self.random.shuffle(options)
        return self.data.choice(options, options.index(text))


def mixed(data: Data, share: float, count: int = 2000) -> float:
    """Return how often the bundled sentence nearest to a learned training clip mixed with another one is a caption."""
    seen = [n for n, row in enumerate(data.rows["audio"]) if row["seen"]][:count]
    every = data.sound["audio"]
    rows = unit((1 - share) * every[seen] + share * every.roll(1, 0)[seen])
    places = data.near(rows, 1, data.left_out["audio"][seen])
    return sum(data.known[one[0]] in data.rows["audio"][n]["texts"] for n, one in zip(seen, places, strict=True)) / max(
        len(seen), 1
    )


@torch.no_grad()
def dev_loss(model: Any, bridge: nn.Module, data: Data, prompts: int) -> float:
    """Return the mean loss per token of the first captions of the clips of `dev`."""
    values: list[float] = []
    near = data.near(data.sound["dev"], prompts, data.left_out["dev"])
    for part in torch.arange(len(near)).split(128):
        rows = [data.caption(data.rows["dev"][int(n)]["texts"][0], near[int(n)]) for n in part]
        ids, _, target = batch_of(rows, data.device)
        values += losses(model, bridge(data.sound["dev"][part]), ids, target).tolist()
    return sum(values) / len(values)


def train(args: argparse.Namespace) -> None:
    """Train the arms one after the other; write the bridge and the candidate captions of each.

    With --limit-s the learning rate falls to 0 at that time or at the last step, whichever is sooner.
    """
    folder, result = Path(args.out), Path(args.result)
    result.mkdir(parents=True, exist_ok=True)
    start = time.time()
    model = open_packed(folder, args.device)
    data = Data(folder, args.device, args.most)
    print(f"{len(data.texts)} texts, {[len(rows) for rows in data.rows.values()]} clips, {time.time() - start:.0f} s")
    print(
        f"picked for learned clips by share of the mix: { {x: round(mixed(data, x), 3) for x in (0, 0.3, 0.4, 0.5)} }"
    )
    for name in args.arms.split(","):
        arm, start = ARMS[name], time.time()
        torch.manual_seed(args.seed)
        draw = Draw(data, arm, args)
        bridge = new_bridge(arm, data.text.shape[1], model.config.hidden_size).to(args.device)
        if args.start:
            bridge.load_state_dict({n: tensor.float() for n, tensor in load_file(args.start).items()})
        best = _fit(model, bridge, draw, name, args)
        bridge.load_state_dict(best)
        tensors = {n: t.detach().half().cpu().contiguous() for n, t in bridge.state_dict().items()}
        save_file(tensors, result / f"{name}.safetensors")
        print(f"{name}: {time.time() - start:.0f} s, writing", flush=True)
        in_float32 = model.float()
        for part in ("dev", "test"):
            written = list(candidates_of(in_float32, bridge, data, part, arm.prompts))
            (result / f"{name}-{part}.json").write_text(json.dumps(written))
        model.to(torch.bfloat16)
        print(f"{name}: done after {time.time() - start:.0f} s", flush=True)


def _fit(model: Any, bridge: MlpMapper, draw: Draw, name: str, args: argparse.Namespace) -> dict[str, Tensor]:
    """Train a bridge and return its weights with the lowest loss on `dev`."""
    start, data, prompts = time.time(), draw.data, draw.arm.prompts
    optimizer = torch.optim.AdamW(bridge.parameters(), lr=args.lr, weight_decay=args.weight_decay)
    best, lowest, checked, step, done = (
        {n: t.clone() for n, t in bridge.state_dict().items()},
        float("inf"),
        0.0,
        0,
        0.0,
    )
    while done < 1:
        done = max((step + 1) / args.steps, (time.time() - start) / args.limit_s if args.limit_s else 0.0)
        for group in optimizer.param_groups:
            group["lr"] = args.lr * max(rate(min(done, 1.0)), 0.0)
        vectors, rows = draw()
        ids, _, target = batch_of(rows, data.device)
        loss = losses(model, bridge(vectors), ids, target).mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(bridge.parameters(), 1.0)
        optimizer.step()
        step += 1
        if done >= checked + 1 / CHECKS or done >= 1:
            checked, value = done, dev_loss(model, bridge, data, prompts)
            print(f"{name} step {step} loss {loss.item():.3f} dev {value:.4f} {time.time() - start:.0f} s", flush=True)
            if value < lowest:
                best, lowest = {n: t.clone() for n, t in bridge.state_dict().items()}, value
    print(f"{name}: {step} steps of {args.batch}, lowest loss on dev {lowest:.4f}", flush=True)
    return best
