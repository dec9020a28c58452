"""Parts of the studies of small, robust and private towers: degradations, splits, batches and scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from aural.audio.gcc import gcc_phat
from aural.core.types import Clip
from aural.evaluate.metrics.labels import auroc
from aural.reproduce.shared import resumed
from aural.reproduce.studies import (
    clip_pair,
    contrastive_tuning,
    keywords,
    masked_and_matched,
    membership,
    microphone_arrays,
    noisy_captions,
    speech_quality,
    weak_subgroups,
    without_negatives,
)
from aural.reproduce.study import StudyContext


def context(folder: Path) -> StudyContext:
    return StudyContext(seed=0, smoke=True, device="cpu", data=Path("toys"), out=folder)


def test_lost_packets_and_hum_have_their_size() -> None:
    rng = np.random.default_rng(0)
    clip = Clip(rng.standard_normal((1, 16_000)).astype(np.float32), 16_000)
    lost = speech_quality.lost_packets(clip, 0.3, rng).samples[0].reshape(-1, 320)
    silent = (lost == 0).all(1)
    assert 0.1 < silent.mean() < 0.5
    assert np.array_equal(lost[~silent], clip.samples[0].reshape(-1, 320)[~silent])
    added = speech_quality.mains_hum(clip, 10.0, rng).samples - clip.samples
    ratio = np.mean(clip.samples**2) / np.mean(added**2)
    assert 10 * np.log10(ratio) == pytest.approx(10, abs=0.01)
    assert np.abs(np.fft.rfft(added[0]))[:1001].argmax() == 100


def test_degraded_sentences_differ_by_level_and_level_0_is_clean() -> None:
    one = speech_quality.plan(speech_quality.SpeechConfig(split="test"), 0)
    for name in (*speech_quality.SEEN, *speech_quality.UNSEEN):
        waves = [speech_quality.degrade(one, name, level, 0, smoke=True) for level in (0, 1, 5)]
        changes = [float(np.square(wave[: len(waves[0])] - waves[0]).sum()) for wave in waves]
        assert changes[0] == 0, name
        assert changes[2] > 0.99 * changes[1] > 0, name  # every room adds as much power as the direct sound


def test_no_trained_degradation_is_a_test_of_generalization() -> None:
    assert not set(speech_quality.SEEN) & set(speech_quality.UNSEEN)
    levels = [len(settings) for _, settings in (speech_quality.SEEN | speech_quality.UNSEEN).values()]
    assert set(levels) == {speech_quality.LEVELS - 1}


def test_copies_are_faster_and_louder() -> None:
    class Fixed:
        def uniform(self, low: float, high: float, count: int) -> np.ndarray:
            return np.full(count, high)

    ramp = torch.arange(50.0)[None, :, None].repeat(2, 1, 48)
    changed = keywords.copies(ramp, Fixed())  # type: ignore[arg-type]
    gain = keywords.GAIN_DB / keywords.SPREAD_DB
    step = float(np.exp(keywords.RATE))
    assert changed[0, :30, 0].tolist() == pytest.approx([step * n + gain for n in range(30)], rel=1e-5)
    assert float(changed[0, -1, 0]) == pytest.approx(49 + gain)


def test_precision_counts_only_other_voices() -> None:
    words, voices = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
    perfect = (words[:, None] == words).astype(float)
    assert keywords.precisions(perfect, words, voices).tolist() == [1, 1, 1, 1]
    assert keywords.precisions(-perfect, words, voices).tolist() == [0.5, 0.5, 0.5, 0.5]


def test_no_searched_word_is_a_keyword_and_no_test_voice_is_trained() -> None:
    assert not set(keywords.KEYWORDS) & set(keywords.SEARCHED)
    assert not set(keywords.SPEAKERS["train"]) & set(keywords.SPEAKERS["test"])


def test_the_mean_of_lower_is_the_auroc() -> None:
    rng = np.random.default_rng(0)
    members, others = rng.integers(0, 6, (2, 20)).astype(np.float64)
    targets = np.repeat([1, 0], 20)[:, None]
    wanted = auroc(targets, np.concatenate([members, others])[:, None])[0]
    assert membership.lower(members, others).mean() == pytest.approx(wanted)


def test_persons_have_distinct_names_and_voices() -> None:
    people = membership.draw_people(3 * membership.GROUP)
    assert len({one.name for one in people}) == len({(one.variant, one.pitch) for one in people}) == 90
    assert people == membership.draw_people(3 * membership.GROUP)


def test_weak_groups_are_rare_in_training_alone(tmp_path: Path) -> None:
    voices = weak_subgroups.load(context(tmp_path))
    before = voices.take(np.arange(round(weak_subgroups.PARTS[0] * len(voices.mel))))
    train, valid, test = weak_subgroups.split(voices, context(tmp_path))
    planted = [" ".join(one) for one in weak_subgroups.WEAK]
    kept, all_of = (np.isin(part.group, planted).sum() for part in (train, before))
    assert kept < all_of
    assert (~np.isin(train.group, planted)).sum() == (~np.isin(before.group, planted)).sum()
    assert len(valid.mel) + len(test.mel) + len(before.mel) == len(voices.mel)


def test_a_clip_belongs_to_the_first_of_its_subgroups() -> None:
    facts = {"sex": np.array(["f", "m", "f"]), "language": np.array(["fr", "fr", "it"])}
    groups = [
        weak_subgroups.Subgroup(conditions, 2, 0.0, 0.0, 0.0) for conditions in ({"language": "fr"}, {"sex": "f"})
    ]
    assert weak_subgroups.membership(facts, groups).tolist() == [1, 1, 2]
    assert weak_subgroups.names(groups[0], ("fr", "female"))
    assert not weak_subgroups.names(groups[0], ("ru", "male"))


def test_drawn_patches_are_a_partition() -> None:
    visible, dropped = clip_pair.drawn_patches(5, 12, 0.25, np.random.default_rng(0))
    assert visible.shape == (5, 3)
    assert torch.equal(torch.cat([visible, dropped], dim=1).sort(1).values, torch.arange(12).repeat(5, 1))


def test_all_patches_visible_is_the_plain_embedding() -> None:
    pair = clip_pair.ClipPair(torch.randn(4, 8), 0).eval()
    mel = torch.randn(2, clip_pair.FRAMES, 48)
    everything = torch.arange(75).repeat(2, 1)
    torch.testing.assert_close(pair.embed_visible(mel, everything), pair.embed_mel(mel))


def test_siamese_arms_differ_in_the_predictor_alone() -> None:
    vectors = torch.randn(4, 8)
    with_one, without = (without_negatives.SiamesePair(vectors, 0, predictor=p) for p in (True, False))
    for (name, a), (_, b) in zip(with_one.pair.named_parameters(), without.pair.named_parameters(), strict=True):
        assert torch.equal(a, b), name
    with torch.no_grad():
        with_one.pair.encoder.norm.weight += 1
        with_one.average(0.5)
    torch.testing.assert_close(with_one.teacher.encoder.norm.weight, torch.full((128,), 1.5))
    assert not any(p.requires_grad for p in with_one.teacher.parameters())


def test_predictions_are_what_is_compared_if_asked() -> None:
    vectors, sounds = torch.randn(4, 8), torch.randn(3, 16)
    plain, predicted = (
        without_negatives.SiamesePair(vectors, 0, predictor=True, predictions=p, columns=16).eval()
        for p in (False, True)
    )
    torch.testing.assert_close(plain.embed_mel(sounds), plain.pair.embed_mel(sounds))
    rows = plain.predict_audio(plain.pair.embed_mel(sounds))
    torch.testing.assert_close(predicted.embed_mel(sounds), torch.nn.functional.normalize(rows, dim=1))
    assert not torch.allclose(predicted.embed_mel(sounds), plain.embed_mel(sounds), atol=1e-3)


def test_an_adapter_starts_as_the_frozen_features() -> None:
    features = torch.randn(2, 6)
    assert torch.equal(contrastive_tuning.Adapter(6)(features), features)


def test_measures_of_a_tone_and_of_silence() -> None:
    mel = torch.full((1, 20, 48), -2.0)
    mel[:, :, 10] = 2.0
    center, level, change = masked_and_matched.measures(mel)[0]
    assert center == pytest.approx(10, abs=0.5)
    assert level == pytest.approx((2 - 47 * 2) / 48)
    assert change == 0


def test_a_probe_is_pulled_to_its_start() -> None:
    rng = np.random.default_rng(0)
    rows, targets, start = rng.standard_normal((3, 5)), rng.standard_normal((3, 2)), rng.standard_normal((5, 2))
    assert noisy_captions.pulled_probe(rows, targets, start, 1e9) == pytest.approx(start, abs=1e-6)
    exact = noisy_captions.pulled_probe(rows, targets, start, 1e-9)
    assert rows @ exact == pytest.approx(targets, abs=1e-5)


def test_most_noise_is_rejected() -> None:
    rejected = [not noisy_captions.names_sound(form.format(n=7, d=3)) for form in noisy_captions.NOISE_FORMS]
    assert 0.7 < np.mean(rejected) < 1, "some noise must have a word for a sound"


def test_a_tuned_encoder_starts_from_the_same_features() -> None:
    encoder = clip_pair.ClipPair(torch.randn(4, 8), 0).encoder.eval()
    tuned = contrastive_tuning.TunedEncoder(encoder, 3, 1).eval()
    mel = torch.randn(2, clip_pair.FRAMES, 48)
    torch.testing.assert_close(tuned.encoder(mel).pooled, encoder(mel).pooled)
    assert tuned.encoder is not encoder


def test_a_rotated_square_hears_a_rotated_source() -> None:
    """A source that is turned by 90 degrees gives the same channels in another order."""
    wave = np.random.default_rng(0).standard_normal(8192).astype(np.float32)
    here, turned = (
        microphone_arrays.played_dry(wave, angle, np.random.default_rng(1)) for angle in (0.3, 0.3 + np.pi / 2)
    )
    order = list(microphone_arrays.SQUARE[1])
    a, b = (gcc_phat(one, lags=8, block=2048) for one in (here, turned[order]))
    assert (a.argmax(-1) == b.argmax(-1)).mean() > 0.9


def test_angles_wrap_around() -> None:
    heard = microphone_arrays.Heard(
        torch.empty(0), torch.empty(0), np.array([0, 1]), np.radians(np.array([179.0, -90.0]))
    )
    direction = microphone_arrays.unit_vectors(np.radians(np.array([-179.0, 90.0])))
    scores = microphone_arrays.evaluate(np.array([0, 0]), direction, heard)
    assert scores["where"].tolist() == pytest.approx([2, 180])
    assert scores["what"].tolist() == [1, 0]


def test_a_stopped_seed_goes_on_after_its_finished_arms(tmp_path: Path) -> None:
    calls: list[str] = []

    def arm(name: str) -> dict[str, np.ndarray]:
        calls.append(name)
        return {"score": np.array([1.0, 2.0])}

    for _ in range(2):
        first = resumed(context(tmp_path), "first", lambda: arm("first"))
        assert first["score"].tolist() == [1, 2]
    with pytest.raises(KeyboardInterrupt):
        resumed(context(tmp_path), "second", lambda: (_ for _ in ()).throw(KeyboardInterrupt))
    resumed(context(tmp_path), "second", lambda: arm("second"))
    assert calls == ["first", "second"]
