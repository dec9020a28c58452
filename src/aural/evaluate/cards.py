"""Task cards: what is scored on which clips by which metric, and which scores have been published.

A card is data (`catalog/tasks/NAME.toml`). Its `kind` (`kinds.KINDS`) chooses the runner; no code is written for one
task. The cards of the free corpus and those of public benchmarks have the same format.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

from pydantic import Field, model_validator

from aural.core.catalog import Catalog
from aural.core.config import Config
from aural.core.errors import ConfigError, near_miss
from aural.data.manifest import SPLITS
from aural.evaluate.dimensions import ASPECTS, Dimension
from aural.evaluate.kinds import COMMON_FIELDS, KINDS
from aural.evaluate.metrics import METRICS


class PublishedScore(Config):
    """A score that someone published for a task."""

    model: str
    value: float
    metric: str = ""
    """Empty: the card's own metric."""
    method: str = "zero-shot"
    """Or "linear probe", "fine-tuned", "supervised", "trained", "random"."""
    source: str
    """Which table of which paper, and how certain the reading is."""
    note: str = ""


class Table(Config):
    """A CSV file of sentences that is stored outside the data set."""

    folder: str
    """Name of its folder below --data."""
    files: dict[str, str]
    """Split -> path of the CSV file."""
    audio: str
    """Column with the clip's file name; folder and suffix are ignored when names are compared."""
    get: str
    """Where the table is published."""


class TaskCard(Config):
    """One evaluation task.

    `columns` filter the manifest (column -> accepted values); `columns.split` names the splits that are scored. For
    tasks with labels, `by` names the column that holds the truth and `classes` maps the words for a prompt to values of
    `by`; without `classes` the classes are those of the data set's card, or those that occur in the data. For
    entailment, `classes` maps a class to the table's columns with its hypotheses, from the class with the lowest
    expected cosine to the highest.
    """

    renamed_keys: ClassVar = {"licence": "license", "known": "published"}

    name: str
    version: str = "1"
    """A correction is a new version."""
    title: str
    kind: str
    """Name in `kinds.KINDS`."""
    dimension: Dimension
    """Ability that the task measures, as in `dimensions.ASPECTS`."""
    aspect: str
    """Aspect of that dimension."""
    dataset: str
    metric: str
    metrics: tuple[str, ...] = ()
    """Further metrics to report; empty: all that the kind reports by default."""
    license: str = ""
    """Empty: the license of the data set."""
    citation: str
    columns: dict[str, list[str]] = Field(default_factory=dict)
    suites: tuple[str, ...] = ()
    train: tuple[str, ...] = ()
    """Splits that probes are trained on; empty: cross-validation folds."""
    definition: str = ""
    """The protocol in words: what is a query, what is correct, what is averaged and divided."""
    by: str = "class_name"
    """A column, "meta.KEY", or "folder" or "file" of the clip's path below its source."""
    separator: str = ""
    """Splits a label's text into several labels."""
    classes: dict[str, list[str]] = Field(default_factory=dict)
    classes_from: Literal["card", "data"] = "card"
    prompt: str = "This is a sound of {}."
    prompts: tuple[str, ...] = ()
    """Further templates, for prompt sensitivity and the ensemble."""
    phrases: dict[str, str] = Field(default_factory=dict)
    """Class -> its words in a prompt."""
    captions: list[str] = Field(default_factory=list)
    """Columns that hold a clip's captions; empty: the column captions."""
    direction: Literal["text-to-audio", "audio-to-text"] = "text-to-audio"
    equal_captions: bool = True
    """Whether clips with the same caption as the query count as correct."""
    table: Table | None = None
    segment_s: float = 1.0
    """Segment length of frame-wise detection in seconds."""
    pair_kinds: tuple[str, ...] = ()
    """Kinds of false captions in the manifest's meta; empty: all."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Further options of the kind, checked by its `options` type."""
    clips: int = 0
    """Measured number of clips of a task on the free corpus."""
    chance: float = 0.0
    """Measured chance level of such a task."""
    notes: str = ""
    published: tuple[PublishedScore, ...] = ()

    @model_validator(mode="after")
    def _check(self) -> TaskCard:
        problems = self.further_problems({name: getattr(self, name) for name in self.model_fields_set})
        if problems:
            raise ValueError("; ".join(problems))
        self.kind_options()
        return self

    @classmethod
    def further_problems(cls, values: Mapping[str, Any]) -> list[str]:
        """Return what does not fit the kind of the task or the dimension."""
        return [*_kind_problems(values), *_dimension_problems(values)]

    def kind_options(self) -> Config | None:
        """Return `options` as the kind's options type, or None if the kind has no options."""
        options = KINDS[self.kind].options
        if options is not None:
            return options.parse(self.options, "options")
        if self.options:
            raise ValueError(f"a {self.kind} task has no options")
        return None

    @property
    def split(self) -> tuple[str, ...]:
        """The splits that are scored; all splits if the card names none."""
        return tuple(self.columns.get("split", SPLITS))

    @property
    def protocol(self) -> str:
        """Return how the task is scored, in words."""
        return self.definition or KINDS[self.kind].protocol

    @property
    def in_suites(self) -> tuple[str, ...]:
        """The suites of the task; tasks on the free corpus belong to "libre" by their data set."""
        by_data_set = ("libre",) if self.dataset == "libre" else ()
        return tuple(dict.fromkeys((*self.suites, *by_data_set)))

    @property
    def all_metrics(self) -> tuple[str, ...]:
        """The metrics to report: the card's own first, then `metrics` or the kind's defaults."""
        kind = KINDS[self.kind]
        others = self.metrics or kind.metrics
        if kind.truth == "labels" and not self.metrics and "F1" not in self.metric:
            others = ("mAP", "AUROC")
        return tuple(dict.fromkeys((self.metric, *others)))

    def words(self, label: str) -> str:
        """Return a class's words in a prompt: its phrase, or its name with spaces for underscores."""
        return self.phrases.get(label, label.replace("_", " "))


