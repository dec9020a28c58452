"""cuDNN's attention is left out for shapes that come seldom, since it builds a plan for each."""

from __future__ import annotations

import torch
from torch.backends.cuda import cudnn_sdp_enabled, flash_sdp_enabled, math_sdp_enabled, mem_efficient_sdp_enabled

from aural.train.attention import PLAN_AFTER, AttentionKernels


def batch(clips: int, frames: int) -> dict[str, object]:
    return {"keys": ["a"] * clips, "mel": torch.zeros(clips, frames, 4), "ids": torch.zeros(clips, 9)}


def left_out(kernels: AttentionKernels, clips: int, frames: int) -> bool:
    with kernels.of(batch(clips, frames)):
        assert flash_sdp_enabled()
        assert mem_efficient_sdp_enabled()
        assert math_sdp_enabled()
        return not cudnn_sdp_enabled()


def test_a_shape_gets_a_plan_once_it_came_often() -> None:
    assert cudnn_sdp_enabled()
    kernels = AttentionKernels(varying=True)
    assert [left_out(kernels, 2, 30) for _ in range(PLAN_AFTER + 2)] == [True] * PLAN_AFTER + [False] * 2
    assert left_out(kernels, 2, 31)  # another shape
    assert not left_out(kernels, 2, 30)
    assert cudnn_sdp_enabled()


def test_steps_of_one_shape_keep_all_kernels() -> None:
    kernels = AttentionKernels(varying=False)
    assert not any(left_out(kernels, 2, frames) for frames in range(20, 30))
    assert not kernels.counts
