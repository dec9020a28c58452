"""Distill a model: train a small tower of sound in the space of a teacher, from sounds alone.

Paissan and Farella (2023), "tinyCLAP: Distilling Contrastive Language-Audio Pretrained Models", arXiv 2311.14517: the
student's loss is the mean of 1 - cosine with the teacher's embedding of the same sound, so no caption is needed, and
the teacher's text tower fits the student.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field
from torch import Tensor

from aural.core.config import Config
from aural.core.errors import AuralError, ConfigError
from aural.core.files import write_text
from aural.core.types import FloatArray
from aural.models.clap import AudioConfig
from aural.models.embedding import EmbeddingModel
from aural.models.load import load
from aural.models.pipeline import Model
from aural.models.prefix import strip_prefix
from aural.models.student import write_student
from aural.models.weight_files import read_safetensors
from aural.train.checkpoint import newest
from aural.train.distill.comparison import Agreement, agreement
from aural.train.distill.lessons import LessonConfig, write_lessons
from aural.train.distill.sounds import Sound, SoundList, list_sounds
from aural.train.distill.student import Size, parameters_of, student_config, yamnet_weights
from aural.train.loop import train
from aural.train.recipes import load_recipe
from aural.train.start import ENCODER_FILE

Count = Annotated[int, Field(ge=1)]


class StudentConfig(Config):
    """Options of a student and its training."""

    size: Size = "small"
    start: Literal["yamnet", "random"] = "yamnet"
    """Start weights of the student's network: the bundled tagger's, or random."""
    steps: Count = 2000
    batch: Count = 128
    held_out: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Share of the sounds that the student is compared on and not trained on; a manifest has splits."""
    lessons: LessonConfig = LessonConfig()


@dataclass
class Distilled:
    """A finished student: its folder, its parameters, how it agrees with the teacher, and what was skipped."""

    folder: Path
    parameters: int
    blocks: int
    windows: int
    agreement: Agreement
    skipped: list[AuralError] = field(default_factory=list)

    def report(self) -> dict[str, Any]:
        """Return what report.json holds."""
        values = {"parameters": self.parameters, "blocks": self.blocks, "windows": self.windows}
        return values | asdict(self.agreement) | {"skipped": len(self.skipped)}


def distill(
    teacher: str | Path | EmbeddingModel,
    data: Sequence[str | Path],
    out: str | Path,
    config: StudentConfig | None = None,
    *,
    cache: str | Path | None = None,
    jobs: int = 1,
    device: str | None = None,
    changes: Sequence[str] = (),
) -> Distilled:
    """Train a student of a model and write it to OUT/model, which `aural.load` opens, with a report next to it.

    An interrupted call continues where it stopped.

    Args:
        teacher: a name, path or hub repository as for `aural.load`, or a model that it returned.
        data: manifests, folders, tars or URLs of sounds. Captions are not read.
        out: folder of the lessons, the run and the model.
        config: the student and its training.
        cache: folder of the teacher's vectors, to use them again; default: OUT/lessons.
        jobs: processes that decode sounds.
        device: "cpu", "cuda", "cuda:N"; None or "auto": CUDA if there is one.
        changes: keys of the training recipe ("optimizer.lr=3e-4"); OUT/recipe.json is the recipe.

    Raises:
        ConfigError: the teacher has no text tower that can be written, or OUT belongs to another call.
        DataError: there are no sounds.
    """
    config, out = config or StudentConfig(), Path(out)
    model = teacher if isinstance(teacher, EmbeddingModel) else load(teacher, engine="torch", device=device)
    if not isinstance(model, Model):
        raise ConfigError(
            f"{model.name}: a model of this family cannot be written with another tower of sound; teachers are models "
            "with the text towers of msclap, LAION, transformers' ClapModel or aural"
        )
    sounds = list_sounds(data, config.held_out)
    audio = student_config(model, config.size)
    folder = Path(cache) if cache else out / "lessons"
    lessons = write_lessons(model, audio, sounds.training, folder, config.lessons, jobs=jobs)
    held = _held_out(model, sounds, folder)
    recipe = _recipe_file(out, audio, model.embed_dim, config, [str(tar.absolute()) for tar in lessons.tars])
    loaded = load_recipe(str(recipe), changes)
    if loaded.loop.batch > lessons.windows:
        raise ConfigError(f"--batch is {loaded.loop.batch}, but there are {lessons.windows} windows; lower it")
    run = out / "run"
    trained = train(loaded, run, resume=newest(run) is not None, device=device)
    tower = strip_prefix(read_safetensors(trained / "model.safetensors"), "audio.")
    count = parameters_of(audio, model.embed_dim)
    written = write_student(
        out / "model", model, audio, tower, source=f"student of {Path(model.name).name}", card=_card(model, count)
    )
    student = load(written, engine="torch", device=device)
    result = Distilled(
        folder=written,
        parameters=count,
        blocks=int(audio.encoder_options["blocks"]),
        windows=lessons.windows,
        agreement=compare(student, sounds.held_out, held),
        skipped=[*sounds.skipped, *lessons.skipped],
    )
    write_text(out / "report.json", json.dumps(result.report(), indent=1) + "\n")
    return result