def _kind_problems(values: Mapping[str, Any]) -> list[str]:
    name = values.get("kind")
    if not isinstance(name, str):
        return []
    if name not in KINDS:
        return [f'unknown task kind "{name}"; {near_miss(name, list(KINDS))}']
    kind = KINDS[name]
    allowed = COMMON_FIELDS | kind.fields
    unfit = sorted((values.keys() & TaskCard.model_fields.keys()) - allowed)
    problems = [f'a {name} task has no key "{key}"; it may set {", ".join(sorted(kind.fields))}' for key in unfit]
    metrics = [values.get("metric"), *_listed(values.get("metrics"))]
    metrics += [_of(score, "metric") or None for score in _listed(values.get("published"))]
    for metric in metrics:
        if isinstance(metric, str) and metric not in kind.metrics:
            problems.append(f'metric "{metric}" is none of a {name} task; {near_miss(metric, kind.metrics)}')
    prompts = [values.get("prompt"), *_listed(values.get("prompts"))]
    if kind.labelled and any("{}" not in prompt for prompt in prompts if isinstance(prompt, str)):
        problems.append("a prompt needs {} where the label goes")
    if name == "entailment" and not (values.get("table") and values.get("classes")):
        problems.append("an entailment task needs a table and classes")
    return problems


def _dimension_problems(values: Mapping[str, Any]) -> list[str]:
    dimension, aspect = values.get("dimension"), values.get("aspect")
    aspects: Mapping[str, Any] = ASPECTS
    if not isinstance(dimension, str) or not isinstance(aspect, str) or aspect in aspects.get(dimension, [aspect]):
        return []
    return [f'aspect "{aspect}" is none of dimension {dimension}; {near_miss(aspect, aspects[dimension])}']


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []


def _of(score: Any, key: str) -> Any:
    return score.get(key) if isinstance(score, Mapping) else getattr(score, key, None)


TASKS: Final = Catalog("task", "tasks", TaskCard)
"""All task cards: those of the package and of the user's catalog folders."""


def task(name: str | Path) -> TaskCard:
    """Return a card by exact name, or read any card by its path (a .toml file)."""
    return TASKS.card(name)


def names() -> tuple[str, ...]:
    """Return the names of all task cards, sorted."""
    return tuple(TASKS)


def corpus_cards() -> list[TaskCard]:
    """Return the cards of tasks on the free corpus, in order of name."""
    return [card for card in map(task, names()) if card.dataset == "libre"]


def suites() -> dict[str, tuple[str, ...]]:
    """Map each suite to its tasks; the suite "all" holds every task."""
    members: dict[str, list[str]] = {"all": list(names())}
    for name in names():
        for suite in task(name).in_suites:
            members.setdefault(suite, []).append(name)
    return {suite: tuple(tasks) for suite, tasks in sorted(members.items())}


def choose(suite_names: Iterable[str], task_names: Iterable[str]) -> list[TaskCard]:
    """Return the cards of the given suites and the given tasks, each once."""
    members = suites()
    chosen: list[str] = []
    for suite in suite_names:
        if suite not in members:
            raise ConfigError(f'unknown suite "{suite}"; {near_miss(suite, members)}')
        chosen += members[suite]
    return [task(name) for name in dict.fromkeys([*chosen, *task_names])]


def definition(metric: str) -> str:
    """Return the definition of a metric in words."""
    return " ".join((METRICS[metric].__doc__ or "").split())
