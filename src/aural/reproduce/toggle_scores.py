"""Scores that single toggles need: duplicates, order of graded lists, stories, dialogues, prompts and phrases.

They are registered in `SCORES` next to those of `aural.reproduce.sentence_scores`, with which they share the form.

Legend: N items, D width, K variants.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from aural.data.text import held_out
from aural.data.text.grammar import words_of
from aural.data.text.world import examples_of
from aural.reproduce.sentence_scores import SCORES, Score, Values, probed_rows, reciprocal_ranks, rows
from aural.train.sentences.documents import AFTER, Neighbors, Turns
from aural.train.sentences.prompting import Prompt
from aural.train.systems.sentences import Sentences

LISTS: Final = 200
COPIES: Final = 0.3
OF_DUPLICATES: Final = 400
GROUP: Final = 8
"""Stories whose sentences are the candidates of a context."""
TRANSLATED: Final = 400
CLUSTERS: Final = 8
TOP: Final = 10
"""Phrases nearest to the center of a cluster that describe it."""
ROUNDS: Final = 20


@SCORES.register("duplicates")
def duplicates(model: Sentences, seed: int) -> Values:
    """Return for each planted duplicate the share of other sentences that are less similar to its source: the area
    under the ROC curve of the cosine for false against true negatives."""
    options = {"kind": "sentence", "split": "test", "size": OF_DUPLICATES, "duplicates": COPIES}
    world = examples_of(json.dumps(options))
    examples = [world.example(i) for i in range(OF_DUPLICATES)]
    vectors = rows(model, [example.text for example in examples])
    copies = [i for i, example in enumerate(examples) if example.duplicate >= 0]
    shares = []
    for i in copies:
        of = examples[i].duplicate
        same = [j for j in copies if examples[j].duplicate == of]
        others = np.delete(vectors, [*same, of], axis=0) @ vectors[of]
        cosine = float(vectors[i] @ vectors[of])
        shares.append(float((others < cosine).mean() + 0.5 * (others == cosine).mean()))
    return np.array(shares)


def translated(model: Sentences, question: int, answer: int) -> Values:
    """Return 1 / rank of the sentence in one language for its translation, among 400 test sentences; 0 beyond rank 10.

    Languages are -1, English, and 0 and 1, the toy languages, which share no word. Equal translations count once.
    """
    world = examples_of(json.dumps({"kind": "sentence", "split": "test", "size": TRANSLATED}))
    examples = [world.example(i) for i in range(TRANSLATED)]
    texts = {-1: [one.text for one in examples]}
    texts |= {language: [one.translations[language] for one in examples] for language in (0, 1)}
    place = {text: i for i, text in enumerate(dict.fromkeys(texts[answer]))}
    answers = np.array([place[text] for text in texts[answer]])
    return reciprocal_ranks(rows(model, texts[question]), rows(model, list(place)), answers)


@SCORES.register("translations")
def translations(model: Sentences, seed: int) -> Values:
    """Return the reciprocal ranks of the English sentences for translations of both toy languages."""
    return np.concatenate([translated(model, language, -1) for language in (0, 1)])


@SCORES.register("toy-to-toy")
def toy_to_toy(model: Sentences, seed: int) -> Values:
    """Return the reciprocal ranks of sentences of one toy language for those of the other, never trained as pairs."""
    return translated(model, 0, 1)


@SCORES.register("kendall")
def kendall(model: Sentences, seed: int) -> Values:
    """Return Kendall's tau of the cosines of each sentence with its graded variants and their gold similarity."""
    world = examples_of(json.dumps({"kind": "sentence", "split": "test", "size": LISTS}))
    examples = [world.example(i) for i in range(LISTS)]
    anchors = rows(model, [example.text for example in examples])
    flat = rows(model, [text for example in examples for text, _ in example.ranked])
    variants = flat.reshape(LISTS, -1, anchors.shape[1])
    gold = np.array([[score for _, score in example.ranked] for example in examples])
    return tau(np.einsum("ne,nke->nk", anchors, variants), gold)


def tau(scores: Values, gold: Values) -> Values:
    """Return Kendall's tau (N,) of scores and gold (N, K) over the pairs of different gold.

    >>> tau(np.array([[0.9, 0.5, 0.7]]), np.array([[1.0, 0.5, 0.0]]))
    array([0.33333333])
    """
    order = np.sign(gold[:, :, None] - gold[:, None, :])
    agreed = np.sign(scores[:, :, None] - scores[:, None, :]) * order
    count = np.abs(order).sum((1, 2))
    value: Values = agreed.sum((1, 2)) / np.maximum(count, 1)
    return value


