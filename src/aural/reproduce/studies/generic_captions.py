"""Rank detailed captions above generic ones by DATE and by similarity alone (MECAT, arXiv 2507.23511).

For each scene: the reference is one caption; the detailed candidate is another caption of the same content, which may
use other words for the same sounds and another form of sentence; the generic candidate is the reference with every
sound named by its family ("a drum sound").

Arms, each a score of candidates; the task `detailed` is 1 where the detailed candidate scores higher, 0.5 for a tie:

    date             `date` of MiniLM's vectors, tokens weighted by their rarity before the first layer (the paper), or
                     in the mean over tokens
    similarity       cosine of these vectors with those of the reference
    plain            cosine of MiniLM's vectors, unweighted
    plain-date       `date` of these
    discrimination   the rank part of `date` alone
    unrelated        `date`, both candidates scored against the reference of another scene

Only plans of scenes are made; no sound is rendered. Legend: N scenes, L tokens, E dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aural.data.manifest import read_manifest
from aural.data.simulate import SceneSimulator
from aural.data.simulate.caption import true_content
from aural.data.simulate.claims import Judge
from aural.data.simulate.corpus import clips_of, label_of
from aural.data.simulate.grammar import Style, say
from aural.evaluate.metrics.date import date, discrimination, token_weights
from aural.models.language import LANGUAGE_MODELS, pool
from aural.nn.functional import unit
from aural.reproduce.scene_world import LONGEST_S, SCENES
from aural.reproduce.study import Scores, StudyContext
from aural.reproduce.worlds import HELD_OUT, RATE_HZ, corpus_folder
from aural.train.draw import ITEM, generator

BATCH: Final = 64


def run(
    context: StudyContext, *, scenes: int, tolerance: float, weights: Literal["input", "pooling"] = "input"
) -> Scores:
    """Return arm -> task -> scores.

    tolerance: similarities this close count as equal. weights: scale the vectors of tokens before the first layer, or
    the states of tokens in the mean after the last layer by their rarity in the references.
    """
    texts = captions_of(context, 8 if context.smoke else scenes)
    reference, detailed, generic = texts
    if weights == "pooling":
        weighted = pooled_by_rarity(texts)
    else:
        weighted = [vectors(one, weighted=True) for one in texts]
    plain = [vectors(one, weighted=False) for one in texts]
    similarity = [candidates @ weighted[0].T for candidates in weighted[1:]]
    unweighted = [candidates @ plain[0].T for candidates in plain[1:]]
    other = [np.roll(table, 1, axis=1) for table in similarity]
    values = {
        "date": [date(table, tolerance) for table in similarity],
        "similarity": [table.diagonal() for table in similarity],
        "plain": [table.diagonal() for table in unweighted],
        "plain-date": [date(table, tolerance) for table in unweighted],
        "discrimination": [discrimination(table, tolerance) for table in similarity],
        "unrelated": [date(table, tolerance) for table in other],
    }
    examples = zip(reference[:20], detailed[:20], generic[:20], strict=True)
    lines = ["| reference | detailed | generic |", "|---|---|---|", *(f"| {a} | {b} | {c} |" for a, b, c in examples)]
    (context.out / "captions.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return {arm: {"detailed": preferred(*pair)} for arm, pair in values.items()}


def preferred(detailed: NDArray[Any], generic: NDArray[Any]) -> NDArray[np.float64]:
    """Return 1 where the detailed candidate scores higher, 0.5 for a tie, else 0."""
    better: NDArray[np.float64] = (detailed > generic) + 0.5 * (detailed == generic)
    return better


def captions_of(context: StudyContext, count: int) -> tuple[list[str], list[str], list[str]]:
    """Return references, detailed and generic candidates of scenes of held-out clips; other scenes for each seed."""
    manifest = read_manifest(corpus_folder(context.data, context.out))
    families = {label_of(row): row.family or "unknown" for row in manifest}
    clips = clips_of(manifest, RATE_HZ, split=HELD_OUT, longest_s=LONGEST_S)
    simulator = SceneSimulator(clips, SCENES, seed=1000 + context.seed)
    rows = []
    for number in range(count):
        rng = generator(context.seed, ITEM, number)
        truth = simulator.plan(number).truth
        content = true_content(Judge(truth, simulator.config), rng)
        phrases = {event.label: event.phrases for event in truth.events}
        kinds = {label: (f"{article(families[label])} sound",) for label in phrases}
        style, other = Style.draw(rng), Style.draw(rng)
        rows.append((say(content, style, phrases), say(content, other, phrases), say(content, style, kinds)))
    reference, detailed, generic = (list(column) for column in zip(*rows, strict=True))
    return reference, detailed, generic


def article(noun: str) -> str:
    """Return a noun with its indefinite article.

    >>> article("animal"), article("drum")
    ('an animal', 'a drum')
    """
    return f"{'an' if noun[:1] in 'aeiou' else 'a'} {noun}"


@torch.inference_mode()
def vectors(texts: Sequence[str], *, weighted: bool) -> NDArray[np.float64]:
    """Return unit vectors of texts (N, E) by MiniLM; weighted: its input vectors are scaled by `token_weights`."""
    model = LANGUAGE_MODELS["minilm"](None)
    if not weighted:
        return unit(model.embed(list(texts))).double().numpy()
    bert: Any = model.module
    ids, mask = model.tokenize(texts)
    weights = torch.from_numpy(token_weights(ids.numpy(), mask.numpy())).float()
    rows: list[Tensor] = []
    for part in torch.arange(len(ids)).split(BATCH):
        embedded = bert.model.embeddings.word_embeddings(ids[part]) * weights[part][..., None]
        states = bert.model(inputs_embeds=embedded, attention_mask=mask[part]).last_hidden_state
        rows.append(pool(states, mask[part], "mean"))
    return unit(torch.cat(rows)).double().numpy()


@torch.inference_mode()
def pooled_by_rarity(texts: Sequence[Sequence[str]]) -> list[NDArray[np.float64]]:
    """Return unit vectors of lists of texts by MiniLM: the mean over tokens, weighted by log((N + 1) / (n_t + 1)).

    n_t is the number of the N texts of the first list, the references, that contain token t.
    """
    model = LANGUAGE_MODELS["minilm"](None)
    bert: Any = model.module
    tokens = [model.tokenize(one) for one in texts]
    ids, mask = tokens[0]
    counts = torch.zeros(bert.model.embeddings.word_embeddings.num_embeddings)
    for row, on in zip(ids, mask, strict=True):
        counts[row[on > 0].unique()] += 1
    rarity = torch.log((len(ids) + 1) / (counts + 1))
    vectors = []
    for ids, mask in tokens:
        rows = []
        for part in torch.arange(len(ids)).split(BATCH):
            states = bert.model(input_ids=ids[part], attention_mask=mask[part]).last_hidden_state
            weight = rarity[ids[part]] * mask[part]
            rows.append((states * weight[..., None]).sum(1) / weight.sum(1, keepdim=True).clamp_min(1e-6))
        vectors.append(unit(torch.cat(rows)).double().numpy())
    return vectors
