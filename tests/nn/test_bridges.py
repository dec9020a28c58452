"""Bridges: closed-form values, and agreement with what a decoder reads as a prefix."""

from __future__ import annotations

import math

import pytest
import torch

from aural.core.errors import ConfigError
from aural.nn.bridges.diffusion import DiffusionConfig, DiffusionLink, signal_power
from aural.nn.bridges.inject import injected, multiplications
from aural.nn.bridges.mapper import MapperConfig, MlpMapper
from aural.nn.bridges.memory import Memory
from aural.nn.bridges.noise import noisy, paired_deviation
from aural.nn.bridges.qformer import QFormer, QFormerConfig
from aural.nn.bridges.shift import Shift
from aural.nn.bridges.stretch import squeezed_places, virtual_places
from aural.nn.bridges.temporal import TemporalMapper
from aural.nn.decoder import Decoder, DecoderConfig


def decoder() -> Decoder:
    torch.manual_seed(0)
    return Decoder(DecoderConfig(vocab_size=11, positions=16, dim=8, depth=3, heads=2)).eval()


def test_noise_has_the_stated_deviation_and_repeats() -> None:
    zeros = torch.zeros(1, 4000)
    assert torch.equal(
        noisy(zeros, 0.1, torch.Generator().manual_seed(1)), noisy(zeros, 0.1, torch.Generator().manual_seed(1))
    )
    rows = torch.zeros(200, 50)
    rows[:, 0] = 1.0
    spread = noisy(rows, 0.02, torch.Generator().manual_seed(0))
    assert spread.norm(dim=1).numpy() == pytest.approx(1.0)
    ratio = spread[:, 1:] / spread[:, :1]
    assert float(ratio.std()) == pytest.approx(0.02, rel=0.03)
    with pytest.raises(ConfigError, match="below 0"):
        noisy(rows, -1.0, torch.Generator())


def test_the_deviation_of_pairs_ignores_their_mean_difference() -> None:
    text = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    assert paired_deviation(text + 5.0, text) == pytest.approx(0.0, abs=1e-5)


def test_shift_moves_the_mean_of_sounds_to_that_of_texts() -> None:
    audio, text = torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    assert Shift(audio, text)(audio).tolist() == [[0.0, 1.0], [0.0, 1.0]]
    half = Shift(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.5, 0.5]]))  # difference (-0.5, 0.5)
    assert half(torch.tensor([[0.0, 1.0]]))[0].tolist() == pytest.approx([-1 / math.sqrt(10), 3 / math.sqrt(10)])


def test_memory_is_a_softmax_over_cosines() -> None:
    memory = Memory(torch.eye(2), temperature=0.5)
    weights = [math.exp(0.6 / 0.5), math.exp(0.8 / 0.5)]
    norm = math.hypot(*weights)
    assert memory(torch.tensor([[0.6, 0.8]]))[0].tolist() == pytest.approx([w / norm for w in weights])
    with pytest.raises(ConfigError, match="temperature"):
        Memory(torch.eye(2), temperature=0.0)


def test_diffusion_of_a_denoiser_that_changes_nothing_keeps_the_direction() -> None:
    link = DiffusionLink(DiffusionConfig(dim=4, hidden=6, steps=100, start=40, reverse=5))
    for block in link.blocks:
        torch.nn.init.zeros_(block.down.weight)
        torch.nn.init.zeros_(block.down.bias)
    audio = torch.nn.functional.normalize(torch.tensor([[1.0, 2.0, -1.0, 0.5]]), dim=1)
    assert link(audio)[0].tolist() == pytest.approx(audio[0].tolist(), abs=1e-6)


