"""Questions and hypotheses against truth, by an independent parser; claims read back from written captions."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
from question_parser import answer, follows
from scene_toys import RATE, clips

from aural.data.simulate import SceneConfig, SceneSimulator
from aural.data.simulate.claims import Judge
from aural.data.simulate.hypotheses import CLASSES, balanced, hypotheses_of
from aural.data.simulate.questions import ask
from aural.data.simulate.read_back import Names, event_f1, read_claims, true_share

SCENES = 700


@pytest.fixture(scope="module")
def simulator() -> SceneSimulator:
    config = SceneConfig(sample_rate_hz=RATE, duration_s=(2.0, 30.0), room_chance=0.0)
    return SceneSimulator(clips(), config, seed=8)


@pytest.fixture(scope="module")
def name_of() -> dict[str, str]:
    first: dict[str, str] = {}
    for clip in clips():
        first.setdefault(clip.label, clip.phrases[0].lower())
    assert len(set(first.values())) == len(first)
    return first


def test_every_answer_is_that_of_the_parser(simulator: SceneSimulator, name_of: dict[str, str]) -> None:
    labels = {name: label for label, name in name_of.items()}
    kinds: Counter[tuple[str, str]] = Counter()
    for index in range(SCENES):
        truth = simulator.plan(index).truth
        judge = Judge(truth, simulator.config)
        absent = [label for label in sorted(name_of) if label not in judge.events][:2]
        questions = ask(judge, name_of.__getitem__, absent, np.random.default_rng(index))
        record = json.loads(truth.to_json())
        for one in questions:
            assert answer(one.text, labels, record) == one.answer, (index, one)
            assert one.answer in one.options
            yes_no = one.kind in ("presence", "attribute")
            kinds[one.kind, one.answer if yes_no or one.kind == "count" else str(one.options.index(one.answer))] += 1
    assert {kind for kind, _ in kinds} == {"presence", "count", "order", "attribute", "comparison"}
    for kind in ("order", "comparison"):  # the first option is right half of the time
        assert kinds[kind, "0"] / (kinds[kind, "0"] + kinds[kind, "1"]) == pytest.approx(0.5, abs=0.05)
    assert min(kinds["count", word] for word in ("once", "twice", "three times", "four times")) > 10


def test_hypotheses_are_balanced_and_classes_are_those_of_the_parser(
    simulator: SceneSimulator, name_of: dict[str, str]
) -> None:
    labels = {name: label for label, name in name_of.items()}
    records, every = {}, []
    for index in range(300):
        truth = simulator.plan(index).truth
        records[index] = json.loads(truth.to_json())
        every += hypotheses_of(index, Judge(truth, simulator.config), name_of.__getitem__)
    assert all(follows(one.text, labels, records[one.scene]) == one.entailment for one in every)
    chosen = balanced(every, np.random.default_rng(0))
    counts = Counter((one.relation, one.entailment) for one in chosen)
    for relation in ("before", "louder"):
        assert len({counts[relation, name] for name in CLASSES}) == 1
        assert counts[relation, "neutral"] > 20


def test_a_reader_of_hypotheses_alone_is_at_chance(simulator: SceneSimulator, name_of: dict[str, str]) -> None:
    """Naive Bayes over the words of a hypothesis and their places, trained on other scenes."""
    every = [
        one
        for index in range(1200)
        for one in hypotheses_of(index, Judge(simulator.plan(index).truth, simulator.config), name_of.__getitem__)
    ]
    train = balanced([one for one in every if one.scene < 800], np.random.default_rng(1))
    test = balanced([one for one in every if one.scene >= 800], np.random.default_rng(2))
    counts: Counter[tuple[str, str]] = Counter()
    for one in train:
        counts.update((one.entailment, feature) for feature in enumerate_words(one.text))
    right = 0
    for one in test:
        scores = [sum(np.log(counts[name, f] + 1.0) for f in enumerate_words(one.text)) for name in CLASSES]
        right += CLASSES[int(np.argmax(scores))] == one.entailment
    assert right / len(test) == pytest.approx(1 / 3, abs=0.06)


def enumerate_words(text: str) -> list[str]:
    words = text.split()
    middle = words.index("is")
    return [f"{word} {place > middle}" for place, word in enumerate(words)]


def test_claims_are_read_back_from_a_caption() -> None:
    names = Names({"a bell": "bell", "a dog barking": "dog", "a dog": "dog"})
    claims = read_claims("First a dog barking three times, then a bell and a dog", names)
    assert claims == (("present", "dog"), ("present", "bell"), ("count", "dog", 3), ("before", "dog", "bell"))
    truths = {
        ("present", "dog"): True,
        ("present", "bell"): False,
        ("count", "dog", 3): None,
        ("before", "dog", "bell"): False,
    }
    assert true_share("a dog three times, then a bell", names, truths.__getitem__) == 1.5 / 4
    assert true_share("nothing", names, truths.__getitem__) == 0.0
    assert event_f1("a dog", names, {"dog"}) == 1.0
    assert event_f1("wind", names, {"dog"}) == 0.0
