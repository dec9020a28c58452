"""`aural.load` opens msclap's captioner, and its captions are those of msclap token by token."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from clapcap_weights import FILE, STOP, clapcap_state
from inputs import write_audio
from layouts import HERE

from aural.core.errors import CheckpointError, ConfigError
from aural.generate.writer import SearchConfig, write
from aural.models.families.base import FILES, OpenOptions
from aural.models.families.clapcap import MARKER, ClapCap

pytestmark = pytest.mark.slow  # weights of 0.9 GB
GOLDENS = Path(os.environ.get("AURAL_GOLDENS", HERE))


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_audio(tmp_path_factory.mktemp("sounds"))


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    return clapcap_state()


def opened(state: dict[str, torch.Tensor], **options: str) -> ClapCap:
    return FILES[MARKER](state, Path(FILE), OpenOptions(FILE, device="cpu", **options))


@pytest.mark.parametrize("folder", {HERE, GOLDENS}, ids=lambda folder: "stored" if folder == HERE else "fresh")
def test_captions_equal_msclaps(folder: Path, state: dict[str, torch.Tensor], sounds: dict[str, Path]) -> None:
    with np.load(folder / "parity_clapcap.npz") as golden:
        names, widths, ids = golden["audio_names"].tolist(), golden["widths"].tolist(), golden["ids"]
    model = opened(state, compat="peer")
    stopped = 0
    for name, rows in zip(names, ids, strict=True):
        prefix = model.mapper(model._vector(sounds[name])[None])
        for width, row in zip(widths, rows, strict=True):
            config = SearchConfig(search="beam" if width > 1 else "greedy", width=width, max_tokens=rows.shape[1])
            ((best, *_),) = write(model.decoder, prefix, config, stop_ids=(STOP,))
            golden_ids = [i for i in row.tolist() if i >= 0]
            assert [*best.ids, *([STOP] if best.stopped else [])] == golden_ids, (name, width)
            stopped += best.stopped
            (text,) = model.caption([sounds[name]], config)
            assert text == model.words.decode(golden_ids).strip().capitalize()
    assert 0 < stopped < ids.shape[0] * ids.shape[1]  # both ends of a caption are compared


def test_it_embeds_sounds_and_refuses_texts(state: dict[str, torch.Tensor], sounds: dict[str, Path]) -> None:
    model = opened(state)
    rows = model.embed_audio([sounds["short"], sounds["stereo"]])
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    with pytest.raises(ConfigError, match="captioner without a text tower"):
        model.embed_text(["rain"])


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"clap_project.linear.bias": None}, "clap_project.linear.bias"),
        ({"gpt.transformer.h.3.ln_1.bias": None}, "gpt.transformer.h.3.ln_1.bias"),
        ({"other": torch.zeros(2)}, "other"),
        ({"gpt.lm_head.weight": torch.zeros(50257, 768)}, "table of tokens"),
    ],
)
def test_a_damaged_file_is_named(change, word: str, state: dict[str, torch.Tensor]) -> None:
    damaged = {name: tensor for name, tensor in (state | change).items() if tensor is not None}
    with pytest.raises(CheckpointError, match=word) as caught:
        opened(damaged)
    assert FILE in str(caught.value)