def test_diffusion_returns_what_the_denoiser_predicts_and_weights_steps_as_stated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    link = DiffusionLink(DiffusionConfig(dim=2, steps=100, start=50, reverse=4))
    seen: list[int] = []

    def predict(x: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
        seen.append(int(step[0]))
        return torch.tensor([[3.0, 4.0]]).expand_as(x)

    monkeypatch.setattr(link, "predict", predict)
    assert link(torch.tensor([[1.0, 0.0]]))[0].tolist() == pytest.approx([0.6, 0.8])
    assert seen == [50, 38, 25, 12]
    assert float(signal_power(torch.tensor([25]), 100)) == pytest.approx(math.cos(math.pi / 8) ** 2)


def test_diffusion_learns_to_map_one_cone_to_another() -> None:
    torch.manual_seed(0)
    text = torch.nn.functional.normalize(torch.randn(256, 8) + 2 * torch.eye(8)[0], dim=1)
    audio = torch.nn.functional.normalize(text - 1.5 * torch.eye(8)[0], dim=1)
    link = DiffusionLink(DiffusionConfig(dim=8, hidden=64))
    optimizer = torch.optim.Adam(link.parameters(), 3e-3)
    rng = torch.Generator().manual_seed(0)
    for _ in range(80):
        optimizer.zero_grad()
        (link.loss(audio, text, rng) + link.loss(text, text, rng)).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    before, after = ((rows * text).sum(1).mean() for rows in (audio, link(audio)))
    assert 1 - after < 0.5 * (1 - before)


def test_the_temporal_prefix_is_the_global_one_and_then_means_of_parts_in_order() -> None:
    torch.manual_seed(0)
    bridge = TemporalMapper(MapperConfig(d_in=3, d_out=4, kind="mlp", length=2, hidden=5), frame_dim=2, segments=2)
    vector, frames = torch.randn(1, 3), torch.randn(1, 6, 2)
    prefix = bridge(vector, frames)
    assert prefix.shape == (1, 4, 4)
    assert torch.equal(prefix[:, :2], bridge.vector(vector))
    assert torch.allclose(prefix[:, 2], bridge.frames(frames[:, :3].mean(1)) + bridge.place[0], atol=1e-6)
    turned = bridge(vector, frames.flip(1))
    assert torch.allclose(turned[:, 3], bridge.frames(frames[:, :3].mean(1)) + bridge.place[1], atol=1e-6)


def test_the_hidden_width_of_an_mlp_mapper() -> None:
    assert MlpMapper(MapperConfig(d_in=3, d_out=4, length=2)).hidden.out_features == 4
    assert MlpMapper(MapperConfig(d_in=3, d_out=4, length=2, hidden=7)).hidden.out_features == 7


def test_a_qformer_ignores_padding_and_takes_any_number_of_frames() -> None:
    torch.manual_seed(0)
    reader = QFormer(QFormerConfig(d_in=3, d_out=8, queries=2, depth=2, heads=2)).eval()
    frames = torch.randn(1, 4, 3)
    long = torch.cat([frames, torch.full((1, 3, 3), 9.0)], dim=1)
    mask = torch.tensor([[1] * 4 + [0] * 3])
    assert torch.allclose(reader(frames), reader(long, mask), atol=1e-6)
    assert not torch.allclose(reader(frames), reader(long), atol=1e-3)


def test_injected_states_give_what_the_prefix_gives() -> None:
    """With keys and values of the states that a prefix has before each layer, the text after it is the same."""
    model = decoder()
    prefix, words = torch.randn(2, 3, 8), torch.randn(2, 4, 8)
    states: list[torch.Tensor] = []
    hooks = [layer.register_forward_pre_hook(lambda _, given: states.append(given[0])) for layer in model.layers]
    as_prefix = model(torch.cat([prefix, words], dim=1))[:, 3:]
    for hook in hooks:
        hook.remove()
    cache = injected(model, [one[:, :3] for one in states])
    heard = model(words, torch.ones(2, 7, dtype=torch.long), cache)
    assert torch.allclose(as_prefix, heard, atol=1e-5)


def test_a_delayed_sound_is_heard_only_by_later_layers() -> None:
    model = decoder()
    sound, words = torch.randn(1, 2, 8), torch.randn(1, 4, 8)
    mask = torch.ones(1, 6, dtype=torch.long)
    late = injected(model, sound, first_layer=2)
    assert [keys.shape[2] for keys, _ in late.layers] == [0, 0, 2]
    seen: list[torch.Tensor] = []
    hook = model.layers[2].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    heard = model(words, mask, late)
    other = model(words, mask, injected(model, sound.flip(-1), first_layer=2))  # its length would not count: norms
    hook.remove()
    assert torch.equal(seen[0], seen[1])  # the state before layer 2 does not depend on the sound
    assert not torch.equal(heard, other)


def test_injection_is_refused_where_it_cannot_be_and_costs_less() -> None:
    model = decoder()
    with pytest.raises(ConfigError, match="first_layer 3"):
        injected(model, torch.randn(1, 2, 8), first_layer=3)
    with pytest.raises(ConfigError, match="2 tensors for 3 layers"):
        injected(model, [torch.randn(1, 2, 8)] * 2)
    weights = sum(p.numel() for name, p in model.layers[0].named_parameters() if p.dim() == 2)
    assert multiplications(8, 1, attention_only=False) == weights


def rotary() -> Decoder:
    torch.manual_seed(0)
    model = Decoder(DecoderConfig(vocab_size=11, positions=32, dim=8, depth=2, heads=2, rope_theta=100.0)).eval()
    for parameter in model.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)  # else attention is nearly uniform and no place counts
    return model


def test_rotary_positions_see_differences_only_and_read_with_a_cache_as_without() -> None:
    model, words = rotary(), torch.randn(1, 5, 8)
    logits = model(words)
    far = model(words, places=torch.arange(5)[None] + 7.5)
    assert torch.allclose(logits, far, atol=1e-4)
    assert not torch.allclose(logits, model(words, places=2.0 * torch.arange(5)[None]), atol=1e-2)
    step = model.read(words[:, :3], torch.ones(1, 3, dtype=torch.long))
    for n in (3, 4):
        step = model.read(words[:, n : n + 1], torch.ones(1, n + 1, dtype=torch.long), step.cache)
        assert torch.allclose(step.logits, logits[:, n], atol=1e-5)


def test_rotary_positions_are_those_of_llama() -> None:
    from transformers import LlamaConfig
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding, apply_rotary_pos_emb

    from aural.nn.decoder import turned

    rotation = {"rope_type": "default", "rope_theta": 100.0}
    sizes = LlamaConfig(hidden_size=8, num_attention_heads=2, head_dim=4, rope_parameters=rotation)
    judge = LlamaRotaryEmbedding(sizes)
    x, places = torch.randn(1, 2, 5, 4), torch.arange(5)[None]
    cosine, sine = judge(x, places)
    expected, _ = apply_rotary_pos_emb(x, x, cosine, sine)
    assert torch.allclose(turned(x, rotary()._angles(places)), expected, atol=1e-5)


def test_squeezed_and_virtual_places_end_where_training_ended() -> None:
    assert squeezed_places(64, 3, 16).tolist()[-4:] == [15.75, 16.0, 17.0, 18.0]
    assert squeezed_places(8, 2, 16).tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]  # a shorter sound is left alone
    places = virtual_places(16, 2, torch.tensor([1.0, 4.0]), torch.tensor([0.7, 0.0]))
    assert places[0].tolist() == list(range(18))
    assert places[1, :3].tolist() == [0.0, 0.25, 0.5]
    assert places[1, 16:].tolist() == [16.0, 17.0]
