"""Questions about scenes, answered by a frozen decoder through a bridge; and entailment of hypotheses.

An arm names its bridge and the kinds of examples that it learns from. Answers are chosen among the options of a
question by the likelihood of the whole answer. Tasks, per question of the test scenes:

    presence, count, order, attribute, comparison      1 for a right answer, else 0
    presence-heard, presence-absent                    the two halves of presence (recall; 1 - false-positive rate)
    class                                              the class of a scene of one event, among all class names
    caption                                            event-F1 of a written caption
    entailment                                         three balanced classes

Further arms: `no-sound` (a bridge that sees only zeros, trained like the first arm: the text-only baseline),
`NAME-other` (the sound of another scene), `trivial` (the most frequent answer of training per kind).

Legend: N scenes, Q questions, O options, B examples of a batch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aural.core.config import Config
from aural.data.simulate.hypotheses import CLASSES, balanced, hypotheses_of
from aural.data.simulate.questions import ask
from aural.data.simulate.read_back import event_f1
from aural.generate.search import Limits, greedy
from aural.nn.bridges.inject import multiplications
from aural.reproduce.scene_world import Sizes
from aural.reproduce.studies.caption_material import Material, Side, material, percent
from aural.reproduce.studies.scene_pair import Training
from aural.reproduce.studies.sound_bridges import BridgeConfig, Fit, Heard, fitted, option_scores, prompts
from aural.reproduce.studies.word_decoder import ASK, END, REPLY, SAY, Reading, padded
from aural.reproduce.study import Scores, StudyContext
from aural.train.draw import ITEM, generator

ABSENT = 2
"""Questions about absent classes per scene."""
KINDS = ("presence", "count", "order", "attribute", "comparison")


class Answering(Config):
    """One arm.

    kinds: kinds of questions that the bridge learns from, "caption", "class" and "entailment" among them.
    negatives: whether it learns that sounds are absent. caption_first: a written caption is read before the question;
    it is that of a bridge that learned captions only. blind: the sound is replaced by zeros.
    """

    bridge: BridgeConfig = BridgeConfig(kind="temporal")
    kinds: tuple[str, ...] = (*KINDS, "class", "caption")
    negatives: bool = True
    caption_first: bool = False
    blind: bool = False


@dataclass(frozen=True)
class Item:
    """A question about a scene: the tokens that are read after the sound, the options, and the right one."""

    scene: int
    kind: str
    """A kind of `aural.data.simulate.questions`, "class", "caption" or "entailment"."""
    text: str
    """The question; for a caption the caption itself."""
    options: tuple[str, ...]
    right: int
    """The place of the right option."""

    @property
    def heard(self) -> bool:
        """Return whether a sound is present, for questions about presence."""
        return self.options[self.right] == "yes"


def run(
    context: StudyContext,
    *,
    arms: Mapping[str, Mapping[str, Any]],
    also: Sequence[str] = (),
    base: Mapping[str, Any] | None = None,
    reading: Mapping[str, Any] | None = None,
    fit: Mapping[str, Any] | None = None,
    sizes: Mapping[str, Any] | None = None,
    detailed: bool = False,
) -> Scores:
    """Return arm -> task -> scores. detailed: captions say which sound is loud and which sounds are heard together."""
    data = material(
        context,
        Training(**(base or {})),
        Reading(**(reading or {})),
        Sizes(quadruples=0, **(sizes or {})),
        overlaps=True,
        detailed=detailed,
    )
    parts = {name: Answering.parse(dict(values), name) for name, values in arms.items()}
    before = data.decoder.digest()
    room = Room(context, data, Fit(**(fit or {})))
    scores = {name: room.scores(arm, roll=0) for name, arm in parts.items()}
    for name in also:
        if name == "trivial":
            scores[name] = room.trivial()
        elif name == "no-sound":
            scores[name] = room.scores(next(iter(parts.values())).model_copy(update={"blind": True}), roll=0)
        elif name.endswith("-other"):
            scores[name] = room.scores(parts[name.removesuffix("-other")], roll=1)
        elif "-percent-of-" in name:
            scores[name] = percent(name, scores)
        else:
            raise KeyError(f'"{name}" is no further arm')
    for name, arm in parts.items():
        sizes_of = data.decoder.decoder.config
        cost = multiplications(
            sizes_of.dim, sizes_of.depth, attention_only=arm.bridge.inject, first_layer=arm.bridge.first_layer
        )
        scores[name] |= {"frozen": float(data.decoder.digest() == before), "cost": float(cost)}
    _print(context, room, parts)
    return scores


def items_of(data: Material, side: Side, part: int) -> list[Item]:
    """Return all questions about the scenes of a split."""
    labels = sorted(data.names)
    name = data.names.__getitem__
    items: list[Item] = []
    singles = tuple(sorted(set(data.names.values())))
    for n, judge in enumerate(side.judges):
        rng = generator(0, ITEM, 14, part, n)
        others = [labels[i] for i in rng.permutation(len(labels)) if labels[i] not in judge.events][:ABSENT]
        for one in ask(judge, name, others, rng):
            right = one.options.index(one.answer)
            items.append(Item(n, one.kind, one.text, one.options, right))
        if len(judge.events) == 1:
            (label,) = judge.events
            items.append(Item(n, "class", "which is heard?", singles, singles.index(name(label))))
    hypotheses = [one for n, judge in enumerate(side.judges) for one in hypotheses_of(n, judge, name)]
    items = evened(items, generator(0, ITEM, 16, part))
    for chosen in balanced(hypotheses, generator(0, ITEM, 15, part)):
        right = CLASSES.index(chosen.entailment)
        items.append(Item(chosen.scene, "entailment", chosen.text, CLASSES, right))
    return items


def evened(items: Sequence[Item], rng: np.random.Generator) -> list[Item]:
    """Return the questions with as many of each answer among those about numbers and attributes; others are kept."""
    chosen = {n for n, item in enumerate(items) if item.kind not in ("count", "attribute")}
    for kind in ("count", "attribute"):
        of_answer: dict[int, list[int]] = {}
        for n, item in enumerate(items):
            if item.kind == kind:
                of_answer.setdefault(item.right, []).append(n)
        fewest = min((len(numbers) for numbers in of_answer.values()), default=0)
        for numbers in of_answer.values():
            chosen.update(int(n) for n in rng.permutation(np.array(numbers, np.int64))[:fewest])
    return [items[n] for n in sorted(chosen)]


class Room:
    """The questions of both splits, and the bridges of one seed."""

    def __init__(self, context: StudyContext, data: Material, fit: Fit) -> None:
        self.context, self.data, self.fit = context, data, fit
        self.items = {"train": items_of(data, data.train, 0), "test": items_of(data, data.test, 1)}
        self.trained: dict[str, Heard] = {}
        self.written: dict[str, list[str]] = {}

    def trivial(self) -> dict[str, NDArray[np.float64]]:
        """Return the scores of the most frequent answer (or place, where options differ) of each kind in training."""
        scores = {}
        for kind in sorted({item.kind for item in self.items["test"]}):
            fixed = kind not in ("order", "comparison")
            counts = Counter(
                item.options[item.right] if fixed else str(item.right)
                for item in self.items["train"]
                if item.kind == kind
            )
            usual = counts.most_common(1)[0][0] if counts else ""
            tested = [item for item in self.items["test"] if item.kind == kind]
            answers = [item.options[item.right] if fixed else str(item.right) for item in tested]
            scores[kind] = np.array([float(answer == usual) for answer in answers])
        every = Counter(label for n in range(len(self.data.train)) for label in self.data.train.labels(n))
        usual_label = {every.most_common(1)[0][0]}
        test = self.data.test
        scores["caption"] = np.array(
            [2 * len(usual_label & test.labels(n)) / (1 + len(test.labels(n))) for n in range(len(test))]
        )
        return scores

    def bridge(self, arm: Answering) -> Heard:
        """Return the trained bridge of an arm."""
        name = arm.model_dump_json()
        if name not in self.trained:
            self.trained[name] = self._train(arm, name)
        return self.trained[name]

    def _sound(self, arm: Answering, side: Side, index: Tensor) -> tuple[Tensor, Tensor]:
        vector, frames = side.vector[index], side.frames(arm.bridge.frames)[index]
        return (torch.zeros_like(vector), torch.zeros_like(frames)) if arm.blind else (vector, frames)

    def _tokens(self, arm: Answering, side: str, item: Item) -> tuple[list[int], list[int]]:
        """Return what is given and what is to be predicted."""
        words = self.data.decoder.words
        if item.kind == "caption":
            return [SAY], [*words.encode(item.text), END]
        read = [SAY, *words.encode(self._captions(arm, side)[item.scene])] if arm.caption_first else []
        return [*read, ASK, *words.encode(item.text), REPLY], [*words.encode(item.options[item.right]), END]

    def _captions(self, arm: Answering, side: str) -> list[str]:
        """Return the captions of a split, written by the bridge that learned captions only."""
        writer = Answering(bridge=arm.bridge, kinds=("caption",))
        if side not in self.written:
            self.written[side] = self.write(writer, side, 0)
        return self.written[side]

    def _train(self, arm: Answering, name: str) -> Heard:
        side, decoder = self.data.train, self.data.decoder
        learned = [
            item
            for item in self.items["train"]
            if item.kind in arm.kinds and (arm.negatives or item.kind != "presence" or item.heard)
        ]
        if "caption" in arm.kinds:
            learned += [Item(n, "caption", one[0], (), 0) for n, one in enumerate(side.captions)]
        of_kind = [[i for i in learned if i.kind == kind] for kind in sorted({item.kind for item in learned})]
        encoded = [[self._tokens(arm, "train", item) for item in some] for some in of_kind]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.context.seed)
            width = side.frames(arm.bridge.frames).shape[2]
            bridge = Heard(arm.bridge, side.vector.shape[1], width, decoder).to(decoder.device)

        def step(module: Heard, numbers: NDArray[np.int64], rng: np.random.Generator) -> Tensor:
            kinds = rng.integers(len(of_kind), size=len(numbers))  # every kind as often
            places = [int(rng.integers(len(of_kind[k]))) for k in kinds]
            scenes = torch.tensor(
                [of_kind[k][p].scene for k, p in zip(kinds, places, strict=True)], device=decoder.device
            )
            batch = padded([encoded[k][p] for k, p in zip(kinds, places, strict=True)], decoder.device)
            prefix, cache = module(*self._sound(arm, side, scenes))
            losses = decoder.token_losses(prefix, batch, cache)
            return (losses.sum(1) / batch.target.sum(1)).mean()

        sums = [round(float(one.double().sum()), 3) for one in (side.vector, side.tagger)]
        return fitted(self.context, bridge, len(learned), step, self.fit, repr((name, sums, len(learned))))

    @torch.no_grad()
    def write(self, arm: Answering, side: str, roll: int) -> list[str]:
        """Return a caption per scene of a split."""
        split = self.data.test if side == "test" else self.data.train
        decoder, bridge = self.data.decoder, self.bridge(arm)
        written: list[str] = []
        for part in torch.arange(len(split)).split(256):
            prefix, _ = bridge(*self._sound(arm, split, (part - roll) % len(split)))
            vectors, mask = prompts(decoder, prefix, [[SAY]] * len(part))
            texts = greedy(decoder.decoder, vectors, Limits(max_tokens=40, stop_ids=(END,)), mask=mask)
            written += [decoder.words.text(one[0].ids) for one in texts]
        return written

    def scores(self, arm: Answering, roll: int) -> dict[str, Any]:
        """Return task -> scores per question. roll: take the sound of the scene that is so many places before."""
        bridge, side = self.bridge(arm), self.data.test
        right: dict[str, list[float]] = {}
        tested = [item for item in self.items["test"] if item.kind in {*arm.kinds, "presence"}]
        if arm.kinds == ("caption",):
            tested = [item for item in self.items["test"] if item.kind != "entailment"]
        rows, scenes = [], []
        for item in tested:
            given, _ = self._tokens(arm, "test", item)
            for option in item.options:
                rows.append((given, [*self.data.decoder.words.encode(option), END]))
                scenes.append((item.scene - roll) % len(side))
        likely = np.zeros(0)
        for at in range(0, len(rows), 4096):
            batch = padded(rows[at : at + 4096], self.data.decoder.device)
            index = torch.tensor(scenes[at : at + 4096], device=self.data.decoder.device)
            likely = np.concatenate(
                [likely, option_scores(self.data.decoder, bridge, *self._sound(arm, side, index), batch)]
            )
        at = 0
        for item in tested:
            best = int(likely[at : at + len(item.options)].argmax())
            at += len(item.options)
            right.setdefault(item.kind, []).append(float(best == item.right))
            if item.kind == "presence":
                half = "presence-heard" if item.heard else "presence-absent"
                right.setdefault(half, []).append(float(best == item.right))
        if "caption" in arm.kinds and not arm.bridge.inject:
            texts = self.write(arm, "test", roll)
            right["caption"] = [event_f1(t, self.data.spoken, side.labels(n)) for n, t in enumerate(texts)]
        asked = [right[kind] for kind in KINDS if kind in right]
        return {task: np.array(values) for task, values in right.items()} | {
            "questions": np.concatenate([np.array(one) for one in asked])
        }


def _print(context: StudyContext, room: Room, parts: Mapping[str, Answering]) -> None:
    """Write the number of test questions per kind, and one example of each, as a table."""
    lines = ["| kind | questions | example | options |", "|---|--:|---|---|"]
    for kind in sorted({item.kind for item in room.items["test"]}):
        some = [item for item in room.items["test"] if item.kind == kind]
        lines.append(f"| {kind} | {len(some)} | {some[0].text} | {', '.join(some[0].options[:4])} |")
    (context.out / "questions.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
