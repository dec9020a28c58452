"""Describe sounds and answer questions about them, on the thread of the model."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from aural.core.types import Clip
from aural.generate.writer import SearchConfig
from aural.models.answerer import check_question
from aural.models.writers import answerer_of, captioner_of
from aural.serve.schemas import AskResponse, CaptionResponse, OptionScore

T = TypeVar("T")
WIDTH = 3


class Words:
    """A writer of captions and answers for the model of a server; it opens a language model at the first request."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._lock = threading.Lock()
        self._opened: dict[str, Any] = {}

    def caption(self, clip: Clip, write: bool = False) -> CaptionResponse:
        """Return a sentence about a sound. write: by the bundled language model if it is installed."""
        name = "write" if write else "caption"
        captioner, note = self._once(name, lambda: captioner_of(self._model, write=write))
        best, *others = captioner.captions_of(clip, SearchConfig(width=WIDTH))
        return CaptionResponse(
            caption=best.text, others=[one.text for one in others], kind=captioner.caption_kind, note=note
        )

    def ask(self, clip: Clip, question: str, choices: Sequence[str]) -> AskResponse:
        """Return the answer to a question.

        Raises ConfigError for a question that cannot be answered.
        """
        check_question(question, choices or None)
        answerer, note = self._once("ask", lambda: answerer_of(self._model))
        answer = answerer.answer_of(clip, question, list(choices) or None)
        options = [OptionScore(answer=one.text, score=one.score) for one in answer.options]
        return AskResponse(answer=answer.text, remark=answer.remark, options=options, kind=answer.kind, note=note)

    def _once(self, name: str, open_it: Callable[[], T]) -> T:
        with self._lock:
            if name not in self._opened:
                self._opened[name] = open_it()
            opened: T = self._opened[name]
            return opened
