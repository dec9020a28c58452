from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from aural.core.errors import ConfigError
from aural.objectives import FrameBinary, FrameConfig


def draw() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 5, 3, generator=generator, dtype=torch.float64)
    return {"frame_logits": logits, "frame_labels": torch.rand(2, 5, 3, generator=generator) < 0.3}


def test_equals_torch() -> None:
    given = draw()
    scalars = FrameBinary(FrameConfig(positive_weight=2.5))(given)
    weight = torch.tensor(2.5, dtype=torch.float64)
    labels = given["frame_labels"].double()
    wanted = binary_cross_entropy_with_logits(given["frame_logits"], labels, pos_weight=weight)
    torch.testing.assert_close(scalars["loss"], wanted)
    torch.testing.assert_close(scalars["positive"] + scalars["negative"], wanted)


def test_masked_frames_count_for_nothing() -> None:
    given = draw()
    mask = torch.tensor([[True] * 5, [True, True, False, False, False]])
    masked = FrameBinary(FrameConfig(masked=True))
    loss = masked(given | {"frame_mask": mask})["loss"]
    kept = {name: value[mask][None] for name, value in given.items()}
    torch.testing.assert_close(loss, FrameBinary()(kept)["loss"])
    changed = given | {"frame_mask": mask, "frame_logits": given["frame_logits"].masked_fill(~mask[..., None], 40.0)}
    torch.testing.assert_close(masked(changed)["loss"], loss)


def test_refusals() -> None:
    given = draw()
    with pytest.raises(ConfigError, match=r"frame_labels \(2, 4, 3\) must be \(B, T, C\) = \(2, 5, 3\)"):
        FrameBinary()(given | {"frame_labels": given["frame_labels"][:, :4]})
    masked = FrameBinary(FrameConfig(masked=True))
    with pytest.raises(ConfigError, match=r"frame_mask \(2, 4\) must be \(B, T\) = \(2, 5\)"):
        masked(given | {"frame_mask": torch.ones(2, 4)})
    with pytest.raises(ConfigError, match="excludes every frame"):
        masked(given | {"frame_mask": torch.zeros(2, 5)})
