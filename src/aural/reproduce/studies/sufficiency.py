"""Approximate sufficient statistics: the excess risk of a downstream task follows the excess contrastive loss.

Claim: an encoder whose contrastive loss is close to the best possible one is close to a sufficient statistic, so a
simple predictor on it has a small excess risk downstream, and the risk grows with the error of the augmentation. Both
worked examples of the paper, with two f-divergences. Paper: Lin and Mei 2025 (arXiv 2503.17538). Arms and
control were fixed before the first run. Checks and sizes were fixed after runs with seeds 100 and 101, before the
seeds of the card ran.

Examples (synthetic). Two views of an item are drawn independently given the item; encoders are trained on pairs of
views with `divergence_bound` and never see downstream labels.

    linear  Linear regression. A view is x = Q (z, n): a signal z of k dimensions that both views share up to noise
            (correlation rho per dimension), nuisance n of d - k dimensions that is drawn again, and a rotation Q.
            Encoder: a matrix (k, d); log ratio: learned multiples of <f, f'> and |f|^2 + |f'|^2, which can express the
            true ratio. Downstream: y = <b, z*> + noise with z* the shared cause; excess risk = mean squared error of
            the best linear predictor on f minus that on z, divided by the variance of <b, z*>.
    topic   Topic classification. An item has one of K topics, a view is the word counts of m words drawn from it.
            Encoder: softmax of a linear map of the counts; ratio: K <f, f'>, which can express the true ratio.
            Downstream: the topic from f; excess risk = log loss of logistic regression on log f minus Bayes' log loss.

Excess contrastive loss: the bound at the true log ratio minus the bound of the encoder, on the same fresh pairs.

Arms:
    kl, chi2     trained on pairs of views with that divergence
    unpaired     control: as kl, with the second views permuted, so that pairs share nothing
    shifted      as kl, with a larger augmentation error: a share of the second views comes from another item
    permuted     control for the rank correlation: as kl, with the risks of the checkpoints permuted

Tasks:
    linear-risk, topic-risk   excess risk at the end of training, one item per encoder (initial weights)
    linear-rank, topic-rank   one item per checkpoint of all encoders: product of the standardized ranks of excess loss
                              and excess risk. The mean is Spearman's correlation.
    linear-loss, topic-loss   excess contrastive loss at the end of training, one item per encoder
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from aural.objectives.f_divergence import Divergence, divergence_bound
from aural.reproduce.study import Scores, StudyContext

Array: TypeAlias = NDArray[np.float64]
Views: TypeAlias = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Sizes:
    """Sizes of both examples and of the training."""

    signal: int = 3
    """k of "linear"."""
    dims: int = 16
    """d of "linear"."""
    rho: float = 0.5
    topics: int = 4
    vocabulary: int = 40
    words: int = 8
    """m of "topic": words per view."""
    batch: int = 128
    steps: int = 200
    encoders: int = 4
    """Initial weights per arm."""
    checkpoints: tuple[int, ...] = (0, 6, 12, 25, 50, 100, 200)
    """Steps at which loss and risk are measured; the last is `steps`."""
    held_out: int = 2000
    """Items on which the risk is measured; the loss is measured on all pairs of a quarter of them."""
    shift: float = 0.3
    """Share of second views from another item in the arm "shifted"."""


SMOKE = Sizes(batch=32, steps=4, encoders=2, checkpoints=(0, 2, 4), held_out=200)


class Example(Protocol):
    """A world with two views per item, an encoder with a log ratio, and a downstream task."""

    def views(self, items: int, generator: torch.Generator) -> Views:
        """Return two views of each item, each (N, d)."""
        ...

    def true_log_ratio(self, left: Tensor, right: Tensor) -> Tensor:
        """Return the true log ratio (N, N) of every left view to every right view."""
        ...

    def critic(self) -> Critic:
        """Return an encoder with random weights (of torch's generator)."""
        ...

    def excess_risk(self, critic: Critic, items: int, generator: torch.Generator) -> float:
        """Return the excess risk of the downstream task on the encoder's output for fresh items."""
        ...


class Critic(nn.Module):
    """An encoder f of views and the log ratio that it gives to pairs."""

    def encode(self, views: Tensor) -> Tensor:
        """Return (N, k)."""
        raise NotImplementedError

    def log_ratio(self, left: Tensor, right: Tensor) -> Tensor:
        """Return (N, N) from the encoded left and right views."""
        raise NotImplementedError


class LinearCritic(Critic):
    """f = W x with log ratio a <f, f'> - b (|f|^2 + |f'|^2) / 2 + c."""

    def __init__(self, dims: int, signal: int) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.randn(signal, dims) / math.sqrt(dims))
        self.coefficients = nn.Parameter(torch.tensor([0.1, 0.1, 0.0]))

    def encode(self, views: Tensor) -> Tensor:
        return views @ self.matrix.T

    def log_ratio(self, left: Tensor, right: Tensor) -> Tensor:
        product, square, constant = self.coefficients
        squares = left.square().sum(1)[:, None] + right.square().sum(1)[None, :]
        return product * left @ right.T - square * squares / 2 + constant


