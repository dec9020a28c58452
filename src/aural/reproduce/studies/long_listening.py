"""Sounds four times as long as in training, read by a language model with rotary positions.

A small decoder with rotary positions and a projection of frames learn together whether a named class sounds in a scene
of 16 frames. Tested are four scenes in a row, 64 frames, with as many present as absent classes.

Arms: `untouched` (positions go on), `partial` (those of the sound are squeezed, see `aural.nn.bridges.stretch`),
`vlat` (also trained with virtual lengths), `blind` (zeros instead of frames), `other` (`vlat` with the sounds of the
item four scenes before, which has no scene in common).
Tasks: `presence` per question, `short` (16 frames, as in training), `text-only` (1 where the logits of a text without a
sound are equal to the bit).

Legend: B items, T frames, F columns, L tokens, W width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from aural.nn.bridges.stretch import squeezed_places, virtual_places
from aural.nn.decoder import Decoder, DecoderConfig
from aural.reproduce.scene_world import FRAMES, Scenes, Sizes, load_scenes
from aural.reproduce.study import Scores, StudyContext
from aural.train.draw import ITEM, generator

TIMES: Final = 4
LONGEST: Final = 4.0
"""Highest factor of virtual lengths."""
YES: Final = 0


class Listener(nn.Module):
    """Reads frames and then one token per class; the state at the class says yes (0) or no (1)."""

    def __init__(self, columns: int, classes: int, seed: int, *, dim: int = 128, depth: int = 3) -> None:
        super().__init__()
        torch.manual_seed(seed)
        sizes = DecoderConfig(vocab_size=classes + 2, positions=256, dim=dim, depth=depth, heads=4, rope_theta=10_000)
        self.decoder, self.input = Decoder(sizes), nn.Linear(columns, dim)

    def forward(self, frames: Tensor, asked: Tensor, places: Tensor | None = None) -> Tensor:
        """Return logits (B, 2) of yes and no for frames (B, T, F) and classes (B,); places: (B, T + 1)."""
        vectors = torch.cat([self.input(frames), self.decoder.embed(asked[:, None] + 2)], dim=1)
        return self.decoder(vectors, places=places)[:, -1, :2]


def run(
    context: StudyContext, *, steps: int = 1500, batch: int = 128, sizes: Mapping[str, Any] | None = None
) -> Scores:
    """Return arm -> task -> scores."""
    world = load_scenes(context, Sizes(quadruples=0, **(sizes or {})))
    classes = list(world.classes)
    steps, batch = (2, 8) if context.smoke else (steps, batch)
    plain, vlat = (_trained(world.train, classes, context, steps, batch, virtual) for virtual in (False, True))
    blind = _trained(world.train, classes, context, steps, batch, False, blind=True)
    frames, heard = _joined(world.test, classes)
    items = _items(heard, generator(0, ITEM, 18))
    short = _items(_heard(world.test, classes), generator(0, ITEM, 19))
    length = frames.shape[1]
    squeezed = squeezed_places(length, 1, FRAMES)[None].to(frames.device)
    scores: dict[str, dict[str, Any]] = {
        "untouched": {"presence": _score(plain, frames, items, None)},
        "partial": {"presence": _score(plain, frames, items, squeezed)},
        "vlat": {"presence": _score(vlat, frames, items, squeezed)},
        "blind": {"presence": _score(blind, torch.zeros_like(frames), items, None)},
        "other": {"presence": _score(vlat, frames.roll(TIMES, 0), items, squeezed)},
    }
    for arm, model in (("partial", plain), ("vlat", vlat)):
        scores[arm]["short"] = _score(model, world.test.frames, short, None)
        scores[arm]["text-only"] = float(_same_text(model))
    return scores


@torch.no_grad()
def _same_text(model: Listener) -> bool:
    """Return whether a text without a sound gives equal logits with and without squeezed positions."""
    vectors = model.decoder.embed(torch.arange(2, 8, device=model.input.weight.device)[None] % 8)
    places = squeezed_places(FRAMES, vectors.shape[1], FRAMES)[FRAMES:][None].to(vectors.device) - FRAMES
    return bool(torch.equal(model.decoder(vectors), model.decoder(vectors, places=places)))


def _heard(scenes: Scenes, classes: list[str]) -> NDArray[np.bool_]:
    """Return (N, C), True where a class sounds in a scene."""
    heard = np.zeros((len(scenes.records), len(classes)), bool)
    for n, record in enumerate(scenes.records):
        for label in record["truth"]["classes"]:
            heard[n, classes.index(label)] = True
    return heard


def _joined(scenes: Scenes, classes: list[str]) -> tuple[Tensor, NDArray[np.bool_]]:
    """Return each scene followed by the next three, and the classes of all four."""
    frames = torch.cat([scenes.frames.roll(-k, 0) for k in range(TIMES)], dim=1)
    heard = _heard(scenes, classes)
    return frames, np.any([np.roll(heard, -k, axis=0) for k in range(TIMES)], axis=0)


def _items(heard: NDArray[np.bool_], rng: np.random.Generator) -> tuple[NDArray[np.int64], ...]:
    """Return the scene, the class and the answer of questions: one present and one absent class per scene."""
    rows = []
    for n, row in enumerate(heard):
        for present in (True, False):
            choices = np.flatnonzero(row == present)
            if len(choices):
                rows.append((n, int(choices[int(rng.integers(len(choices)))]), YES if present else 1 - YES))
    scene, asked, answer = np.array(rows, np.int64).T
    return scene, asked, answer


@torch.no_grad()
def _score(
    model: Listener, frames: Tensor, items: tuple[NDArray[np.int64], ...], places: Tensor | None
) -> NDArray[np.float64]:
    scene, asked, answer = (torch.from_numpy(one).to(frames.device) for one in items)
    right = []
    for part in torch.arange(len(scene), device=frames.device).split(256):
        given = None if places is None else places.expand(len(part), -1)
        logits = model(frames[scene[part]], asked[part], given)
        right.append((logits.argmax(1) == answer[part]).double())
    return torch.cat(right).cpu().numpy()


def _trained(
    scenes: Scenes, classes: list[str], context: StudyContext, steps: int, batch: int, virtual: bool, *,
    blind: bool = False,
) -> Listener:  # fmt: skip
    device = scenes.frames.device
    model = Listener(scenes.frames.shape[2], len(classes), context.seed).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, max(steps, 2), pct_start=0.1)
    heard = _heard(scenes, classes)
    frames = torch.zeros_like(scenes.frames) if blind else scenes.frames
    for step in range(steps):
        rng = generator(context.seed, ITEM, 20, step)
        chosen = rng.integers(len(heard), size=batch)
        scene, asked, answer = (torch.from_numpy(one).to(device) for one in _items(heard[chosen], rng))
        places = None
        if virtual:
            factors = 1 + (LONGEST - 1) * torch.from_numpy(rng.random(len(scene))).float()
            shifts = torch.from_numpy(rng.random(len(scene))).float()
            places = virtual_places(FRAMES, 1, factors, shifts).to(device)
        index = torch.from_numpy(chosen).to(device)[scene]
        loss = cross_entropy(model(frames[index], asked, places), answer)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return model.eval()
