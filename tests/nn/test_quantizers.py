"""The quantizers against examples worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unsnarl.errors import OptionError
from unsnarl.nn import ScalarQuantizer, VectorQuantizer
from unsnarl.objectives import commitment_loss, quantization_loss


def by_hand() -> ScalarQuantizer:
    """Two latents with the values (-1, 0, 2) and (10, 5, 6)."""
    quantizer = ScalarQuantizer(2, 3)
    with torch.no_grad():
        quantizer.values.copy_(torch.tensor([[-1.0, 0.0, 2.0], [10.0, 5.0, 6.0]]))
    return quantizer


def test_each_scalar_snaps_to_the_nearest_value_of_its_own_row():
    z = by_hand()(torch.tensor([[-0.6, 5.4], [0.9, 9.0], [1.1, -3.0], [7.0, 5.6]]))
    assert z.indices.tolist() == [[0, 1], [1, 0], [2, 1], [2, 2]]
    assert z.quantized.tolist() == [[-1.0, 5.0], [0.0, 10.0], [2.0, 5.0], [2.0, 6.0]]
    torch.testing.assert_close(z.straight_through, z.quantized)


def test_a_tie_goes_to_the_first_level():
    assert by_hand()(torch.tensor([[1.0, 5.5]])).indices.tolist() == [[1, 1]]


def test_values_start_evenly_from_minus_a_half_to_a_half():
    values = ScalarQuantizer(4, 5).values
    assert values.shape == (4, 5)
    np.testing.assert_allclose(values.detach().numpy(), np.tile([-0.5, -0.25, 0.0, 0.25, 0.5], (4, 1)), atol=1e-7)


def test_a_shared_row_is_one_row_for_all_latents():
    quantizer = ScalarQuantizer(4, 5, shared=True)
    assert quantizer.values.shape == (1, 5)
    assert quantizer.codebook.shape == (4, 5)
    z = quantizer(torch.full((2, 4), 0.3))
    assert z.indices.tolist() == [[3] * 4] * 2
    z.quantized.sum().backward()
    assert quantizer.values.grad is not None
    assert quantizer.values.grad.tolist() == [[0.0, 0.0, 0.0, 8.0, 0.0]]


def test_frozen_values_have_no_gradient():
    assert not ScalarQuantizer(2, 3, learned=False).values.requires_grad


@pytest.mark.parametrize("kind", ["scalar", "vector"])
def test_straight_through_gives_the_encoder_the_identity_and_the_codebook_nothing(kind: str):
    torch.manual_seed(0)
    quantizer = ScalarQuantizer(6, 3) if kind == "scalar" else VectorQuantizer(2, 4, 3)
    continuous = torch.randn(5, 6, requires_grad=True)
    weights = torch.randn(5, 6)
    (quantizer(continuous).straight_through * weights).sum().backward()
    assert continuous.grad is not None
    torch.testing.assert_close(continuous.grad, weights)
    assert all(p.grad is None or not p.grad.any() for p in quantizer.parameters())


def test_the_two_pulls_move_one_side_each():
    quantizer = by_hand()
    continuous = torch.tensor([[-0.6, 5.4], [0.9, 9.0]], requires_grad=True)
    z = quantizer(continuous)
    quantization_loss(z.continuous, z.quantized).backward()
    assert continuous.grad is None
    assert quantizer.values.grad is not None
    # d/dV of mean over 4 numbers of (zc - V)^2: (V - zc) / 2 at the levels in use
    torch.testing.assert_close(quantizer.values.grad, torch.tensor([[-0.2, -0.45, 0.0], [0.5, -0.2, 0.0]]))
    quantizer.values.grad = None
    commitment_loss(z.continuous, z.quantized).backward()
    assert quantizer.values.grad is None
    torch.testing.assert_close(continuous.grad, torch.tensor([[0.2, 0.2], [0.45, -0.5]]))
    both = [loss(z.continuous, z.quantized).item() for loss in (quantization_loss, commitment_loss)]
    np.testing.assert_allclose(both, [(0.4**2 + 0.4**2 + 0.9**2 + 1.0**2) / 4] * 2, rtol=1e-6)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), levels=st.integers(2, 12))
def test_no_other_value_is_nearer(seed: int, levels: int):
    rng = np.random.default_rng(seed)
    quantizer = ScalarQuantizer(3, levels)
    values = rng.normal(size=(3, levels)).astype(np.float32)
    with torch.no_grad():
        quantizer.values.copy_(torch.from_numpy(values))
    continuous = rng.normal(size=(20, 3)).astype(np.float32)
    z = quantizer(torch.from_numpy(continuous))
    nearest = np.abs(continuous[:, :, None] - values[None]).argmin(axis=2)
    assert np.array_equal(z.indices.numpy(), nearest)
    assert np.array_equal(z.quantized.detach().numpy(), np.take_along_axis(values, nearest.T, axis=1).T)
    again = quantizer(z.quantized)
    assert torch.equal(again.quantized, z.quantized)
    assert torch.equal(quantizer.lookup(z.indices), z.quantized)


def test_draws_use_every_level_equally_often():
    quantizer = by_hand()
    draws = quantizer.sample(3000, torch.Generator().manual_seed(0)).detach().numpy()
    for latent, values in enumerate(([-1.0, 0.0, 2.0], [5.0, 6.0, 10.0])):
        found, counts = np.unique(draws[:, latent], return_counts=True)
        assert found.tolist() == values
        assert np.abs(counts - 1000).max() < 5 * np.sqrt(3000 * 2 / 9)
    assert abs(np.corrcoef(draws.T)[0, 1]) < 0.1


def test_a_traversal_shows_levels_in_the_order_of_their_values():
    quantizer = by_hand()
    assert quantizer.ordered_levels(1, 7).tolist() == [1, 2, 0]
    assert quantizer.ordered_levels(1, 2).tolist() == [1, 0]
    assert ScalarQuantizer(1, 9).ordered_levels(0, 3).tolist() == [0, 4, 8]


def test_each_vector_snaps_to_the_nearest_entry():
    quantizer = VectorQuantizer(2, 3, 2)
    with torch.no_grad():
        quantizer.vectors.copy_(torch.tensor([[0.0, 0.0], [3.0, 4.0], [-5.0, 0.0]]))
    z = quantizer(torch.tensor([[1.0, 1.0, 3.0, 3.0], [-2.0, 0.0, -3.0, 1.0]]))
    assert z.indices.tolist() == [[0, 1], [0, 2]]
    assert z.quantized.tolist() == [[0.0, 0.0, 3.0, 4.0], [0.0, 0.0, -5.0, 0.0]]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), entries=st.integers(2, 20))
def test_no_other_entry_is_nearer(seed: int, entries: int):
    rng = np.random.default_rng(seed)
    quantizer = VectorQuantizer(3, entries, 4)
    vectors = quantizer.vectors.detach().numpy().astype(np.float64)
    continuous = rng.normal(size=(10, 12)).astype(np.float32)
    z = quantizer(torch.from_numpy(continuous))
    parts = continuous.reshape(10, 3, 4).astype(np.float64)
    distance = np.square(parts[:, :, None] - vectors).sum(axis=3)
    chosen = np.take_along_axis(distance, z.indices.numpy()[:, :, None], axis=2)[:, :, 0]
    np.testing.assert_allclose(chosen, distance.min(axis=2), atol=1e-5)
    assert torch.equal(z.quantized, quantizer.lookup(z.indices))


def test_entries_start_uniform_with_unit_squared_length_on_average():
    torch.manual_seed(0)
    vectors = VectorQuantizer(1, 512, 64).vectors.detach()
    limit = (3 / 64) ** 0.5
    assert float(vectors.abs().max()) <= limit
    assert float(vectors.abs().max()) > 0.999 * limit
    assert abs(float(vectors.square().sum(1).mean()) - 1) < 0.02


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ScalarQuantizer(0, 3), "latents=0 must be an integer at least 1"),
        (lambda: ScalarQuantizer(2, 1), "levels=1 must be an integer at least 2"),
        (lambda: VectorQuantizer(2, 1), "entries=1 must be an integer at least 2"),
        (lambda: VectorQuantizer(2, 4, 0), "size=0 must be an integer at least 1"),
        (lambda: VectorQuantizer(0, 4), "latents=0 must be an integer at least 1"),
    ],
)
def test_sizes_out_of_range(make, message: str):
    with pytest.raises(OptionError) as caught:
        make()
    assert str(caught.value) == message
