"""Foreign state dicts: missing, surplus and misshaped keys are refused by name; only the listed leftovers may stay."""

from __future__ import annotations

import pytest
import torch
from layouts import LAYOUTS, tensors
from torch import Tensor

from aural.audio.mel import LogMel
from aural.core.errors import CheckpointError
from aural.encoders.convert import laion, msclap, transformers
from aural.encoders.convert.base import LEFTOVERS, Publisher, translate
from aural.models.clap import ClapConfig, layout
from aural.models.external import MARKERS as _MARKERS
from aural.models.open import open_file
from tiny import TINY_HTSAT, TINY_ROBERTA, tiny_htsat_config

TINY = tiny_htsat_config()
MSCLAP = TINY.model_copy(
    update={
        "audio": TINY.audio.model_copy(update={"projection": "residual"}),
        "text": TINY_ROBERTA.model_copy(update={"architecture": "gpt2", "pooling": "last-token"}),
        "text_projection": "residual",
    }
)
FRONT_END = LogMel(TINY.audio.mel).state_dict()


def kernels(window: Tensor) -> tuple[Tensor, Tensor]:
    angle = 2 * torch.pi * (torch.outer(torch.arange(513), torch.arange(1024)) % 1024).double() / 1024
    return (angle.cos() * window)[:, None].float(), (-angle.sin() * window)[:, None].float()


def describe(name: str) -> tuple[ClapConfig, Publisher]:
    if name == "msclap":
        described = msclap.publisher(htsat=True)
        keep = {k: v for k, v in described.unused.items() if "head" in k or "tscam" in k}
        constants = laion.publisher(TINY_HTSAT, False, 24).constants
        constants = {k.replace("audio_branch.", "audio_encoder.base.htsat."): v for k, v in constants.items()}
        return MSCLAP, Publisher(described.piece, keep, constants)
    if name == "laion":
        return TINY, laion.publisher(TINY_HTSAT, False, embed_dim=24)
    return TINY, transformers.publisher(TINY_HTSAT, FRONT_END.__getitem__)


def foreign(name: str) -> tuple[dict[str, Tensor], dict[str, tuple[int, ...]], Publisher]:
    """A publisher's state dict of a tiny model, our layout of it, and the publisher."""
    config, publisher = describe(name)
    ours = layout(config)
    generator = torch.Generator().manual_seed(0)
    state: dict[str, Tensor] = dict(publisher.constants)
    shapes = dict(publisher.unused)
    for key, shape in ours.items():
        shapes |= publisher.piece(key, shape).parts
    for key, shape in shapes.items():
        state[key] = torch.randn(shape, generator=generator)
    for key in list(state):
        if "stft.conv_real" in key:
            state[key], state[key.replace("real", "imag")] = kernels(FRONT_END["window"].double())
    return state, ours, publisher


PUBLISHERS = ["msclap", "laion", "transformers"]
A_KEY = {
    "msclap": "audio_encoder.base.htsat.layers.0.blocks.0.attn.qkv.weight",
    "laion": "text_branch.encoder.layer.0.attention.self.query.bias",
    "transformers": "audio_model.audio_encoder.layers.0.blocks.0.attention.self.key.weight",
}


@pytest.mark.parametrize("name", PUBLISHERS)
def test_whole_files_are_translated(name: str) -> None:
    state, ours, publisher = foreign(name)
    found = translate(state, ours, publisher, "weights.pt")
    assert {key: tuple(tensor.shape) for key, tensor in found.items()} == ours
    torch.testing.assert_close(found["audio.front_end.window"], FRONT_END["window"])


@pytest.mark.parametrize("name", PUBLISHERS)
def test_a_missing_key_is_named(name: str) -> None:
    state, ours, publisher = foreign(name)
    del state[A_KEY[name]]
    with pytest.raises(CheckpointError, match=f'weights.pt: "{A_KEY[name]}" is missing'):
        translate(state, ours, publisher, "weights.pt")


