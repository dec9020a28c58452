"""Choose what writes captions and answers for a model, and say why where it is not a language model."""

from __future__ import annotations

from collections.abc import Sequence

from aural.core.errors import ConfigError, MissingDependencyError
from aural.core.types import Embedder
from aural.models.answerer import AnsweringModel, ComparingAnswerer, model_name
from aural.models.captioner import Captioner, RetrievalCaptioner
from aural.models.known_sentences import class_penalties, known_sentences
from aural.models.sound_writer import SoundWriter, bridge_config_of, writer_of


def captioner_of(
    model: Embedder, sentences: Sequence[str] | None = None, *, write: bool = False
) -> tuple[Captioner, str]:
    """Return what describes sounds for a model, and the reason where it picks sentences instead of writing.

    The model itself if it writes captions, else one that picks from `sentences` (default: `known_sentences`), or with
    `write` the bundled captioner if it fits; that takes seconds per sound.

    Raises:
        ConfigError: sentences are given for a captioner that writes.
    """
    if sentences is not None and (write or isinstance(model, Captioner)):
        raise ConfigError(f'"{model_name(model)}" writes its captions; leave the sentences out')
    if isinstance(model, Captioner):
        return model, ""
    if sentences is not None:
        return RetrievalCaptioner(model, sentences), f'"{model_name(model)}" compares given sentences'
    writer, reason = _writer(model) if write else (None, _why_picked(model))
    if writer:
        return writer, ""
    listed, rows = known_sentences(model_name(model))
    return RetrievalCaptioner(model, listed, rows, class_penalties(listed)), reason


def answerer_of(model: Embedder) -> tuple[AnsweringModel, str]:
    """Return what answers questions for a model, and the reason where no language model takes part.

    Without a bridge that learned questions, choices are compared, "what is heard?" is answered by a picked caption,
    and number, time and order by spans.
    """
    config, reason = bridge_config_of(model), f'"{model_name(model)}" has no language model for answers'
    if config is not None and config.questions:
        writer, reason = _writer(model)
        if writer is not None:
            return writer, ""
    return ComparingAnswerer(model, lambda: captioner_of(model)[0]), reason


def _why_picked(model: Embedder) -> str:
    reason = "writes no captions" if bridge_config_of(model) is None else "writes only with the option write"
    return f'"{model_name(model)}" {reason}'


def _writer(model: Embedder) -> tuple[SoundWriter | None, str]:
    try:
        writer = writer_of(model)
    except MissingDependencyError as error:
        return None, f"no language model: {error}"
    return writer, "" if writer else f'"{model_name(model)}" writes no captions'