class LinearExample:
    """Linear regression with nuisance; see the top of this module."""

    def __init__(self, sizes: Sizes, rng: np.random.Generator) -> None:
        self.sizes = sizes
        rotation = np.linalg.qr(rng.standard_normal((sizes.dims, sizes.dims)))[0]
        self.rotation = torch.from_numpy(rotation).float()
        self.target = torch.from_numpy(rng.standard_normal(sizes.signal)).float()

    def views(self, items: int, generator: torch.Generator) -> Views:
        cause = torch.randn(items, self.sizes.signal, generator=generator)
        left, right = (self._view(cause, generator) for _ in range(2))
        return left, right

    def _view(self, cause: Tensor, generator: torch.Generator) -> Tensor:
        """Return (N, d) with variance 1 in each dimension; two views of one cause have correlation rho per signal."""
        rho, sizes = self.sizes.rho, self.sizes
        noise = torch.randn(cause.shape, generator=generator)
        signal = math.sqrt(rho) * cause + math.sqrt(1 - rho) * noise
        nuisance = torch.randn(len(cause), sizes.dims - sizes.signal, generator=generator)
        return torch.cat([signal, nuisance], 1) @ self.rotation.T

    def signal_of(self, views: Tensor) -> Tensor:
        """Return the signal (N, k) of views: the sufficient statistic."""
        return (views @ self.rotation)[:, : self.sizes.signal]

    def true_log_ratio(self, left: Tensor, right: Tensor) -> Tensor:
        rho = self.sizes.rho
        left, right = self.signal_of(left), self.signal_of(right)
        squares = left.square().sum(1)[:, None] + right.square().sum(1)[None, :]
        scaled = rho / (1 - rho**2) * left @ right.T - rho**2 / (2 * (1 - rho**2)) * squares
        return scaled - self.sizes.signal * math.log(1 - rho**2) / 2

    def critic(self) -> Critic:
        return LinearCritic(self.sizes.dims, self.sizes.signal)

    def excess_risk(self, critic: Critic, items: int, generator: torch.Generator) -> float:
        cause = torch.randn(items, self.sizes.signal, generator=generator)
        views = self._view(cause, generator)
        wanted = cause @ self.target
        with torch.no_grad():
            risks = [_residual(f, wanted) for f in (critic.encode(views), self.signal_of(views))]
        return (risks[0] - risks[1]) / float(wanted.var())


def _residual(features: Tensor, wanted: Tensor) -> float:
    """Return the mean squared error of the least-squares fit with a constant."""
    columns = torch.cat([features, torch.ones(len(features), 1)], 1).double()
    solution = torch.linalg.lstsq(columns, wanted.double()[:, None], driver="gelsd").solution
    return float((columns @ solution - wanted.double()[:, None]).square().mean())


class TopicCritic(Critic):
    """f = softmax(W counts + b) over K topics, with log ratio log(K <f, f'>)."""

    def __init__(self, vocabulary: int, topics: int) -> None:
        super().__init__()
        self.linear = nn.Linear(vocabulary, topics)

    def encode(self, views: Tensor) -> Tensor:
        return self.linear(views).softmax(1)  # type: ignore[no-any-return]

    def log_ratio(self, left: Tensor, right: Tensor) -> Tensor:
        return (left.shape[1] * left @ right.T).clamp_min(1e-6).log()


class TopicExample:
    """Topic classification from word counts; see the top of this module."""

    def __init__(self, sizes: Sizes, rng: np.random.Generator) -> None:
        self.sizes = sizes
        topics = rng.dirichlet(np.full(sizes.vocabulary, 0.5), size=sizes.topics)
        self.topics = torch.from_numpy(0.99 * topics + 0.01 / sizes.vocabulary).float()  # (K, V)

    def views(self, items: int, generator: torch.Generator) -> Views:
        topic = torch.randint(self.sizes.topics, (items,), generator=generator)
        left, right = (self._view(topic, generator) for _ in range(2))
        return left, right

    def _view(self, topic: Tensor, generator: torch.Generator) -> Tensor:
        words = torch.multinomial(self.topics[topic], self.sizes.words, replacement=True, generator=generator)
        return torch.zeros(len(topic), self.sizes.vocabulary).scatter_add_(1, words, torch.ones(words.shape))

    def posterior(self, views: Tensor) -> Tensor:
        """Return P(topic | view) (N, K): the sufficient statistic."""
        return (views @ self.topics.log().T).softmax(1)

    def true_log_ratio(self, left: Tensor, right: Tensor) -> Tensor:
        return (self.sizes.topics * self.posterior(left) @ self.posterior(right).T).clamp_min(1e-6).log()

    def critic(self) -> Critic:
        return TopicCritic(self.sizes.vocabulary, self.sizes.topics)

    def excess_risk(self, critic: Critic, items: int, generator: torch.Generator) -> float:
        topic = torch.randint(self.sizes.topics, (items,), generator=generator)
        views = self._view(topic, generator)
        with torch.no_grad():
            features = critic.encode(views).clamp_min(1e-6).log()
        bayes = -self.posterior(views).log()[torch.arange(items), topic].mean()
        return _log_loss(features, topic, self.sizes.topics) - float(bayes)