def halves(features: Values, labels: NDArray[np.int64]) -> Values:
    """Return whether a probe that was trained on the first half of the items is right on the second half."""
    middle = len(features) // 2
    return probed_rows(features[:middle], labels[:middle], features[middle:], labels[middle:])


def pairs_of(first: Values, second: Values) -> Values:
    """Return the features (N, 4 D) of two vectors for a linear probe."""
    return np.concatenate([first, second, np.abs(first - second), first * second], axis=1)


DISCOURSE: Final = ("position", "order", "coherence", "section")


def discourse(model: Sentences, name: str) -> Values:
    """Return whether a probe on vectors of sentences of stories is right, after DiscoEval (arXiv 1909.00142).

    position: first, second, last or another place of a sentence. order: whether two neighbors are in order. coherence:
    whether the second of two sentences follows in the same story or comes from another one. section: of a sentence.
    """
    stories = held_out.stories()
    vectors = rows(model, [sentence for sentences, _ in stories for sentence in sentences])
    lengths = np.array([len(sentences) for sentences, _ in stories])
    story = np.repeat(np.arange(len(stories)), lengths)
    starts = np.cumsum(lengths) - lengths
    place = np.arange(len(story)) - starts[story]
    if name == "section":
        return halves(vectors, np.array([section for _, sections in stories for section in sections]))
    if name == "position":
        last = place == lengths[story] - 1
        return halves(vectors, np.where(last, 3, np.minimum(place, 2)))
    rng = np.random.default_rng(0)
    at = np.flatnonzero(story[1:] == story[:-1])
    changed = rng.integers(0, 2, len(at))
    if name == "order":
        first, second = at + changed, at + 1 - changed
    else:
        other = at[rng.permutation(len(at))]
        first, second = at, np.where(changed == 1, other + 1, at + 1)
    return halves(pairs_of(vectors[first], vectors[second]), changed)


def _discourse(name: str) -> Score:
    return lambda model, seed: discourse(model, name)


for _name in DISCOURSE:
    SCORES.add(f"discourse-{_name}", _discourse(_name))
SCORES.add("discourse", lambda model, seed: np.concatenate([discourse(model, name) for name in DISCOURSE]))


@SCORES.register("context")
@torch.no_grad()
def context(model: Sentences, seed: int) -> Values:
    """Return whether the best candidate of a sentence is a neighbor in its story, among the sentences of eight stories.

    Scores are those of the toggle `neighbors`, otherwise cosines.
    """
    stories = held_out.stories()
    toggle = next((one for one in model.toggles if isinstance(one, Neighbors)), None)
    right: list[float] = []
    for first in range(0, len(stories) - GROUP + 1, GROUP):
        group = [sentences for sentences, _ in stories[first : first + GROUP]]
        vectors = torch.from_numpy(model.embed([sentence for sentences in group for sentence in sentences]))
        left = other = vectors
        if toggle is not None:
            left, other = (head(vectors.to(head.weight.device)) for head in (toggle.sentence, toggle.context))
        left, other = (torch.nn.functional.normalize(part, dim=1).cpu() for part in (left, other))
        scores = (left @ other.T).fill_diagonal_(-torch.inf)
        story = torch.tensor([i for i, sentences in enumerate(group) for _ in sentences])
        best = scores.argmax(1)
        near = (best - torch.arange(len(best))).abs() == 1
        right += (near & (story[best] == story)).float().tolist()
    return np.array(right)


def dialogue_probe(model: Sentences, target: str) -> Values:
    """Return whether a probe on the beginning of a dialogue is right: the intent, or the act of the next turn."""
    dialogues = held_out.dialogues()
    texts, labels = [], []
    for number, (turns, acts, intent) in enumerate(dialogues):
        seen = 2 + number % (len(turns) - 3)
        texts.append(" ".join(turns[:seen]))
        labels.append(intent if target == "intent" else acts[seen])
    return halves(rows(model, texts), np.array(labels))


SCORES.add("intent", lambda model, seed: dialogue_probe(model, "intent"))
SCORES.add("next-act", lambda model, seed: dialogue_probe(model, "act"))


@SCORES.register("act")
def act(model: Sentences, seed: int) -> Values:
    """Return whether a probe on single turns gives the act of the turn."""
    dialogues = held_out.dialogues()[:100]
    texts = [turn for turns, _, _ in dialogues for turn in turns]
    return halves(rows(model, texts), np.array([number for _, acts, _ in dialogues for number in acts]))


def role_vectors(model: Sentences, texts: Sequence[str], toggle: Turns, role: int) -> torch.Tensor:
    """Return unit rows (N, D) of texts in one role."""
    return toggle.encode(model.step((), np.random.default_rng(0)), texts, role)


