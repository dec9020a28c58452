"""The world "speech": rules with known values, planted against measured truth, and the refusal without espeak-ng."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from aural.audio.voice import VoiceMeasures
from aural.cli.main import app
from aural.core.errors import ConfigError, DataError, MissingDependencyError
from aural.data.manifest import Row, write_manifest
from aural.data.speech import espeak, phonemes
from aural.data.speech.espeak import Utterance, speak
from aural.data.speech.prosody import EMOTIONS, at_level, emotion_of, prosody_of, tilt
from aural.data.speech.queries import Terciles, label_queries, measured_queries
from aural.data.speech.sentences import HELD_OUT, SENTENCES, SPEAKERS, VOICES, sentences_of
from aural.data.speech.simulator import RATE_HZ, SpeechConfig, plan
from aural.data.worlds import World, WorldItem, open_world

needs_espeak = pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")


@pytest.fixture(scope="module")
def items() -> list[WorldItem]:
    world = open_world("speech", {})
    return [world.item(i) for i in range(24)]


def test_the_rules_of_prosody_have_known_values() -> None:
    """MaryTTS: pitch 1 + 0.3 A + 0.1 V, rate 1 + 0.5 A + 0.2 V, range 4 + 4 A semitones, volume (50 + 33 A) / 50."""
    angry = prosody_of(-0.5, 0.6)
    assert angry.pitch == pytest.approx(1.13)
    assert angry.rate == pytest.approx(1.2)
    assert angry.range_semitones == pytest.approx(6.4)
    assert angry.level_dbfs == pytest.approx(-28 + 20 * np.log10(1.396))
    assert angry.brightness_db == pytest.approx(-1.5)
    assert (angry.pitch_setting, angry.range_setting, angry.rate_wpm) == (61, 80, 210)
    assert prosody_of(-1, -1).rate_wpm == 80  # 0.3 of 175 is below the slowest rate
    assert {emotion_of(v, a) for v in (-0.5, 0, 0.5) for a in (-0.5, 0, 0.5)} == set(EMOTIONS)


def test_tilt_and_level_are_exact_on_sines() -> None:
    time_s = np.arange(RATE_HZ) / RATE_HZ
    low, high = (np.sin(2 * np.pi * hz * time_s).astype(np.float32) for hz in (500.0, 2000.0))
    gain_db = [20 * np.log10(np.std(tilt(wave, RATE_HZ, 3.0)) / np.std(wave)) for wave in (low, high)]
    assert gain_db == pytest.approx([-3, 3], abs=0.01)  # one octave below and above 1 kHz
    assert 20 * np.log10(np.sqrt(np.mean(at_level(low, -30.0) ** 2))) == pytest.approx(-30, abs=1e-3)
    assert np.abs(at_level(low, 20.0)).max() == 1


def test_sentences_are_parallel_and_splits_share_neither_voice_nor_sentence() -> None:
    assert set(SENTENCES) == set(VOICES)
    assert {len(lines) for lines in SENTENCES.values()} == {12}
    assert not set(SPEAKERS["train"]) & set(SPEAKERS["test"])
    for language in VOICES:
        train, test = (set(sentences_of(language, split)) for split in ("train", "test"))
        assert len(test) == HELD_OUT
        assert train | test == set(SENTENCES[language])
        assert not train & test


def test_plans_are_functions_of_seed_and_number_and_uniform_in_the_plane() -> None:
    config = SpeechConfig()
    assert plan(config, 5) == plan(config, 5)
    assert plan(config, 5) != plan(SpeechConfig(seed=1), 5)
    plane = np.array([[one.valence, one.arousal] for one in (plan(config, i) for i in range(2000))])
    assert np.abs(plane.mean(0)).max() < 0.05
    assert plane.std(0) == pytest.approx(1 / np.sqrt(3), rel=0.05)
    assert abs(np.corrcoef(plane.T)[0, 1]) < 0.06


@needs_espeak
def test_equal_utterances_give_equal_sounds_and_settings_change_them() -> None:
    base = Utterance("The window is open.", "en+f2")
    first, second = speak(base), speak(base)
    assert np.array_equal(first.clip.samples, second.clip.samples)
    assert first.phones == second.phones
    fast = speak(Utterance("The window is open.", "en+f2", rate_wpm=350))
    assert fast.clip.duration_s < 0.7 * first.clip.duration_s
    waves = {speak(Utterance("open", f"en+{name}")).clip.samples.tobytes() for name in sum(SPEAKERS.values(), ())}
    assert len(waves) == len(sum(SPEAKERS.values(), ()))  # every variant exists; a missing one sounds like the default


@needs_espeak
def test_phonemes_are_in_order_and_cover_the_sound(items: list[WorldItem]) -> None:
    for item in items:
        assert item.wave is not None
        phones = item.facts["phones"]
        assert len(phones) >= 8
        assert all(end > start for _, start, end in phones)
        assert all(phones[i][2] == phones[i + 1][1] for i in range(len(phones) - 1))
        assert phones[-1][2] == pytest.approx(len(item.wave) / RATE_HZ, abs=1e-3)
        # A pause is silent: its level is far below that of the sentence.
        pauses = [(start, end) for symbol, start, end in phones if not symbol and end - start > 0.1]
        parts = [item.wave[round((s + 0.05) * RATE_HZ) : round(e * RATE_HZ)] for s, e in pauses]
        assert all(np.std(part) < 0.1 * np.std(item.wave) for part in parts)


@needs_espeak
def test_what_was_planted_is_measured(items: list[WorldItem]) -> None:
    planted = {name: np.array([item.facts["planted"][name] for item in items]) for name in ("rate", "level_dbfs")}
    measured = {k: np.array([i.facts["measured"][k] for i in items]) for k in ("level_dbfs", "syllables_per_s")}
    assert np.corrcoef(planted["level_dbfs"], measured["level_dbfs"])[0, 1] > 0.98
    phones_per_s = np.array([len(item.facts["phones"]) / item.facts["phones"][-1][2] for item in items])
    assert np.corrcoef(np.log(planted["rate"]), np.log(phones_per_s))[0, 1] > 0.85
    assert np.corrcoef(phones_per_s, measured["syllables_per_s"])[0, 1] > 0.7


@needs_espeak
def test_pyin_confirms_the_pitch(items: list[WorldItem]) -> None:
    """The frequency follows the setting as documented, and the measured one is that of librosa's pyin."""
    medians = {}
    for setting in (25, 50, 75):
        clip = speak(Utterance("We are going to the market.", "en+m3", pitch=setting, pitch_range=0)).clip
        pitch, _, _ = librosa.pyin(clip.samples[0], fmin=50, fmax=500, sr=clip.sample_rate_hz)
        medians[setting] = float(np.nanmedian(pitch))
    assert [medians[s] / medians[50] for s in (25, 75)] == pytest.approx([2 ** (-25 / 62), 2 ** (25 / 62)], rel=0.04)
    for item in items[:6]:
        pitch, _, _ = librosa.pyin(item.wave, fmin=60, fmax=500, sr=RATE_HZ, frame_length=1024)
        assert abs(12 * np.log2(item.facts["measured"]["f0_hz"] / np.nanmedian(pitch))) < 2


