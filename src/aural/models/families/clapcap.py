"""msclap's captioner (clapcap): the audio tower of CLAP 2023, a mapper to a prefix, and GPT-2.

microsoft/CLAP, msclap 1.3.4: CLAPWrapper.generate_caption, models/mapper.py. A caption is written by `beam` until the
token " ", which is the first of msclap's " <|endoftext|>". A sound is described by the unit mean of its windows; the
reference package describes one window, at random where the sound is longer (compat="peer").

Legend: N items, T samples, E joint dimensions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from aural.audio.io import as_source
from aural.audio.mel import PRESETS
from aural.core.errors import ConfigError
from aural.core.types import AudioSource
from aural.encoders.convert import msclap
from aural.encoders.convert.base import Piece, Publisher, Shape
from aural.encoders.convert.gpt2 import from_gpt2
from aural.encoders.tokenize import load_backend
from aural.generate.writer import SearchConfig, write
from aural.models import peer as peers
from aural.models.captioner import Caption, Captioner
from aural.models.clap import AudioConfig, AudioTower
from aural.models.families.base import FILES, FamilyModel, OpenOptions, Traits
from aural.nn.bridges.mapper import MapperConfig, TransformerMapper
from aural.nn.decoder import Decoder, DecoderConfig
from aural.nn.functional import unit

MARKER = "clap_project.prefix_const"
AUDIO = AudioConfig(
    sample_rate_hz=44100, window_s=7.0, shorter="repeat", mel=PRESETS["msclap-2023"], encoder="htsat",
    projection="residual",
)  # fmt: skip
EMBED_DIM = 1024
GPT2 = DecoderConfig()
MAPPER = MapperConfig(d_in=EMBED_DIM, d_out=GPT2.dim)
STOP = 220
"""The token " "."""


class ClapCap(FamilyModel, Captioner):
    """The captioner. It embeds sounds in the space of its audio tower and has no text tower."""

    reproduces_peer = True

    def __init__(self, state: Mapping[str, Tensor], path: Path, options: OpenOptions) -> None:
        super().__init__(Traits(EMBED_DIM, AUDIO.sample_rate_hz, AUDIO.window_s, AUDIO.shorter), options)
        where = str(path)
        parts: dict[str, dict[str, Tensor]] = {"clap.": {}, "clap_project.": {}, "gpt.": {}}
        for name, tensor in state.items():
            part = next((prefix for prefix in parts if name.startswith(prefix)), "clap.")
            parts[part][name] = tensor
        self.tower = self.translated(lambda: AudioTower(AUDIO, EMBED_DIM), parts["clap."], _audio_file(), where)
        self.mapper = self.translated(
            lambda: TransformerMapper(MAPPER), parts["clap_project."], Publisher(_mapper_piece), where
        )
        with torch.device("meta"):
            decoder = Decoder(GPT2)
        decoder.load_state_dict(from_gpt2(parts["gpt."], GPT2, where, prefix="gpt."), strict=True, assign=True)
        self.decoder = decoder.requires_grad_(False).eval().to(self.device)
        self.words = load_backend("gpt2", options.tokenizer, offline=options.offline)

    def audio_rows(self, waves: Tensor) -> Tensor:
        rows: Tensor = self.tower(waves)
        return rows

    def text_rows(self, texts: Sequence[str]) -> Tensor:
        raise ConfigError(f"{self.name}: is a captioner without a text tower; it describes and embeds sounds only")

    def captions_of(self, clip: AudioSource, config: SearchConfig) -> list[Caption]:
        with self.computing():
            prefix = self.mapper(self._vector(clip)[None])
        (texts,) = write(self.decoder, prefix, config, stop_ids=(STOP,))
        return [
            Caption(text=self.words.decode(list(one.ids)).strip().capitalize(), score=one.mean_log_likelihood)
            for one in texts
        ]

    def _vector(self, clip: AudioSource) -> Tensor:
        """Return the unit vector (E,) of a sound."""
        if self.options.compat != "peer":
            return torch.as_tensor(self.embed_audio([clip])[0], device=self.device)
        mel = peers.audio_inputs("msclap", AUDIO, self.tower.front_end, [as_source(clip)], self.options.seed).mel
        return unit(self.tower.embed_mel(mel.to(self.device)).float())[0]


def _audio_file() -> Publisher:
    """Describe the audio tower: names as in CLAP 2023, with "clap." for "audio_encoder."."""
    described = msclap.publisher(htsat=True)

    def renamed(name: str) -> str:
        return name.replace("audio_encoder.", "clap.", 1)

    def piece(name: str, shape: Shape) -> Piece:
        published = described.piece(f"audio.{name}", shape)
        return Piece({renamed(part): size for part, size in published.parts.items()}, published.join)

    unused = {renamed(name): shape for name, shape in described.unused.items()}
    return Publisher(piece, unused, {renamed(name): tensor for name, tensor in described.constants.items()})


_LAYER = {"queries": "attn.to_queries", "keys_values": "attn.to_keys_values", "out": "attn.project"} | {
    "up": "mlp.fc1", "down": "mlp.fc2", "norm1": "norm1", "norm2": "norm2",
}  # fmt: skip


def _mapper_piece(name: str, shape: Shape) -> Piece:
    if name == "constant":
        return Piece({MARKER: shape})
    place, _, rest = name.partition(".")
    if place == "linear":
        return Piece({f"clap_project.{name}": shape})
    number, part, kind = rest.split(".")
    return Piece({f"clap_project.transformer.layers.{number}.{_LAYER[part]}.{kind}": shape})


FILES.add(MARKER, ClapCap)
