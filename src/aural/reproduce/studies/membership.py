"""Detect from text alone whose voice a model was trained on (USMID), and from sound and text (PRMID).

Claim: names of people whose voices were trained are anomalies among gibberish, so membership is detected without a
sound and without shadow models. Paper: USMID, Gibberish is All You Need (arXiv 2410.18371).

Each person has a name and a voice of espeak-ng. Two small pairs of towers are trained from random weights with
`info_nce` on sentences of three persons' groups, each with captions that name the speaker. Group "trained" is in the
first model alone, "other" in the second alone, and "unknown" in neither. Arms:

    heard      the first model: was a person of "trained" or of "unknown" trained?
    unheard    control: the same question to the second model, which never heard either group
    text-alone the task "usmid" of "heard" under the name of "prmid", to compare both
    shuffled   control: the first model, with the groups of other persons

Tasks, one item per person of "trained": the share of persons of "unknown" with a lower score, whose mean is the AUROC.
    usmid      `anomaly_scores` of the embedding of the name among gibberish
    prmid      mean log probability of the name among all names, given clips that were not trained
    cosine     control without gibberish: similarity of the embeddings of the name and of the person's clips

Legend: N clips, P persons, E joint dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from aural.data.speech.espeak import Utterance
from aural.data.speech.sentences import SENTENCES
from aural.evaluate.audit.anomaly import anomaly_scores, gibberish_names
from aural.models.clap import TextTower
from aural.nn.functional import unit
from aural.objectives import InfoNCE
from aural.reproduce.studies.scene_pair import SMOKE, TEXT, Texts, Training, fit
from aural.reproduce.studies.small_encoders import embedded, inputs, masked, small_vit
from aural.reproduce.studies.spoken import say, spoken_mels
from aural.reproduce.study import Scores, StudyContext
from aural.train.draw import ITEM, generator

Array: TypeAlias = NDArray[np.float64]
FRAMES: Final = 100
GROUP: Final = 30
"""Persons per group."""
GIBBERISH: Final = 200
CAPTIONS: Final = ("{} is speaking", "a recording of {}", "the voice of {}")
PROMPT: Final = "the voice of {}"
HELD_OUT: Final = 4
"""Sentences of each person that are not trained."""
TRAINING: Final = Training(steps=500, batch=96, lr=1e-3)
VARIANTS: Final = (
    "m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "f1", "f2", "f3", "f4", "f5", "Alex", "Alicia", "Andrea", "Andy",
    "Annie", "Denis", "Diogo", "Gene", "Henrique", "Hugo", "Jacky", "Lee", "Marco", "Mario", "Michael", "Mike",
    "adam", "anika", "antonio", "belinda", "benjamin", "boris", "caleb", "david", "ed", "edward", "grandma",
    "grandpa", "gustave", "john", "linda", "max", "michel", "miguel",
)  # fmt: skip
FIRST: Final = (
    "Maria", "Peter", "Anna", "Thomas", "Laura", "Daniel", "Julia", "Martin", "Sofia", "Robert", "Clara", "Victor",
    "Emma", "Oscar", "Nina", "Simon", "Alice", "Leon", "Helen", "Frank", "Irene", "Walter", "Diana", "Hugo", "Teresa",
    "Edgar", "Rosa", "Felix", "Paula", "Conrad",
)  # fmt: skip
LAST: Final = (
    "Keller", "Brown", "Silva", "Novak", "Larsen", "Moreau", "Rossi", "Fischer", "Walsh", "Duarte", "Petrov", "Jensen",
    "Carter", "Weber", "Romano", "Hughes", "Lindberg", "Costa", "Meyer", "Baker", "Dumont", "Sanders", "Vogel",
    "Marino", "Clarke", "Nielsen", "Ferrari", "Winter", "Gordon", "Hansen",
)  # fmt: skip


@dataclass(frozen=True)
class Person:
    """A name with a voice."""

    name: str
    variant: str
    pitch: int
    rate: int


class NamePair(nn.Module):
    """Two small towers with a learned temperature. Texts are numbers of a table."""

    def __init__(self, texts: Texts, seed: int, embed_dim: int = 64) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.audio = small_vit(FRAMES)
        self.projection = nn.Linear(self.audio.dim, embed_dim)
        self.text = TextTower(TEXT, "mlp", embed_dim)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        self.texts = texts

    def embed_audio(self, mel: Tensor) -> Tensor:
        """Return unit rows (N, E) of log-mels."""
        return unit(self.projection(self.audio(mel).pooled))

    def embed_texts(self, numbers: Sequence[int]) -> Tensor:
        """Return unit rows (N, E) of texts."""
        return unit(self.text(*self.texts.tokens(numbers)))


def run(context: StudyContext) -> Scores:
    """Return arm -> task -> share of unknown persons with a lower score, per trained person."""
    size = 3 if context.smoke else GROUP
    people = draw_people(3 * size)
    mel, sentences = speech_of(context, people)
    order = np.random.default_rng(context.seed).permutation(len(people))
    groups = order.reshape(3, size)  # trained, other, unknown
    gibberish = gibberish_names(20 if context.smoke else GIBBERISH, np.random.default_rng(context.seed))
    names = [one.name for one in people]
    prompts = [PROMPT.format(name) for name in (*names, *gibberish)]
    texts = Texts([*prompts, *(frame.format(name) for name in names for frame in CAPTIONS)], mel.device)
    scores: dict[str, dict[str, Array]] = {}
    for arm, trained in (("heard", groups[0]), ("unheard", groups[1])):
        pair = NamePair(texts, context.seed).to(mel.device)
        train(pair, mel, sentences, trained, names, context)
        signals = signals_of(pair, mel[:, sentences - HELD_OUT :], prompts, len(names))
        scores[arm] = {task: lower(of[groups[0]], of[groups[2]]) for task, of in signals.items()}
        if arm == "heard":
            mixed = np.random.default_rng(context.seed + 1).permutation(np.concatenate([groups[0], groups[2]]))
            scores["text-alone"] = {"prmid": scores["heard"]["usmid"]}
            scores["shuffled"] = {task: lower(of[mixed[:size]], of[mixed[size:]]) for task, of in signals.items()}
    return scores


def draw_people(count: int) -> list[Person]:
    """Return persons with distinct names and voices, the same in every run."""
    rng = generator(5, ITEM)
    pairs = [(first, last) for first in FIRST for last in LAST]
    chosen = [pairs[i] for i in rng.permutation(len(pairs))]
    voices = [(variant, pitch) for pitch in (35, 65) for variant in VARIANTS]
    order = rng.permutation(len(voices))
    return [
        Person(" ".join(chosen[n]), voices[i][0], voices[i][1], int(rng.integers(140, 220)))
        for n, i in enumerate(order[:count])
    ]


def speech_of(context: StudyContext, people: Sequence[Person]) -> tuple[Tensor, int]:
    """Return log-mels (P, sentences, N, F) of persons, and the number of sentences."""
    texts = SENTENCES["en"][: 6 if context.smoke else None]
    said = [Utterance(text, f"en+{one.variant}", one.rate, one.pitch, 50) for one in people for text in texts]
    makers = [partial(say, one, smoke=context.smoke) for one in said]
    mel = spoken_mels(context, "people", repr(said), makers, FRAMES)
    return mel.view(len(people), len(texts), *mel.shape[1:]), len(texts)


def train(
    pair: NamePair, mel: Tensor, sentences: int, trained: NDArray[np.int64], names: list[str], context: StudyContext
) -> None:
    """Train on all but the held-out sentences of the trained persons. A batch holds a person at most once per clip."""
    clips = [(int(person), sentence) for person in trained for sentence in range(sentences - HELD_OUT)]
    objective = InfoNCE()

    def loss(model: NamePair, numbers: Sequence[int], rng: np.random.Generator) -> Tensor:
        batch = [clips[n] for n in {clips[n][0]: n for n in numbers}.values()]  # one clip per person
        index = torch.tensor(batch, device=mel.device)
        frames = [CAPTIONS[int(rng.integers(len(CAPTIONS)))] for _ in batch]
        captions = [frame.format(names[person]) for frame, (person, _) in zip(frames, batch, strict=True)]
        audio = model.embed_audio(masked(inputs(mel[index[:, 0], index[:, 1]]), rng))
        text = model.embed_texts(model.texts.of(captions))
        scale = model.logit_scale.clamp(max=math.log(100.0)).exp()
        return objective({"audio_emb": audio, "text_emb": text, "logit_scale": scale})["loss"]

    fit(pair, len(clips), loss, SMOKE if context.smoke else TRAINING, context.seed)


@torch.no_grad()
def signals_of(pair: NamePair, held_out: Tensor, prompts: Sequence[str], people: int) -> dict[str, Array]:
    """Return the three signals of every person (P,); `prompts` are those of the persons, then gibberish."""
    pair.eval()
    text = pair.embed_texts(pair.texts.of(prompts)).double().cpu().numpy()
    audio = embedded(pair, pair.embed_audio, held_out.flatten(0, 1)).reshape(people, -1, text.shape[1])
    cosine = np.einsum("pse,qe->psq", audio, text[:people])
    logits = cosine * float(pair.logit_scale.exp().clamp(max=100.0))
    log_probability = logits - np.log(np.exp(logits - logits.max(2, keepdims=True)).sum(2, keepdims=True))
    log_probability -= logits.max(2, keepdims=True)
    itself = np.arange(people)
    return {
        "usmid": anomaly_scores(text[:people], text[people:]),
        "prmid": log_probability[itself, :, itself].mean(1),
        "cosine": cosine[itself, :, itself].mean(1),
    }


def lower(members: Array, others: Array) -> Array:
    """Return the share of others with a lower score per member; a tie counts half. The mean is the AUROC."""
    return np.asarray(((members[:, None] > others) + 0.5 * (members[:, None] == others)).mean(1), np.float64)
