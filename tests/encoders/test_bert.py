"""The encoder in plain torch against transformers: an outside judge with random weights."""

import pytest
import torch

from aural.encoders.bert import Bert
from aural.encoders.text import TextConfig, TextEncoder, text_layout

CONFIG = TextConfig(
    architecture="bert", dim=32, depth=2, heads=4, hidden_dim=48, vocab_size=50, positions=20, layer_norm_eps=1e-12,
    pooling="mean", tokenizer="bert-base-uncased", special_tokens="bert", pad_id=0, max_tokens=16,
)  # fmt: skip


@pytest.fixture
def texts() -> tuple[torch.Tensor, torch.Tensor]:
    mask = torch.tensor([[1] * 9, [1] * 4 + [0] * 5])
    return torch.randint(1, 50, (2, 9), generator=torch.Generator().manual_seed(0)) * mask, mask


def test_equals_transformers_in_values_and_gradients(texts: tuple[torch.Tensor, torch.Tensor]) -> None:
    torch.manual_seed(0)
    theirs = TextEncoder(CONFIG).eval()
    ours = Bert(CONFIG).eval()
    assert {name: tuple(t.shape) for name, t in ours.state_dict().items()} == text_layout(CONFIG)
    ours.load_state_dict({name: theirs.model.state_dict()[name] for name in ours.state_dict()})
    ids, mask = texts
    expected = theirs(ids, mask, layers=True)
    got = ours(ids, mask)
    assert torch.allclose(got.pooled, expected.pooled, atol=1e-6)
    assert torch.allclose(got.tokens[mask.bool()], expected.tokens[mask.bool()], atol=1e-6)
    assert len(got.layers) == CONFIG.depth + 1
    assert torch.allclose(got.layers[1][mask.bool()], expected.layers[1][mask.bool()], atol=1e-6)
    got.pooled.square().sum().backward()
    expected.pooled.square().sum().backward()
    assert torch.allclose(ours.words.grad, theirs.model.embeddings.word_embeddings.weight.grad, atol=1e-5)


def test_attention_weights_give_the_same_output_and_sum_to_one(texts: tuple[torch.Tensor, torch.Tensor]) -> None:
    torch.manual_seed(0)
    bert = Bert(CONFIG).eval()
    ids, mask = texts
    plain, weighted = bert(ids, mask), bert(ids, mask, attention=True)
    assert torch.allclose(plain.tokens, weighted.tokens, atol=1e-6)
    assert len(weighted.attention) == CONFIG.depth
    for weight in weighted.attention:
        assert torch.allclose(weight.sum(-1), torch.ones(2, 4, 9), atol=1e-6)
        assert not weight[1, :, :, 4:].any()  # padding is not seen


def test_a_prefix_of_word_vectors_equals_the_words(texts: tuple[torch.Tensor, torch.Tensor]) -> None:
    torch.manual_seed(0)
    bert = Bert(CONFIG).eval()
    ids, mask = texts[0][:1], texts[1][:1]
    whole = bert(ids, mask)
    split = bert(ids[:, 2:], mask[:, 2:], prefix=bert.embed(ids[0, :2]))
    assert torch.allclose(split.tokens, whole.tokens[:, 2:], atol=1e-6)
    assert torch.allclose(split.pooled, whole.tokens[:, 2:].mean(1), atol=1e-6)


def test_dropout_of_one_call(texts: tuple[torch.Tensor, torch.Tensor]) -> None:
    torch.manual_seed(0)
    bert = Bert(CONFIG, rate=0.3).train()
    ids, mask = texts
    assert torch.equal(bert(ids, mask, rate=0.0).pooled, bert(ids, mask, rate=0.0).pooled)
    assert not torch.equal(bert(ids, mask).pooled, bert(ids, mask).pooled)
