"""Window attention: partition by hand, masks by their definition, and transformers' Swin as outside judge."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from aural.nn.window import WindowAttention, relative_position_index, shift_mask, window_order


def test_order_by_hand() -> None:
    # 4 x 4 tokens in windows of 2 x 2, then shifted by 1.
    order, inverse = window_order(4, 4, 2, 0)
    assert order.tolist() == [0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15]
    assert order[inverse].tolist() == list(range(16))
    shifted, _ = window_order(4, 4, 2, 1)
    assert shifted[:4].tolist() == [5, 6, 9, 10]
    assert shifted[-4:].tolist() == [15, 12, 3, 0]


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 5), st.data())
def test_order_is_a_permutation_and_its_inverse(rows: int, columns: int, w: int, data: st.DataObject) -> None:
    shift = data.draw(st.integers(0, w - 1))
    order, inverse = window_order(rows * w, columns * w, w, shift)
    everything = torch.arange(rows * columns * w * w)
    assert torch.equal(order.sort().values, everything)
    assert torch.equal(order[inverse], everything)
    assert torch.equal(everything[order][inverse], everything)


def test_relative_positions_by_hand() -> None:
    # Tokens (0,0) (0,1) (1,0) (1,1); row of the table = (dr + 1) * 3 + dc + 1.
    assert relative_position_index(2).tolist() == [[4, 3, 1, 0], [5, 4, 2, 1], [7, 6, 4, 3], [8, 7, 5, 4]]


def test_mask_keeps_apart_what_the_shift_brought_together() -> None:
    mask = shift_mask(4, 4, 2, 1)
    assert mask.shape == (4, 4, 4)
    assert torch.all(mask[0] == 0)  # the first window holds true neighbors
    assert torch.equal(mask[3] == 0, torch.eye(4, dtype=torch.bool))  # the last one four corners
    order, _ = window_order(8, 8, 4, 2)
    mask = shift_mask(8, 8, 4, 2)
    row, column = order.view(4, 16) // 8, order.view(4, 16) % 8
    apart = ((row[:, :, None] - row[:, None]).abs() >= 4) | ((column[:, :, None] - column[:, None]).abs() >= 4)
    assert torch.equal(mask != 0, apart)


@pytest.mark.parametrize("shift", [0, 2])
def test_is_swins_shifted_window_attention(shift: int) -> None:
    """The Swin layer of transformers' ClapModel on random weights: partition, shift, mask, bias, attention."""
    from transformers import ClapAudioConfig
    from transformers.models.clap.modeling_clap import ClapAudioLayer

    torch.manual_seed(0)
    dim, heads, w, side = 16, 4, 4, 8
    config = ClapAudioConfig(window_size=w, hidden_dropout_prob=0.0)
    theirs = ClapAudioLayer(config, dim, (side, side), heads, shift_size=shift).eval()
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    state, ours = theirs.state_dict(), WindowAttention(dim, heads, w)
    at = "attention.self."
    ours.relative_position_bias_table.data.copy_(state[at + "relative_position_bias_table"])
    assert torch.equal(relative_position_index(w), state[at + "relative_position_index"])
    for kind in ("weight", "bias"):
        qkv = torch.cat([state[f"{at}{part}.{kind}"] for part in ("query", "key", "value")])
        getattr(ours.qkv, kind).data.copy_(qkv)
        getattr(ours.proj, kind).data.copy_(state[f"attention.output.dense.{kind}"])
    x = torch.randn(2, side * side, dim)
    with torch.inference_mode():
        want = theirs(x, (side, side))[0]
        order, inverse = window_order(side, side, w, shift)
        windows = theirs.layernorm_before(x)[:, order].view(-1, w * w, dim)
        y = ours(windows, shift_mask(side, side, w, shift) if shift else None).view(2, side * side, dim)
        found = x + y[:, inverse]
        found = found + theirs.output(theirs.intermediate(theirs.layernorm_after(found)))
    torch.testing.assert_close(found, want.view_as(found), atol=1e-5, rtol=1e-5)


def test_constants_first_asked_for_in_inference_can_train() -> None:
    with torch.inference_mode():
        index, mask = relative_position_index(3), shift_mask(12, 12, 3, 1)
        order, _ = window_order(12, 12, 3, 1)
    assert not any(tensor.is_inference() for tensor in (index, mask, order))
    with torch.device("meta"):
        assert relative_position_index(5).device.type == "cpu"


@pytest.mark.parametrize("masked", [False, True])
def test_float64_and_gradient(masked: bool) -> None:
    torch.manual_seed(0)
    attention = WindowAttention(8, 2, 4)
    x = torch.randn(8, 16, 8)
    mask = shift_mask(8, 8, 4, 2) if masked else None
    narrow = attention(x, mask)
    wide = attention.double()(x.double(), mask)
    torch.testing.assert_close(narrow.double(), wide, atol=1e-5, rtol=1e-5)
    wide.sum().backward()
    assert attention.relative_position_bias_table.grad is not None
