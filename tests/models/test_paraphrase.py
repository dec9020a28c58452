import json

import pytest
import torch

from aural.models.paraphrase import Paraphraser, Sampling, draw, read_samples


class Characters:
    """A tokenizer with one token per character."""

    def __call__(self, text, return_tensors):
        return type("Tokens", (), {"input_ids": torch.tensor([[ord(c) % 128 for c in text]])})

    def decode(self, ids):
        return "".join(map(chr, ids.tolist()))


@pytest.fixture(scope="module")
def model():
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=128, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=1024,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return LlamaForCausalLM(config).eval()


def test_samples_of_a_phrase_do_not_depend_on_the_others(model, tmp_path):
    paraphraser = Paraphraser(model, Characters(), Sampling(samples=3, max_tokens=6))
    file = tmp_path / "samples.jsonl"
    together = dict(paraphraser.write(["a dog", "rain", "a cat"], file))
    alone = dict(paraphraser.write(["a cat"], tmp_path / "alone.jsonl"))
    assert together["a cat"] == alone["a cat"]
    assert len({tuple(texts) for texts in together.values()}) == 3
    assert read_samples(file, paraphraser.sampling) == together
    assert read_samples(file, Sampling(samples=3, max_tokens=6, seed=1)) == {}
    file.write_text(file.read_text()[:-5])
    assert len(read_samples(file, paraphraser.sampling)) == 2
    assert json.loads(file.read_text().splitlines()[0])["phrase"] in together


def test_first_token_follows_the_model(model, tmp_path):
    """Without a cache, torch gives the same distribution of the first token."""
    sampling = Sampling(samples=1, max_tokens=1)
    paraphraser = Paraphraser(model, Characters(), sampling)
    from aural.models.paraphrase import PROMPT, _uniform

    ids = Characters()(PROMPT + "a dog =", "pt").input_ids
    with torch.inference_mode():
        logits = model(input_ids=ids).logits[:, -1]
    expected = draw(logits, torch.from_numpy(_uniform("a dog", sampling)[:, 0]), sampling)
    text = Characters().decode(expected).split("\n")[0].strip()
    assert dict(paraphraser.write(["a dog"], tmp_path / "s"))["a dog"] == [text]


def test_draw_follows_the_distribution():
    logits = torch.tensor([[0.0, 1.0, 2.0]])
    uniform = (torch.arange(3000, dtype=torch.float64) + 0.5) / 3000
    tokens = draw(logits.expand(3000, 3), uniform, Sampling(temperature=2.0, top_p=1.0))
    share = torch.bincount(tokens, minlength=3) / 3000
    torch.testing.assert_close(share, torch.softmax(logits[0] / 2, 0), atol=1e-3, rtol=0)
