"""Divergences on simplices: closed forms, bounds between them, limits, both array libraries, bad input."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy

from unsnarl.errors import DataError, OptionError
from unsnarl.information._divergences import (
    as_probabilities,
    bhattacharyya_coefficient,
    hellinger_distance,
    jeffreys_divergence,
    js_divergence,
    kl_divergence,
    kl_from_logits,
    renyi_divergence,
    total_variation,
)

ALL = [
    kl_divergence,
    jeffreys_divergence,
    js_divergence,
    total_variation,
    bhattacharyya_coefficient,
    hellinger_distance,
    lambda p, q: renyi_divergence(p, q, 0.3),
    lambda p, q: renyi_divergence(p, q, 2.5),
    lambda p, q: renyi_divergence(p, q, math.inf),
]


def vectors(seed=0, n=20, k=6, concentration=0.5):
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.full(k, concentration), size=n), rng.dirichlet(np.full(k, concentration), size=n)


def test_against_other_implementations():
    p, q = vectors()
    assert kl_divergence(p, q) == pytest.approx([entropy(a, b) for a, b in zip(p, q, strict=True)])
    assert js_divergence(p, q, base=2) == pytest.approx(
        [jensenshannon(a, b, base=2) ** 2 for a, b in zip(p, q, strict=True)]
    )
    assert jeffreys_divergence(p, q) == pytest.approx(kl_divergence(p, q) + kl_divergence(q, p))


def test_by_hand():
    p, q = np.array([0.36, 0.64]), np.array([0.64, 0.36])
    bc = 2 * 0.6 * 0.8
    assert bhattacharyya_coefficient(p, q) == pytest.approx(bc)
    assert hellinger_distance(p, q, squared=True) == pytest.approx(2 * (1 - bc))  # without the factor 1/2
    assert hellinger_distance(p, q) == pytest.approx(math.sqrt(2 * (1 - bc)))
    assert total_variation(p, q) == pytest.approx(0.28)
    assert kl_divergence(p, q) == pytest.approx(0.28 * math.log(16 / 9))
    assert renyi_divergence(p, q, 0.5) == pytest.approx(-2 * math.log(bc))
    assert renyi_divergence(p, q, 2) == pytest.approx(math.log(0.36**2 / 0.64 + 0.64**2 / 0.36))
    assert renyi_divergence(p, q, math.inf, base=2) == pytest.approx(math.log2(16 / 9))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 12), st.sampled_from([0.05, 0.5, 5.0]))
def test_the_bounds_between_them(seed, k, concentration):
    p, q = vectors(seed, 5, k, concentration)
    kl, tv = kl_divergence(p, q), total_variation(p, q)
    square, js = hellinger_distance(p, q, squared=True), js_divergence(p, q)
    rounding = 1e-9
    assert (square <= kl + rounding).all()
    assert (tv**2 <= kl / 2 + rounding).all()
    assert (square / 2 <= tv + rounding).all()
    assert (tv <= np.sqrt(square) + rounding).all()
    assert ((js >= 0) & (js <= math.log(2) + rounding)).all()
    ordered = np.stack([renyi_divergence(p, q, a) for a in (0.0, 0.2, 0.5, 0.9, 1, 1.5, 4, math.inf)])
    finite = np.nan_to_num(ordered, posinf=1e300)
    assert (np.diff(finite, axis=0) >= -1e-7 * (1 + np.abs(finite[:-1]))).all()  # they grow with the order


@pytest.mark.parametrize("divergence", ALL)
def test_torch_and_numpy_agree_and_batches_broadcast(divergence):
    p, q = vectors()
    expected = divergence(p, q)
    assert divergence(torch.tensor(p), torch.tensor(q)).numpy() == pytest.approx(expected)
    assert divergence(torch.tensor(p), q).numpy() == pytest.approx(expected)
    single = divergence(torch.tensor(p).float(), torch.tensor(q).float())
    assert single.dtype == torch.float32
    assert single.numpy() == pytest.approx(expected, rel=1e-3, abs=1e-6)
    table = divergence(p[:, None], q[None, :4])
    assert table.shape == (20, 4)
    assert table[3, 3] == pytest.approx(expected[3])
    assert divergence(p, q[0]).shape == (20,)
    assert np.shape(divergence(p[0], q[0])) == ()
    assert divergence(p.tolist(), q.tolist()) == pytest.approx(expected)


def test_one_hot_limits():
    a, b = np.array([1.0, 0, 0]), np.array([0, 1.0, 0])
    for same, apart, divergence in [
        (0, math.inf, kl_divergence),
        (0, math.inf, jeffreys_divergence),
        (0, math.log(2), js_divergence),
        (0, 1, total_variation),
        (1, 0, bhattacharyya_coefficient),
        (0, math.sqrt(2), hellinger_distance),
        (0, math.inf, lambda p, q: renyi_divergence(p, q, 0.0)),
        (0, math.inf, lambda p, q: renyi_divergence(p, q, 0.5)),
        (0, math.inf, lambda p, q: renyi_divergence(p, q, 3.0)),
        (0, math.inf, lambda p, q: renyi_divergence(p, q, math.inf)),
    ]:
        for values in ((a, b), (torch.tensor(a), torch.tensor(b))):
            assert float(divergence(values[0], values[0])) == pytest.approx(same)
            assert float(divergence(*values)) == pytest.approx(apart)
    assert float(kl_divergence(a, [0.25, 0.75, 0])) == pytest.approx(math.log(4))
    assert float(renyi_divergence([0.5, 0.5], [0.0, 1.0], 0.5)) == pytest.approx(math.log(2))


def test_gradients_flow_and_stay_finite_at_zero():
    p = torch.tensor([0.5, 0.5, 0.0], dtype=torch.float64, requires_grad=True)
    q = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
    kl_divergence(p, q).backward()
    assert bool(torch.isfinite(p.grad).all())
    # d KL / d p = log(p/q) + 1 on the used categories, less what keeps the sum at 1
    expected = torch.tensor([math.log(0.5 / 0.2), math.log(1.0)], dtype=torch.float64)
    assert float(p.grad[0] - p.grad[1]) == pytest.approx(float(expected[0] - expected[1]))


def test_from_logits_beyond_what_probabilities_can_hold():
    assert float(kl_from_logits([0.0, 0.0], [0.0, 2000.0])) == pytest.approx(1000 - math.log(2))
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 5, 7))
    p, q = (np.exp(x) / np.exp(x).sum(-1, keepdims=True) for x in (a, b))
    assert kl_from_logits(a, b) == pytest.approx(kl_divergence(p, q))
    assert kl_from_logits(torch.tensor(a), torch.tensor(b), base=2).numpy() == pytest.approx(
        kl_divergence(p, q) / math.log(2)
    )
    with pytest.raises(DataError, match="q_logits has values that are not finite"):
        kl_from_logits(a, np.full((5, 7), np.nan))
    with pytest.raises(DataError, match="p_logits has 7 categories, q_logits has 6"):
        kl_from_logits(a, b[:, :6])


@pytest.mark.parametrize("library", [np.array, torch.tensor])
def test_bad_input(library):
    good = library([[0.5, 0.5]])
    with pytest.raises(DataError, match=r"p must sum to 1 over its last axis .* sums to 0\.8"):
        kl_divergence(library([[0.3, 0.5]]), good)
    with pytest.raises(DataError, match=r"q has a negative probability \(-1\); these look like logits"):
        js_divergence(good, library([[-1.0, 3.0]]))
    with pytest.raises(DataError, match="not finite"):
        total_variation(good, library([[math.nan, 1.0]]))
    with pytest.raises(DataError, match="p has 3 categories, q has 2"):
        hellinger_distance(library([[0.2, 0.3, 0.5]]), good)
    with pytest.raises(DataError, match="do not go together"):
        kl_divergence(library([[0.5, 0.5]] * 3), library([[0.5, 0.5]] * 2))
    with pytest.raises(DataError, match="at least one category"):
        bhattacharyya_coefficient(library(1.0), good)
    with pytest.raises(OptionError, match="order=-1 must be a number at least 0"):
        renyi_divergence(good, good, -1)
    with pytest.raises(OptionError, match="base"):
        kl_divergence(good, good, base=1)


def test_what_is_nearly_a_distribution_is_scaled():
    assert as_probabilities([0.5, 0.5004]).sum() == pytest.approx(1, abs=1e-15)
    assert as_probabilities(np.array([1, 0])).dtype == np.float64
    with pytest.raises(DataError, match="dtype <U1"):
        as_probabilities(["a", "b"])
