"""The label margin loss against loops over triplets, and what it does where there are none."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unsnarl.errors import DataError
from unsnarl.objectives._margin import cosines, label_anchors, label_margin_loss


def by_loops(vectors, labels, slope=0.15):
    def cos(a, b):
        return float(a @ b) / (math.sqrt(float(a @ a) + 1e-8) * math.sqrt(float(b @ b) + 1e-8))

    total, anchors = 0.0, 0
    for i in range(len(vectors)):
        pairs = [
            max(
                0.0,
                slope * abs(float(labels[i] - labels[n])) - cos(vectors[i], vectors[p]) + cos(vectors[i], vectors[n]),
            )
            for p in range(len(vectors))
            for n in range(len(vectors))
            if p != i and labels[p] == labels[i] and labels[n] != labels[i]
        ]
        if pairs:
            total, anchors = total + sum(pairs) / len(pairs), anchors + 1
    return total / anchors if anchors else 0.0


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 12), st.integers(1, 5), st.integers(0, 10_000), st.floats(0.0, 1.0))
def test_the_loss_is_the_mean_over_anchors_of_the_mean_over_triplets(n, kinds, seed, slope):
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.randn(n, 3, generator=generator)
    labels = torch.randint(kinds, (n,), generator=generator).float() - 1.5
    assert label_margin_loss(vectors, labels, slope=slope).item() == pytest.approx(
        by_loops(vectors, labels, slope), abs=1e-5
    )


def test_the_margin_grows_with_the_distance_of_labels():
    vectors = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    for far, expected in ((2.0, 0.0), (10.0, 0.5), (20.0, 2.0)):  # anchors 0 and 1; 2 has no positive
        loss = label_margin_loss(vectors, torch.tensor([0.0, 0.0, far])).item()
        assert loss == pytest.approx(expected, abs=1e-4), far


@pytest.mark.parametrize("labels", [[1.0, 1.0, 1.0], [0.0, 1.0, 2.0], [1.0]])
def test_without_an_anchor_that_has_both_it_is_zero_with_zero_gradients(labels):
    labels = torch.tensor(labels)
    vectors = torch.randn(len(labels), 4, requires_grad=True)
    loss = label_margin_loss(vectors, labels)
    assert not label_anchors(labels).any()
    assert loss.item() == 0
    loss.backward()
    assert (vectors.grad == 0).all()


def test_of_a_continuous_label_the_positives_are_the_same_sample():
    labels = torch.tensor([0.25, -1.1, 2.0]).repeat(3)
    assert label_anchors(labels).all()
    together = torch.eye(3).repeat(3, 1)
    assert label_margin_loss(together, labels).item() == 0
    assert label_margin_loss(torch.ones(9, 3), labels).item() > 0.1


def test_equality_is_exact():
    close = torch.tensor([1.0, 1.0 + 2**-23, 2.0])
    assert not label_anchors(close).any()


def test_gradients_are_those_of_finite_differences():
    torch.manual_seed(0)
    vectors = torch.randn(7, 3, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0.0, 0.0, 1.0, 1.0, 1.0, -2.0, 3.0], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda v: label_margin_loss(v, labels, slope=0.6), (vectors,))


def test_lengths_of_vectors_do_not_matter_and_zero_is_no_problem():
    torch.manual_seed(0)
    vectors, labels = torch.randn(6, 3), torch.tensor([0.0, 0.0, 1.0, 1.0, 2.0, 2.0])
    scaled = vectors * torch.tensor([3.0, 0.5, 2.0, 9.0, 1.0, 4.0])[:, None]
    assert label_margin_loss(scaled, labels).item() == pytest.approx(
        label_margin_loss(vectors, labels).item(), abs=1e-5
    )
    zero = torch.zeros(6, 3, requires_grad=True)
    label_margin_loss(zero, labels).backward()
    assert zero.grad.isfinite().all()
    assert (cosines(torch.zeros(2, 3)) == 0).all()


def test_one_label_for_each_vector():
    with pytest.raises(DataError, match="there are 3 vectors but 2 labels"):
        label_margin_loss(torch.ones(3, 2), torch.ones(2))
