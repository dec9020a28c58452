"""Measure answers by spans on simulated scenes: number, order and level of sounds, with another scene as control.

    aural corpus build libre-mini --out libre-mini
    python tools/score_span_questions.py libre-mini --scenes 60

Questions and answers are those of `aural.data.simulate.questions`; scenes are of clips of held-out splits, two or
three sounds each, of which half are repeated where they can be. Three classes that do not sound in a scene are also
asked about: every number but "never" is a false answer, and so is yes to "is there ...?". Prints the share of right
answers of each kind with a 95% interval from a bootstrap over scenes: as `aural ask` answers; with the spans and the
threshold of `aural locate`, whose spans are counted; and as `aural ask` answers with the sound of the next scene.

An answer about two sounds is right only if both are located; "answer alone" also accepts the right name where one is
not. "mean over numbers" weights once, twice, three and four times equally.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import aural
from aural.data.manifest import read_manifest
from aural.data.simulate import SceneConfig, SceneSimulator
from aural.data.simulate.claims import Judge
from aural.data.simulate.corpus import clips_of
from aural.data.simulate.grammar import COUNTS
from aural.data.simulate.questions import SceneQuestion, ask
from aural.evaluate.scenes import HELD_OUT, PER_CLASS, RATE_HZ, VALIDATION
from aural.models.embedding import EmbeddingModel
from aural.models.locate import Located, Locator
from aural.models.span_levels import step_powers
from aural.models.span_limits import locate_named
from aural.models.span_questions import SpanQuestion, span_question
from aural.models.span_replies import reply, times
from aural.models.writers import answerer_of

ARMS = ("", " (spans of aural locate)", " (another scene)")
NUMBERS = {words[0]: times(number) for number, words in COUNTS.items()}
SPLITS = {"train": ("train",), "valid": VALIDATION, "test": HELD_OUT}
ABSENT = 3
DRAWS = 2000


@dataclass(frozen=True)
class Result:
    """One answer: its scene, whether it is right, and the number that was asked about (0: not a number)."""

    scene: int
    right: bool
    number: int = 0


def answers(
    pairs: list[tuple[SceneQuestion, SpanQuestion]],
    absent: list[str],
    located: Located,
    powers: NDArray[np.float64],
    *,
    pauses: bool,
) -> Iterator[tuple[str, bool, int]]:
    """Yield name, result and number of each score of one scene. pauses: whether they divide spans."""
    counted = powers if pauses else np.ones_like(powers)
    for one, asked in pairs:
        answer = NUMBERS.get(one.answer, one.answer)
        if one.kind == "count":
            text, number = reply(asked, located, counted).text, list(NUMBERS).index(one.answer) + 1
            yield "count", text == answer, number
            yield "count, says never", text == "never", 0
        else:
            given = reply(asked, located, powers)
            heard = {span.text for span in located.spans}
            yield f"{one.kind}, answer alone", given.text == answer, 0
            both = all(name in heard for name in asked.sounds)
            yield one.kind, both and given.text == answer, 0
            if both:
                yield f"{one.kind}, both located", given.text == answer, 0
    for name in absent:
        yield "absent, a number", reply(SpanQuestion("count", (name,)), located, counted).text != "never", 0


def interval(results: list[Result], generator: np.random.Generator, *, by_number: bool = False) -> tuple[float, ...]:
    """Return the mean (over numbers) and its 95% interval from a bootstrap over scenes."""
    scenes = sorted({one.scene for one in results})
    numbers = sorted({one.number for one in results}) if by_number else [0]
    right, asked = np.zeros((2, len(scenes), len(numbers)))
    for one in results:
        at = scenes.index(one.scene), numbers.index(one.number) if by_number else 0
        right[at] += one.right
        asked[at] += 1
    draws = generator.integers(0, len(scenes), (DRAWS, len(scenes)))
    with np.errstate(invalid="ignore"):
        shares = np.nanmean(right[draws].sum(axis=1) / asked[draws].sum(axis=1), axis=1)
    return float((right.sum(axis=0) / asked.sum(axis=0)).mean()), *np.percentile(shares, [2.5, 97.5]).tolist()


def main() -> None:
    """Print the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path, help="Folder of the free corpus.")
    parser.add_argument("--model", default="libre-base")
    parser.add_argument("--scenes", type=int, default=60)
    parser.add_argument("--split", choices=tuple(SPLITS), default="test")
    arguments = parser.parse_args()
    clips = clips_of(read_manifest(arguments.corpus), RATE_HZ, split=SPLITS[arguments.split], per_class=PER_CLASS)
    simulator = SceneSimulator(
        clips, SceneConfig(sample_rate_hz=RATE_HZ, room_chance=0.0, events=(2, 3), repeat_chance=0.5), seed=0
    )
    model = aural.load(arguments.model)
    assert isinstance(model, EmbeddingModel)
    answerer = answerer_of(model)[0]
    scenes = [simulator.scene(index) for index in range(arguments.scenes)]
    scores: dict[str, list[Result]] = defaultdict(list)
    generator, drawn = np.random.default_rng(0), np.random.default_rng(1)
    for n, scene in enumerate(scenes):
        judge = Judge(scene.truth, simulator.config)
        asked = [(one, span_question(one.text)) for one in ask(judge, lambda label: label, [], generator)]
        pairs = [(one, question) for one, question in asked if question is not None]
        silent = [label for label in simulator.labels if label not in {*judge.events, judge.steady}]
        absent = drawn.choice(silent, ABSENT, replace=False).tolist()
        names = sorted({*absent, *(name for _, question in pairs for name in question.sounds)})
        for arm in ARMS:
            clip = scenes[(n + 1) % len(scenes)].clip if arm == ARMS[2] else scene.clip
            of_locate = arm == ARMS[1]
            located = model.locate([clip], names)[0] if of_locate else locate_named(Locator(model, names), clip)
            for name in () if of_locate else (*judge.events, *absent):
                there = answerer.answer_of(clip, f"is there {name}?").text == "yes"
                kind = "is there, a sound that is there" if name in judge.events else "is there, absent, a false yes"
                scores[kind + arm].append(Result(n, there))
            for name, right, number in answers(pairs, absent, located, step_powers(clip), pauses=not of_locate):
                scores[name + arm].append(Result(n, right, number))
        for one, _ in pairs:
            if one.kind == "count":
                scores["count, always once"].append(
                    Result(n, one.answer == "once", list(NUMBERS).index(one.answer) + 1)
                )
    for name, results in sorted(scores.items()):
        mean, low, high = interval(results, generator)
        print(f"{name}: {mean:.3f} [{low:.3f}, {high:.3f}], {len(results)} of {len({one.scene for one in results})}")
        if any(one.number for one in results):
            mean, low, high = interval(results, generator, by_number=True)
            print(f"{name}, mean over numbers: {mean:.3f} [{low:.3f}, {high:.3f}]")


if __name__ == "__main__":
    main()
