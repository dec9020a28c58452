"""The bundled captioner: libre-base, a bridge, and a frozen language model that is an installed package.

Legend: R rows, P prefix positions, L tokens, W width of the language model.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from aural.core.errors import ConfigError
from aural.core.types import AudioSource, Embedder
from aural.generate.search import Written
from aural.generate.writer import SearchConfig, write
from aural.models.answerer import LONGEST, Answer, AnsweringModel, check_question, chosen, model_name
from aural.models.bridge import BridgeConfig, choice_question, joined, prompt_ids, read_bridge
from aural.models.captioner import Caption, Captioner
from aural.models.causal import TransformersDecoder, open_decoder
from aural.models.known_sentences import captions_folder
from aural.models.packaged import SMOLLM2
from aural.nn.bridges.mapper import MlpMapper


class SoundWriter(Captioner, AnsweringModel):
    """Writes captions and answers with a language model that reads the vector of a sound through a bridge."""

    def __init__(self, model: Embedder, bridge: MlpMapper, config: BridgeConfig, decoder: TransformersDecoder) -> None:
        """Join the parts.

        Raises ConfigError when the widths do not fit.
        """
        if (model.embed_dim, decoder.dim) != (config.mapper.d_in, config.mapper.d_out):
            raise ConfigError(
                f'"{model_name(model)}" has {model.embed_dim} dimensions and the language model {decoder.dim}; they '
                f"do not fit a bridge from {config.mapper.d_in} to {config.mapper.d_out}"
            )
        self.model, self.bridge, self.config, self.decoder = model, bridge, config, decoder

    @torch.inference_mode()
    def captions_of(self, clip: AudioSource, config: SearchConfig) -> list[Caption]:
        return [Caption(text=self._text(one), score=one.mean_log_likelihood) for one in self._write(clip, None, config)]

    @torch.inference_mode()
    def answer_of(self, clip: AudioSource, question: str, options: Sequence[str] | None = None) -> Answer:
        check_question(question, options)
        if options is None:
            best = self._write(clip, question.strip(), SearchConfig(max_tokens=LONGEST))[0]
            return Answer(text=self._text(best), score=best.mean_log_likelihood, kind="written")
        yes_no = [one.lower() for one in options] == ["yes", "no"]
        asked = question.strip() if yes_no else choice_question(question.strip(), options)
        return chosen(options, self._likelihoods(clip, asked, options), "written")

    def _prefix(self, clip: AudioSource) -> Tensor:
        return self.bridge(torch.from_numpy(self.model.embed_audio([clip]).copy()).float())

    def _write(self, clip: AudioSource, question: str | None, config: SearchConfig) -> list[Written]:
        ids = torch.tensor([prompt_ids(self.decoder.ids, question)])
        vectors = joined(self._prefix(clip), self.decoder.embed(ids))
        return write(self.decoder, vectors, config, stop_ids=self.decoder.stop_ids)[0]

    def _likelihoods(self, clip: AudioSource, question: str, options: Sequence[str]) -> list[float]:
        """Return the log-likelihood of each option as the whole answer."""
        prompt = prompt_ids(self.decoder.ids, question)
        stop = self.decoder.stop_ids[0]
        prefix, scores = self._prefix(clip), []
        for option in options:
            words = [*self.decoder.ids(f" {option[0].upper()}{option[1:]}."), stop]
            ids = torch.tensor([[*prompt, *words]])
            vectors = joined(prefix, self.decoder.embed(ids))
            logits = self.decoder.logits(vectors, torch.ones(vectors.shape[:2], dtype=torch.long))
            rows = logits[0, -len(words) - 1 : -1].float().log_softmax(-1)
            scores.append(float(rows[torch.arange(len(words)), torch.tensor(words)].sum()))
        return scores

    def _text(self, written: Written) -> str:
        return self.decoder.text(written.ids) or "No words."


def writer_of(model: Embedder, *, folder: Path | None = None) -> SoundWriter | None:
    """Return the bundled captioner for a model, or None for a model that it does not fit.

    Raises:
        MissingDependencyError: the package of the language model, gguf or accelerate is not installed.
        CheckpointError: the files are damaged, or the language model is not the one that the bridge was trained for.
    """
    folder = folder or captions_folder()
    if not (folder / "config.json").is_file():
        return None
    config, bridge = read_bridge(folder)
    if model_name(model) != config.embedder:
        return None
    if config.decoder_sha256 != SMOLLM2.sha256:
        raise ConfigError(f"{folder}: the bridge was trained for another language model than {SMOLLM2.file}")
    return SoundWriter(model, bridge, config, open_decoder(config.decoder, device="cpu"))
