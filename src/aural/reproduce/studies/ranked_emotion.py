"""Order voices and descriptions of emotion by valence and arousal: Rank-N-Contrast across modalities.

Claim: Rank-N-Contrast over the ranks in the valence-arousal plane, with clips and descriptions as views, orders clips
by a description better than the contrastive loss of CLAP, and the two modalities are closer. Paper: EmotionRankCLAP
(arXiv 2505.23732).

An audio encoder from random weights and a head over the vectors of frozen MiniLM are trained by recipe `small_pair`
(see `frozen_text`) on spoken sentences with planted valence and arousal (see `voices`). A description states one of
five levels of valence and one of five of arousal. Arms differ in the loss alone:

    clap       info_nce
    labels     multi_positive: clips of the same cell of the plane are positives
    ranks      rank_n_contrast over clips and descriptions
    both       the sum of the losses of "clap" and "ranks"
    shuffled   control: "ranks", with valence, arousal and descriptions of other clips

Test voices, sentences and the frame of the test descriptions are in no training clip. Tasks:
    text-to-audio   Kendall's tau-b between the similarity of all clips to a description and their closeness to it in
                    the plane; one item per description (25)
    audio-to-text   the same for a clip and all descriptions; one item per clip
    gap             distance of the mean embedding of the clips and the mean embedding of their descriptions
    cell            1 if the description of a clip's cell is the nearest of 25

Legend: N clips, Q queries, E joint dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aural.objectives import InfoNCE, MultiPositive, RankNContrast
from aural.reproduce.studies.frozen_text import SMOKE_CHANGES, Towers, embed_clips, match
from aural.reproduce.studies.voices import Voices, load_voices, new_towers
from aural.reproduce.study import Scores, StudyContext
from aural.train.recipes import load_recipe

Array: TypeAlias = NDArray[np.float64]
Loss: TypeAlias = Callable[[Mapping[str, Tensor], Tensor], Tensor]
VALENCE: Final = ("very unpleasant", "unpleasant", "neither pleasant nor unpleasant", "pleasant", "very pleasant")
AROUSAL: Final = ("very calm", "calm", "moderately energetic", "energetic", "very energetic")
LEVELS: Final = len(VALENCE)
FRAMES: Final = (
    "a voice that is {valence} and {arousal}",
    "the speaker sounds {arousal} and {valence}",
    "speech with a {valence} feeling, spoken in a {arousal} way",
)
"""Of the training descriptions."""
TEST_FRAME: Final = "someone talks in a {arousal} manner and a {valence} mood"
ARMS: Final = ("clap", "labels", "ranks", "shuffled")


def run(context: StudyContext, *, changes: Sequence[str] = (), arms: Sequence[str] = ARMS) -> Scores:
    """Return arm -> task -> scores. changes: of the recipe."""
    recipe = load_recipe("small_pair", SMOKE_CHANGES if context.smoke else changes)
    train, test = load_voices(context, "train"), load_voices(context, "test")
    cells = [(valence, arousal) for valence in range(LEVELS) for arousal in range(LEVELS)]
    texts = sorted({text for cell in cells for text in (*descriptions(cell), test_description(cell))})
    place = {text: i for i, text in enumerate(texts)}
    order = np.random.default_rng(context.seed).permutation(len(train.plans))
    scores = {}
    for arm in arms:
        plane = train.plane[order] if arm == "shuffled" else train.plane
        captions = [[place[text] for text in descriptions(cell)] for cell in cells_of(plane)]
        clips = train.clips(captions)
        towers = new_towers(context, recipe, clips, texts)
        match(towers, clips, recipe, context.seed, loss_of(arm, plane, train.mel.device))
        scores[arm] = evaluate(towers, test, torch.tensor([place[test_description(cell)] for cell in cells]), cells)
    return scores


def loss_of(arm: str, plane: Array, device: torch.device) -> Loss:
    """Return the loss of an arm, of the tensors of a batch and the numbers of its clips."""
    values = torch.from_numpy(plane).float().to(device)
    group = torch.tensor([LEVELS * valence + arousal for valence, arousal in cells_of(plane)], device=device)
    info_nce, labels, ranks = InfoNCE(), MultiPositive(), RankNContrast()
    if arm == "clap":
        return lambda given, chosen: info_nce(given)["loss"]
    if arm == "labels":
        return lambda given, chosen: labels(
            {**given, "audio_group": group[chosen], "text_group": group[chosen]},
        )["loss"]
    if arm == "both":
        return lambda given, chosen: info_nce(given)["loss"] + ranks({**given, "values": values[chosen]})["loss"]
    return lambda given, chosen: ranks({**given, "values": values[chosen]})["loss"]


def cells_of(plane: Array) -> list[tuple[int, int]]:
    """Return the levels of valence and arousal of points of the plane (N, 2).

    >>> cells_of(np.array([[-1.0, 1.0], [0.0, 0.1]]))
    [(0, 4), (2, 2)]
    """
    levels = np.clip(np.floor((plane + 1) / 2 * LEVELS), 0, LEVELS - 1).astype(int)
    return [(int(valence), int(arousal)) for valence, arousal in levels]


def descriptions(cell: tuple[int, int]) -> list[str]:
    """Return the training descriptions of a cell."""
    return [frame.format(valence=VALENCE[cell[0]], arousal=AROUSAL[cell[1]]) for frame in FRAMES]


def test_description(cell: tuple[int, int]) -> str:
    """Return the test description of a cell."""
    return TEST_FRAME.format(valence=VALENCE[cell[0]], arousal=AROUSAL[cell[1]])


@torch.no_grad()
def evaluate(towers: Towers, test: Voices, places: Tensor, cells: list[tuple[int, int]]) -> dict[str, Array]:
    """Return the scores of all tasks; `places` are those of the test descriptions of the cells."""
    audio = embed_clips(towers, test.clips([]))
    text = towers.embed_texts(places.to(towers.vectors.device)).double().cpu().numpy()
    centers = (np.array(cells) + 0.5) / LEVELS * 2 - 1  # (Q, 2)
    closeness = -np.linalg.norm(centers[:, None] - test.plane[None], axis=2)  # (Q, N)
    similarity = text @ audio.T
    true_cell = np.array([cells.index(cell) for cell in cells_of(test.plane)])
    gap = np.linalg.norm(audio.mean(0) - text[true_cell].mean(0))
    return {
        "text-to-audio": kendall_tau(similarity, closeness),
        "audio-to-text": kendall_tau(similarity.T, closeness.T),
        "gap": np.array([gap]),
        "cell": (similarity.argmax(0) == true_cell).astype(np.float64),
    }


def kendall_tau(left: Array, right: Array) -> Array:
    """Return Kendall's tau-b of each row of `left` (Q, N) with the same row of `right`.

    tau_b = (concordant - discordant) / sqrt((pairs - ties in left) (pairs - ties in right)); a constant row has 0.

    >>> kendall_tau(np.array([[1.0, 2.0, 3.0]]), np.array([[1.0, 3.0, 2.0]])).round(4)  # two of three pairs agree
    array([0.3333])
    """
    taus = []
    for one, other in zip(left, right, strict=True):
        signs = [np.sign(values[:, None] - values[None]) for values in (one, other)]
        agreement = float((signs[0] * signs[1]).sum())
        scale = float(np.sqrt(np.abs(signs[0]).sum() * np.abs(signs[1]).sum()))
        taus.append(agreement / scale if scale else 0.0)
    return np.array(taus)
