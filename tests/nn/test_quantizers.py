"""Quantizers against transformers and closed forms, and the monitor of their usage with a planted collapse."""

import pytest
import torch

from aural.nn.code_usage import change_rate, code_perplexity, diversity_loss, is_collapsed, perplexity, usage
from aural.nn.gumbel import GumbelQuantizer
from aural.nn.nearest_code import NearestQuantizer, k_means, nearest


def test_gumbel_equals_transformers() -> None:
    from transformers import Wav2Vec2Config
    from transformers.models.wav2vec2.modeling_wav2vec2 import Wav2Vec2GumbelVectorQuantizer

    torch.manual_seed(0)
    config = Wav2Vec2Config(conv_dim=(24,), conv_stride=(2,), conv_kernel=(2,), num_feat_extract_layers=1,
                            codevector_dim=16, num_codevector_groups=2, num_codevectors_per_group=8)  # fmt: skip
    theirs, ours = Wav2Vec2GumbelVectorQuantizer(config).eval(), GumbelQuantizer(24, 16, groups=2, codes=8).eval()
    torch.nn.init.normal_(theirs.codevectors)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 5, 24)
    vectors, spread = theirs(x)
    codes = ours(x)
    assert torch.allclose(codes.vectors, vectors, atol=1e-6)
    assert torch.allclose(code_perplexity(codes.ids, 8) * 2, spread, atol=1e-4)  # theirs is a sum over codebooks


def test_gumbel_passes_gradients_to_its_input() -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 6, 8, requires_grad=True)
    codes = GumbelQuantizer(8, 4, groups=2, codes=4).train()(x)
    codes.vectors.square().sum().backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0
    assert codes.soft is not None
    assert torch.allclose(codes.soft.sum(-1), torch.ones(1, 6, 2))


def test_nearest_takes_the_nearest_code_and_copies_gradients() -> None:
    quantizer = NearestQuantizer(4, groups=2, codes=2)
    with torch.no_grad():
        quantizer.books.copy_(torch.tensor([[[1.0, 1.0], [-1.0, -1.0]], [[1.0, -1.0], [-1.0, 1.0]]]))
    x = torch.tensor([[[2.0, 2.0, -2.0, -2.0]]], requires_grad=True)  # normalized to (1, 1, -1, -1)
    codes = quantizer(x)
    assert codes.ids.tolist() == [[[0, 0]]]  # the second part ties, and the first code is taken
    assert codes.vectors.tolist()[0][0][:2] == pytest.approx([1.0, 1.0], abs=1e-4)
    codes.vectors[..., 0].sum().backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0


def test_nearest_learns_its_codes() -> None:
    torch.manual_seed(0)
    quantizer = NearestQuantizer(8, groups=2, codes=8)
    points = torch.randn(16, 20, 8)
    optimizer = torch.optim.Adam(quantizer.parameters(), 0.05)
    first = quantizer(points).loss.item()
    for _ in range(60):
        optimizer.zero_grad()
        quantizer(points).loss.backward()
        optimizer.step()
    assert quantizer(points).loss.item() < 0.7 * first


def test_k_means_matches_scikit_learn() -> None:
    from sklearn.cluster import KMeans

    torch.manual_seed(1)
    points = torch.cat([torch.randn(40, 3) * 0.1 + center for center in torch.eye(3) * 4])
    centers = k_means(points, 3, rounds=20, seed=3)
    theirs = torch.from_numpy(KMeans(3, n_init=5, random_state=0).fit(points.numpy()).cluster_centers_)
    assert torch.cdist(centers, theirs.float()).amin(0).max() < 1e-3
    assert len(set(nearest(points[:, None], centers[None])[:, 0].tolist())) == 3


def test_perplexity_counts_codes_in_even_use() -> None:
    even = torch.arange(8).repeat(3)[:, None]
    assert code_perplexity(even, 8).item() == pytest.approx(8.0, abs=1e-4)
    assert usage(even, 8).tolist() == [[0.125] * 8]
    assert perplexity(torch.tensor([0.5, 0.5, 0.0])).item() == pytest.approx(2.0)


def test_a_planted_collapse_is_caught() -> None:
    """A quantizer whose scores all prefer one code is collapsed; the same one with even scores is not."""
    torch.manual_seed(0)
    quantizer = GumbelQuantizer(8, 8, groups=2, codes=16).eval()
    x = torch.randn(4, 200, 8)
    assert not is_collapsed(quantizer(x).ids, 16)
    with torch.no_grad():
        quantizer.weight_proj.bias.view(2, 16)[:, 3] += 50.0
    codes = quantizer(x)
    assert is_collapsed(codes.ids, 16)
    assert codes.soft is not None
    assert diversity_loss(codes.soft).item() == pytest.approx(1 - 1 / 16, abs=1e-4)


def test_diversity_loss_is_zero_for_even_use() -> None:
    assert diversity_loss(torch.full((2, 3, 2, 4), 0.25)).item() == pytest.approx(0.0, abs=1e-6)


def test_change_rate_counts_changes_in_any_codebook() -> None:
    ids = torch.tensor([[[0, 1], [0, 1], [0, 2], [0, 2], [5, 2]]])
    assert change_rate(ids).tolist() == [0.5]
