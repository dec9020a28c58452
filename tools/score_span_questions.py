"""Measure answers by spans on simulated scenes: number and order of sounds, with another scene's sound as control.

    aural corpus build libre-mini --out libre-mini
    python tools/score_span_questions.py libre-mini --scenes 60

Questions and answers are those of `aural.data.simulate.questions`; scenes are of clips of held-out splits, two or
three sounds each, of which half are repeated where they can be.
Prints the share of right answers of each kind with a 95% interval from a bootstrap over scenes.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np

import aural
from aural.data.manifest import read_manifest
from aural.data.simulate import SceneConfig, SceneSimulator
from aural.data.simulate.claims import Judge
from aural.data.simulate.corpus import clips_of
from aural.data.simulate.grammar import COUNTS
from aural.data.simulate.questions import ask
from aural.evaluate.scenes import HELD_OUT, PER_CLASS, RATE_HZ, VALIDATION
from aural.models.span_questions import reply, span_question, times

OTHER = " (another scene)"
NUMBERS = {words[0]: times(number) for number, words in COUNTS.items()}


def main() -> None:
    """Print the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path, help="Folder of the free corpus.")
    parser.add_argument("--model", default="libre-base")
    parser.add_argument("--scenes", type=int, default=60)
    parser.add_argument("--split", choices=("valid", "test"), default="test")
    arguments = parser.parse_args()
    splits = VALIDATION if arguments.split == "valid" else HELD_OUT
    clips = clips_of(read_manifest(arguments.corpus), RATE_HZ, split=splits, per_class=PER_CLASS)
    simulator = SceneSimulator(
        clips, SceneConfig(sample_rate_hz=RATE_HZ, room_chance=0.0, events=(2, 3), repeat_chance=0.5), seed=0
    )
    model = aural.load(arguments.model)
    scenes = [simulator.scene(index) for index in range(arguments.scenes)]
    right: dict[str, dict[int, list[bool]]] = defaultdict(lambda: defaultdict(list))
    generator = np.random.default_rng(0)
    for n, scene in enumerate(scenes):
        judge = Judge(scene.truth, simulator.config)
        other = scenes[(n + 1) % len(scenes)]
        pairs = [(one, span_question(one.text)) for one in ask(judge, lambda label: label, [], generator)]
        questions = [(one, asked) for one, asked in pairs if asked is not None]
        names = sorted({name for _, asked in questions for name in asked.sounds})
        if not names:
            continue
        results = {arm: model.locate([clip], names)[0] for arm, clip in (("", scene.clip), (OTHER, other.clip))}
        for one, asked in questions:
            answer = NUMBERS.get(one.answer, one.answer)
            for arm, located in results.items():
                text = reply(asked, located).text
                right[f"{one.kind}{arm}"][n].append(text == answer)
                if one.kind == "order":
                    if all(located.best[name][0] >= located.threshold for name in asked.sounds):
                        right[f"order, both located{arm}"][n].append(text == answer)
                else:
                    right[f"count, always once{arm}"][n].append(answer == "once")
                    right[f"count, says never{arm}"][n].append(text == "never")
    for name, scored in sorted(right.items()):
        values = list(scored.values())
        draws = [
            np.concatenate([values[i] for i in generator.integers(0, len(values), len(values))]).mean()
            for _ in range(2000)
        ]
        low, high = np.percentile(draws, [2.5, 97.5])
        total = np.concatenate(values)
        print(f"{name}: {total.mean():.3f} [{low:.3f}, {high:.3f}], {len(total)} questions of {len(values)} scenes")


if __name__ == "__main__":
    main()
