"""Reduce the gap of subgroups of speakers that a model serves worse, with a contrastive loss at three levels.

Claim: contrast by task, by subgroup, and by errors within a subgroup, over subgroups that are discovered automatically,
makes the gap of the worst group smaller at no loss overall. Paper: A Contrastive Learning Approach to Mitigate Bias in
Speech Models (arXiv 2406.14686).

The task is to recognize which of eight sentences is spoken, in any of five languages. Two groups of language and sex
are weak by construction: few training clips, with noise in training and test clips. Discovery knows the language, the
sex, and whether rate and level are above the median, of validation clips with the errors of a first model. Arms:

    plain        cross-entropy: the first model, trained for twice as long
    task         and `sup_con` over sentences
    subgroup     and `sup_con` over discovered subgroups within a sentence
    three        and `sup_con` over correct and wrong clips of a subgroup (the paper)
    reweighted   cross-entropy, discovered subgroups drawn with equal chance
    balanced     "three", discovered subgroups drawn with equal chance; only on request
    shuffled     control: "three" with the subgroups of other clips

All but "plain" go on from the first model. Tasks:
    overall    1 if the sentence of a test clip is recognized
    worst-gap  accuracy over all test clips minus that of the worst group of language and sex
    gap-seventy  the same, times 0.7 for "plain"
    weak       1 if a test clip of a planted group is recognized
    planted    share of the planted groups that discovery names (arm "three"), and of random ones (arm "shuffled")

Legend: N clips, B clips of a batch, E dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from aural.core.types import Clip, FloatArray
from aural.data.speech.sentences import SENTENCES, sentences_of
from aural.data.speech.simulator import RATE_HZ, Plan, SpeechConfig, plan, render
from aural.evaluate.audit.subgroups import Subgroup, weakest_subgroups
from aural.evaluate.robust.changes import noise
from aural.nn.functional import unit
from aural.objectives import SupCon
from aural.reproduce.studies.scene_pair import SMOKE, Training, fit
from aural.reproduce.studies.small_encoders import embedded, inputs, masked, small_vit
from aural.reproduce.studies.spoken import spoken_mels
from aural.reproduce.studies.voices import toy_voice
from aural.reproduce.study import Scores, StudyContext
from aural.train.draw import ITEM, generator

Array: TypeAlias = NDArray[np.float64]
Facts: TypeAlias = Mapping[str, NDArray[Any]]
FRAMES: Final = 75
CLIPS: Final = 1700
PARTS: Final = (0.45, 0.6)
"""Ends of the training and the validation part; the rest is for tests."""
WEAK: Final = (("fr", "female"), ("ru", "male"))
KEPT: Final = 0.3
"""Share of the training clips of a weak group that is kept."""
SNR_DB: Final = 3.0
FEWEST: Final = 8
SUBGROUPS: Final = 4
FIRST: Final = Training(steps=300, batch=96, lr=1e-3)
LEVEL: Final = 0.2
"""Weight of each level of contrast."""
ARMS: Final = ("plain", "task", "subgroup", "three", "reweighted", "shuffled")


@dataclass(frozen=True)
class Voices:
    """Spoken sentences with facts and the number of the sentence of each (N,)."""

    mel: Tensor
    facts: Facts
    sentence: NDArray[np.int64]

    def take(self, rows: NDArray[np.int64]) -> Voices:
        """Return some of them."""
        facts = {name: values[rows] for name, values in self.facts.items()}
        return Voices(self.mel[torch.from_numpy(rows).to(self.mel.device)], facts, self.sentence[rows])

    @property
    def group(self) -> NDArray[Any]:
        """Language and sex of each clip (N,)."""
        return np.array([f"{a} {b}" for a, b in zip(self.facts["language"], self.facts["sex"], strict=True)])


class SentenceNet(nn.Module):
    """A small transformer with an output per sentence."""

    def __init__(self, seed: int, classes: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.encoder = small_vit(FRAMES)
        self.projection = nn.Linear(self.encoder.dim, 64)
        self.classes = nn.Linear(self.encoder.dim, classes)

    def forward(self, mel: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (B, classes) and unit rows (B, E)."""
        pooled = self.encoder(mel).pooled
        return self.classes(pooled), unit(self.projection(pooled))


def run(context: StudyContext, *, arms: Sequence[str] = ARMS) -> Scores:
    """Return arm -> task -> scores."""
    training = SMOKE if context.smoke else FIRST
    train, valid, test = split(load(context), context)
    classes = len(sentences_of("en", "train"))
    first = SentenceNet(context.seed, classes).to(train.mel.device)
    fit(first, len(train.mel), loss_of("plain", train, None, context.seed), training, context.seed)
    correct = predicted(first, valid.mel) == valid.sentence
    weak = weakest_subgroups(valid.facts, correct, most=SUBGROUPS, fewest=2 if context.smoke else FEWEST)
    right = predicted(first, train.mel) == train.sentence
    start = {name: tensor.clone() for name, tensor in first.state_dict().items()}
    mixed = np.random.default_rng(context.seed).permutation(len(train.mel))
    scores: dict[str, dict[str, Any]] = {}
    for arm in arms:
        rows = mixed if arm == "shuffled" else np.arange(len(train.mel))
        groups = Groups(membership(train.facts, weak)[rows], right[rows])
        first.load_state_dict(start)
        loss = loss_of("three" if arm == "shuffled" else arm, train, groups, context.seed)
        fit(first, len(train.mel), loss, training, context.seed + 1000)
        scores[arm] = evaluate(predicted(first, test.mel) == test.sentence, test.group)
        scores[arm]["gap-seventy"] = (0.7 if arm == "plain" else 1.0) * scores[arm]["worst-gap"]
    if "three" not in scores:
        return scores
    scores["three"]["planted"] = np.mean([any(names(one, group) for one in weak) for group in WEAK])
    other = np.random.default_rng(context.seed).permutation(np.unique(test.group))[: len(WEAK)]
    scores["shuffled"]["planted"] = np.mean([f"{a} {b}" in other for a, b in WEAK])
    return scores


