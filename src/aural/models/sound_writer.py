"""The bundled captioner: libre-base, a bridge, and a frozen language model that is an installed package.

A caption is written after the prefix of the bridge and, where the bridge was trained so, a prompt with the known
sentences that are nearest to the sound. Written captions and further known sentences are then ranked together by their
likelihood and by their cosine with the sound (`aural.generate.rerank`).

Legend: R rows, P prefix positions, L tokens, W width of the language model.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from aural.core.errors import ConfigError
from aural.core.types import AudioSource, Embedder, FloatArray
from aural.generate.likelihood import text_log_likelihoods
from aural.generate.prompts import nearest_texts
from aural.generate.rerank import summed_order
from aural.generate.search import Written
from aural.generate.writer import SearchConfig, write
from aural.models.answerer import LONGEST, Answer, AnsweringModel, check_question, chosen, model_name
from aural.models.bridge import (
    BridgeConfig,
    caption_text,
    choice_question,
    joined,
    plain_text,
    prompt_ids,
    read_bridge,
    read_bridge_config,
)
from aural.models.captioner import SILENCE, Caption, Captioner, is_digital_silence
from aural.models.causal import TransformersDecoder, open_decoder
from aural.models.known_sentences import captions_folder, known_sentences
from aural.models.packaged import SMOLLM2
from aural.nn.bridges.mapper import MlpMapper


class SoundWriter(Captioner, AnsweringModel):
    """Writes captions and answers with a language model that reads the vector of a sound through a bridge."""

    def __init__(
        self,
        model: Embedder,
        bridge: MlpMapper,
        config: BridgeConfig,
        decoder: TransformersDecoder,
        listed: tuple[list[str], FloatArray] | None = None,
    ) -> None:
        """Join the parts. listed: sentences and their unit rows by the model, for a bridge that uses them.

        Raises ConfigError when the widths do not fit, or sentences are missing.
        """
        if (model.embed_dim, decoder.dim) != (config.mapper.d_in, config.mapper.d_out):
            raise ConfigError(
                f'"{model_name(model)}" has {model.embed_dim} dimensions and the language model {decoder.dim}; they '
                f"do not fit a bridge from {config.mapper.d_in} to {config.mapper.d_out}"
            )
        if config.sentences and listed is None:
            raise ConfigError("the bridge needs known sentences and their vectors")
        self.model, self.bridge, self.config, self.decoder = model, bridge, config, decoder
        self.sentences, self.rows = listed or ([], np.zeros((0, model.embed_dim), np.float32))
        self.listed = {plain_text(one) for one in self.sentences}

    @torch.inference_mode()
    def captions_of(self, clip: AudioSource, config: SearchConfig) -> list[Caption]:
        if is_digital_silence(self.model, clip):
            return [Caption(text=SILENCE, score=0.0)]
        sound = self.model.embed_audio([clip])
        near = (
            nearest_texts(sound, self.rows, self.sentences, count=self.config.sentences)[0]
            if self.config.sentences
            else []
        )
        prefix = self._prefix(sound, None, near[: self.config.prompts])
        config = config.model_copy(update={"max_tokens": min(config.max_tokens, self.config.longest)})
        written = write(self.decoder, prefix, config, stop_ids=self.decoder.stop_ids)[0]
        captions = [Caption(text=self._text(one), score=one.mean_log_likelihood) for one in written]
        return self._ranked(captions, near[: self.config.candidates], prefix, sound)[: config.width]

    def _ranked(self, written: list[Caption], near: Sequence[str], prefix: Tensor, sound: FloatArray) -> list[Caption]:
        """Return the written captions and the known sentences `near`, ordered by likelihood and by cosine.

        prefix: (1, P, W), what is read before a caption. sound: (1, E).
        """
        if not near:
            return written
        close = {plain_text(one) for one in near}
        new = [one for one in written if plain_text(one.text) not in close]
        margins = [0.0 if plain_text(one.text) in self.listed else self.config.margin for one in new]
        tokens = [[*self.decoder.ids(caption_text(one)), self.decoder.stop_ids[0]] for one in near]
        sums = text_log_likelihoods(self.decoder, prefix, tokens)
        scores = [total / len(ids) for total, ids in zip(sums, tokens, strict=True)]
        both = [Caption(text=caption_text(one).strip(), score=score) for one, score in zip(near, scores, strict=True)]
        both += new
        fits = self.model.embed_text([plain_text(one.text) for one in both]) @ sound[0]
        order = summed_order(
            [one.score for one in both],
            [float(one) for one in fits],
            weight=self.config.likelihood,
            penalties=[0.0] * len(near) + margins,
        )
        return [both[i] for i in order]

    @torch.inference_mode()
    def answer_of(self, clip: AudioSource, question: str, options: Sequence[str] | None = None) -> Answer:
        check_question(question, options)
        sound = self.model.embed_audio([clip])
        if options is None:
            config = SearchConfig(max_tokens=LONGEST)
            prefix = self._prefix(sound, question.strip())
            best = write(self.decoder, prefix, config, stop_ids=self.decoder.stop_ids)[0][0]
            return Answer(text=self._text(best), score=best.mean_log_likelihood, kind="written")
        yes_no = [one.lower() for one in options] == ["yes", "no"]
        asked = question.strip() if yes_no else choice_question(question.strip(), options)
        words = [[*self.decoder.ids(caption_text(one)), self.decoder.stop_ids[0]] for one in options]
        return chosen(options, text_log_likelihoods(self.decoder, self._prefix(sound, asked), words), "written")

    def _prefix(self, sound: FloatArray, question: str | None, near: Sequence[str] = ()) -> Tensor:
        """Return what the language model reads before it writes, (1, P + L, W), for the vector (1, E) of a sound."""
        ids = torch.tensor([prompt_ids(self.decoder.ids, question, near)])
        return joined(self.bridge(torch.from_numpy(sound.copy()).float()), self.decoder.embed(ids))

    def _text(self, written: Written) -> str:
        return self.decoder.text(written.ids) or "No words."


def bridge_config_of(model: Embedder, *, folder: Path | None = None) -> BridgeConfig | None:
    """Return the config of the bundled bridge if it fits a model; opens neither the bridge nor the language model."""
    config = read_bridge_config(folder or captions_folder())
    return config if config is not None and model_name(model) == config.embedder else None


def writer_of(model: Embedder, *, folder: Path | None = None) -> SoundWriter | None:
    """Return the bundled captioner for a model, or None for a model that it does not fit.

    Raises:
        MissingDependencyError: the package of the language model, gguf or accelerate is not installed.
        CheckpointError: the files are damaged, or the language model is not the one that the bridge was trained for.
    """
    folder = folder or captions_folder()
    if bridge_config_of(model, folder=folder) is None:
        return None
    config, bridge = read_bridge(folder)
    if config.decoder_sha256 != SMOLLM2.sha256:
        raise ConfigError(f"{folder}: the bridge was trained for another language model than {SMOLLM2.file}")
    sentences, rows = known_sentences(config.embedder, folder) if config.sentences else ([], None)
    listed = None if rows is None else (sentences, rows)
    return SoundWriter(model, bridge, config, open_decoder(config.decoder, device="cpu"), listed)
