"""Target and weight matrices for contrastive losses: pure functions, and producers that recipes name.

`targets` (B, B) say how well caption j fits clip i; `soft_targets` divides rows and columns by their sums. `weights`
(B, B) say how much caption j counts in the denominator of clip i; `soft_targets` with `negatives: weighted` uses them.

| function | name in a recipe | gives | from |
| --- | --- | --- | --- |
| `label_targets` | `labels` | targets | one label per item |
| `overlap_targets` | `label_sets` | targets | several labels per item |
| `tree_similarity`, `tree_targets` | `tree` | targets | a hierarchy of labels |
| `frozen_targets` | `frozen` | targets | embeddings of a frozen model |
| `propensity_weights` | `propensity` | weights | how often each caption is drawn |
| `false_negative_weights` | `false_negatives` | weights | embeddings of a frozen model |

A recipe names a producer under an objective's `targets`; `build_targets` constructs it.

Legend: B rows, M columns, C labels, E dimensions.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize

from aural.core.config import Config
from aural.core.errors import ConfigError
from aural.core.registry import Registry, build


def label_targets(row_label: Tensor, column_label: Tensor | None = None) -> Tensor:
    """Return (B, M): 1 where row and column have the same label, else 0.

    Formula: q_ij = [y_i = y_j]. `soft_targets` then spreads each row evenly over the items of its label.

    Source: Khosla et al. 2020, SupCon (arXiv 2004.11362), equation 2.

    >>> label_targets(torch.tensor([3, 3, 5]))
    tensor([[1., 1., 0.],
            [1., 1., 0.],
            [0., 0., 1.]])
    """
    column_label = row_label if column_label is None else column_label
    return (row_label[:, None] == column_label[None, :]).float()


def overlap_targets(row_labels: Tensor, column_labels: Tensor | None = None) -> Tensor:
    """Return (B, M): the Jaccard index of two sets of labels, from multi-hot rows (B, C) and (M, C).

    Formula: q_ij = |Y_i and Y_j| / |Y_i or Y_j|, and 0 if both sets are empty.

    Source: Jaccard 1912 (doi 10.1111/j.1469-8137.1912.tb05611.x).

    >>> overlap_targets(torch.tensor([[1, 1, 0], [0, 1, 0]]))
    tensor([[1.0000, 0.5000],
            [0.5000, 1.0000]])
    """
    rows = row_labels.float()
    columns = rows if column_labels is None else column_labels.float()
    shared = rows @ columns.T
    union = rows.sum(1)[:, None] + columns.sum(1)[None, :] - shared
    return shared / union.clamp(min=1)


def tree_similarity(paths: Sequence[Sequence[str]]) -> Tensor:
    """Return the similarity (C, C) of labels in a hierarchy, from the path of each label below the root.

    Formula: s_ab = 2 d(lca(a, b)) / (d(a) + d(b)), with d the depth below the root (depth 0) and lca the deepest node
    that both paths share. 1 on the diagonal, 0 for labels that share only the root. With paths family -> class it is
    1/2 for two classes of one family.

    Source: Wu and Palmer 1994 (doi 10.3115/981732.981751). The idea of positives graded by a tree: He et al. 2022,
    SPACE-2 (arXiv 2209.06638).

    >>> tree_similarity([["animal", "dog"], ["animal", "cat"], ["engine", "car"]])
    tensor([[1.0000, 0.5000, 0.0000],
            [0.5000, 1.0000, 0.0000],
            [0.0000, 0.0000, 1.0000]])

    Raises:
        ConfigError: a path is empty.
    """
    if any(len(path) == 0 for path in paths):
        raise ConfigError("tree_similarity: every label needs a path of at least one node below the root")
    return torch.tensor([[2 * _shared(a, b) / (len(a) + len(b)) for b in paths] for a in paths])


def _shared(a: Sequence[str], b: Sequence[str]) -> int:
    """Return the number of leading nodes that two paths share."""
    for depth, (left, right) in enumerate(zip(a, b, strict=False)):
        if left != right:
            return depth
    return min(len(a), len(b))


def tree_paths(parents: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Return the path below the root of every label, from a mapping label -> parent; labels without parent are tops.

    >>> tree_paths({"dog": "animal", "poodle": "dog"})["poodle"]
    ('animal', 'dog', 'poodle')

    Raises:
        ConfigError: the mapping has a circle.
    """

    def path(label: str, below: tuple[str, ...] = ()) -> tuple[str, ...]:
        if label in below:
            raise ConfigError(f'the hierarchy has a circle through "{label}"')
        below = (label, *below)
        return path(parents[label], below) if label in parents else below

    return {label: path(label) for label in sorted({*parents, *parents.values()})}


