"""The simulator as a whole: one seed, one sequence of scenes, however many make it; bad input is one sentence."""

from __future__ import annotations

import hashlib
import multiprocessing
import pickle

import numpy as np
import pytest
from scene_toys import RATE, burst, clips

from aural.core.errors import AudioError, AuralError, ConfigError, DataError
from aural.data.manifest import Row, from_rows
from aural.data.simulate import LabelledClip, SceneConfig, SceneSimulator
from aural.data.simulate.corpus import clips_of
from aural.data.simulate.sounds import clean_phrases

CONFIG = SceneConfig(sample_rate_hz=RATE, duration_s=(2.0, 12.0), rooms_per_kind=1, positions_per_room=2)


def digest(simulator: SceneSimulator, index: int) -> str:
    scene = simulator.scene(index)
    said = (scene.captions, scene.truth.to_json())
    return hashlib.sha256(scene.clip.samples.tobytes() + repr(said).encode()).hexdigest()


def _share(job: tuple[bytes, int, int, int]) -> dict[int, str]:
    """What one worker makes: every `step`-th scene from its own number on, backwards, so that no order can help it."""
    simulator = pickle.loads(job[0])
    return {index: digest(simulator, index) for index in reversed(range(*job[1:]))}


@pytest.fixture(scope="module")
def simulator() -> SceneSimulator:
    return SceneSimulator(clips(), CONFIG, seed=5)


def test_one_worker_and_four_give_the_same_bytes(simulator: SceneSimulator) -> None:
    scenes = 24
    alone = {index: digest(simulator, index) for index in range(scenes)}
    assert len(set(alone.values())) == scenes
    packed = pickle.dumps(simulator)
    together: dict[int, str] = {}
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        for part in pool.map(_share, [(packed, worker, scenes, 4) for worker in range(4)], chunksize=1):
            together |= part
    assert together == alone


def test_built_again_the_same_and_with_another_seed_another(simulator: SceneSimulator) -> None:
    again = SceneSimulator(clips(), CONFIG, seed=5)
    other = SceneSimulator(clips(), CONFIG, seed=6)
    assert digest(again, 3) == digest(simulator, 3)
    assert digest(other, 3) != digest(simulator, 3)


def test_iterating_is_indexing(simulator: SceneSimulator) -> None:
    found = [scene.truth for scene in simulator.scenes(1, 8, 3)]
    assert found == [simulator.scene(index).truth for index in (1, 4, 7)]


def test_scenes_are_as_the_settings_say(simulator: SceneSimulator) -> None:
    counts, kinds = set(), set()
    for index in range(300):
        plan = simulator.plan(index)
        truth = plan.truth
        counts.add(len(truth.events))
        kinds.add(truth.room and truth.room.kind)
        assert 2 <= truth.duration_s <= 12
        assert len({event.label for event in truth.events}) == len(truth.events)
        for event in truth.events:
            assert 0 <= event.onset_s < event.offset_s <= truth.duration_s + 1e-9
            assert CONFIG.level_db[0] <= event.level_db <= CONFIG.level_db[1]
            assert event.count == len(event.occurrences)
            if truth.background is not None:
                assert event.snr_db == pytest.approx(event.level_db - truth.background.level_db)
                assert event.snr_db >= CONFIG.background_snr_db[0] - 1e-9
        labels = simulator.frame_labels(plan, 20.0)
        assert labels.shape == (int(np.ceil(truth.duration_s * 20 - 1e-9)), len(simulator.labels))
    assert counts == {1, 2, 3, 4, 5, 6}
    assert kinds == {None, "small room", "large hall"}


def test_classes_can_be_chosen_and_weighted() -> None:
    settings = {"classes": ("dog", "hen", "bell"), "class_exponent": 3.0, "events": (1, 1), "room_chance": 0.0}
    simulator = SceneSimulator(clips(), CONFIG.model_copy(update=settings))
    drawn = [simulator.plan(index).truth.events[0].label for index in range(300)]
    assert set(drawn) == {"dog", "hen", "bell"}
    assert drawn.count("dog") > 200  # 1 / (1 + 1/8 + 1/27) = 86%


def test_alike_classes_are_never_absent_for_each_other() -> None:
    settings = {
        "classes": ("dog", "hen"),
        "alike": (("dog", "cat"), ("hen", "cat")),
        "events": (1, 1),
        "room_chance": 0,
    }
    simulator = SceneSimulator(clips(), CONFIG.model_copy(update=settings))
    said = [n.text for i in range(300) for n in simulator.plan(i).captions.negatives if n.kind == "absent"]
    assert said
    assert not any("cat" in text for text in said)


