"""Zero-shot scoring: turn the cosines between sounds and label prompts into scores.

This module is the only place where the formula is written. The Python API (`aural.models.zeroshot`), the command line,
the server, the tags of a library and the evaluation all call it, so they agree for every model.

Legend: N sounds, L labels, E joint dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from aural.core.errors import ConfigError
from aural.core.names import DEFAULT_TEMPLATE
from aural.core.types import FloatArray

NEUTRAL: Final = "something"
"""The word of the neutral prompt, which stands for "any sound"."""

PRESENCE_SHARE: Final = 0.65
"""Share of the least cosine of a match at which "is there ...?" is answered by yes; see docs/models/captions.md."""

DEFAULT_SCALE: Final = 100.0
"""Scale of an embedder that states none: the upper limit of the learned scale in CLIP and its successors."""


def label_prompts(labels: Sequence[str], template: str = DEFAULT_TEMPLATE) -> list[str]:
    """Return one prompt per label: `template` with each {} replaced by the label.

    Raises ConfigError when the template contains no {}.

    >>> label_prompts(["rain", NEUTRAL])
    ['the sound of rain', 'the sound of something']
    """
    if not isinstance(template, str) or "{}" not in template:
        raise ConfigError(f'template "{template}" has no place for the label; write {{}} where the label goes')
    return [template.replace("{}", label) for label in labels]


@dataclass(frozen=True, slots=True)
class Calibration:
    """The learned scale and bias that turn a cosine into a logit: `scale * cosine + bias`.

    bias: the bias of a model trained with the sigmoid loss (Zhai et al. 2023, SigLIP, section 3.2). Models trained with
    a softmax have none (None); for them, multi-label scores compare each label with the neutral prompt.
    least: the cosine below which a sound does not match a text, measured on validation clips; None if it was not.
    """

    scale: float = DEFAULT_SCALE
    bias: float | None = None
    least: float | None = None

    @classmethod
    def of(cls, embedder: Any) -> Calibration:
        """Read the optional attributes `logit_scale`, `logit_bias` and `least_cosine` of an embedder."""
        scale = getattr(embedder, "logit_scale", None)
        bias = getattr(embedder, "logit_bias", None)
        least = getattr(embedder, "least_cosine", None)
        return cls(DEFAULT_SCALE if scale is None else float(scale), None if bias is None else float(bias), least)

    def matches(self, cosines: FloatArray) -> bool:
        """Return whether any of the `cosines` (L,) of a sound or a query reaches the least cosine of a match.

        Raises ConfigError for a model whose least cosine was not measured.

        >>> Calibration(least=0.25).matches(np.array([0.1, 0.3])), Calibration(least=0.25).matches(np.array([0.1]))
        (True, False)
        """
        if self.least is None:
            raise ConfigError("this model has no measured least cosine of a match; use libre-base")
        return bool(np.max(cosines, initial=-1.0) >= self.least)

    @property
    def presence_limit(self) -> float | None:
        """Return the cosine from which on "is there ...?" is answered by yes; None where `least` was not measured.

        >>> round(Calibration(least=0.3).presence_limit, 3)
        0.195
        """
        return None if self.least is None else self.least - (1 - PRESENCE_SHARE) * abs(self.least)

    @property
    def needs_neutral(self) -> bool:
        """Return whether multi-label scores need the cosines with the neutral prompt."""
        return self.bias is None

    def scores(
        self, cosines: FloatArray, *, multi_label: bool = False, neutral: FloatArray | None = None
    ) -> FloatArray:
        """Return scores in 0 to 1 of shape (..., L) for `cosines` (..., L) between sounds and label prompts.

        Without multi_label: softmax over the labels of `scale * cosine`; each row sums to 1. With multi_label: the
        sigmoid of `label_logits`, independent for each label.
        """
        if multi_label:
            return (0.5 * (1 + np.tanh(self.label_logits(cosines, neutral) / 2))).astype(np.float32)
        logits = self.scale * np.asarray(cosines, np.float64)
        logits -= logits.max(axis=-1, keepdims=True)
        exp = np.exp(logits)
        scores: FloatArray = (exp / exp.sum(axis=-1, keepdims=True)).astype(np.float32)
        return scores

    def label_logits(self, cosines: FloatArray, neutral: FloatArray | None = None) -> NDArray[np.float64]:
        """Return the multi-label logits (..., L); a label applies where its logit is above 0.

        With a bias: `scale * cosine + bias`. Without: `scale * (cosine - neutral)`, where `neutral` (...) holds the
        cosines with the neutral prompt.

        >>> Calibration(scale=10.0, bias=-2.0).label_logits(np.array([0.25, 0.125])).tolist()
        [0.5, -0.75]
        >>> Calibration(scale=10.0).label_logits(np.array([0.25, 0.125]), np.array(0.1875)).tolist()
        [0.625, -0.625]
        """
        logits = np.array(cosines, np.float64)
        if self.bias is None:
            logits -= self.threshold(neutral)[..., None]
        logits *= self.scale
        return logits if self.bias is None else logits + self.bias

    def threshold(self, neutral: FloatArray | None = None) -> NDArray[np.float64]:
        """Return the cosine above which a label applies to a sound: `-bias / scale`, or the neutral cosine (...)."""
        if self.bias is not None:
            shape = () if neutral is None else np.shape(neutral)
            return np.full(shape, -self.bias / self.scale)
        if neutral is None:
            raise ValueError("a model without a bias needs the cosines with the neutral prompt")
        return np.asarray(neutral, np.float64)