@SCORES.register("next-turn-mixed")
@torch.no_grad()
def next_turn_mixed(model: Sentences, seed: int) -> Values:
    """Return 1 / rank of the true next turn among 20, by the scores of the toggle `turns` or by mean cosines."""
    toggle = next((one for one in model.toggles if isinstance(one, Turns)), None)
    if toggle is None:
        return SCORES["next-turn"](model, seed)
    model.eval()
    step = model.step((), np.random.default_rng(0))
    values = []
    tests = held_out.next_turns()
    for turns, answers in zip(tests.contexts, tests.answers, strict=True):
        scores = toggle.next_scores(step, turns, role_vectors(model, answers, toggle, AFTER))
        values.append(1.0 / float((scores >= scores[0]).sum()))
    return np.array(values)


@SCORES.register("prompt-accuracy")
@torch.no_grad()
def prompt_accuracy(model: Sentences, seed: int) -> Values:
    """Return whether the class word that fits best in the prompt names the topic."""
    toggle = next(one for one in model.toggles if isinstance(one, Prompt))
    model.eval()
    tests = held_out.probe("topic")
    step = model.step((), np.random.default_rng(0))
    answers = [toggle.classify(step, tests.test[i : i + 100]).argmax(1).cpu() for i in range(0, len(tests.test), 100)]
    return (torch.cat(answers).numpy() == tests.test_labels).astype(np.float64)


@SCORES.register("trained-share")
def trained_share(model: Sentences, seed: int) -> Values:
    """Return the trained share of the parameters: all, or the soft prompt of a locked encoder."""
    encoder = sum(p.numel() for p in model.encoder.parameters())
    prompt = sum(p.numel() for name, p in model.toggles.named_parameters() if name.endswith("prompt"))
    return np.array([(prompt + (0 if model.config.locked else encoder)) / (prompt + encoder)])


@SCORES.register("used-parameters")
def used_parameters(model: Sentences, seed: int) -> Values:
    """Return the millions of parameters that are used at test time, vectors of characters included."""
    extra = sum(p.numel() for name, p in model.toggles.named_parameters() if name.endswith(("prompt", "grams")))
    return np.array([(sum(p.numel() for p in model.encoder.parameters()) + extra) / 1e6])


def held_out_phrases() -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Return phrases of the test split and their topics."""
    world = examples_of(json.dumps({"kind": "phrase", "split": "test", "size": 400}))
    examples = [world.example(i) for i in range(400)]
    return tuple(example.text for example in examples), np.array([example.label for example in examples])


@SCORES.register("other-words")
def other_words(model: Sentences, seed: int) -> Values:
    """Return the share of the words of each phrase's nearest neighbor that the phrase does not have."""
    texts, _ = held_out_phrases()
    vectors = rows(model, texts)
    cosine = vectors @ vectors.T
    words = [words_of(text) for text in texts]
    same = np.array([[a == b for b in words] for a in words])
    nearest = np.where(same, -np.inf, cosine).argmax(1)
    return np.array([len(words[j] - words[i]) / len(words[j]) for i, j in enumerate(nearest)])


@SCORES.register("topic-coherence")
def topic_coherence(model: Sentences, seed: int) -> Values:
    """Return for each topic of a topic model (the center of a cluster of phrases) the share of pairs of its ten nearest
    phrases that are of one topic."""
    texts, topics = held_out_phrases()
    return coherence(rows(model, texts), topics, seed)


@SCORES.register("topic-coherence-words")
def topic_coherence_words(model: Sentences, seed: int) -> Values:
    """Return the same for a topic model of single words, each with the topic that it occurs with most."""
    texts, topics = held_out_phrases()
    counts: dict[str, Any] = {}
    for text, topic in zip(texts, topics, strict=True):
        for word in sorted(words_of(text)):
            counts.setdefault(word, np.zeros(topics.max() + 1))[topic] += 1
    words = sorted(counts)
    return coherence(rows(model, words), np.array([int(counts[word].argmax()) for word in words]), seed)


def coherence(vectors: Values, topics: NDArray[np.int64], seed: int) -> Values:
    """Return the coherence (CLUSTERS,) of clusters of unit rows (N, D): k-means with cosines."""
    centers = vectors[np.random.default_rng(seed).choice(len(vectors), CLUSTERS, replace=False)]
    for _ in range(ROUNDS):
        member = (vectors @ centers.T).argmax(1)
        sums = np.stack([vectors[member == k].sum(0) if (member == k).any() else centers[k] for k in range(CLUSTERS)])
        centers = sums / np.linalg.norm(sums, axis=1, keepdims=True)
    values = []
    for center in centers:
        top = topics[np.argsort(-(vectors @ center))[:TOP]]
        same = (top[:, None] == top[None]).sum() - len(top)
        values.append(same / (len(top) * (len(top) - 1)))
    return np.array(values)