def test_phrases_that_claim_too_much_are_dropped() -> None:
    assert clean_phrases(["A dog barking twice", "A dog barking.", "thunder, then rain"], "dog") == ("a dog barking",)
    assert clean_phrases(["two dogs"], "big_dog") == ("big dog",)


TONE = burst(500, 0.5)


@pytest.mark.parametrize(
    ("made", "settings", "error", "sentence"),
    [
        ([], {}, DataError, "no clips to make scenes of"),
        ([LabelledClip(TONE, "a", "a.wav", role="background")], {}, DataError, "no clips to make scenes of"),
        ([LabelledClip(TONE * 0, "a", "a.wav")], {}, DataError, "a.wav: is silent"),
        ([LabelledClip(TONE[:0], "a", "a.wav")], {}, DataError, "a.wav: is silent"),
        ([LabelledClip(TONE[:40], "a", "a.wav")], {}, DataError, "a.wav: lasts less than"),
        ([LabelledClip(TONE * np.float32(np.nan), "a", "a.wav")], {}, AudioError, "a.wav: holds NaN"),
        ([LabelledClip(TONE[None], "a", "a.wav")], {}, DataError, r"a.wav: samples have shape \(1, 4000\)"),
        ([LabelledClip(TONE, "a", "a.wav")] * 2, {}, DataError, "a.wav: two clips have this name"),
        ([LabelledClip(TONE, "dog", "a.wav")], {"classes": ("dgo",)}, DataError, 'unknown class "dgo"; did you'),
        ([LabelledClip(TONE, "a", "a.wav")], {"events": (2, 3)}, DataError, "only 1 classes have a sound"),
        (
            [LabelledClip(np.tile(TONE, 30), "a", "a.wav")],
            {"longer": "refuse", "event_s": (0.1, 60.0)},
            DataError,
            "a.wav: sounds for 15.00 s, an event at most 10 s",
        ),
    ],
)  # fmt: skip
def test_bad_clips_are_one_sentence(
    made: list[LabelledClip], settings: dict[str, object], error: type[AuralError], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        SceneSimulator(made, SceneConfig.parse({"sample_rate_hz": RATE, "room_chance": 0.0, **settings}, "test"))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"duration_s": (0.0, 1.0)}, "duration_s must be in 2 to 120 s"),
        ({"duration_s": (20.0, 10.0)}, "put the lower bound first"),
        ({"events": (6, 6), "event_s": (1.0, 2.0), "duration_s": (4.0, 4.0)}, "do not fit into 4 s"),
        ({"events": (0, 3)}, "events must be in 1 to 12"),
        ({"room_chance": 1.5}, "must be in 0 to 1"),
        ({"evnts": (1, 2)}, 'unknown key "evnts"; did you mean "events"'),
    ],
)
def test_impossible_settings_are_one_sentence(settings: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        SceneConfig.parse(settings, "scenes.toml")


def test_unknown_class_of_frame_labels_and_negative_index(simulator: SceneSimulator) -> None:
    with pytest.raises(DataError, match='unknown class "dogs"; did you mean "dog"'):
        simulator.frame_labels(simulator.plan(0), 10.0, ("dogs",))
    with pytest.raises(DataError, match="scene -1"):
        simulator.plan(-1)


def test_many_events_in_the_shortest_scene_are_cut_to_fit() -> None:
    tight = CONFIG.model_copy(update={"events": (4, 4), "duration_s": (2.0, 2.0), "event_s": (0.1, 4.0)})
    simulator = SceneSimulator(clips(), tight.model_copy(update={"room_chance": 0.0}))
    for index in range(50):
        truth = simulator.scene(index).truth
        assert len(truth.events) == 4
        assert truth.events[-1].offset_s <= 2.0 + 1e-9


def test_clips_from_a_manifest(tmp_path) -> None:  # type: ignore[no-untyped-def]
    import soundfile

    for name in ("dog.wav", "rain.wav"):
        soundfile.write(tmp_path / name, np.stack([TONE, TONE], axis=1), RATE)
    rows = [
        Row(path="dog.wav", source="x", split="train", class_name="dog", caption_label="a dog barking"),
        Row(path="rain.wav", source="x", split="train", class_name="rain"),
        Row(path="gone.wav", source="x", split="test", class_name="cat"),
    ]
    manifest = from_rows(rows, tmp_path)
    dog, rain = clips_of(manifest, RATE)
    assert (dog.label, dog.phrases, dog.role) == ("dog", ("a dog barking",), "event")
    assert (rain.label, rain.role) == ("rain", "background")
    np.testing.assert_allclose(dog.samples, TONE, atol=1e-4)
    with pytest.raises(DataError, match="no named clip in split valid"):
        clips_of(manifest, RATE, split="valid")
