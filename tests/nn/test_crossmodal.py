"""The multimodal transformer's encoder: masks, positions, what depends on what; its equations are checked with DLF's."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from unsnarl.errors import DataError, OptionError
from unsnarl.nn._crossmodal import (
    CrossmodalBlock,
    CrossmodalEncoder,
    causal_mask,
    quick_dropout,
    sinusoidal_positions,
)


def encoder(dim: int = 6, heads: int = 2, layers: int = 2, **options) -> CrossmodalEncoder:
    torch.manual_seed(0)
    made = CrossmodalEncoder(dim, heads, layers, **options).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return made


def test_positions_count_from_one_with_sines_first():
    table = sinusoidal_positions(40, 7).numpy()
    assert table.shape == (40, 7)
    for place in (1, 2, 40):
        for i in range(3):
            angle = place / 10_000 ** (i / 2)
            assert table[place - 1, i] == pytest.approx(math.sin(angle), abs=1e-5)
            assert table[place - 1, 3 + i] == pytest.approx(math.cos(angle), abs=1e-5)
    assert (table[:, 6] == 0).all()
    assert sinusoidal_positions(3, 2)[2].tolist() == pytest.approx([math.sin(3), math.cos(3)])


@pytest.mark.parametrize(
    ("queries", "keys", "expected"),
    [
        (3, 3, [[1, 0, 0], [1, 1, 0], [1, 1, 1]]),
        (2, 4, [[1, 1, 1, 0], [1, 1, 1, 1]]),
        (3, 2, [[1, 1], [1, 1], [1, 1]]),
    ],
)
def test_a_query_sees_keys_up_to_its_place_and_the_difference_of_lengths(queries, keys, expected):
    assert causal_mask(queries, keys).int().tolist() == expected


def test_later_steps_do_not_reach_earlier_ones():
    torch.manual_seed(1)
    x, y = torch.randn(2, 5, 6), torch.randn(2, 5, 6)
    encode = encoder()
    later, source = x.clone(), y.clone()
    later[:, 3] = torch.randn(2, 6)
    source[:, 3] = torch.randn(2, 6)
    with torch.no_grad():
        torch.testing.assert_close(encode(later)[:, :3], encode(x)[:, :3])
        torch.testing.assert_close(encode(x, source)[:, :3], encode(x, y)[:, :3])
        assert (encode(x, source)[:, 3:] - encode(x, y)[:, 3:]).abs().amin((0, 2)).min() > 1e-4
        free = encoder(causal=False)
        assert (free(later)[:, :3] - free(x)[:, :3]).abs().max() > 1e-3


def test_keys_and_values_may_be_two_sequences():
    encode = encoder()
    x, key, value = torch.randn(3, 2, 4, 6)
    with torch.no_grad():
        torch.testing.assert_close(encode(x, key, key), encode(x, key))
        assert (encode(x, key, value) - encode(x, key)).abs().max() > 1e-3
    with pytest.raises(DataError, match="value was given without key"):
        encode(x, None, value)


def test_steps_whose_first_channel_is_zero_get_no_position():
    x = torch.randn(1, 4, 6)
    x[0, 1, 0] = 0
    zeros, none = encoder(padding="zeros"), encoder(padding="none")
    embedded = math.sqrt(6) * x
    torch.testing.assert_close(zeros._embed(x, None)[0, 1], embedded[0, 1])
    torch.testing.assert_close(zeros._embed(x, None)[0, 2], embedded[0, 2] + sinusoidal_positions(3, 6)[2])
    torch.testing.assert_close(none._embed(x, None)[0, 1], embedded[0, 1] + sinusoidal_positions(2, 6)[1])


def test_masked_steps_are_seen_by_none():
    encode = encoder(padding="mask")
    x, y = torch.randn(2, 5, 6), torch.randn(2, 5, 6)
    mask = torch.tensor([[False, True, True, False, True]] * 2)
    other_x, other_y = x.clone(), y.clone()
    other_x[~mask], other_y[~mask] = 9.0, 9.0
    with torch.no_grad():
        torch.testing.assert_close(encode(other_x, mask=mask)[mask], encode(x, mask=mask)[mask])
        torch.testing.assert_close(encode(x, other_y, key_mask=mask), encode(x, y, key_mask=mask))
        weights = encode.attention(x, y, key_mask=mask)
        assert (weights[..., ~mask[0]] == 0).all()
        assert encode(x, y, key_mask=mask).isfinite().all()  # the first query sees nothing at all
    assert weights[..., 0, :].sum() == 0
    torch.testing.assert_close(weights[..., 1:, :].sum(-1), torch.ones(2, 2, 2, 4))


def test_attention_is_what_the_block_uses():
    encode = encoder(layers=1)
    x, y = torch.randn(2, 3, 6), torch.randn(2, 5, 6)
    block = encode.blocks[0]
    with torch.no_grad():
        weights = encode.attention(x, y)
        assert weights.shape == (2, 1, 2, 3, 5)
        torch.testing.assert_close(weights.sum(-1), torch.ones(2, 1, 2, 3))
        embedded, other = encode._embed(x, None), encode._embed(y, None)
        values = block._heads(embedded, other, None)[2]
        mixed = (weights[:, 0] @ values).transpose(1, 2).reshape(2, 3, 6)
        stream = embedded + block.project_out(mixed)
        stream = stream + block.contract(block.expand(block.mlp_norm(stream)).relu())
        torch.testing.assert_close(encode(x, y), encode.norm(stream))


def test_training_without_dropout_gives_the_same_as_evaluation():
    encode = encoder()
    x, y = torch.randn(2, 5, 6), torch.randn(2, 5, 6)
    with torch.no_grad():
        expected = encode(x, y)
        block = encode.blocks[0]
        block.attention_dropout = 1e-9  # takes the path of explicit weights
        torch.testing.assert_close(encode.train()(x, y), expected)


@pytest.mark.parametrize("rate", ["attention_dropout", "relu_dropout", "residual_dropout", "embedding_dropout"])
def test_each_dropout_acts_in_training_alone(rate):
    encode = encoder(**{rate: 0.5})
    x = torch.randn(2, 5, 6)
    with torch.no_grad():
        torch.testing.assert_close(encode(x), encoder()(x))
        encode.train()
        assert (encode(x) - encode(x)).abs().max() > 1e-3


def test_keys_and_values_are_dropped_apart():
    torch.manual_seed(0)
    encode = CrossmodalEncoder(6, 2, 1, embedding_dropout=0.5)
    seen = []
    encode.blocks[0].register_forward_pre_hook(lambda _, args: seen.append(args))
    encode(torch.randn(2, 5, 6), torch.randn(2, 5, 6))
    _, key, value, _ = seen[0]
    assert ((key == 0) != (value == 0)).any()


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.5])
def test_quick_dropout_keeps_the_mean_and_meets_the_rate(rate):
    torch.manual_seed(0)
    x = torch.ones(1001, 999)  # not a multiple of four
    dropped = quick_dropout(x, rate)
    assert (dropped == 0).float().mean().item() == pytest.approx(rate, abs=2e-3)
    assert dropped.mean().item() == pytest.approx(1, abs=3e-3)
    columns = (dropped == 0).float()
    assert np.corrcoef(columns[:, 0], columns[:, 1])[0, 1] == pytest.approx(0, abs=0.12)
    assert quick_dropout(x, rate, training=False) is x
    assert (quick_dropout(x, 1.0) == 0).all()


def test_sequences_longer_than_the_table_of_positions():
    encode = encoder()
    with torch.no_grad():
        x = torch.randn(1, 300, 6)
        torch.testing.assert_close(encode(x)[:, :100], encode(x[:, :100]), atol=1e-5, rtol=1e-4)


def test_initial_weights_are_xavier():
    torch.manual_seed(0)
    block = CrossmodalBlock(40, 4)
    bound = math.sqrt(6 / (40 + 120))
    assert block.project_in.weight.abs().max().item() == pytest.approx(bound, rel=1e-2)
    assert block.expand.weight.std().item() == pytest.approx(math.sqrt(2 / (40 + 160)), rel=0.05)
    assert (block.project_in.bias == 0).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dim": 50, "heads": 7}, "dim=50 must be a multiple of heads=7"),
        ({"heads": 0}, "heads=0 must be an integer at least 1"),
        ({"embedding_dropout": 1.5}, "embedding_dropout=1.5 must be a number at least 0 and at most 1"),
        ({"padding": "left"}, "padding='left' is not allowed; choose one of 'zeros', 'mask', 'none'"),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(OptionError) as caught:
        CrossmodalEncoder(**{"dim": 6, "heads": 2, **options})
    assert str(caught.value) == message
