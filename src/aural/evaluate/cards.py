"""Task cards: what is scored on which clips, by which metric exactly, and what is known already.

A card is data (`catalog/tasks/NAME.toml`); a runner is chosen by its `kind`, nothing is written for one task.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field, model_validator

from aural.core.config import Config
from aural.core.errors import ConfigError, near_miss
from aural.data.libre.tasks import TaskCard as CorpusTask
from aural.data.manifest import SPLITS
from aural.evaluate.metrics import CAPTION_METRICS, METRICS
from aural.evaluate.psds import SETTINGS

Kind = Literal[
    "zero-shot-single-label",  # one label a clip, read from text prompts
    "zero-shot-multi-label",  # any number of labels a clip
    "retrieval",  # text to audio or audio to text, see `direction`
    "paraphrase",  # each caption is a query, the other captions are ranked: those of its clip are right
    "pairs",  # a true caption against a false one of the same clip
    "entailment",  # a hypothesis follows from the clip, may follow, or contradicts it
    "frames",  # which class sounds in which second
    "captioning",  # the model writes
]
LABELLED: Final = ("zero-shot-single-label", "zero-shot-multi-label", "frames")
MANY: Final = ("zero-shot-multi-label", "frames")
CAPTIONED: Final = ("retrieval", "paraphrase", "captioning", "pairs")
RETRIEVAL: Final = (
    *(f"R@{k}" for k in (1, 5, 10)),
    *(f"recall@{k}" for k in (1, 5, 10)),
    "mAP@10",
    "mAP@10/all",
    "MRR",
    "median-rank",
)
METRICS_OF: Final[dict[str, tuple[str, ...]]] = {
    "zero-shot-single-label": ("accuracy", "macro-f1"),
    "zero-shot-multi-label": ("mAP", "AUROC", "micro-F1", "class-F1"),
    "frames": ("mAP", "AUROC", "micro-F1", "class-F1", *SETTINGS),
    "pairs": ("pair-accuracy",),
    "entailment": ("macro-f1", "accuracy"),
    "captioning": CAPTION_METRICS,
    "retrieval": RETRIEVAL,
    "paraphrase": RETRIEVAL,
}
SAID: Final[dict[str, str]] = {  # the protocol of a kind, where a card says no more
    "zero-shot-single-label": "Each clip gets the class whose prompt has the highest cosine.",
    "zero-shot-multi-label": "Each class ranks all clips by cosine with its prompt.",
    "retrieval": "All captions and clips of the task are ranked against each other.",
}


class Known(Config):
    """A score that someone published."""

    model: str
    value: float
    metric: str = ""  # empty: the card's own
    method: str = "zero-shot"  # or "linear probe", "fine-tuned", "supervised", "trained", "random"
    source: str  # which table of which paper, and how sure
    note: str = ""


class Table(Config):
    """Sentences that lie apart from the data set: a csv in the data set's folder or a folder of its own."""

    folder: str  # the name under --data
    files: dict[str, str]  # split -> path of the csv
    audio: str  # column with the clip's file name (compared without folder and suffix)
    get: str  # where the csv is published


