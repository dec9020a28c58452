from __future__ import annotations

import pytest
import torch
from torch import Tensor

from aural.core.errors import ConfigError
from aural.objectives import FrameBinary, FrameContrast, Sigmoid


def draw() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    frames = torch.randn(2, 5, 4, generator=generator, dtype=torch.float64)
    classes = torch.randn(3, 4, generator=generator, dtype=torch.float64)
    labels = torch.rand(2, 5, 3, generator=generator) < 0.3
    scalars = {"logit_scale": torch.tensor(3.0), "logit_bias": torch.tensor(-2.0)}
    return {"frame_emb": frames, "class_emb": classes, "frame_labels": labels, **scalars}


def test_is_frame_binary_of_the_similarities() -> None:
    given = draw()
    logits = 3 * torch.einsum("bte,ce->btc", given["frame_emb"], given["class_emb"]) - 2
    wanted = FrameBinary()({"frame_logits": logits, "frame_labels": given["frame_labels"]})["loss"]
    torch.testing.assert_close(FrameContrast()(given)["loss"], wanted)


def test_one_frame_and_one_prompt_per_clip_is_sigmoid_over_b() -> None:
    given = draw()
    rows = given["frame_emb"][0]  # 5 clips of one frame
    other = given["frame_emb"][1]
    scalars = {"logit_scale": given["logit_scale"], "logit_bias": given["logit_bias"]}
    sigmoid = Sigmoid()({"audio_emb": rows, "text_emb": other, **scalars})["loss"]
    labels = torch.eye(5)[:, None]
    found = FrameContrast()({"frame_emb": rows[:, None], "class_emb": other, "frame_labels": labels, **scalars})["loss"]
    torch.testing.assert_close(found, sigmoid / 5)


def test_gradcheck() -> None:
    given = draw()
    names = ("frame_emb", "class_emb", "logit_scale", "logit_bias")
    leaves = tuple(given[name].double().requires_grad_() for name in names)
    labels = {"frame_labels": given["frame_labels"]}
    assert torch.autograd.gradcheck(
        lambda *t: FrameContrast()(dict(zip(names, t, strict=True)) | labels)["loss"], leaves
    )


def test_other_widths_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"frame_emb \(2, 5, 4\) must be \(B, T, E\) and class_emb \(3, 3\) \(C, E\)"):
        FrameContrast()(draw() | {"class_emb": torch.zeros(3, 3)})
