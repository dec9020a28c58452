"""open_clip's CLAP (HTSAT-tiny and RoBERTa) and its own training step, from a checkout of its repository.

open_clip 4.2.0.dev0 (commit 89fb801) has these towers; release 3.3.0 has none for sounds. The step is that of
`open_clip_train`: autocast to bf16 (`--precision amp_bf16`), `CLAPTask.training_forward`, AdamW, and the clamp of the
logit scale; `compiled` adds `--torchcompile` with the strategy "model".
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn


class OpenClipStep:
    """A model of open_clip with its optimizer; calling it runs one training step."""

    def __init__(
        self,
        source: Path,
        device: torch.device,
        *,
        bf16: bool,
        compiled: bool = False,
        name: str = "CLAP-HTSAT-tiny-Roberta-base",
        layers: int = 0,
    ) -> None:
        """Args: layers: layers of the text tower and of a NaFlexVit; 0: as published."""
        sys.path.insert(0, str(source))
        from open_clip.clap_model import CLAP  # type: ignore[import-not-found]
        from open_clip.task import CLAPTask  # type: ignore[import-not-found]
        from transformers import RobertaConfig

        config = json.loads((source / "open_clip" / "model_configs" / f"{name}.json").read_text())
        with tempfile.TemporaryDirectory() as folder:  # the published sizes, without a download
            roberta = RobertaConfig(
                vocab_size=50265, max_position_embeddings=514, type_vocab_size=1, layer_norm_eps=1e-5,
                num_hidden_layers=layers or 12,
            )  # fmt: skip
            if layers:
                config["audio_cfg"]["naflexvit_cfg"]["depth"] = layers
            roberta.save_pretrained(folder)
            text = config["text_cfg"] | {"hf_model_name": folder, "hf_model_pretrained": False}
            torch.manual_seed(0)
            model = CLAP(config["embed_dim"], config["audio_cfg"], text, output_dict=True)
        self.model = model.to(device).train()
        self.task, self.device, self.bf16 = CLAPTask(self.model), device, bf16
        if compiled:
            self.task.compile(target="model")
        self.optimizer = torch.optim.AdamW(self.model.parameters(), 1e-4, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.2)

    def batch(self, sounds: torch.Tensor, ids: torch.Tensor, *, mels: bool) -> dict[str, Any]:
        """Return a batch of waveforms (B, T), or with `mels` of log-mels (B, N, F), and remove its front end."""
        encoder = self.model.audio.encoder
        if mels:
            encoder.spectrogram_extractor, encoder.logmel_extractor = nn.Identity(), nn.Identity()
        given = sounds[:, None] if mels else sounds
        longer = torch.zeros(len(sounds), dtype=torch.bool, device=self.device)
        return {"audio": {"waveform": given, "longer": longer}, "text": ids}

    def step(self, batch: dict[str, Any]) -> Callable[[], None]:
        """Return a function that trains on the batch once."""

        def go() -> None:
            self.optimizer.zero_grad()
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
                losses, _ = self.task.training_forward(batch)
            losses["loss"].backward()
            self.optimizer.step()
            self.task.clamp_logit_scale()

        return go
