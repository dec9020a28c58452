from __future__ import annotations

import pytest
import torch
from torch import Tensor

from aural.core.errors import ConfigError
from aural.objectives import FrameAdjusted, FrameContrast


def draw() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    frames, classes = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in ((2, 3, 4), (5, 4)))
    labels = torch.randint(0, 2, (2, 3, 5), generator=generator).double()
    return {"frame_emb": frames, "class_emb": classes, "frame_labels": labels, "logit_scale": torch.tensor(1.5)}


def test_equal_biases_are_frame_contrast() -> None:
    adjusted = FrameAdjusted()({**draw(), "class_bias": torch.full((5,), -2.0)})
    torch.testing.assert_close(adjusted, FrameContrast()({**draw(), "logit_bias": torch.tensor(-2.0)}))


def test_frames_without_information_are_calibrated_by_the_prior() -> None:
    """With embeddings of zeros the loss has its minimum where the bias is the logit of the share of active frames."""
    labels = torch.tensor([[[1.0, 0.0], [0.0, 0.0], [0.0, 1.0], [0.0, 0.0]]])  # shares 1/4 and 1/4
    bias = torch.full((2,), 1 / 4).logit().requires_grad_()
    given = {"frame_emb": torch.zeros(1, 4, 3), "class_emb": torch.zeros(2, 3), "frame_labels": labels}
    FrameAdjusted()({**given, "logit_scale": torch.tensor(1.0), "class_bias": bias})["loss"].backward()
    assert bias.grad is not None
    torch.testing.assert_close(bias.grad, torch.zeros(2), atol=1e-7, rtol=0)


def test_a_bias_of_another_length_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"class_bias \(4,\) must be \(C,\)"):
        FrameAdjusted()({**draw(), "class_bias": torch.zeros(4)})
