"""What holds for every audio encoder: shapes, order of tokens in time, one by one = batched, float64 = float32."""

from __future__ import annotations

import pytest
import torch

from aural.core.errors import ConfigError
from aural.encoders.base import AUDIO_ENCODERS, AudioEncoder, build_audio_encoder
from aural.encoders.cnn9 import Cnn9, Cnn9Config
from aural.encoders.cnn14 import Cnn14, Cnn14Config
from aural.encoders.htsat import Htsat
from aural.encoders.mobilenet import BLOCKS, Mobilenet, MobilenetConfig
from aural.encoders.sequence import SequenceConfig, SequenceEncoder
from aural.encoders.text import TEXT_TOWERS
from aural.encoders.vit import Vit, VitConfig
from tiny import TINY_HTSAT

MAKERS = {
    "htsat": lambda: Htsat(TINY_HTSAT),
    "cnn9": lambda: Cnn9(Cnn9Config(n_mels=64, width=2)),
    "cnn14": lambda: Cnn14(Cnn14Config(out_dim=32)),
    "mobilenet": lambda: Mobilenet(MobilenetConfig()),
    "sequence": lambda: SequenceEncoder(SequenceConfig(dim=24, depth=2, heads=2, hidden_dim=32)),
    "vit": lambda: Vit(VitConfig(dim=24, depth=2, heads=2)),
}
WIDTHS = {
    "htsat": [48, 96, 192, 192],
    "cnn9": [2, 4, 8, 16],
    "cnn14": [64, 128, 256, 512, 1024, 2048],
    "mobilenet": [32, *(channels for channels, _ in BLOCKS)],
    "sequence": [24, 24, 24],
    "vit": [24, 24],
}
"""Channels of the inner layers."""
TOKENS = {"htsat": 32, "cnn9": 40, "cnn14": 10, "mobilenet": 5, "sequence": 160, "vit": 20}  # of 320 frames


@pytest.fixture(scope="module", params=MAKERS)
def encoder(request: pytest.FixtureRequest) -> tuple[str, AudioEncoder]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = MAKERS[request.param]()
    generator = torch.Generator().manual_seed(0)
    for name, buffer in made.named_buffers():
        if name.endswith("running_mean"):
            buffer.copy_(torch.randn(buffer.shape, generator=generator) * 0.1)
        if name.endswith("running_var"):
            buffer.copy_(torch.rand(buffer.shape, generator=generator) + 0.5)
    return request.param, made.eval()


def mel(batch: int = 3, frames: int = 320) -> torch.Tensor:
    return torch.randn(batch, frames, 64, generator=torch.Generator().manual_seed(frames))


def test_shapes(encoder: tuple[str, AudioEncoder]) -> None:
    name, model = encoder
    with torch.inference_mode():
        pooled, tokens, *_ = model(mel())
    assert pooled.shape == (3, model.dim)
    assert tokens.shape == (3, TOKENS[name], model.dim)


def test_one_by_one_is_batched(encoder: tuple[str, AudioEncoder]) -> None:
    _, model = encoder
    with torch.no_grad():
        together = model(mel()).pooled
        alone = torch.cat([model(one[None]).pooled for one in mel()])
    torch.testing.assert_close(alone, together, atol=2e-5, rtol=1e-4)


def test_float64_is_float32(encoder: tuple[str, AudioEncoder]) -> None:
    _, model = encoder
    with torch.no_grad():
        narrow = model(mel(1)).pooled
        try:
            wide = model.double()(mel(1).double()).pooled
        finally:
            model.float()
    torch.testing.assert_close(narrow, wide.float(), atol=1e-4, rtol=1e-3)


def test_tokens_follow_time(encoder: tuple[str, AudioEncoder]) -> None:
    """A change late in the sound moves late tokens most."""
    _, model = encoder
    sound = mel(1)
    changed = sound.clone()
    changed[:, 240:] += 3
    with torch.inference_mode():
        moved = (model(changed).tokens - model(sound).tokens).norm(dim=-1)[0]
    quarter = len(moved) // 4
    assert moved[-quarter:].mean() > 1.2 * moved[:quarter].mean()


def test_every_weight_learns(encoder: tuple[str, AudioEncoder]) -> None:
    name, model = encoder
    model.zero_grad()
    pooled, tokens, *_ = model(mel(2, 128))
    (pooled.square().sum() + tokens.square().sum()).backward()
    unused = {n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum()}
    model.zero_grad()
    allowed = {"vit": {"mask_token", "cls"}, "sequence": {"mask_vector"}}.get(name, set())
    # A bias of keys changes no softmax; the first shift's table may be flat.
    assert {n for n in unused if not n.endswith("qkv.bias")} <= allowed | {"mask_token"}


@pytest.mark.parametrize("shape", [(1, 320, 63), (1, 4, 64), (1, 2000, 64)])
def test_wrong_shapes_are_refused(encoder: tuple[str, AudioEncoder], shape: tuple[int, ...]) -> None:
    name, model = encoder
    long, short = (1, 2000, 64), (1, 4, 64)
    fits = {"htsat": {short}, "cnn9": {long}, "cnn14": {long}, "mobilenet": {long}, "sequence": {long, short}}
    if shape in fits.get(name, set()):
        pytest.skip("any number of frames fits")
    with pytest.raises(ValueError, match="of 64 bands"):
        model(torch.zeros(shape))


def test_layers_only_when_requested(encoder: tuple[str, AudioEncoder]) -> None:
    """Requesting the inner layers changes no other output, bit for bit."""
    name, model = encoder
    sound = mel(1)
    with torch.inference_mode():
        plain, detailed = model(sound), model(sound, layers=True)
    assert (plain.layers, plain.mask) == (None, None)
    assert torch.equal(plain.pooled, detailed.pooled)
    assert torch.equal(plain.tokens, detailed.tokens)
    assert detailed.layers is not None
    assert [layer.shape[model.layer_channels] for layer in detailed.layers] == WIDTHS[name]
    assert all(layer.shape[0] == 1 and layer.isfinite().all() for layer in detailed.layers)


def test_names() -> None:
    assert list(AUDIO_ENCODERS) == sorted(MAKERS)
    assert AUDIO_ENCODERS.missing_axes() == {}
    assert TEXT_TOWERS.missing_axes() == {}
    for name in MAKERS:
        with pytest.raises(ConfigError, match='unknown key "zz"'):
            build_audio_encoder(name, {"zz": 1})