def compare(student: EmbeddingModel, sounds: Sequence[Sound], teacher: FloatArray) -> Agreement:
    """Compare a model with a teacher's vectors (N, E) of sounds; rows of NaN are sounds that cannot be read."""
    keep = np.flatnonzero(np.isfinite(teacher[:, 0]))
    rows = embedded(student, [sounds[int(i)] for i in keep])
    good = np.isfinite(rows[:, 0])
    if good.sum() < 2:
        raise ConfigError(f"{int(good.sum())} of {len(sounds)} held-out sounds can be read; give more sounds")
    return agreement(teacher[keep][good], rows[good])


def embedded(model: EmbeddingModel, sounds: Sequence[Sound]) -> FloatArray:
    """Return the vectors (N, E) of sounds, NaN for those that cannot be read."""
    rows = np.full((len(sounds), model.embed_dim), np.nan, np.float32)
    for number, sound in enumerate(sounds):
        try:
            rows[number] = model.embed_audio([sound.open()])[0]
        except AuralError:
            continue
    return rows


def _held_out(teacher: Model, sounds: SoundList, folder: Path) -> FloatArray:
    """Return the teacher's vectors of the held-out sounds, from the folder if they are there."""
    file = folder / "held-out.npz"
    names = np.array([repr(sound) for sound in sounds.held_out])
    if file.is_file():
        with np.load(file) as stored:
            if np.array_equal(stored["names"], names):
                rows: FloatArray = stored["rows"]
                return rows
    rows = embedded(teacher, sounds.held_out)
    np.savez(file, names=names, rows=rows)
    return rows


def _recipe_file(out: Path, audio: AudioConfig, embed_dim: int, config: StudentConfig, shards: list[str]) -> Path:
    """Write the recipe of the training, and the start weights that it names; return its file."""
    start = "random"
    if config.start == "yamnet":
        start = str((out / "start").absolute())
        _save_start(Path(start), yamnet_weights(audio))
    recipe = {
        "paper": "Paissan and Farella 2023, tinyCLAP, arXiv 2311.14517",
        "shows": "a small tower of sound in the space of a teacher, from sounds alone",
        "command": "aural distill",
        "cost": "minutes on a GPU",
        "expected": "docs/train/distill.md",
        "seed": config.lessons.seed,
        "system": {
            "name": "pair",
            "embed_dim": embed_dim,
            "towers": {"audio": {"audio": audio.model_dump(mode="json"), "init": start}},
        },
        "data": {
            "sources": [{"shards": shards}],
            "fields": {"vector": {}},
            "workers": 0,
        },
        "objectives": [{"name": "regress"}],
        "optimizer": {"lr": 1e-3, "audio_lr": 0.5, "weight_decay": 0.01, "clip_grad": 1.0, "ema": 0.998},
        "schedule": {"name": "cosine", "warmup": max(1, config.steps // 20)},
        "loop": {"steps": config.steps, "batch": config.batch, "save_every": max(1000, config.steps // 4)},
    }
    file = out / "recipe.json"
    write_text(file, json.dumps(recipe, indent=1) + "\n", parents=True)
    return file


def _save_start(folder: Path, tensors: dict[str, Tensor]) -> None:
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / ENCODER_FILE)


def _card(teacher: Model, parameters: int) -> str:
    """Return the model card of a student."""
    name = Path(teacher.name).name
    return (
        f"# Student of {name}\n\nA tower of sound of {parameters:,} parameters, trained by `aural distill` on sounds "
        f"alone to give the embeddings of {name}, and the text tower of {name}. The licenses are those of {name}, of "
        "YAMNet (Apache-2.0) if the network started from it, and of the sounds.\n"
    )
