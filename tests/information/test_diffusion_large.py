"""The approximation for many points against the exact entropy, and the error it returns."""

import numpy as np
import pytest

from unsnarl.errors import DataError, OptionError
from unsnarl.information import EstimatorWarning
from unsnarl.information._diffusion_large import approximate_diffusion_entropy
from unsnarl.information._diffusion_spectral import diffusion_spectral_entropy


def cloud(kind, n=1500):
    rng = np.random.default_rng(0)
    if kind == "noise":
        return rng.normal(size=(n, 40)), 6.0
    if kind == "clusters":
        return rng.normal(size=(8, 20))[rng.integers(8, size=n)] * 4 + rng.normal(size=(n, 20)), 6.0
    hidden = np.maximum(rng.normal(size=(n, 4)) @ rng.normal(size=(4, 30)), 0)
    return np.maximum(hidden @ rng.normal(size=(30, 30)) / 5, 0), 3.0


@pytest.mark.parametrize(
    ("kind", "t", "most"),
    [
        ("noise", 1, 0.07),
        ("noise", 2, 0.001),
        ("clusters", 1, 0.15),
        ("clusters", 2, 0.01),
        ("network", 1, 0.3),  # its small eigenvalues spread over many orders of magnitude
        ("network", 2, 0.1),
    ],
)
def test_the_error_is_within_what_it_says(kind, t, most):
    x, sigma = cloud(kind)
    exact = diffusion_spectral_entropy(x, sigma, t)
    for seed in range(2):
        found = approximate_diffusion_entropy(x, sigma, t, landmarks=400, deflate=60, seed=seed)
        assert abs(found - exact) <= found.error
        assert found.error < most
        assert found.how == "stochastic Lanczos"
        assert found.n == len(x)


def test_more_steps_and_probes_come_nearer():
    x, sigma = cloud("network")
    exact = diffusion_spectral_entropy(x, sigma)
    seeds = range(3)
    rough = [
        approximate_diffusion_entropy(x, sigma, landmarks=200, deflate=10, steps=2, probes=2, seed=seed)
        for seed in seeds
    ]
    fine = [
        approximate_diffusion_entropy(x, sigma, landmarks=800, deflate=200, steps=6, probes=16, seed=seed)
        for seed in seeds
    ]
    assert max(abs(value - exact) for value in fine) < 0.02
    assert abs(fine[0] - exact) < 0.005
    assert np.abs(np.array(fine) - exact).mean() < np.abs(np.array(rough) - exact).mean() / 10
    assert max(value.error for value in fine) < min(value.error for value in rough) / 3


def test_seeded_and_tells_how_far_it_is():
    x, sigma = cloud("noise", 3000)  # several tiles
    seen = []
    found = approximate_diffusion_entropy(x, sigma, landmarks=200, deflate=20, progress=lambda *at: seen.append(at))
    assert found == approximate_diffusion_entropy(x, sigma, landmarks=200, deflate=20)
    assert found != approximate_diffusion_entropy(x, sigma, landmarks=200, deflate=20, seed=1)
    assert seen[-1][0] == seen[-1][1] == len(seen)


def test_ends_warn():
    x, _ = cloud("noise", 500)
    with pytest.warns(EstimatorWarning, match="at its ceiling"):
        assert approximate_diffusion_entropy(x, 0.1) == pytest.approx(np.log2(500), abs=1e-3)
    with pytest.warns(EstimatorWarning, match="at its floor"):
        assert approximate_diffusion_entropy(x, 1e4) == pytest.approx(0, abs=1e-3)


def test_few_points_work():
    x, _ = cloud("noise", 30)
    assert approximate_diffusion_entropy(x, 5.0) == pytest.approx(diffusion_spectral_entropy(x, 5.0), abs=0.05)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"t": 0.5}, OptionError, "t=0.5 must be a number at least 1"),
        ({"probes": 1}, OptionError, "probes=1"),
        ({"steps": 1}, OptionError, "steps=1"),
        ({"sigma": 0.0}, OptionError, "sigma=0.0"),
        ({"X": np.full((20, 2), np.nan)}, DataError, "not finite"),
    ],
)
def test_bad_input(options, error, message):
    with pytest.raises(error, match=message):
        approximate_diffusion_entropy(**{"X": np.random.default_rng(0).normal(size=(20, 2)), **options})
