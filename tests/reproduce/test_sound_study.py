"""The study of pretext tasks: stages, shared training, and scores with values by construction."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from aural.audio.cochlea import Cochleagram
from aural.core.errors import ConfigError
from aural.reproduce.card import claims
from aural.reproduce.sound_continuation import continued
from aural.reproduce.sound_scores import SOUND_SCORES, Lab, phone_ids, probe_hits
from aural.reproduce.sound_sets import SIZES, sound_set
from aural.reproduce.studies import self_supervised
from aural.reproduce.study import StudyContext
from aural.train.selfsupervised import PRETEXTS

CTC = ["system.pretexts=[{name: ctc}]", "sets=es:12"]
CODES = ["centers=-1", "of=es", "codes=8"]
AR = ["system.front=cochlea", "system.tokenizers=[{kind: centers, file: '{0}/centers.npz'}]", "system.discrete=true",
      "system.pretexts=[{name: next-token}]",
      "system.audio.encoder_options={n_mels: 64, context: causal-transformer}"]  # fmt: skip


def context(folder: Path, seed: int = 0) -> StudyContext:
    folder.mkdir(parents=True, exist_ok=True)
    return StudyContext(seed, True, "cpu", None, folder)


def test_stages_are_shared_between_arms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = []
    plain = self_supervised.TrainingRun

    def counted(*arguments: object, **options: object) -> object:
        runs.append(arguments)
        return plain(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(self_supervised, "TrainingRun", counted)
    arms = {
        "ours": [[]],
        "tuned": [[], ["system.init={0}", *CTC]],
        "tuned-later": [CODES, [], ["system.init={1}", *CTC]],
        "random": [CTC],
        "layer": [["probe=2"]],
        "mel": [["untrained", "probe=0"]],
    }
    scores = self_supervised.run(context(tmp_path), arms=arms, scores=["phones", "cer", "perplexity"])
    assert len(runs) == 3  # the base, its fine-tuning, and the one from random weights
    assert np.array_equal(scores["tuned"]["cer"], scores["tuned-later"]["cer"])
    assert "cer" not in scores["ours"]
    assert len(scores["mel"]["phones"]) == 16
    assert set(scores) == set(arms)


def test_every_score_is_finite(tmp_path: Path) -> None:
    one = context(tmp_path)
    model = self_supervised.trained(one, [[]])
    for name in SOUND_SCORES:
        if name != "continuation" and not name.startswith("cer"):
            values = SOUND_SCORES[name](Lab(one, model, None))
            assert values.ndim == 1, name
            assert np.isfinite(values).all(), name


def test_clips_are_the_mean_of_the_raw_frames_and_of_each_layer(tmp_path: Path) -> None:
    one = context(tmp_path)
    model = self_supervised.trained(one, [["untrained"]])
    lab = Lab(one, model, None)
    rows = lab.clip_rows("es", "test", 3)
    frames, *layers = model.layers(lab.waves("es", "test", 3))
    assert torch.allclose(rows[0], frames.mean(1), atol=1e-5)
    assert float(rows[0].std()) > 1  # not the normalized frames, whose mean is 0
    assert len(rows) == lab.depth
    assert torch.allclose(rows[-1], layers[-1].mean(1), atol=1e-5)


def test_continuations_have_the_right_length_and_need_a_model_of_tokens(tmp_path: Path) -> None:
    one = context(tmp_path)
    model = self_supervised.trained(one, [CODES, AR])
    waves = torch.from_numpy(np.stack(sound_set(one, "es", "test").waves[:2]))
    torch.manual_seed(0)
    frames, mean, _ = continued(model, waves[:, :8000], 5)
    assert frames.shape == (2, 10, 64)
    assert mean.shape == (2, 1, 64)
    assert isinstance(model.front, Cochleagram)
    assert set(np.unique(SOUND_SCORES["continuation"](Lab(one, model, None)))) <= {0.0, 1.0}
    with pytest.raises(ConfigError, match="continue sounds"):
        continued(self_supervised.trained(one, [["untrained"]]), waves, 2)


def test_phonemes_of_tokens_are_those_at_their_centers() -> None:
    class OneClip:
        facts = ({"phones": [["a", 0.0, 0.05], ["b", 0.05, 0.1]]},)

        def __len__(self) -> int:
            return 1

    store: Any = OneClip()
    assert phone_ids(store, 1, 6, {}).tolist() == [[0, 0, 1, 1, 1, -1]]  # centers 0.01, 0.03, 0.05, 0.07, 0.09, 0.11


def test_a_probe_reads_what_is_linear() -> None:
    torch.manual_seed(0)
    rows = torch.randn(400, 5)
    ids = (rows[:, 0] > 0).long() + 2 * (rows[:, 1] > 0).long()
    assert probe_hits(rows[:300], ids[:300], rows[300:], ids[300:]).mean() > 0.75
    assert probe_hits(rows[:300, 2:], ids[:300], rows[300:, 2:], ids[300:]).mean() < 0.4


def test_every_task_score_and_set_is_named_by_a_card() -> None:
    cards = claims("self-supervised")
    changes = [change for card in cards for arm in card.options["arms"].values() for stage in arm for change in stage]
    named = " ".join(changes)
    assert [name for name in PRETEXTS if f"name: {name}" not in named and name != "masked-contrast"] == []
    scored = {score for card in cards for score in card.options["scores"]}
    assert set(SOUND_SCORES) - scored == set()
    assert {part.partition(":")[0] for c in changes if c.startswith("sets=") for part in c[5:].split("+")} <= set(SIZES)