def tree_targets(row_label: Tensor, similarity: Tensor, column_label: Tensor | None = None) -> Tensor:
    """Return (B, M): the similarity of the two labels, from integer labels and `tree_similarity` (C, C).

    Formula: q_ij = s[y_i, y_j].

    >>> similarity = tree_similarity([["animal", "dog"], ["animal", "cat"]])
    >>> tree_targets(torch.tensor([0, 1, 1]), similarity)[0]
    tensor([1.0000, 0.5000, 0.5000])
    """
    column_label = row_label if column_label is None else column_label
    return similarity.to(row_label.device)[row_label[:, None], column_label[None, :]]


def frozen_targets(frozen_emb: Tensor) -> Tensor:
    """Return (B, B): how similar a frozen model finds two items, between 0 and 1.

    Formula: q_ij = (1 + cos(e_i, e_j)) / 2 with e the embeddings (B, E) of the frozen model, any length. No gradient.

    Source: Srinivasa et al. 2023, CWCL (arXiv 2309.14580), section 3: continuous weights from the similarities of the
    frozen tower, for transfer to the other tower.

    >>> frozen_targets(torch.tensor([[2.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]))
    tensor([[1.0000, 0.5000, 0.0000],
            [0.5000, 1.0000, 0.5000],
            [0.0000, 0.5000, 1.0000]])
    """
    unit = normalize(frozen_emb.detach().float(), dim=1)
    return ((1 + unit @ unit.T) / 2).clamp(0, 1)


def propensity_weights(column_count: Tensor, rows: int | None = None, power: float = 1.0) -> Tensor:
    """Return (B, M): weights in the denominator that undo the sampling frequency of columns.

    Formula: w_ij = (mean of count / count_j)^power. With power 1, softmax(l + log w) estimates the softmax over
    distinct items when item j is drawn count_j times as often as it should be; power 0 gives 1 everywhere.

    Args:
        column_count: (M,) positive, how often the item of a column occurs in the training data.
        rows: B; M if not given.
        power: strength of the correction.

    Source: Bengio and Senecal 2008 (doi 10.1109/TNN.2007.912312), importance weights for sampled softmax; for in-batch
    negatives Yi et al. 2019 (doi 10.1145/3298689.3346996), equation 5.

    >>> propensity_weights(torch.tensor([1.0, 3.0]), rows=1)
    tensor([[2.0000, 0.6667]])

    Raises:
        ConfigError: a count is not positive.
    """
    if bool((column_count <= 0).any()):
        raise ConfigError("propensity_weights: every count must be positive")
    count = column_count.float()
    return (count.mean() / count).pow(power).expand(rows or len(count), -1)


def false_negative_weights(frozen_emb: Tensor, threshold: float = 0.9) -> Tensor:
    """Return (B, B): 0 for pairs that a frozen model finds too similar to be negatives, else 1; 1 on the diagonal.

    Formula: w_ij = [i = j or cos(e_i, e_j) < threshold], with e the embeddings (B, E) of the frozen model.

    Source: Zhou et al. 2022, DCLR (arXiv 2205.00656), section 3.2, equation 4.

    >>> false_negative_weights(torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]]))
    tensor([[1., 0., 1.],
            [0., 1., 1.],
            [1., 1., 1.]])
    """
    unit = normalize(frozen_emb.detach().float(), dim=1)
    keep = unit @ unit.T < threshold
    return (keep | torch.eye(len(unit), dtype=torch.bool, device=unit.device)).float()


