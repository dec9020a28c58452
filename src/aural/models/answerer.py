"""Answer questions about sounds: what every answerer returns, and the answerer that compares vectors.

Legend: N items, M options, E dimensions.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from aural.audio.decode import source_name
from aural.core.config import Config
from aural.core.errors import AuralError, ConfigError
from aural.core.scoring import Calibration
from aural.core.types import AudioSource, Embedder
from aural.generate.writer import SearchConfig
from aural.models.arguments import as_sources, check_words
from aural.models.embedding import EmbeddingModel
from aural.models.span_questions import FORMS, SpanQuestion, span_question
from aural.models.span_replies import answer_by_spans, surest_span

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from aural.models.captioner import Captioner

YES_NO: Final = ("yes", "no")
LONGEST: Final = 40
"""Tokens of a free answer."""
PRESENCE: Final = re.compile(
    r"(?:is|are) there (?:(?:a|the) sound of )?(.+)|(?:can|do) (?:you|i|we|one) hear (.+)|is (.+) (?:heard|there)",
    re.IGNORECASE,
)


HEARD: Final = re.compile(
    r"what (?:is (?:this|that|it|heard|there|(?:this|the) sound)|sounds? .+|do you hear|can (?:you hear|be heard))",
    re.IGNORECASE,
)


class Score(Config):
    """An option and its probability among the options."""

    text: str
    score: float


class Answer(Config):
    """An answer. options: all options with their probabilities, the best first; empty for a free answer.

    kind: "written" by a language model, "compared" where vectors decided among options, "picked" from sentences, or
    "located" where spans answered.
    score: the probability of the chosen option, the score of the caption that answers a free question, or the least
    confidence of the spans.
    remark: what the answer leaves open, such as "a bell is not heard", or by how much a sound is louder; mostly empty.
    """

    text: str
    score: float
    options: tuple[Score, ...] = ()
    remark: str = ""
    kind: Literal["written", "compared", "picked", "located"]

    @property
    def sentence(self) -> str:
        """Return the text, with the remark in parentheses."""
        return f"{self.text} ({self.remark})" if self.remark else self.text


@dataclass(frozen=True)
class AnswerResult:
    """The answer about one sound, or the reason why there is none."""

    source: str
    answer: Answer | None = None
    error: AuralError | None = None


class AnsweringModel(ABC):
    """A model that answers questions about sounds; an `Answerer`."""

    @abstractmethod
    def answer_of(self, clip: AudioSource, question: str, options: Sequence[str] | None = None) -> Answer:
        """Return the answer to one question. options: what it may be; None: any words.

        Raises AudioError for a sound that cannot be read, and ConfigError for a question that cannot be answered.
        """

    def stream_answers(
        self, clips: Iterable[AudioSource], question: str, options: Sequence[str] | None = None
    ) -> Iterator[AnswerResult]:
        """Yield one result per sound, in order; a sound that cannot be read has an error, and the rest goes on.

        Raises:
            ConfigError: the question is blank, or there are fewer than two options.
        """
        check_question(question, options)
        for clip in as_sources(clips):
            try:
                yield AnswerResult(source_name(clip), self.answer_of(clip, question, options))
            except ConfigError:
                raise
            except AuralError as error:
                yield AnswerResult(source_name(clip), error=error)

    def answer(self, clips: Sequence[AudioSource], questions: Sequence[str]) -> list[str]:
        """Answer question n about clip n in free words: N clips and N questions to N strings."""
        return [self.answer_of(clip, one).text for clip, one in zip(clips, questions, strict=True)]


def check_question(question: str, options: Sequence[str] | None) -> None:
    """Raise ConfigError for a blank question, or for options that are blank, equal or fewer than two."""
    if not question.strip():
        raise ConfigError("the question is blank")
    if options is None:
        return
    check_words(options)
    if len(set(options)) < 2 or len(set(options)) < len(options):
        raise ConfigError("give at least two different options")


def model_name(model: Embedder) -> str:
    """Return the name of a model, or of its class where it has none."""
    return str(getattr(model, "name", type(model).__name__))


def sound_in(question: str) -> str | None:
    """Return the sound that a question for its presence names; None for another question.

    >>> sound_in("Is there a dog barking?"), sound_in("can you hear rain?"), sound_in("How often does it ring?")
    ('a dog barking', 'rain', None)
    """
    match = PRESENCE.fullmatch(question.strip().rstrip("?").strip())
    return next(part for part in match.groups() if part) if match else None


class ComparingAnswerer(AnsweringModel):
    """Compares the vector of a sound with those of options; for models without a decoder.

    It answers "is there ...?" by yes where a share of the least cosine of a match is reached, which is measured for
    some models only, or, with calibrated frames, where `aural locate` finds a span. It chooses among options. In free
    words it answers "what is heard?" by a caption of `captioner`, which is opened when it is needed, and with
    calibrated frames the questions of `aural.models.span_questions` by spans; no other. Spans also choose between the
    two sounds that such a question names, where they are the options.
    """

    def __init__(self, model: Embedder, captioner: Callable[[], Captioner] | None = None) -> None:
        self.model, self.calibration, self.captioner = model, Calibration.of(model), captioner
        self.name = model_name(model)

    def answer_of(self, clip: AudioSource, question: str, options: Sequence[str] | None = None) -> Answer:
        check_question(question, options)
        yes_no = options is not None and tuple(one.lower() for one in options) == YES_NO
        asked = span_question(question)
        if asked is not None and (options is None or (yes_no and asked.is_yes_no)):
            return self._located(clip, asked)
        if asked is not None and options is not None:
            named = {option.strip().lower(): option for option in options}
            if named.keys() == {name.lower() for name in asked.sounds}:
                answer = self._by_spans(clip, asked)
                if answer is not None and answer.text.lower() in named:  # else neither is heard, or it is not known
                    return answer.model_copy(update={"text": named[answer.text.lower()]})
        if options is None and sound_in(question) is not None:
            options, yes_no = YES_NO, True
        if options is None:
            return self._heard(clip, question)
        if yes_no:
            return self._presence(clip, question, options)
        sound = self.model.embed_audio([clip])
        logits = self.calibration.scale * (self.model.embed_text(list(options)) @ sound[0])
        return chosen(options, [float(one) for one in logits], "compared")

    def _heard(self, clip: AudioSource, question: str) -> Answer:
        if self.captioner is None or not HEARD.fullmatch(question.strip().rstrip("?").strip()):
            raise ConfigError(
                f'"{self.name}" answers no free question but "what is heard?", "is there ...?", {FORMS}; give '
                "--choices (choices in Python and over HTTP)"
            )
        captioner = self.captioner()
        best = captioner.captions_of(clip, SearchConfig(max_tokens=LONGEST))[0]
        return Answer(text=best.text, score=best.score, kind=captioner.caption_kind)

    def _located(self, clip: AudioSource, question: SpanQuestion) -> Answer:
        answer = self._by_spans(clip, question)
        if answer is None:
            raise ConfigError(
                f'"{self.name}" has no calibrated frames, so it cannot answer by spans; use a model such as libre-base'
            )
        return answer

    def _by_spans(self, clip: AudioSource, question: SpanQuestion) -> Answer | None:
        reply = answer_by_spans(self.model, clip, question) if isinstance(self.model, EmbeddingModel) else None
        if reply is None:
            return None
        return Answer(text=reply.text, score=reply.score, remark=reply.remark, kind="located")

    def _presence(self, clip: AudioSource, question: str, options: Sequence[str]) -> Answer:
        name, limit = sound_in(question), self.calibration.presence_limit
        if name is None:
            raise ConfigError(
                f'"{question}": without a language model, yes or no is answered only to "is there ...?", '
                '"is ... before ...?" and "is ... louder than ...?"'
            )
        if limit is None:
            raise ConfigError(f'"{self.name}": the least cosine of a match was not measured, so it cannot say no')
        cosine = float(self.model.embed_text([name])[0] @ self.model.embed_audio([clip])[0])
        surest = (
            surest_span(self.model, clip, name) if cosine < limit and isinstance(self.model, EmbeddingModel) else None
        )
        if surest is not None:
            return Answer(text=options[0], score=surest, kind="located")
        margin = self.calibration.scale * (cosine - limit)
        return chosen(options, [margin, 0.0], "compared")


def chosen(options: Sequence[str], logits: Sequence[float], kind: Literal["written", "compared"]) -> Answer:
    """Return the answer with the largest logit; probabilities are the softmax over the options.

    >>> chosen(["a", "b"], [0.0, 0.0], "compared").score
    0.5
    """
    import numpy as np

    shares = np.exp(np.asarray(logits) - max(logits))
    shares /= shares.sum()
    order = np.argsort(-shares, kind="stable")
    scores = tuple(Score(text=options[i], score=float(shares[i])) for i in order)
    return Answer(text=scores[0].text, score=scores[0].score, options=scores, kind=kind)
