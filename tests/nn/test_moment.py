"""The first moment in time and its residual: closed form by hand."""

from __future__ import annotations

import torch

from aural.audio.length import fit_shorter
from aural.encoders.builtin import AUDIO_ENCODERS
from aural.models.clap import AudioTower, layout
from aural.nn.moment import MomentResidual, first_moment, heard_parts
from aural.nn.projection import projection
from tiny import tiny_config, tone


def test_the_moment_is_antisymmetric_and_zero_for_a_steady_sound() -> None:
    torch.manual_seed(0)
    tokens, heard = torch.randn(2, 7, 3), torch.ones(2, 7)
    torch.testing.assert_close(first_moment(tokens.flip(1), heard), -first_moment(tokens, heard))
    torch.testing.assert_close(first_moment(tokens + 5, heard), first_moment(tokens, heard), atol=1e-5, rtol=0)
    steady = torch.ones(1, 7, 3)
    for heard in (torch.tensor([[1.0, 1, 1, 0, 0, 0, 0]]), torch.zeros(1, 7)):
        assert first_moment(steady, heard).abs().max() < 1e-6


def test_a_late_event_by_hand() -> None:
    """Four tokens at -0.75, -0.25, 0.25, 0.75, the last one silent: their mean time is -0.25."""
    tokens = torch.tensor([[[0.0], [0.0], [6.0], [100.0]]])
    heard = torch.tensor([[1.0, 1.0, 1.0, 0.0]])
    torch.testing.assert_close(first_moment(tokens, heard), torch.tensor([[2 * (0.25 + 0.25) * 6 / 3]]))


def test_padding_is_not_heard_and_repeats_keep_the_direction() -> None:
    sound = tone(0.4)
    for how, share in (("pad", 0.4), ("repeat-pad", 0.8), ("repeat", 1.0)):
        wave = torch.from_numpy(fit_shorter(sound, 16_000, how))[None]  # type: ignore[arg-type]
        assert heard_parts(wave, 10).mean().item() == torch.tensor(share).item()
    features = torch.randn(1, 6, 4, generator=torch.Generator().manual_seed(0))
    once = first_moment(features, torch.ones(1, 6))
    four = torch.cat([features, features, 0 * features, 0 * features], dim=1)
    torch.testing.assert_close(first_moment(four, torch.tensor([[1.0] * 12 + [0.0] * 12])), once / 4)


def test_the_residual_is_added_to_the_unit_embedding() -> None:
    audio = tiny_config().audio.model_copy(update={"moment": 2})
    torch.manual_seed(0)
    tower = AudioTower(audio, 24).eval()
    wave = torch.from_numpy(tone(1.0))[None]
    plain = AudioTower(tiny_config().audio, 24).eval()
    plain.load_state_dict({k: v for k, v in tower.state_dict().items() if not k.startswith("moment.")}, strict=True)
    with torch.inference_mode():
        embedding, moment = tower.parts(wave)
        torch.testing.assert_close(embedding, plain(wave), rtol=0, atol=0)
        tokens = tower.encoder(tower.front_end(wave)).tokens
        time = (2 * torch.arange(tokens.shape[1]) + 1) / tokens.shape[1] - 1
        torch.testing.assert_close(moment, 2 * (time[:, None] * tokens[0]).mean(0)[None])
        matrix = tower.moment.up.weight @ tower.moment.down.weight  # type: ignore[union-attr]
        torch.testing.assert_close(tower(wave), embedding / embedding.norm() + moment @ matrix.T)
        torch.testing.assert_close(tower.frames(wave), plain.frames(wave), rtol=0, atol=0)


def test_models_without_a_moment_have_no_new_tensors() -> None:
    assert "cnn9" in AUDIO_ENCODERS
    config = tiny_config()
    names = set(layout(config))
    changed = config.model_copy(update={"audio": config.audio.model_copy(update={"moment": 2})})
    assert set(layout(changed)) - names == {f"audio.moment.{part}" for part in ("scale", "down.weight", "up.weight")}
    assert MomentResidual(5, 2, 4)(torch.zeros(1, 5)).abs().max() == 0


def test_low_rank_is_its_formula() -> None:
    torch.manual_seed(0)
    head, x = projection("low-rank", 12, 12), torch.randn(3, 12)
    a = x / x.norm(dim=1, keepdim=True)
    state = head.state_dict()
    b = 12**0.5 * a @ state["down.weight"].T + state["down.bias"]
    hidden = b * 0.5 * (1 + torch.erf(b / 2**0.5))
    torch.testing.assert_close(head(x), a + hidden @ state["up.weight"].T + state["up.bias"])
    assert state["down.weight"].shape == (2, 12)