class TargetProducer(ABC):
    """A producer of `targets` or `weights` (B, B) from tensors of the batch, without gradient.

    `needs` names its inputs, which a recipe may rename; `gives` names its output. Subclasses set `config_type` and take
    one config in the constructor.
    """

    config_type: ClassVar[type[Config]] = Config
    needs: ClassVar[frozenset[str]]
    gives: ClassVar[Literal["targets", "weights"]] = "targets"

    config: Any
    """An instance of `config_type`."""

    def __init__(self, config: Config | None = None) -> None:
        self.config = config if config is not None else self.config_type()

    @abstractmethod
    def compute(self, **tensors: Tensor) -> Tensor:
        """Return the matrix, from exactly the tensors named in `needs`."""

    @torch.no_grad()
    def __call__(self, given: Mapping[str, Tensor]) -> Tensor:
        missing = sorted(self.needs - set(given))
        if missing:
            raise ConfigError(f"{type(self).__name__} needs {' and '.join(missing)}, which is not given")
        return self.compute(**{name: given[name] for name in self.needs})


class WeightProducer(TargetProducer):
    """A producer of `weights`."""

    gives = "weights"


TARGETS: Registry[type[TargetProducer]] = Registry(
    "target producer", {"gives": ("targets", "weights"), "takes": ("labels", "label sets", "embeddings", "counts")}
)


def build_targets(name: str, values: Mapping[str, Any] | None = None) -> TargetProducer:
    """Construct the target producer of that exact name from the plain values of its config.

    >>> build_targets("labels")({"label": torch.tensor([1, 2])})
    tensor([[1., 0.],
            [0., 1.]])
    """
    producer: TargetProducer = build(TARGETS, name, values)
    return producer


@TARGETS.register("labels", gives="targets", takes="labels")
class LabelTargets(TargetProducer):
    """`label_targets` of `label` (B,), integers."""

    needs = frozenset({"label"})

    def compute(self, **tensors: Tensor) -> Tensor:
        return label_targets(tensors["label"])


@TARGETS.register("label_sets", gives="targets", takes="label sets")
class OverlapTargets(TargetProducer):
    """`overlap_targets` of `label_sets` (B, C), multi-hot."""

    needs = frozenset({"label_sets"})

    def compute(self, **tensors: Tensor) -> Tensor:
        return overlap_targets(tensors["label_sets"])


@TARGETS.register("frozen", gives="targets", takes="embeddings")
class FrozenTargets(TargetProducer):
    """`frozen_targets` of `frozen_emb` (B, E). With a locked text tower, rename the input to `text_emb`."""

    needs = frozenset({"frozen_emb"})

    def compute(self, **tensors: Tensor) -> Tensor:
        return frozen_targets(tensors["frozen_emb"])


class TreeConfig(Config):
    """The hierarchy of the labels."""

    paths: tuple[tuple[str, ...], ...]
    """Path below the root of each label, in the order of the label numbers: [[animal, dog], [animal, cat]]."""


@TARGETS.register("tree", gives="targets", takes="labels")
class TreeTargets(TargetProducer):
    """`tree_targets` of `label` (B,), integers below the number of paths."""

    config_type = TreeConfig
    needs = frozenset({"label"})

    def __init__(self, config: TreeConfig) -> None:
        super().__init__(config)
        self.similarity = tree_similarity(config.paths)

    def compute(self, **tensors: Tensor) -> Tensor:
        return tree_targets(tensors["label"], self.similarity)


class PropensityConfig(Config):
    """Strength of the correction."""

    power: float = Field(default=1.0, ge=0)


@TARGETS.register("propensity", gives="weights", takes="counts")
class PropensityWeights(WeightProducer):
    """`propensity_weights` of `count` (B,): how often each row's caption occurs in the training data."""

    config_type = PropensityConfig
    needs = frozenset({"count"})

    def compute(self, **tensors: Tensor) -> Tensor:
        return propensity_weights(tensors["count"], power=self.config.power)


class FalseNegativesConfig(Config):
    """Options of false negatives: when a negative counts as false."""

    threshold: float = Field(default=0.9, ge=-1, le=1)
    """Cosine of the frozen embeddings from which a pair is no negative."""


@TARGETS.register("false_negatives", gives="weights", takes="embeddings")
class FalseNegativeWeights(WeightProducer):
    """`false_negative_weights` of `frozen_emb` (B, E)."""

    config_type = FalseNegativesConfig
    needs = frozenset({"frozen_emb"})

    def compute(self, **tensors: Tensor) -> Tensor:
        return false_negative_weights(tensors["frozen_emb"], self.config.threshold)