class TaskCard(CorpusTask):
    """One task. The fields of every card (name, kind, dataset, metric, columns, by, prompt, classes, captions ...)
    stand in `data.libre.tasks`; these are the further ones.

    `columns.split` names the splits that are scored. `classes` maps the words for a prompt to values of `by`; where
    it is empty the classes are those of the data set's card, or those found in the data. For entailment it maps a
    class to the columns of the table that hold its hypotheses, the class with the lowest expected cosine first.
    """

    version: str = "1"
    kind: Kind  # type: ignore[assignment]
    license: str = ""  # empty: that of the data set
    suites: tuple[str, ...] = ()
    train: tuple[str, ...] = ()  # splits that probes are trained on; empty: folds, if the data set has them
    separator: str = ""  # splits a label's text into several
    classes_from: Literal["card", "data"] = "card"
    phrases: dict[str, str] = Field(default_factory=dict)  # class -> the words for it in a prompt
    prompts: tuple[str, ...] = ()  # further templates, for prompt sensitivity and the ensemble
    direction: Literal["text-to-audio", "audio-to-text"] = "text-to-audio"
    equal_captions: bool = True  # clips that carry the query's very words are right, too
    metrics: tuple[str, ...] = ()
    definition: str = ""  # the protocol in words: what is a query, what is right, what is averaged and divided
    table: Table | None = None
    segment_s: float = 1.0  # of frame-wise detection
    pair_kinds: tuple[str, ...] = ()  # of the negatives in the manifest's meta; empty: all
    known: tuple[Known, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> TaskCard:
        allowed = METRICS_OF[self.kind]
        for name in (self.metric, *self.metrics, *(k.metric for k in self.known if k.metric)):
            if name not in allowed:
                raise ValueError(f'metric "{name}" is none of a {self.kind} task; {near_miss(name, allowed)}')
        if self.kind in LABELLED and any("{}" not in template for template in (self.prompt, *self.prompts)):
            raise ValueError("a prompt needs {} where the label goes")
        if self.kind == "entailment" and (self.table is None or not self.classes):
            raise ValueError("an entailment task needs a table and classes")
        return self

    @property
    def split(self) -> tuple[str, ...]:
        """The splits that are scored; without a word in the card, all that are there."""
        return tuple(self.columns.get("split", SPLITS))

    @property
    def protocol(self) -> str:
        """How the task is scored, in words."""
        return self.definition or SAID.get(self.kind, "")

    @property
    def in_suites(self) -> tuple[str, ...]:
        """The suites of the task; those on the free corpus belong to "libre" by their data set."""
        own = ("libre",) if self.dataset == "libre" else ()
        return tuple(dict.fromkeys((*self.suites, *own)))

    @property
    def all_metrics(self) -> tuple[str, ...]:
        """The card's own metric first, then those named besides; for retrieval all that exist."""
        others = self.metrics or METRICS_OF[self.kind]
        if self.kind in MANY and not self.metrics and "F1" not in self.metric:
            others = ("mAP", "AUROC")
        return tuple(dict.fromkeys((self.metric, *others)))

    def words(self, label: str) -> str:
        """What a prompt says for a class: its phrase, else its name with spaces for underscores."""
        return self.phrases.get(label, label.replace("_", " "))


def task(name: str | Path) -> TaskCard:
    """A card of the catalog by exact name, or any card by its path (a .toml file)."""
    if str(name).endswith(".toml"):
        return TaskCard.read_card(Path(name))
    if name not in names():
        raise ConfigError(f'unknown task "{name}"; {near_miss(str(name), names())}')
    return _catalog_card(str(name))


def names() -> tuple[str, ...]:
    """Names of all task cards, sorted."""
    return tuple(sorted(p.name.removesuffix(".toml") for p in _catalog().iterdir() if p.name.endswith(".toml")))


def suites() -> dict[str, tuple[str, ...]]:
    """Suite -> its tasks; "all" holds every task."""
    found: dict[str, list[str]] = {"all": list(names())}
    for name in names():
        for suite in task(name).in_suites:
            found.setdefault(suite, []).append(name)
    return {suite: tuple(tasks) for suite, tasks in sorted(found.items())}


def choose(suite_names: Iterable[str], task_names: Iterable[str]) -> list[TaskCard]:
    """The tasks of the suites and those named, each once."""
    known = suites()
    chosen: list[str] = []
    for suite in suite_names:
        if suite not in known:
            raise ConfigError(f'unknown suite "{suite}"; {near_miss(suite, known)}')
        chosen += known[suite]
    return [task(name) for name in dict.fromkeys([*chosen, *task_names])]


def definition(metric: str) -> str:
    """What a metric is, in words."""
    return " ".join((METRICS[metric].__doc__ or "").split())


@cache
def _catalog_card(name: str) -> TaskCard:
    return TaskCard.read_card(Path(str(_catalog() / f"{name}.toml")))


def _catalog() -> Any:
    return resources.files("aural") / "catalog" / "tasks"
