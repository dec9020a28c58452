from __future__ import annotations

import pytest
import torch
from torch.nn.functional import mse_loss, normalize

from aural.core.errors import ConfigError
from aural.objectives import Regress, RegressConfig


def test_by_hand() -> None:
    """Cosines 0.6 and 0: mean of 0.4 and 1."""
    student = torch.tensor([[0.6, 0.8], [0.0, 1.0]], requires_grad=True)
    teacher = torch.tensor([[1.0, 0.0], [1.0, 0.0]], requires_grad=True)
    loss = Regress()({"audio_emb": student, "teacher_audio_emb": teacher})["loss"]
    assert float(loss.detach()) == pytest.approx(0.7)
    loss.backward()
    assert teacher.grad is None
    assert torch.equal(student.grad, -teacher.detach() / 2)  # type: ignore[arg-type]


def test_cosine_has_the_bits_of_the_former_distillation_term() -> None:
    generator = torch.Generator().manual_seed(0)
    student, teacher = (normalize(torch.randn(32, 64, generator=generator), dim=1) for _ in range(2))
    former = (1 - (student * teacher).sum(1)).mean()
    assert torch.equal(Regress()({"audio_emb": student, "teacher_audio_emb": teacher})["loss"], former)


def test_squared_is_the_mean_squared_error_summed_over_dimensions() -> None:
    generator = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(5, 8, generator=generator, dtype=torch.float64) for _ in range(2))
    given = {"audio_emb": student, "teacher_audio_emb": teacher}
    loss = Regress(RegressConfig(distance="squared"))(given)["loss"]
    torch.testing.assert_close(loss, 8 * mse_loss(student, teacher))
    unit = {name: normalize(value, dim=1) for name, value in given.items()}
    twice = 2 * Regress()(unit)["loss"]
    torch.testing.assert_close(Regress(RegressConfig(distance="squared"))(unit)["loss"], twice)


def test_different_widths_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"audio_emb \(2, 3\) and teacher_audio_emb \(2, 4\) must both be \(B, E\)"):
        Regress()({"audio_emb": torch.zeros(2, 3), "teacher_audio_emb": torch.zeros(2, 4)})