def _log_loss(features: Tensor, label: Tensor, classes: int) -> float:
    """Return the log loss of multinomial logistic regression, fitted on one half of the items, on the other half."""
    half = len(features) // 2
    center, scale = features[:half].mean(0), features[:half].std(0) + 1e-3
    features = (features - center) / scale
    weight = torch.zeros(features.shape[1], classes, requires_grad=True)
    bias = torch.zeros(classes, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=50)

    def loss(part: slice, penalty: float = 0.0) -> Tensor:
        fit = nn.functional.cross_entropy(features[part] @ weight + bias, label[part])
        return fit + penalty * weight.square().sum()

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss(slice(0, half), 1e-3)
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    return float(loss(slice(half, None)).detach())


EXAMPLES: dict[str, Callable[[Sizes, np.random.Generator], Example]] = {"linear": LinearExample, "topic": TopicExample}
ARMS: dict[str, tuple[Divergence, str]] = {
    "kl": ("kl", ""),
    "chi2": ("chi2", ""),
    "unpaired": ("kl", "unpaired"),
    "shifted": ("kl", "shifted"),
}


def run(context: StudyContext, **options: Any) -> Scores:
    """Return arm -> task -> scores; `options` are fields of `Sizes`."""
    sizes = SMOKE if context.smoke else Sizes(**options)
    scores: dict[str, dict[str, Array]] = {arm: {} for arm in (*ARMS, "permuted")}
    for number, (name, make) in enumerate(EXAMPLES.items()):
        rng = np.random.default_rng([context.seed, number])
        example = make(sizes, rng)
        for arm, (divergence, spoiled) in ARMS.items():
            paths = [
                train(example, sizes, divergence, spoiled, context.seed * 1000 + encoder)
                for encoder in range(sizes.encoders)
            ]
            loss, risk = np.stack(paths).transpose(2, 0, 1)  # each (encoders, checkpoints)
            scores[arm] |= {f"{name}-loss": loss[:, -1], f"{name}-risk": risk[:, -1]}
            scores[arm][f"{name}-rank"] = rank_products(loss.ravel(), risk.ravel())
            if arm == "kl":
                scores["permuted"][f"{name}-rank"] = rank_products(loss.ravel(), rng.permutation(risk.ravel()))
    return scores


def train(example: Example, sizes: Sizes, divergence: Divergence, spoiled: str, seed: int) -> Array:
    """Train one encoder; return (checkpoints, 2): excess contrastive loss and excess risk.

    spoiled: "" for pairs of views, "unpaired" for permuted second views, "shifted" for a share of them permuted.
    """
    torch.manual_seed(seed)
    critic = example.critic()
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(critic.parameters(), lr=0.02)
    measured = []
    for step in range(sizes.steps + 1):
        if step in sizes.checkpoints:
            held_out = torch.Generator().manual_seed(10_000_000 + seed)
            measured.append(measure(example, critic, sizes, divergence, held_out))
        left, right = example.views(sizes.batch, generator)
        share = {"": 0.0, "unpaired": 1.0, "shifted": sizes.shift}[spoiled]
        moved = round(share * sizes.batch)
        right = torch.cat([right[:moved].roll(1, 0), right[moved:]])
        optimizer.zero_grad()
        bound = _bound(critic.log_ratio(critic.encode(left), critic.encode(right)), divergence)
        (-bound).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(critic.parameters(), 1.0)
        optimizer.step()
    return np.asarray(measured)


def measure(
    example: Example, critic: Critic, sizes: Sizes, divergence: Divergence, generator: torch.Generator
) -> tuple[float, float]:
    """Return the excess contrastive loss and the excess risk on fresh items, with pairs that are not spoiled."""
    left, right = example.views(sizes.held_out // 4, generator)
    with torch.no_grad():
        bound = _bound(critic.log_ratio(critic.encode(left), critic.encode(right)), divergence)
        best = _bound(example.true_log_ratio(left, right), divergence)
    return float(best - bound), example.excess_risk(critic, sizes.held_out, generator)


def _bound(log_ratio: Tensor, divergence: Divergence) -> Tensor:
    """Return the bound () with matching pairs on the diagonal of (N, N)."""
    items = len(log_ratio)
    unpaired = log_ratio.flatten()[:-1].view(items - 1, items + 1)[:, 1:]  # all but the diagonal
    return divergence_bound(log_ratio.diagonal(), unpaired, divergence)


def rank_products(left: Array, right: Array) -> Array:
    """Return (N,): products of the standardized ranks; their mean is Spearman's correlation (ties in order).

    >>> rank_products(np.array([3.0, 1.0, 2.0]), np.array([30.0, 10.0, 20.0])).mean().round(6)
    np.float64(1.0)
    """
    standardized = []
    for values in (left, right):
        ranks = np.argsort(np.argsort(values, kind="stable"), kind="stable").astype(np.float64)
        standardized.append((ranks - ranks.mean()) / ranks.std())
    products: Array = standardized[0] * standardized[1]
    return products
