"""Task kinds by name. A kind says which metrics, model capabilities and card fields a task has, and who runs it.

Another package adds a kind by registering a `TaskKind` in `KINDS` and its runners with `TaskKind.runner`; cards of that
kind are then checked, listed and scored like the others:

    KINDS.add("transcription", TaskKind(metrics=("WER",), primary="WER", needs=(Transcriber,), truth="captions"))

    @KINDS["transcription"].runner("zero-shot")
    def transcription(context: Context, task: LoadedTask) -> Outcome: ...
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol, TypeAlias, runtime_checkable

from aural.core.config import Config
from aural.core.errors import DataError
from aural.core.registry import Registry
from aural.core.types import Captioner, Embedder, FrameEmbedder, TextEmbedder
from aural.evaluate.metrics.captions import CAPTION_METRICS
from aural.evaluate.metrics.psds import SETTINGS

Truth: TypeAlias = Literal["one label", "labels", "captions", "none"]
Runner: TypeAlias = Callable[[Any, Any], Any]  # (outcome.Context, examples.LoadedTask) -> outcome.Outcome

COMMON_FIELDS: Final = frozenset(
    ("name", "version", "title", "kind", "dimension", "aspect", "dataset", "metric", "metrics", "license", "citation")
) | frozenset(("columns", "suites", "train", "definition", "clips", "chance", "notes", "published", "options"))
"""Fields that a card of any kind may set."""
LABEL_FIELDS: Final = frozenset(("by", "prompt", "prompts", "phrases", "separator", "classes", "classes_from"))
"""Further fields of kinds with labels."""


@runtime_checkable
class WindowStreamer(Protocol):
    """A model that embeds a clip window by window, such as `aural.models.embedding.EmbeddingModel`."""

    def stream_audio(self, clips: Any, *, keep_windows: bool = False) -> Any:
        """Yield one result per clip, with `windows` (W, E) and `times_s` if the windows are kept."""
        ...


@dataclass(frozen=True)
class TaskKind:
    """A kind of task.

    metrics: names that a card may use; `primary` is the usual one. needs: protocols of which the model must satisfy at
    least one. truth: what is true of a clip ("one label", "labels" or "captions"); clips without it are left out.
    fields: card fields beyond the common ones that a card may set. options: type of the card's `options`, None if it
    has none. sounds: whether its items are clips of a data set; otherwise they come from the text world. protocol:
    default sentence for cards without a `definition`.
    """

    metrics: tuple[str, ...]
    primary: str
    needs: tuple[type, ...] = (Embedder,)
    truth: Truth = "none"
    fields: frozenset[str] = frozenset()
    options: type[Config] | None = None
    sounds: bool = True
    protocol: str = ""
    runners: dict[str, Runner] = field(default_factory=dict)  # method -> runner

    @property
    def labelled(self) -> bool:
        """Return whether clips have class labels."""
        return self.truth in ("one label", "labels")

    def runner(self, method: str) -> Callable[[Runner], Runner]:
        """Register a runner for a method ("zero-shot", "linear-probe", ...) as a decorator."""

        def register(function: Runner) -> Runner:
            if method in self.runners:
                raise ValueError(f'a runner for method "{method}" is already registered for this kind')
            self.runners[method] = function
            return function

        return register

    def check_model(self, model: Any) -> None:
        """Raise DataError if the model has none of the capabilities that the kind needs."""
        if not any(isinstance(model, protocol) for protocol in self.needs):
            names = " or ".join(protocol.__name__ for protocol in self.needs)
            methods = " or ".join(_methods(protocol) for protocol in self.needs)
            raise DataError(f"the model is no {names}: it needs {methods}")


def _methods(protocol: type) -> str:
    """Return the public methods and attributes of a protocol as text."""
    return ", ".join(name for name in vars(protocol) if not name.startswith("_"))


KINDS: Registry[TaskKind] = Registry("task kind")

RETRIEVAL_METRICS: Final = (
    *(f"R@{k}" for k in (1, 5, 10)),
    *(f"recall@{k}" for k in (1, 5, 10)),
    "mAP@10",
    "mAP@10/all",
    "MRR",
    "median-rank",
)
MULTI_LABEL_METRICS: Final = ("mAP", "AUROC", "micro-F1", "class-F1")

KINDS.add(
    "zero-shot-single-label",  # one label per clip, read from text prompts
    TaskKind(
        metrics=("accuracy", "macro-f1"),
        primary="accuracy",
        truth="one label",
        fields=LABEL_FIELDS,
        protocol="Each clip gets the class whose prompt has the highest cosine.",
    ),
)
KINDS.add(
    "zero-shot-multi-label",  # any number of labels per clip
    TaskKind(
        metrics=MULTI_LABEL_METRICS,
        primary="mAP",
        truth="labels",
        fields=LABEL_FIELDS,
        protocol="Each class ranks all clips by cosine with its prompt.",
    ),
)
KINDS.add(
    "retrieval",  # text to audio or audio to text: the card's `direction`
    TaskKind(
        metrics=RETRIEVAL_METRICS,
        primary="R@10",
        truth="captions",
        fields=frozenset(["captions", "direction", "equal_captions"]),
        protocol="All captions and clips of the task are ranked against each other.",
    ),
)
KINDS.add(
    "paraphrase",  # each caption is a query; the other captions are ranked, and those of its clip are relevant
    TaskKind(
        metrics=RETRIEVAL_METRICS,
        primary="R@1",
        needs=(TextEmbedder,),
        truth="captions",
        fields=frozenset(["captions"]),
    ),
)
KINDS.add(
    "pairs",  # a true caption against a false one of the same clip
    TaskKind(
        metrics=("pair-accuracy",),
        primary="pair-accuracy",
        truth="captions",
        fields=frozenset(["captions", "pair_kinds"]),
    ),
)
KINDS.add(
    "temporal",  # prompts about two sounds, one after the other: which ones, and in which order
    TaskKind(
        metrics=("pair-accuracy",),
        primary="pair-accuracy",
        truth="labels",
        fields=LABEL_FIELDS,
        protocol="A true and a false prompt about two sounds; the true one must have the higher cosine with the clip.",
    ),
)
KINDS.add(
    "scene-questions",  # questions about a scene, each a choice among statements
    TaskKind(
        metrics=("accuracy",),
        primary="accuracy",
        protocol="The chosen answer is the one whose statement has the highest cosine with the clip.",
    ),
)
KINDS.add(
    "entailment",  # a hypothesis follows from the clip, may follow, or contradicts it
    TaskKind(
        metrics=("macro-f1", "accuracy"),
        primary="macro-f1",
        fields=frozenset(["classes", "table"]),
    ),
)
KINDS.add(
    "frames",  # which class sounds in which second
    TaskKind(
        metrics=(*MULTI_LABEL_METRICS, *SETTINGS),
        primary="mAP",
        needs=(FrameEmbedder, WindowStreamer),
        truth="labels",
        fields=LABEL_FIELDS | {"segment_s"},
    ),
)
KINDS.add(
    "captioning",  # the model writes
    TaskKind(
        metrics=CAPTION_METRICS, primary="SPIDEr", needs=(Captioner,), truth="captions", fields=frozenset(["captions"])
    ),
)


class SimilarityOptions(Config):
    """The graded pairs of the text world that are compared."""

    domain: Literal["street", "shifted"] = "street"
    control: bool = False
    """Give each pair the gold similarity of another one; every model must score 0."""


class RankedOptions(Config):
    """The texts of the text world that are ranked."""

    texts: Literal["passages", "phrases"] = "passages"
    errors: int = 0
    """phrases: misspelled words per query."""


class ProbeOptions(Config):
    """The classes of sentences of the text world that a probe learns."""

    of: Literal["topic", "count", "manner", "order", "length"] = "topic"


KINDS.add(
    "similarity",  # two texts and how much they mean the same
    TaskKind(
        metrics=("spearman", "alignment"),
        primary="spearman",
        needs=(TextEmbedder,),
        options=SimilarityOptions,
        sounds=False,
        protocol="The cosine of two texts is compared with the gold similarity of their meanings.",
    ),
)
KINDS.add(
    "text-retrieval",  # a text finds the passage that says the same
    TaskKind(
        metrics=("MRR@10", *RETRIEVAL_METRICS),
        primary="MRR@10",
        needs=(TextEmbedder,),
        options=RankedOptions,
        sounds=False,
        protocol="All passages are ranked for each query by cosine; one is relevant.",
    ),
)
KINDS.add(
    "text-probe",  # a class of a sentence, read from its vector
    TaskKind(
        metrics=("accuracy", "macro-f1"),
        primary="accuracy",
        needs=(TextEmbedder,),
        options=ProbeOptions,
        sounds=False,
    ),
)