@pytest.mark.parametrize("name", PUBLISHERS)
def test_many_missing_keys_are_counted(name: str) -> None:
    state, ours, publisher = foreign(name)
    kept = {key: tensor for key, tensor in state.items() if "blocks" not in key}
    with pytest.raises(CheckpointError, match=r'", ".*" and \d+ more are missing'):
        translate(kept, ours, publisher, "weights.pt")


@pytest.mark.parametrize("name", PUBLISHERS)
def test_a_surplus_key_is_named(name: str) -> None:
    state, ours, publisher = foreign(name)
    state[A_KEY[name] + "s"] = torch.zeros(1)
    with pytest.raises(CheckpointError, match=rf'"{A_KEY[name]}s" is not part .* \(did you mean "{A_KEY[name]}"\?\)'):
        translate(state, ours, publisher, "weights.pt")


@pytest.mark.parametrize("name", PUBLISHERS)
def test_a_misshaped_key_is_named_with_both_shapes(name: str) -> None:
    state, ours, publisher = foreign(name)
    want = tuple(state[A_KEY[name]].shape)
    state[A_KEY[name]] = torch.zeros(3, 5)
    with pytest.raises(CheckpointError) as error:
        translate(state, ours, publisher, "weights.pt")
    assert f'"{A_KEY[name]}" has shape (3, 5), expected {want}' in str(error.value)


@pytest.mark.parametrize("name", PUBLISHERS)
def test_a_wrong_constant_is_named(name: str) -> None:
    state, ours, publisher = foreign(name)
    key = next(key for key in publisher.constants if "relative_position_index" in key)
    state[key] = state[key].flip(0)
    with pytest.raises(CheckpointError, match=f'"{key}" differs from the value that its architecture fixes'):
        translate(state, ours, publisher, "weights.pt")


@pytest.mark.parametrize("name", PUBLISHERS)
@pytest.mark.parametrize(
    "leftover",
    ["h.0.attn.bias", "h.0.attn.masked_bias", "embeddings.position_ids", "embeddings.token_type_ids"],
)
def test_known_leftovers_may_stay(name: str, leftover: str) -> None:
    prefix = {"msclap": "caption_encoder.base.", "laion": "text_branch.", "transformers": "text_model."}[name]
    state, ours, publisher = foreign(name)
    state[prefix + leftover] = torch.zeros(1, 7)
    assert translate(state, ours, publisher, "weights.pt").keys() == ours.keys()


@pytest.mark.parametrize(
    "key",
    [
        "h.0.attn.c_attn.bias",
        "attn.bias",
        "layers.0.blocks.0.attn.bias",
        "embeddings.position_embeddings",
        "embeddings.position_ids.weight",
        "my_embeddings.position_ids",
        "token_type_ids",
    ],
)
def test_nothing_else_is_a_leftover(key: str) -> None:
    assert not LEFTOVERS.search(key)


@pytest.mark.parametrize("name", LAYOUTS)
def test_real_layouts_hold_one_marker_and_miss_no_key(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ten published layouts, as shapes without memory: recognized by their keys, and complete."""
    if LAYOUTS[name].peer == "transformers":
        pytest.skip("a folder, see tests/parity")
    kinds = {"f32": torch.float32, "i64": torch.int64}
    state = {key: torch.empty(shape, dtype=kinds[kind], device="meta") for key, shape, kind in tensors(name)}
    found = [marker for marker in _MARKERS if marker in state or f"module.{marker}" in state]
    assert len(found) == 1
    asked: list[Publisher] = []

    def translated(given: dict[str, Tensor], ours: dict[str, tuple[int, ...]], publisher: Publisher, where: str):
        asked.append(publisher)
        expected = dict(publisher.unused) | {k: tuple(v.shape) for k, v in publisher.constants.items()}
        for key, shape in ours.items():
            expected |= publisher.piece(key, shape).parts
        assert {k: tuple(v.shape) for k, v in given.items() if not LEFTOVERS.search(k)} == expected
        return {}

    monkeypatch.setattr("aural.models.external.translate", translated)
    monkeypatch.setattr("aural.models.open.read_pickle", lambda path: {"state_dict": state})
    open_file(__import__("pathlib").Path("weights.pt"))
    assert len(asked) == 1
