"""`aural distill`: students of tiny teachers in each layout, what is held out, what is cached, and agreement."""

from __future__ import annotations

import tarfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import aural
from aural.core.errors import AuralError, ConfigError, DataError
from aural.core.vectors import unit_rows
from aural.encoders.mobilenet import BLOCKS, Mobilenet, MobilenetConfig
from aural.models.clap import AudioTower, ClapConfig
from aural.train.distill import Distilled, StudentConfig, distill, embedded
from aural.train.distill.comparison import agreement
from aural.train.distill.lessons import Input, LessonConfig, windows_of
from aural.train.distill.sounds import Sound, list_sounds
from aural.train.distill.student import SIZES, parameters_of, student_config, yamnet_weights
from aural.train.track import lines_of
from tiny import save_tiny, tiny_config, tiny_htsat_config


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sounds")
    draw = np.random.default_rng(0)
    for number in range(24):
        t = np.arange(round(16000 * draw.uniform(0.4, 2.5))) / 16000
        wave = 0.3 * np.sin(2 * np.pi * draw.uniform(100, 3000) * t) + 0.05 * draw.standard_normal(len(t))
        soundfile.write(folder / f"{number:02}.wav", wave, 16000)
    (folder / "broken.wav").write_bytes(b"RIFF")
    return folder


def small(*, steps: int = 30, batch: int = 16, versions: int = 2) -> StudentConfig:
    lessons = LessonConfig(versions=versions, windows=3)
    return StudentConfig(size="tiny", held_out=0.3, lessons=lessons, steps=steps, batch=batch)


@pytest.fixture(scope="module")
def student(sounds: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Distilled]:
    """A student of a tiny model: the teacher's folder, the folder of the run, and the result."""
    folder = tmp_path_factory.mktemp("student")
    teacher = save_tiny(folder / "teacher")
    result = distill(teacher, [sounds], folder / "out", small(), device="cpu")
    return teacher, folder / "out", result


def test_a_student_learns_the_space_of_its_teacher(student: tuple[Path, Path, Distilled], sounds: Path) -> None:
    teacher_path, out, result = student
    lines = lines_of(out / "run" / "metrics.jsonl")
    assert lines[-1]["loss"] < 0.5 * lines[0]["loss"]
    teacher, pupil = (aural.load(str(path), engine="torch", device="cpu") for path in (teacher_path, result.folder))
    assert result.parameters == sum(t.numel() for t in pupil.audio_tower.parameters()) <= SIZES["tiny"]
    texts = ["a dog barks", "rain on a tin roof"]
    assert np.array_equal(teacher.embed_text(texts), pupil.embed_text(texts))
    assert pupil.logit_scale == teacher.logit_scale
    held = list_sounds([sounds], 0.3).held_out
    mine, theirs = embedded(pupil, held), embedded(teacher, held)
    good = np.isfinite(mine[:, 0])
    assert result.agreement.cosine == pytest.approx(float((mine * theirs)[good].sum(1).mean()), abs=1e-5)
    assert any("broken.wav" in str(error) for error in result.skipped) or not np.isfinite(mine).all()


def test_a_finished_student_is_not_trained_again_and_lessons_are_kept(
    student: tuple[Path, Path, Distilled], sounds: Path
) -> None:
    teacher, out, result = student
    tars = sorted((out / "lessons").glob("*.tar"))
    before = [tar.stat().st_mtime_ns for tar in tars]
    again = distill(teacher, [sounds], out, small(), device="cpu")
    assert asdict(again.agreement) == pytest.approx(asdict(result.agreement), abs=1e-6)  # float32, embedded twice
    assert [tar.stat().st_mtime_ns for tar in tars] == before
    with pytest.raises(ConfigError, match="holds lessons of other sounds"):
        distill(teacher, [sounds], out, small(versions=3), device="cpu")


