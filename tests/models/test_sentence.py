"""Folders of sentence-transformers: ours opened by the library, and the library's text folders opened by us."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from aural.audio.io import write
from aural.core.errors import AudioError, CheckpointError, ConfigError
from aural.core.types import Clip
from aural.encoders.tokenize import load_backend
from aural.models.load import load
from aural.models.sentence_export import export_sentence_transformers
from tiny import save_tiny, tiny_config

pytest.importorskip("sentence_transformers")
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import modules

from aural.models.sentence_module import SoundModule

TEXTS = ["rain", "a dog barks in the distance " * 30, "", "naïve café 犬"]


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("sounds")
    noise = np.random.default_rng(0).standard_normal((2, 16000 * 9)).astype(np.float32) * 0.1
    write(folder / "long.wav", Clip(noise, 16000))
    write(folder / "short.wav", Clip(noise[:1, :5000], 16000))
    return [str(folder / "long.wav"), str(folder / "short.wav")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model")
    return export_sentence_transformers(str(save_tiny(path / "own", tiny_config())), path / "exported")


@pytest.fixture(scope="module")
def opened(folder: Path) -> SentenceTransformer:
    return SentenceTransformer(str(folder), trust_remote_code=True, device="cpu")


def test_the_library_gives_our_vectors(folder: Path, opened: SentenceTransformer, sounds: list[str]) -> None:
    ours = load(folder, engine="torch", device="cpu")
    expected = np.concatenate([ours.embed_audio(sounds), ours.embed_text(TEXTS)])
    assert np.abs(opened.encode([*sounds, *TEXTS], batch_size=3) - expected).max() < 1e-6
    assert opened.get_embedding_dimension() == ours.embed_dim
    assert np.array_equal(opened.encode(sounds), opened.encode(sounds))  # no random crop of the long sound
    rows = [{"array": np.zeros(16000, np.float32) + 0.1, "sampling_rate": 16000}]
    assert np.abs(opened.encode(rows) - ours.embed_audio(rows)).max() < 1e-6
    assert np.abs(opened.encode("rain", prompt="a dog in ") - ours.embed_text(["a dog in rain"])[0]).max() < 1e-6


def test_a_missing_file_is_an_error_and_not_a_text(opened: SentenceTransformer) -> None:
    with pytest.raises(AudioError, match=r"missing\.wav: no such file"):
        opened.encode(["missing.wav"])
    assert opened.encode([{"text": "missing.wav"}]).shape == (1, opened.get_embedding_dimension())


def test_saving_by_the_library_keeps_the_vectors(opened: SentenceTransformer, tmp_path: Path) -> None:
    opened.save(str(tmp_path / "copy"))
    copy = SentenceTransformer(modules=[SoundModule.load(str(tmp_path / "copy"))], device="cpu")
    assert np.abs(copy.encode(TEXTS) - opened.encode(TEXTS)).max() < 1e-6
    assert np.abs(load(tmp_path / "copy").embed_text(TEXTS) - opened.encode(TEXTS)).max() < 1e-6


def test_the_library_wants_the_flag(folder: Path) -> None:
    """Documented in docs/models/sentence-transformers.md; a change of the library shows here."""
    with pytest.raises(ValueError, match="trust_remote_code"):
        SentenceTransformer(str(folder), device="cpu")


def text_folder(path: Path, kind: str, pooling: str, dense: bool) -> Path:
    """A folder of a tiny random text encoder, written by sentence-transformers itself."""
    from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast

    torch.manual_seed(3)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
    base = path / "base"
    AutoModel.from_config(AutoConfig.for_model(kind, vocab_size=30522, **sizes)).save_pretrained(base)
    backend = load_backend("bert-base-uncased")
    names = {"pad": "[PAD]", "cls": "[CLS]", "sep": "[SEP]", "unk": "[UNK]", "mask": "[MASK]"}
    special = {f"{name}_token": token for name, token in names.items()}
    PreTrainedTokenizerFast(tokenizer_object=backend, model_max_length=64, **special).save_pretrained(base)
    parts: list[Any] = [modules.Transformer(str(base)), modules.Pooling(32, pooling_mode=pooling)]
    if dense:
        parts.append(modules.Dense(32, 16, activation_function=torch.nn.Identity()))
    SentenceTransformer(modules=[*parts, modules.Normalize()], device="cpu").save(str(path / "folder"))
    return path / "folder"


@pytest.mark.parametrize(("kind", "pooling", "dense"), [("bert", "mean", True), ("roberta", "cls", False)])
def test_we_open_text_folders(kind: str, pooling: str, dense: bool, tmp_path: Path) -> None:
    path = text_folder(tmp_path, kind, pooling, dense)
    ours, library = load(path, device="cpu"), SentenceTransformer(str(path), device="cpu")
    texts = [text for text in TEXTS if kind == "bert" or len(text) < 100]  # 64 tokens exceed none of the positions
    assert np.abs(ours.embed_text(texts) - library.encode(texts)).max() < 1e-5
    with pytest.raises(ConfigError, match="no audio tower"):
        ours.embed_audio([(np.zeros(16000, np.float32), 16000)])


def test_a_text_folder_with_an_unknown_module_is_refused(tmp_path: Path) -> None:
    path = text_folder(tmp_path, "bert", "mean", dense=False)
    listed = json.loads((path / "modules.json").read_text())
    (path / "modules.json").write_text(json.dumps([*listed, {"path": "", "type": "x.Whitening"}]))
    with pytest.raises(CheckpointError, match='"Whitening" is not supported'):
        load(path)


def test_a_clapmodel_that_transformers_5_saved_is_opened(tmp_path: Path) -> None:
    """transformers 5 writes the feature extractor into processor_config.json."""
    from aural.models.export import extractor_config
    from aural.models.open import open_folder
    from tiny import TINY_HTSAT, tiny_htsat_config

    config = tiny_htsat_config()
    source = _clapmodel_folder(tmp_path / "clap", config)
    settings = extractor_config(config, TINY_HTSAT) | {"frequency_min": 321}
    (source / "preprocessor_config.json").unlink()
    (source / "processor_config.json").write_text(json.dumps({"feature_extractor": settings}))
    assert open_folder(source).config.audio.mel.fmin_hz == 321


def _clapmodel_folder(path: Path, config: Any) -> Path:
    from golden_tokenizers import write_tokenizer

    from aural.models.export import export_transformers

    own = save_tiny(path / "own", config)
    return export_transformers(str(own), path / "clap", tokenizer=write_tokenizer("roberta", path))
