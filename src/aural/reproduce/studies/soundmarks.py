"""Ask which local sound is heard, of models that were there and of models that were not.

Claim: questions about sounds that only the people of a place know are not solvable from transcripts, and show a blind
spot of models that know sounds heard everywhere. Paper: TAU (Taiwan Audio Understanding).

World: five places, each with its own language. A clip is a spoken sentence of the world "speech" in that language,
after a signal. Some signals are used everywhere with one melody (`EVERYWHERE`); others have another melody in each
place (`LOCAL`), its soundmarks. Melodies are invented, and the sentence has nothing to do with the signal. Questions
are built by `aural.evaluate.choices`: what is the signal, with four options of the same place.

An audio encoder from random weights and a head over the vectors of frozen MiniLM are trained by recipe `small_pair`
(see `frozen_text`). All arms take the same number of steps:

    local        trained with all five places
    outsider     trained without the place that is asked about: five models, one per place
    transcript   control: MiniLM alone compares the transcript with the options
    options      control: the option that MiniLM finds nearest to the mean of all options

Tasks, one item per question: "local-signals" and "signals-everywhere"; local-signals-LANGUAGE for each place; and
"smallest-gap", the smallest difference local - outsider over the places in local-signals, one number of arm "local".
Tables per place are written to soundmarks.md.

Legend: N clips, Q questions, O options, E joint dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from aural.core.files import write_text
from aural.core.seeds import generator
from aural.core.types import FloatArray
from aural.data.manifest import Row
from aural.data.speech.prosody import LEVEL_DBFS, at_level
from aural.data.speech.simulator import RATE_HZ, Plan, SpeechConfig, plan, render
from aural.evaluate.choices import Question, build_questions, correct_choices
from aural.nn.functional import unit
from aural.objectives import InfoNCE
from aural.reproduce.shared import shared_arrays
from aural.reproduce.studies.frozen_text import (
    SMOKE_CHANGES,
    WIDTH,
    Clips,
    Data,
    Towers,
    embed_clips,
    match,
    text_table,
)
from aural.reproduce.studies.voices import device_of, new_towers, pack_clips, toy_voice, unpack_clips
from aural.reproduce.study import Scores, StudyContext
from aural.train.recipes import load_recipe

Array: TypeAlias = NDArray[np.float64]
PLACES: Final = {"en": "London", "es": "Madrid", "fr": "Paris", "it": "Rome", "ru": "Moscow"}
LOCAL: Final = (
    "the doors of the metro", "the pedestrian crossing", "the ice cream van", "the ferry", "the garbage truck",
    "the school bell",
)  # fmt: skip
EVERYWHERE: Final = ("a telephone", "a door bell", "a truck in reverse", "an alarm clock")
FRAMES: Final = ("the signal of {}", "this is {}", "one can hear {}")
QUESTION: Final = "what is heard is {}"
CLIPS: Final = {"train": 10, "test": 6}  # per signal and place
SIGNAL_S: Final = 1.2
SPOKEN_S: Final = 2.2  # the sentence is cut after this time
VERSION: Final = 1


class Signal(NamedTuple):
    """A clip: its place (a language), its signal, whether that is local, and the sentence that follows."""

    language: str
    name: str
    local: bool
    spoken: Plan


def run(context: StudyContext, *, changes: Sequence[str] = ()) -> Scores:
    """Return arm -> task -> scores. changes: of the recipe."""
    recipe = load_recipe("small_pair", SMOKE_CHANGES if context.smoke else changes)
    (train, train_mel), (test, test_mel) = (load_signals(context, split) for split in ("train", "test"))
    names = (*LOCAL, *EVERYWHERE)
    texts = sorted(
        {frame.format(name) for frame in (*FRAMES, QUESTION) for name in names} | {one.spoken.text for one in test}
    )
    place = {text: i for i, text in enumerate(texts)}
    kinds = [f"{one.language} {one.local}" for one in test]
    questions = build_questions([one.name for one in test], kinds, np.random.default_rng(0))
    asked = torch.tensor([[place[QUESTION.format(name)] for name in question.options] for question in questions])
    objective = InfoNCE()

    def answers(chosen: list[int]) -> Array:
        """Train on the chosen clips and return whether each question is answered correctly."""
        captions = [[place[frame.format(train[i].name)] for frame in FRAMES] for i in chosen]
        clips = Clips(rows_of([train[i] for i in chosen]), train_mel[torch.tensor(chosen, device=device)], captions)
        towers = new_towers(context, recipe, clips, texts)
        match(towers, clips, recipe, context.seed, lambda given, _: objective(given)["loss"])
        return correct_choices(questions, similarities(towers, Clips(rows_of(test), test_mel, []), asked))

    device = device_of(context)
    everywhere = list(range(len(train)))
    correct = {"local": answers(everywhere), "outsider": np.zeros(len(test))}
    for language in PLACES:
        there = np.array([one.language == language for one in test])
        away = answers([i for i in everywhere if train[i].language != language])
        correct["outsider"][there] = away[there]
    vectors = text_table(context, text_data(texts, test_mel, test), "minilm", WIDTH).cpu().double()
    spoken = torch.tensor([place[one.spoken.text] for one in test])
    correct |= text_answers(questions, unit(vectors[asked]), unit(vectors[spoken]))
    scores = {arm: tasks_of(values, test) for arm, values in correct.items()}
    gaps = [scores["local"][task].mean() - scores["outsider"][task].mean() for task in local_tasks()]
    scores["local"]["smallest-gap"] = np.array([min(gaps)])
    write_text(context.out / "soundmarks.md", table_of(scores))
    return scores


def text_data(texts: list[str], mel: torch.Tensor, signals: Sequence[Signal]) -> Data:
    """Return data whose captions are all texts, so that their vectors are standardized over all of them."""
    clips = Clips(rows_of(signals), mel, [list(range(len(texts)))])
    return Data(clips, clips, texts)


def local_tasks() -> list[str]:
    """Return the names of the tasks of local signals per place."""
    return [f"local-signals-{language}" for language in PLACES]


def tasks_of(correct: Array, signals: Sequence[Signal]) -> dict[str, Array]:
    """Split the questions by task."""
    local = np.array([one.local for one in signals])
    language = np.array([one.language for one in signals])
    tasks = {"local-signals": correct[local], "signals-everywhere": correct[~local]}
    return tasks | {f"local-signals-{name}": correct[local & (language == name)] for name in PLACES}


def table_of(scores: Scores) -> str:
    """Return a Markdown table: the accuracy of each arm per place."""
    lines = ["| arm | everywhere | local | " + " | ".join(PLACES.values()) + " |", "|---" + "|--:" * 7 + "|"]
    for arm, tasks in scores.items():
        names = ("signals-everywhere", "local-signals", *local_tasks())
        lines.append(f"| {arm} | " + " | ".join(f"{np.mean(tasks[name]):.2f}" for name in names) + " |")
    return "\n".join(lines) + "\n"


@torch.no_grad()
def similarities(towers: Towers, clips: Clips, asked: torch.Tensor) -> Array:
    """Return the cosine of each clip and each option of its question (Q, O)."""
    audio = embed_clips(towers, clips)
    text = towers.embed_texts(asked.to(towers.vectors.device)).double().cpu().numpy()
    result: Array = (text * audio[:, None]).sum(-1)
    return result


def text_answers(questions: Sequence[Question], options: torch.Tensor, transcripts: torch.Tensor) -> dict[str, Array]:
    """Return the answers of readers who hear nothing: of the transcript, and of the options alone.

    options: unit rows (Q, O, E). transcripts: unit rows (Q, E).
    """
    center = unit(options.mean((0, 1)))
    return {
        "transcript": correct_choices(questions, (options @ transcripts[:, :, None])[..., 0].numpy()),
        "options": correct_choices(questions, (options @ center).numpy()),
    }


def load_signals(context: StudyContext, split: str) -> tuple[list[Signal], torch.Tensor]:
    """Return the clips of a split and their 16-bit log-mels (N, frames, F), rendered now if not in the cache."""
    signals = draw_signals(split, 2 if context.smoke else CLIPS[split])

    def wave_of(numbered: tuple[int, Signal]) -> FloatArray:
        number, one = numbered
        speech = toy_voice(one.spoken) if context.smoke else render(one.spoken)[0]
        return clip_of(one, speech, generator(number, list(CLIPS).index(split)))

    def compute() -> dict[str, NDArray[Any]]:
        with ThreadPoolExecutor(2) as pool:
            return pack_clips(list(pool.map(wave_of, enumerate(signals))))

    key = repr((VERSION, signals, LOCAL, EVERYWHERE))
    return signals, unpack_clips(shared_arrays(context, f"soundmarks-{split}", key, compute), device_of(context))


def draw_signals(split: str, count: int) -> list[Signal]:
    """Return `count` clips per signal and place; voices, sentences and prosody are drawn."""
    signals = []
    for language in PLACES:
        config = SpeechConfig(languages=(language,), split=split, seed=1)
        for number, name in enumerate((*LOCAL, *EVERYWHERE)):
            spoken = [plan(config, count * number + i) for i in range(count)]
            signals += [Signal(language, name, name in LOCAL, one) for one in spoken]
    return signals


def rows_of(signals: Sequence[Signal]) -> list[Row]:
    """Return one manifest row per clip."""
    return [Row(path=f"{i}", source="soundmarks", split="", language=one.language) for i, one in enumerate(signals)]


def clip_of(one: Signal, speech: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Return the signal, played a little higher or lower and faster or slower, then the sentence, both with noise."""
    signal = melody(one, transpose=2 ** (rng.uniform(-0.5, 0.5) / 12), stretch=rng.uniform(0.9, 1.1))
    sentence = at_level(speech[: round(SPOKEN_S * RATE_HZ)], LEVEL_DBFS)
    wave = np.concatenate([at_level(signal, LEVEL_DBFS + rng.uniform(-3, 3)), sentence])
    noise = 10 ** (rng.uniform(-60, -45) / 20) * rng.standard_normal(len(wave))
    noisy: FloatArray = (wave + noise).astype(np.float32)
    return noisy


def melody(one: Signal, *, transpose: float, stretch: float) -> FloatArray:
    """Return the melody of a signal: four to seven tones with a timbre. It depends on the place if it is local."""
    place = list(PLACES).index(one.language) if one.local else len(PLACES)
    rng = generator(place, (*LOCAL, *EVERYWHERE).index(one.name))
    tones = int(rng.integers(4, 8))
    steps, partials = rng.integers(0, 25, tones), rng.uniform(0, 1, 5) ** 2
    weights, decay_s = rng.dirichlet(np.full(tones, 4.0)), rng.uniform(0.05, 0.4)
    parts = []
    for step, weight in zip(steps, weights, strict=True):
        time_s = np.arange(round(weight * SIGNAL_S * stretch * RATE_HZ)) / RATE_HZ
        pitch_hz = 330 * transpose * 2 ** (step / 12)
        tone = sum(part * np.sin(2 * np.pi * pitch_hz * (k + 1) * time_s) for k, part in enumerate([1.0, *partials]))
        parts.append(np.exp(-time_s / decay_s) * tone)
    wave: FloatArray = (0.1 * np.concatenate(parts)).astype(np.float32)
    return wave
