"""Sounds in one file, melodies and random words: contents, splits, and purity."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from aural.core.errors import ConfigError, DataError
from aural.data.notes import KEYS, NotesConfig, played
from aural.data.speech.words import syllables
from aural.data.store import pack_sounds, read_store
from aural.data.worlds import open_world

needs_espeak = pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")


def stored(folder: Path, count: int = 4) -> Path:
    world = open_world("notes", {})
    items = [world.item(i) for i in range(count)]
    file = folder / "notes.npz"
    np.savez_compressed(file, **pack_sounds((one.wave, one.sample_rate_hz, one.facts) for one in items))  # type: ignore[arg-type, misc]
    return file


def test_stored_sounds_return_with_their_facts(tmp_path: Path) -> None:
    store = read_store(stored(tmp_path))
    wave, facts = played(NotesConfig(), 2)
    assert len(store) == 4
    assert store.facts[2] == facts
    assert store.waves[2].shape == wave.shape
    assert np.corrcoef(store.waves[2], wave)[0, 1] > 0.98  # Opus is lossy but keeps the time
    assert read_store(tmp_path / "notes.npz") is store


def test_a_stored_world_has_every_sound_once_per_epoch(tmp_path: Path) -> None:
    world = open_world("stored", {"files": [str(stored(tmp_path))], "seed": 3})
    first = [world.item(i).key for i in range(4)]
    assert sorted(first) == [f"stored {i}" for i in range(4)]
    assert [world.item(i).key for i in range(4, 8)] != first or [world.item(i).key for i in range(8, 12)] != first
    assert len(open_world("stored", {"files": [str(tmp_path / "notes.npz")], "sizes": [2]})) == 2


def test_stores_refuse_what_does_not_fit(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no file of stored sounds"):
        read_store(tmp_path / "missing.npz")
    with pytest.raises(DataError, match="share one sample rate"):
        pack_sounds([(np.zeros(1600, np.float32), rate, {}) for rate in (16_000, 24_000)])
    with pytest.raises(ConfigError, match="one per file"):
        open_world("stored", {"files": [str(stored(tmp_path))], "sizes": [1, 2]})


def test_a_melody_has_the_notes_of_its_key() -> None:
    wave, facts = played(NotesConfig(), 0)
    scale = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}[facts["mode"]]
    allowed = {KEYS[(KEYS.index(facts["key"]) + step) % 12] for step in scale}
    assert {name for name, _, _ in facts["phones"]} <= allowed
    assert np.abs(wave).max() <= 1
    again, _ = played(NotesConfig(), 0)
    assert np.array_equal(wave, again)
    other, _ = played(NotesConfig(split="test"), 0)
    assert not np.array_equal(wave, other)


def test_the_first_note_sounds_at_its_frequency() -> None:
    for index in range(40):
        wave, facts = played(NotesConfig(), index)
        if facts["style"] == "melody" and facts["instrument"] == "organ":
            break
    name, onset_s, offset_s = facts["phones"][0]
    note = wave[round(onset_s * 16_000) : round(offset_s * 16_000)]
    spectrum = np.abs(np.fft.rfft(note * np.hanning(len(note)), 65_536))
    frequency_hz = spectrum.argmax() * 16_000 / 65_536
    octaves = np.log2(frequency_hz / (523.25 * 2 ** (KEYS.index(name) / 12)))
    assert abs(octaves - round(octaves)) < 0.03


def test_syllables_differ_between_languages() -> None:
    assert set(syllables("es")) - set(syllables("it"))
    with pytest.raises(ConfigError, match='no language "xx"'):
        syllables("xx")


@needs_espeak
def test_words_are_pure_and_splits_share_no_voice() -> None:
    world, other = (open_world("words", {"languages": ["it"], "split": split}) for split in ("train", "test"))
    item = world.item(3)
    assert np.array_equal(item.wave, world.item(3).wave)  # type: ignore[arg-type]
    assert np.array_equal(item.wave, world.item(1003).wave)  # type: ignore[arg-type]
    assert item.wave is not None
    assert len(item.wave) == 25_600
    assert item.facts["phones"][-1][2] <= 1.75
    voices = [{one.item(i).facts["speaker"] for i in range(6)} for one in (world, other)]
    assert not voices[0] & voices[1]


@needs_espeak
def test_keywords_repeat() -> None:
    world = open_world("words", {"languages": ["es"], "keywords": 3})
    assert len({world.item(i).facts["transcript"] for i in range(10)}) <= 3
