"""Sounds of other libraries are sources: datasets rows, torchcodec decoders, and a clear error for anything else."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from aural.audio.io import as_source
from aural.core.errors import AudioError
from aural.core.types import Clip
from aural.models.arguments import as_sources
from aural.models.load import load
from tiny import save_tiny, tiny_config

WAVE = np.linspace(-0.5, 0.5, 8000, dtype=np.float32)


class Decoder:
    """A stand-in for torchcodec's AudioDecoder, of which one method is used."""

    def get_all_samples(self) -> Any:
        return SimpleNamespace(data=torch.from_numpy(WAVE)[None], sample_rate=8000)


FORMS = {
    "array": {"array": WAVE, "sampling_rate": 8000},
    "row": {"path": "a.wav", "array": WAVE, "sampling_rate": 8000},
    "decoder": Decoder(),
    "wrapped": {"audio": {"array": WAVE, "sampling_rate": 8000}},
}


@pytest.mark.parametrize("form", FORMS)
def test_all_forms_give_the_samples(form: str) -> None:
    clip = as_source(FORMS[form])
    assert isinstance(clip, Clip)
    np.testing.assert_array_equal(clip.samples, WAVE[None])
    assert clip.sample_rate_hz == 8000
    assert list(as_sources(FORMS[form])) == [FORMS[form]]  # one sound, not an iterable of sounds


def test_a_mapping_of_paths_is_an_iterable_of_sounds() -> None:
    assert list(as_sources({"a.wav": "rain", "b.wav": "wind"})) == ["a.wav", "b.wav"]


def test_undecoded_rows_give_bytes_before_the_path() -> None:
    assert as_source({"bytes": b"RIFF", "path": "a.wav"}) == b"RIFF"
    assert as_source({"bytes": None, "path": "a.wav"}) == "a.wav"
    assert as_source("a.wav") == "a.wav"


def test_unusable_mappings_are_one_sentence() -> None:
    with pytest.raises(AudioError, match="sampling_rate"):
        as_source({"array": WAVE})
    with pytest.raises(AudioError, match="keys \\(role\\)"):
        as_source({"role": "user"})


def test_a_model_embeds_them_all_alike(tmp_path: Any) -> None:
    model = load(save_tiny(tmp_path / "m", tiny_config()), engine="torch", device="cpu")
    vectors = model.embed_audio([(WAVE, 8000), *FORMS.values()])
    assert np.abs(vectors - vectors[0]).max() < 1e-6
    results = list(model.stream_audio([FORMS["array"], {"array": WAVE}, FORMS["decoder"]]))
    assert [result.error is None for result in results] == [True, False, True]