@pytest.mark.parametrize("kind", ["msclap", "laion"])
def test_students_of_the_layouts_of_msclap_and_laion(kind: str, sounds: Path, tmp_path: Path) -> None:
    config = tiny_htsat_config()
    if kind == "msclap":  # residual heads, 44.1 kHz, windows of 7 s
        audio = config.audio.model_copy(
            update={
                "projection": "residual",
                "sample_rate_hz": 44100,
                "window_s": 7.0,
                "shorter": "repeat",
                "mel": config.audio.mel.model_copy(update={"sample_rate_hz": 44100, "hop": 320}),
            }
        )
        config = ClapConfig(embed_dim=24, audio=audio, text=tiny_config().text, text_projection="residual")
    teacher = save_tiny(tmp_path / "teacher", config)
    few = [sounds / f"{number:02}.wav" for number in range(10)]
    result = distill(teacher, few, tmp_path / "out", small(steps=2, batch=4), device="cpu")
    pupil = aural.load(str(result.folder), engine="torch", device="cpu")
    own = aural.load(str(teacher), engine="torch", device="cpu")
    assert (pupil.sample_rate_hz, pupil.window_s, pupil.embed_dim) == (own.sample_rate_hz, own.window_s, 24)
    wave = np.random.default_rng(0).uniform(-0.1, 0.1, 30000).astype(np.float32)
    assert pupil.embed_audio([(wave, 16000)]).shape == (1, 24)


def test_a_student_starts_from_the_first_blocks_of_yamnet() -> None:
    teacher = aural.load("libre-base", engine="torch", device="cpu")
    config = student_config(teacher, "small")
    blocks = config.encoder_options["blocks"]
    assert parameters_of(config, teacher.embed_dim) <= SIZES["small"]
    longer = config.model_copy(update={"encoder_options": config.encoder_options | {"blocks": blocks + 1}})
    assert parameters_of(longer, teacher.embed_dim) > SIZES["small"]
    encoder = AudioTower(config, teacher.embed_dim).encoder
    encoder.load_state_dict(yamnet_weights(config))
    mel = torch.randn(1, 96, 64)
    whole = Mobilenet(MobilenetConfig()).eval()
    whole.load_state_dict(teacher.audio_tower.branch.encoder.state_dict())
    maps = whole(mel, layers=True).layers
    assert len(maps) == len(BLOCKS) + 1
    assert torch.allclose(encoder(mel).pooled, maps[blocks][:, 0].mean((2, 3)), atol=1e-5)


def test_every_version_is_what_the_teacher_hears_and_a_function_of_the_seed(sounds: Path) -> None:
    chosen = [Sound(str(sounds / f"{number:02}.wav")) for number in range(4)]
    config = LessonConfig(versions=3, windows=2)
    reads = Input(16000, 1.0, "repeat")
    waves, keys, skipped = windows_of([*chosen, Sound(str(sounds / "broken.wav"))], reads, config, 0)
    assert len(skipped) == 1
    assert len(set(keys)) == len(keys) == 3 * len([key for key in keys if "version" not in key])
    assert {len(wave) for wave in waves} == {16000}
    again, _, _ = windows_of([*chosen, Sound(str(sounds / "broken.wav"))], reads, config, 0)
    assert all(np.array_equal(one, other) for one, other in zip(waves, again, strict=True))
    assert not np.array_equal(waves[0], waves[keys.index(f"{keys[0]} version 1")])


def test_held_out_sounds_are_not_learned_from(sounds: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "shard.tar", "w") as tar:
        for number in range(24):
            tar.add(sounds / f"{number:02}.wav", arcname=f"{number:02}.wav")
    for place in (sounds, tmp_path / "shard.tar"):
        listed = list_sounds([place], 0.3)
        training, held = ({sound.address for sound in part} for part in (listed.training, listed.held_out))
        assert training.isdisjoint(held)
        assert len(training | held) == (25 if place == sounds else 24)
    with pytest.raises(DataError, match="holds no sounds to learn from"):
        list_sounds([tmp_path / "nothing"], 0.1)


def test_agreement_of_rotated_and_of_random_vectors() -> None:
    draw = np.random.default_rng(0)
    rows = unit_rows(draw.standard_normal((200, 16)))
    rotation = np.linalg.qr(draw.standard_normal((16, 16)))[0].astype(np.float32)
    turned = agreement(rows, rows @ rotation)  # other vectors, the same neighbors
    assert turned.overlap > 0.999
    assert turned.cosine < 0.5
    other = agreement(rows, unit_rows(draw.standard_normal((200, 16))))
    assert other.overlap == pytest.approx(10 / 199, abs=0.03)


def test_a_family_without_a_written_text_tower_is_refused(sounds: Path, tmp_path: Path) -> None:
    with pytest.raises(AuralError):
        distill("yamnet", [sounds], tmp_path / "out", small(), device="cpu")
