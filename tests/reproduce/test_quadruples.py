"""Quadruples and orders: every caption is true of its sound and false of the other one."""

from __future__ import annotations

import numpy as np
import pytest

from aural.data.simulate import SceneConfig, SceneSimulator
from aural.data.simulate.claims import Judge
from aural.data.simulate.render import render
from aural.data.simulate.sounds import LabelledClip
from aural.data.simulate.truth import SceneTruth
from aural.reproduce.quadruples import quadruple_of, quadruple_scores, with_levels_swapped, with_order
from aural.reproduce.toys import CLASSES

CONFIG = SceneConfig(
    sample_rate_hz=16_000, duration_s=(4.0, 4.0), events=(2, 3), event_s=(0.1, 0.8), overlap_chance=0.0,
    background_chance=0.0, room_chance=0.0,
)  # fmt: skip


@pytest.fixture(scope="module")
def simulator() -> SceneSimulator:
    rng = np.random.default_rng(0)
    clips = [
        LabelledClip(rng.standard_normal(8000).astype(np.float32), name, name, (name,), "event") for name in CLASSES
    ]
    return SceneSimulator(clips, CONFIG, seed=0)


def scenes(simulator: SceneSimulator, events: int, count: int = 10) -> list[SceneTruth]:
    truths = (simulator.plan(number).truth for number in range(200))
    return [truth for truth in truths if len(truth.events) == events][:count]


def test_orders_keep_pauses_durations_and_ends(simulator: SceneSimulator) -> None:
    for truth in scenes(simulator, 3):
        other = with_order(truth, (2, 0, 1))
        labels = [event.label for event in truth.events]
        assert [event.label for event in other.events] == [labels[2], labels[0], labels[1]]
        assert other.events[0].onset_s == pytest.approx(truth.events[0].onset_s)
        assert other.events[-1].offset_s == pytest.approx(truth.events[-1].offset_s)
        for k in range(2):
            pause = truth.events[k + 1].onset_s - truth.events[k].offset_s
            assert other.events[k + 1].onset_s - other.events[k].offset_s == pytest.approx(pause)
        same = [render(one, simulator.bank, ())[0].samples for one in (truth, with_order(truth, (0, 1, 2)))]
        assert np.array_equal(*same)


def test_swapped_levels_are_heard(simulator: SceneSimulator) -> None:
    truth = scenes(simulator, 2)[0]
    other = with_levels_swapped(truth)
    assert [e.level_db for e in other.events] == [e.level_db for e in truth.events][::-1]
    waves = [render(one, simulator.bank, ())[0].samples[0] for one in (truth, other)]
    for event, swapped in zip(truth.events, other.events, strict=True):
        part = slice(round(event.occurrences[0].onset_s * 16_000), round(event.occurrences[0].offset_s * 16_000))
        before, after = (20 * np.log10(np.sqrt(np.mean(wave[part] ** 2))) for wave in waves)
        assert after - before == pytest.approx(swapped.level_db - event.level_db, abs=0.3)


@pytest.mark.parametrize("kind", ["order", "attribute"])
def test_captions_are_true_of_one_sound_alone(simulator: SceneSimulator, kind: str) -> None:
    made = [
        quadruple_of(kind, truth, CONFIG, np.random.default_rng(n)) for n, truth in enumerate(scenes(simulator, 2, 40))
    ]
    quadruples = [one for one in made if one]
    assert len(quadruples) >= 5
    for one in quadruples:
        assert sorted(one.captions[0].lower().split()) != one.captions[0].lower().split()
        first, second = (SceneTruth.from_facts(truth) for truth in one.truths)
        a, b = (event.label for event in first.events)
        claim = ("before", a, b) if kind == "order" else ("louder", a, b)
        verdicts = [Judge(truth, CONFIG)(claim) for truth in (first, second)]
        assert sorted(map(bool, verdicts)) == [False, True]
        assert None not in verdicts


def test_scenes_that_overlap_or_have_three_events_give_none(simulator: SceneSimulator) -> None:
    assert quadruple_of("order", scenes(simulator, 3)[0], CONFIG, np.random.default_rng(0)) is None


def test_random_similarities_score_at_chance() -> None:
    scores = quadruple_scores(np.random.default_rng(0).standard_normal((20_000, 2, 2)))
    assert scores["text"].mean() == pytest.approx(1 / 4, abs=0.01)
    assert scores["audio"].mean() == pytest.approx(1 / 4, abs=0.01)
    assert scores["group"].mean() == pytest.approx(1 / 6, abs=0.01)


def test_a_scorer_that_never_hears_the_sound_has_no_text_score() -> None:
    """The same caption wins for both sounds; with ties none wins."""
    column = np.random.default_rng(0).standard_normal((50, 1, 2)).repeat(2, axis=1)
    assert quadruple_scores(column)["text"].sum() == 0
    assert quadruple_scores(np.zeros((5, 2, 2)))["group"].sum() == 0
