"""Export for transformers: ClapModel loads the folder with no key left over and gives equal embeddings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from golden_tokenizers import write_tokenizer

from aural.core.errors import ConfigError, MissingDependencyError
from aural.models.clap import ClapConfig
from aural.models.export import check_fits, export_transformers
from aural.models.load import load
from aural.models.open import open_folder
from tiny import TINY_HTSAT, save_tiny, tiny_htsat_config, tone

TEXTS = ["rain", "a dog barks in the distance"]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tokenizer("roberta", tmp_path_factory.mktemp("tokenizer"))


def clap_embeddings(folder: Path, sounds: list[np.ndarray], tokenizer: Path) -> tuple[np.ndarray, np.ndarray]:
    """By transformers alone: its model, its feature extractor, and the tokenizer in the folder."""
    from tokenizers import Tokenizer
    from transformers import ClapFeatureExtractor, ClapModel

    model, report = ClapModel.from_pretrained(folder, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert not report["mismatched_keys"]
    features = ClapFeatureExtractor.from_pretrained(folder)(sounds, sampling_rate=48000, return_tensors="pt")
    backend = Tokenizer.from_file(str(folder / "tokenizer.json"))
    texts = []
    with torch.inference_mode():
        audio = model.eval().get_audio_features(**features)
        for text in TEXTS:
            texts.append(vector(model.get_text_features(torch.tensor([backend.encode(text).ids]))))
    return unit(vector(audio)), unit(torch.cat(texts))


def vector(output: Any) -> torch.Tensor:
    """transformers 4 gives the vectors, 5 wraps them."""
    return output if isinstance(output, torch.Tensor) else output.pooler_output


def unit(vectors: torch.Tensor) -> np.ndarray:
    return torch.nn.functional.normalize(vectors, dim=-1).numpy()


@pytest.mark.parametrize("fusion", [False, True])
def test_transformers_gives_equal_embeddings(fusion: bool, tokenizer: Path, tmp_path: Path) -> None:
    config = tiny_htsat_config()
    if fusion:
        options = TINY_HTSAT.model_copy(update={"fusion": True}).model_dump(mode="json")
        mel = config.audio.mel.model_copy(update={"scale": "htk", "norm": None})
        audio = config.audio.model_copy(update={"encoder_options": options, "mel": mel})
        config = config.model_copy(update={"audio": audio})
    own = save_tiny(tmp_path / "own", config)
    folder = export_transformers(str(own), tmp_path / "clap", tokenizer=tokenizer)
    sounds = [tone(10.0, 48000)]
    clips = [(sound, 48000) for sound in sounds]
    audio, text = clap_embeddings(folder, sounds, tokenizer)
    ours = load(own, device="cpu", tokenizer=tokenizer)
    np.testing.assert_allclose(text, ours.embed_text(TEXTS), atol=2e-6)
    again = load(folder, device="cpu")  # and aural reads the folder as a ClapModel
    np.testing.assert_allclose(again.embed_text(TEXTS), ours.embed_text(TEXTS), atol=2e-6)
    np.testing.assert_allclose(again.embed_audio(clips), ours.embed_audio(clips), atol=1e-5)
    if not fusion:  # a fused ClapModel marks one clip as longer by lot
        np.testing.assert_allclose(audio, ours.embed_audio(clips), atol=1e-5)
    for name, tensor in open_folder(folder).tensors.items():
        torch.testing.assert_close(tensor, open_folder(own).tensors[name])


@pytest.mark.slow
def test_the_published_laion_layout_round_trips(tokenizer: Path, tmp_path: Path) -> None:
    from random_weights import write_checkpoint

    path = write_checkpoint("laion_htsat_tiny", tmp_path / "checkpoint")
    folder = export_transformers(str(path), tmp_path / "clap", tokenizer=tokenizer)
    sounds = [tone(10.0, 48000)]
    audio, text = clap_embeddings(folder, sounds, tokenizer)
    ours = load(path, device="cpu", tokenizer=tokenizer)
    np.testing.assert_allclose(audio, ours.embed_audio([(sounds[0], 48000)]), atol=1e-5)
    np.testing.assert_allclose(text, ours.embed_text(TEXTS), atol=1e-5)


def without(config: ClapConfig, section: str, **values: object) -> ClapConfig:
    if section == "mel":
        mel = config.audio.mel.model_copy(update=values)
        return config.model_copy(update={"audio": config.audio.model_copy(update={"mel": mel})})
    if section:
        values = {section: getattr(config, section).model_copy(update=values)}
    return config.model_copy(update=values)


UNFIT: dict[str, tuple[str, dict[str, object]]] = {
    "its audio encoder is cnn9": ("audio", {"encoder": "cnn9"}),
    "its text tower is bert": ("text", {"architecture": "bert"}),
    "its text tower is roberta": ("text", {"pooling": "mean"}),
    "its projections are residual": ("audio", {"projection": "residual"}),
    "its loss has a bias": ("", {"logit_bias": True}),
    "its window is 7.5 s": ("audio", {"window_s": 7.5}),
    "its mel is not in dB": ("mel", {"log": "log1p"}),
    "its mel scale is not the one": ("mel", {"scale": "htk", "norm": None}),
    "its mel has another sample rate": ("mel", {"sample_rate_hz": 32000}),
}


@pytest.mark.parametrize("reason", UNFIT)
def test_what_does_not_fit_is_refused(reason: str, tmp_path: Path) -> None:
    section, values = UNFIT[reason]
    with pytest.raises(ConfigError) as error:
        check_fits(without(tiny_htsat_config(), section, **values), {}, "model")
    assert f"model: cannot be written for transformers, because {reason}" in str(error.value)


def test_own_filters_are_refused(tmp_path: Path) -> None:
    from aural.audio.mel import LogMel

    state = {f"audio.front_end.{k}": v for k, v in LogMel(tiny_htsat_config().audio.mel).state_dict().items()}
    check_fits(tiny_htsat_config(), state, "model")
    state["audio.front_end.filters"] = state["audio.front_end.filters"] * 1.01
    with pytest.raises(ConfigError, match="its mel filters differ from those that ClapFeatureExtractor computes"):
        check_fits(tiny_htsat_config(), state, "model")


def test_without_its_tokenizer_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *args, **options: None)
    own = save_tiny(tmp_path / "own", tiny_htsat_config())
    with pytest.raises(
        MissingDependencyError, match=r"clap: written without its tokenizer \(the text encoder needs the"
    ):
        export_transformers(str(own), tmp_path / "clap", offline=True)


def test_target_that_is_a_file(tmp_path: Path, tokenizer: Path) -> None:
    own = save_tiny(tmp_path / "own", tiny_htsat_config())
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match="file: is a file; name a folder"):
        export_transformers(str(own), tmp_path / "file", tokenizer=tokenizer)
