"""Contrast a clip with several captions of different detail and with false compositions of each."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from aural.core.config import Config
from aural.core.errors import ConfigError
from aural.objectives.base import OBJECTIVES, Objective, widen


@OBJECTIVES.register(
    "modular_contrast",
    signal="pair",
    contrast="input-input",
    loss="contrastive",
    negatives="built",
    modality="any pair",
)
class ModularContrast(Objective):
    """Find all captions of a clip, from its single events to the full scene, among false compositions and other clips.

    Also known as: modular contrastive loss of CompA-CLAP.

    Formula, with s(i, j, p) = logit_scale * <audio_i, positive_text_jp>, h(i, k) = logit_scale * <audio_i,
    hard_text_ik>, P_i the captions of clip i, N_i its false captions, and p = 0 the full caption:
        D_i = sum_{p in P_i} exp s(i, i, p) + sum_{k in N_i} exp h(i, k) + sum_{j != i} exp s(i, j, 0)
        A = -1/B sum_i 1/|P_i| sum_{p in P_i} log( exp s(i, i, p) / D_i )
        T = -1/|P| sum_{i, p in P_i} log( exp s(i, i, p) / sum_j exp s(j, i, p) )
        loss = (A + T) / 2
    Short captions of other clips are no negatives of a clip, because its events may occur there too.

    Needs audio_emb (B, E), positive_text_emb (B, P, E) with the full caption first, positive_text_mask (B, P),
    hard_text_emb (B, H, E), hard_text_mask (B, H), logit_scale (). The full caption must exist for every clip.

    Source: Ghosh et al. 2024, CompA (arXiv 2310.08753), modular contrastive learning, and the code of stage 3.

    Relations: with P = 1 it is `hard_negatives`, masked; without hard captions `info_nce`.

    >>> import torch
    >>> given = {"audio_emb": torch.eye(2), "logit_scale": torch.tensor(0.0)}  # every logit is 0
    >>> given |= {"positive_text_emb": torch.ones(2, 2, 2), "positive_text_mask": torch.ones(2, 2)}
    >>> given |= {"hard_text_emb": torch.ones(2, 1, 2), "hard_text_mask": torch.ones(2, 1)}
    >>> {name: round(float(value), 4) for name, value in ModularContrast()(given).items()}  # log 4 and log 2
    {'loss': 1.0397, 'audio_to_text': 1.3863, 'text_to_audio': 0.6931}
    """

    config_type = Config
    needs = frozenset(
        {"audio_emb", "positive_text_emb", "positive_text_mask", "hard_text_emb", "hard_text_mask", "logit_scale"}
    )

    def compute(self, **tensors: Tensor) -> dict[str, Tensor]:
        names = ("audio_emb", "positive_text_emb", "hard_text_emb", "logit_scale")
        audio, positive, hard, scale = widen(*(tensors[name] for name in names))
        for name, tensor in (("positive_text_emb", positive), ("hard_text_emb", hard)):
            if tensor.ndim != 3 or (len(tensor), tensor.shape[2]) != audio.shape:
                raise ConfigError(f"{name} {tuple(tensor.shape)} must be (B, M, E) with audio_emb {tuple(audio.shape)}")
        exists, false = tensors["positive_text_mask"].bool(), tensors["hard_text_mask"].bool()
        if not bool(exists[:, 0].all()):
            raise ConfigError("positive_text_mask: every clip needs its full caption, in column 0")
        matching = scale * torch.einsum("be,bpe->bp", audio, positive)  # (B, P)
        near = scale * torch.einsum("be,bhe->bh", audio, hard)  # (B, H)
        same = torch.eye(len(audio), dtype=torch.bool, device=audio.device)
        others = (scale * audio @ positive[:, 0].T).masked_fill(same, -torch.inf)  # (B, B)
        logits = torch.cat(
            [matching.masked_fill(~exists, -torch.inf), near.masked_fill(~false, -torch.inf), others], dim=1
        )
        per_caption = logits.logsumexp(1, keepdim=True) - matching  # (B, P)
        audio_to_text = (per_caption.masked_fill(~exists, 0).sum(1) / exists.sum(1)).mean()
        clip, _ = exists.nonzero(as_tuple=True)
        text_to_audio = cross_entropy(scale * positive[exists] @ audio.T, clip)
        return {
            "loss": (audio_to_text + text_to_audio) / 2,
            "audio_to_text": audio_to_text,
            "text_to_audio": text_to_audio,
        }