@needs_espeak
def test_every_second_item_is_real_speech_if_a_manifest_is_given(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "word.wav", 0.1 * np.sin(np.arange(RATE_HZ) * 0.1), RATE_HZ)
    row = Row(path="word.wav", source="t", split="train", language="fr", speaker="t/a", license="CC0-1.0")
    write_manifest(tmp_path / "manifest.parquet", [row])
    world = open_world("speech", {"manifest": str(tmp_path), "languages": ["fr"]})
    assert world.item(0).facts["planted"]
    real = world.item(1)
    assert real.facts["synthetic"] == ""
    assert real.facts["speaker"] == "t/a"
    assert real.facts["measured"]["f0_hz"] == pytest.approx(0.1 * RATE_HZ / 2 / np.pi, rel=0.01)
    with pytest.raises(DataError, match="split train has no speech in de"):
        open_world("speech", {"manifest": str(tmp_path), "languages": ["de"]})


@needs_espeak
def test_the_page_shows_phonemes_and_truth(tmp_path: Path) -> None:
    out = tmp_path / "world.html"
    result = CliRunner().invoke(app, ["data", "world", "speech", "--out", str(out), "--count", "2"])
    assert result.exit_code == 0, result.output
    text = out.read_text()
    assert text.count("<audio") == 2
    assert text.count("class=lane") > 10
    assert "planted rule" in text


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"languages": ["xx"]}, 'world "speech": no language "xx"'),
        ({"split": "valid"}, 'world "speech": no split "valid"'),
        ({"language": "en"}, 'unknown key "language"; did you mean "languages"'),
    ],
)
def test_bad_options_are_one_sentence(options: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        open_world("speech", options)


def test_without_espeak_one_sentence_names_the_program_and_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    world: World = open_world("speech", {})
    with pytest.raises(MissingDependencyError, match=r"espeak-ng is not installed.*apt-get install espeak-ng"):
        world.item(0)
    result = CliRunner().invoke(app, ["data", "world", "speech"])
    assert result.exit_code != 0


@pytest.mark.parametrize(
    ("code", "output", "error", "sentence"),
    [
        (phonemes.NO_LIBRARY, b"", MissingDependencyError, "espeak-ng is not installed"),
        (phonemes.NO_VOICE, b"", ConfigError, 'espeak-ng has no voice "xx"'),
        (-11, b"", DataError, r'no sound for "a" \(exit code -11\)'),
        (0, b"{}\n", DataError, 'no sound for "a"'),
    ],
)
def test_failures_of_the_program_are_sentences(
    code: int, output: bytes, error: type[Exception], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = subprocess.CompletedProcess([], code, output, b"")
    monkeypatch.setattr(espeak.subprocess, "run", lambda *_, **__: answer)
    monkeypatch.setattr(espeak.shutil, "which", lambda _: "/usr/bin/espeak-ng")
    with pytest.raises(error, match=sentence):
        speak(Utterance("a", "xx"))


def test_samples_and_phonemes_are_read_from_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    header = {"sample_rate_hz": 4, "phones": [["a", 0], ["", 2], ["b", 2], ["", 3]]}
    content = json.dumps(header).encode() + b"\n" + np.array([0, 16384, -16384, 0], "<i2").tobytes()
    monkeypatch.setattr(espeak.subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 0, content, b""))
    monkeypatch.setattr(espeak.shutil, "which", lambda _: "/usr/bin/espeak-ng")
    spoken = speak(Utterance("a", "en"))
    assert spoken.clip.samples.tolist() == [[0, 0.5, -0.5, 0]]
    assert [(p.symbol, p.onset_s, p.offset_s) for p in spoken.phones] == [
        ("a", 0, 0.5),
        ("b", 0.5, 0.75),
        ("", 0.75, 1),
    ]


def test_the_program_needs_no_package() -> None:
    """It is run with -I -S: no site packages, no current folder."""
    command = [sys.executable, "-I", "-S", "-c", f"import runpy; runpy.run_path({phonemes.__file__!r}, run_name='x')"]
    assert subprocess.run(command, check=False).returncode == 0


def test_thirds_and_words_of_queries() -> None:
    measures = [VoiceMeasures(100.0 * n, -10.0 * n, float(n)) for n in range(1, 7)]
    thirds = Terciles.of(measures).places(measures)
    assert thirds["pitch"].tolist() == thirds["rate"].tolist() == [0, 0, 1, 1, 2, 2]
    assert thirds["level"].tolist() == [2, 2, 1, 1, 0, 0]
    assert measured_queries(0, 2, 1) == (
        "a low-pitched voice", "a person speaking loudly", "a person speaking at a medium pace",
        "a low-pitched voice speaking loudly at a medium pace",
    )  # fmt: skip
    assert all("sad" in text for text in label_queries("sad"))
