"""Gated attention and self-normalizing networks against their equations."""

import numpy as np
import pytest
import torch
from torch import nn

from unsnarl.errors import DataError, OptionError
from unsnarl.nn._gated_attention import GatedAttention
from unsnarl.nn._self_normalizing import PathwayEncoder, self_normalizing_block


def test_attention_is_the_published_equation() -> None:
    torch.manual_seed(0)
    attention = GatedAttention(4, 3)
    bag = torch.randn(1, 6, 4)
    pooled, weights = attention(bag)
    (v, bv), (u, bu), (w, bw) = (
        [p.detach().numpy() for p in layer.parameters()]
        for layer in (attention.signal[0], attention.gate[0], attention.score)
    )
    x = bag[0].numpy()
    scores = (np.tanh(x @ v.T + bv) / (1 + np.exp(-(x @ u.T + bu)))) @ w[0] + bw
    expected = np.exp(scores) / np.exp(scores).sum()
    assert np.allclose(weights[0].detach(), expected, atol=1e-6)
    assert np.allclose(pooled[0].detach(), expected @ x, atol=1e-6)


def test_padding_and_order_do_not_matter() -> None:
    torch.manual_seed(0)
    attention = GatedAttention(4, 3)
    bags = torch.randn(2, 6, 4)
    mask = torch.ones(2, 6, dtype=torch.bool)
    mask[1, 4:] = False
    bags[1, 4:] = torch.nan
    pooled, weights = attention(bags, mask)
    alone, _ = attention(bags[1:, :4])
    assert torch.allclose(pooled[1], alone[0], atol=1e-6)
    assert weights[1, 4:].tolist() == [0, 0]
    turned, _ = attention(bags[:1].flip(1))
    assert torch.allclose(pooled[0], turned[0], atol=1e-6)


def test_an_empty_bag_gives_zeros_and_finite_gradients() -> None:
    attention = GatedAttention(4, 3)
    bags = torch.randn(2, 5, 4, requires_grad=True)
    mask = torch.tensor([[True] * 5, [False] * 5])
    pooled, weights = attention(bags, mask)
    assert pooled[1].abs().sum() == 0
    assert weights[1].sum() == 0
    pooled.square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in attention.parameters() if p.grad is not None)


def test_it_learns_which_instance_matters() -> None:
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    bags = torch.randn(100, 6, 4, generator=generator)
    key = torch.randint(6, (100,), generator=generator)
    bags[..., 0] = 0
    bags[torch.arange(100), key, 0] = 3.0  # the marked instance carries the target
    target = bags[torch.arange(100), key, 1]
    attention, head = GatedAttention(4, 8), nn.Linear(4, 1)
    optimizer = torch.optim.Adam([*attention.parameters(), *head.parameters()], lr=0.05)
    for _ in range(60):
        pooled, weights = attention(bags)
        loss = (head(pooled)[:, 0] - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert weights[torch.arange(100), key].mean() > 0.8
    assert loss < 0.2 * target.var()


def test_pathway_encoder_is_separate_networks() -> None:
    torch.manual_seed(0)
    sizes = [3, 1, 4]
    encoder = PathwayEncoder(sizes, 5, layers=2, dropout=0.0)
    genes = torch.randn(6, sum(sizes))
    out = encoder(genes)
    start = 0
    for p, size in enumerate(sizes):
        x = genes[:, start : start + size]
        for layer, (weight, bias) in enumerate(zip(encoder.weights, encoder.biases, strict=True)):
            x = nn.functional.elu(x @ weight[p, : size if layer == 0 else 5] + bias[p])
        assert torch.allclose(out[:, p], x, atol=1e-6)
        start += size
    out.sum().backward()
    assert (encoder.weights[0].grad[1, 1:] == 0).all()  # what fills up a short pathway never learns
    assert (encoder.weights[0][1, 1:] == 0).all()


def test_first_weights_are_those_of_linear_layers() -> None:
    torch.manual_seed(0)
    encoder = PathwayEncoder([100, 25], 64)
    for p, size in enumerate((100, 25)):
        weight = encoder.weights[0][p, :size].detach()
        assert weight.abs().max() <= size**-0.5
        assert weight.std() == pytest.approx(size**-0.5 / 3**0.5, rel=0.05)


def test_alpha_dropout_keeps_mean_and_variance() -> None:
    torch.manual_seed(0)
    block = self_normalizing_block(50, 400, dropout=0.25)
    assert isinstance(block[2], nn.AlphaDropout)
    x = torch.randn(2000, 400)
    dropped = block[2](x)
    assert dropped.mean().abs() < 0.02
    assert dropped.std() == pytest.approx(1, abs=0.02)


def test_bad_input() -> None:
    with pytest.raises(OptionError, match="sizes is empty"):
        PathwayEncoder([], 4)
    with pytest.raises(DataError, match="pathway 1 has no gene"):
        PathwayEncoder([3, 0], 4)
    with pytest.raises(DataError, match="genes must have 5 columns"):
        PathwayEncoder([3, 2], 4)(torch.zeros(2, 4))
    with pytest.raises(OptionError, match="dropout"):
        GatedAttention(3, 3, dropout=1.5)