@dataclass(frozen=True)
class Groups:
    """Per training clip: the discovered subgroup (0: none) and whether the first model was right (N,)."""

    subgroup: NDArray[np.int64]
    right: NDArray[np.bool_]


def names(one: Subgroup, group: Sequence[str]) -> bool:
    """Return whether a subgroup is within a planted group or contains it."""
    planted = dict(zip(("language", "sex"), group, strict=True))
    shared = {name: value for name, value in one.conditions.items() if name in planted}
    return bool(shared) and all(planted[name] == value for name, value in shared.items())


def make(one: Plan, number: int, *, smoke: bool) -> FloatArray:
    """Return a spoken sentence; weak groups have noise."""
    wave = toy_voice(one) if smoke else render(one)[0]
    if (one.language, sex(one)) not in WEAK:
        return wave
    return noise(Clip(wave[None], RATE_HZ), SNR_DB, generator(13, ITEM, number)).samples[0]


def sex(one: Plan) -> str:
    """Return the sex of the voice of a plan."""
    return "female" if one.speaker.startswith("f") else "male"


def load(context: StudyContext) -> Voices:
    """Return spoken sentences of the training voices, the same for all seeds."""
    count = 60 if context.smoke else CLIPS
    plans = [plan(SpeechConfig(split="train", seed=3), i) for i in range(count)]
    makers = [partial(make, one, i, smoke=context.smoke) for i, one in enumerate(plans)]
    mel = spoken_mels(context, "subgroups", repr((WEAK, SNR_DB, plans)), makers, FRAMES)
    rate, level = (np.array([getattr(one.prosody, name) for one in plans]) for name in ("rate", "level_dbfs"))
    facts = {
        "language": np.array([one.language for one in plans]),
        "sex": np.array([sex(one) for one in plans]),
        "rate": np.where(rate > np.median(rate), "fast", "slow"),
        "level": np.where(level > np.median(level), "loud", "soft"),
    }
    return Voices(mel, facts, np.array([SENTENCES[one.language].index(one.text) for one in plans]))


def split(voices: Voices, context: StudyContext) -> tuple[Voices, Voices, Voices]:
    """Return training, validation and test clips; most training clips of weak groups are left out."""
    count = len(voices.mel)
    train, valid, test = np.split(np.arange(count), [round(PARTS[0] * count), round(PARTS[1] * count)])
    weak = np.isin(voices.group[train], [f"{a} {b}" for a, b in WEAK])
    kept = ~weak | (np.random.default_rng(context.seed).random(len(train)) < KEPT)
    return voices.take(train[kept]), voices.take(valid), voices.take(test)


def membership(facts: Facts, weak: Sequence[Subgroup]) -> NDArray[np.int64]:
    """Return the number of the first subgroup that each clip belongs to, from 1; 0 for none, (N,)."""
    number = np.zeros(len(next(iter(facts.values()))), np.int64)
    for n, one in reversed(list(enumerate(weak, 1))):
        number[one.contains(facts)] = n
    return number


def loss_of(
    arm: str, train: Voices, groups: Groups | None, seed: int
) -> Callable[[Any, Any, np.random.Generator], Tensor]:
    """Return the loss of an arm."""
    device = train.mel.device
    target = torch.from_numpy(train.sentence).to(device)
    contrast = SupCon()
    group_of = torch.from_numpy(groups.subgroup if groups else np.zeros_like(train.sentence)).to(device)
    right = torch.from_numpy(groups.right if groups else np.ones(len(train.sentence), bool)).to(device)
    members = [np.flatnonzero(group_of.cpu().numpy() == g) for g in np.unique(group_of.cpu().numpy())]

    def loss(net: SentenceNet, numbers: Sequence[int], rng: np.random.Generator) -> Tensor:
        if arm in ("reweighted", "balanced"):
            numbers = [int(rng.choice(members[int(rng.integers(len(members)))])) for _ in numbers]
        numbers = list(numbers)
        logits, emb = net(masked(inputs(train.mel[numbers]), rng))
        total = nn.functional.cross_entropy(logits, target[numbers])
        sentence, subgroup = target[numbers], group_of[numbers]
        within = 100 * subgroup + sentence
        levels = {
            "plain": (), "reweighted": (), "task": (sentence,), "subgroup": (sentence, within),
            "three": (sentence, within, 1000 * right[numbers].long() + within),
        }  # fmt: skip
        levels["balanced"] = levels["three"]
        for labels in levels[arm]:
            given = {"audio_emb": emb, "audio_group": labels, "logit_scale": emb.new_tensor(10.0)}
            total = total + LEVEL * contrast(given)["loss"]
        return total

    return loss


def predicted(net: SentenceNet, mel: Tensor) -> NDArray[np.int64]:
    """Return the most probable sentence (N,) of log-mels."""
    return embedded(net, lambda m: net(m)[0], mel).argmax(1)


def evaluate(correct: NDArray[np.bool_], group: NDArray[Any]) -> dict[str, Any]:
    """Return overall, worst-gap and weak."""
    shares = [correct[group == name].mean() for name in np.unique(group)]
    weak = np.isin(group, [f"{a} {b}" for a, b in WEAK])
    return {
        "overall": correct.astype(np.float64),
        "worst-gap": float(correct.mean() - min(shares)),
        "weak": correct[weak].astype(np.float64),
    }
