"""Only vectors that point the same way are punished."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from unsnarl.errors import DataError, OptionError
from unsnarl.objectives._orthogonality import orthogonality_loss


@pytest.mark.parametrize("width", [None, 12, 6, 2])
def test_it_is_the_mean_of_positive_cosines_over_rows(width):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 3, 4, 6)).astype(np.float32)
    rows = a.reshape(-1, width or 6), b.reshape(-1, width or 6)
    cosine = (rows[0] * rows[1]).sum(1) / np.linalg.norm(rows[0], axis=1) / np.linalg.norm(rows[1], axis=1)
    assert (cosine < 0).any()
    found = orthogonality_loss(torch.tensor(a), torch.tensor(b), width=width).item()
    assert found == pytest.approx(np.maximum(cosine, 0).mean(), abs=1e-6)


@pytest.mark.parametrize(("angle", "expected"), [(0, 1.0), (60, 0.5), (90, 0.0), (120, 0.0), (180, 0.0)])
def test_opposite_vectors_cost_as_little_as_orthogonal_ones(angle, expected):
    turned = torch.tensor([[np.cos(np.radians(angle)), np.sin(np.radians(angle))]], dtype=torch.float32)
    assert orthogonality_loss(torch.tensor([[3.0, 0.0]]), turned).item() == pytest.approx(expected, abs=1e-6)


def test_gradients_turn_vectors_apart_until_they_are_orthogonal():
    x = torch.tensor([[1.0, 0.2]], requires_grad=True)
    fixed = torch.tensor([[1.0, 0.0]])
    optimizer = torch.optim.SGD([x], lr=0.5)
    for _ in range(100):
        optimizer.zero_grad()
        orthogonality_loss(x, fixed).backward()
        optimizer.step()
    assert torch.nn.functional.cosine_similarity(x, fixed).item() < 0.02


def test_vectors_of_zeros_cost_nothing():
    zero = torch.zeros(2, 3, requires_grad=True)
    loss = orthogonality_loss(zero, torch.ones(2, 3))
    loss.backward()
    assert loss.item() == 0
    assert zero.grad.isfinite().all()


def test_shapes_and_widths_must_fit():
    with pytest.raises(DataError, match=r"vectors must have one shape, got \(2, 3\) and \(3, 2\)"):
        orthogonality_loss(torch.ones(2, 3), torch.ones(3, 2))
    with pytest.raises(OptionError, match=r"width=4 must divide the 6 values of shape \(2, 3\)"):
        orthogonality_loss(torch.ones(2, 3), torch.ones(2, 3), width=4)
