"""Diffusion spectral entropy against its definition, its limits and the ways it is made quick."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import unsnarl.information._psd_spectrum as psd
from unsnarl.errors import DataError, OptionError
from unsnarl.information import EstimatorWarning, effective_rank, spectral_entropy
from unsnarl.information._diffusion_spectral import (
    adjacency_spectral_entropy,
    diffusion_entry_entropy,
    diffusion_spectral_entropy,
)
from unsnarl.information._distances import gaussian_affinity
from unsnarl.information._spectrum import entropy_of_shares, participation_ratio

quiet = pytest.mark.filterwarnings("ignore::unsnarl.information.EstimatorWarning")


def by_definition(x, sigma, t, operator="symmetric"):
    gaps = x[:, None] - x[None]
    kernel = np.exp(-(gaps**2).sum(2) / (2 * sigma**2))
    mass = kernel.sum(1)
    if operator == "random-walk":
        values = np.linalg.eigvals(kernel / mass[:, None]).real
    else:
        kernel = kernel / np.sqrt(mass[:, None] * mass[None])
        if operator == "anisotropic":
            kernel = kernel / kernel.sum(1, keepdims=True)
        values = np.linalg.eigvals(kernel).real
    a = np.abs(values) ** t
    a = a / a.sum()
    a = a[a > 0]
    return -(a * np.log2(a)).sum()


@pytest.mark.parametrize("operator", ["symmetric", "random-walk", "anisotropic"])
@pytest.mark.parametrize("t", [1, 2, 3.5])
def test_equals_the_definition(operator, t):
    x = np.random.default_rng(0).normal(size=(120, 4)) * [3, 1, 1, 0.2]
    found = diffusion_spectral_entropy(x, 1.3, t, operator)
    assert found == pytest.approx(by_definition(x, 1.3, t, operator), abs=1e-9)
    assert (found.sigma, found.t, found.operator, found.n, found.how) == (1.3, t, operator, 120, "float64")


def test_the_anisotropic_operator_is_another_one():
    x = np.random.default_rng(0).normal(size=(200, 4))
    symmetric, anisotropic = (diffusion_spectral_entropy(x, 1.0, 2, o) for o in ("symmetric", "anisotropic"))
    assert symmetric == diffusion_spectral_entropy(x, 1.0, 2, "random-walk")
    assert anisotropic - symmetric > 0.1


@quiet
@pytest.mark.parametrize("t", [1, 2, 7])
@pytest.mark.parametrize("k", [1, 2, 5, 8])
def test_far_clusters_of_equal_points_count_themselves(k, t):
    x = np.repeat(1e3 * np.eye(8)[:k], 12, axis=0)
    assert diffusion_spectral_entropy(x, 5.0, t) == pytest.approx(math.log2(k), abs=1e-9)


def test_ends_and_their_warnings():
    x = np.random.default_rng(0).normal(size=(64, 3))
    with pytest.warns(EstimatorWarning, match=r"ceiling of log2 n = 6.00.*sigma is too small"):
        assert diffusion_spectral_entropy(x, 1e-3) == pytest.approx(6, abs=1e-6)
    with pytest.warns(EstimatorWarning, match=r"floor of 0.*sigma is too large"):
        assert diffusion_spectral_entropy(x, 1e4) == pytest.approx(0, abs=1e-4)
    with pytest.warns(EstimatorWarning, match="at its floor"):
        assert diffusion_spectral_entropy(np.ones((9, 2)), "median") == pytest.approx(0, abs=1e-9)
    with pytest.warns(EstimatorWarning, match="the adjacency spectral entropy is 6.00 bits, at its ceiling"):
        adjacency_spectral_entropy(x, 1e-3)


@quiet
@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 40), st.integers(1, 6), st.floats(0.2, 5), st.floats(0.1, 50))
def test_invariances_and_monotone_in_t(seed, n, d, sigma, scale):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d))
    turn = np.linalg.qr(rng.normal(size=(d, d)))[0]
    here = diffusion_spectral_entropy(x, sigma)
    moved = scale * (x @ turn)[rng.permutation(n)] + 3
    assert diffusion_spectral_entropy(moved, scale * sigma) == pytest.approx(here, abs=1e-8)
    assert -1e-9 <= here <= math.log2(n) + 1e-9
    assert diffusion_spectral_entropy(x, sigma, 2) <= here + 1e-9


def test_median_width_is_reported_and_makes_scale_free():
    x = np.random.default_rng(0).normal(size=(150, 6))
    found = diffusion_spectral_entropy(x, "median")
    gaps = np.linalg.norm(x[:, None] - x[None], axis=2)[np.triu_indices(150, 1)]
    assert found.sigma == pytest.approx(np.median(gaps) / math.sqrt(2))
    assert diffusion_spectral_entropy(1e6 * x, "median") == pytest.approx(found, abs=1e-9)


def test_tensors_and_single_columns():
    x = torch.randn(50, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    assert diffusion_spectral_entropy(x, 1.0) == diffusion_spectral_entropy(x.detach().numpy(), 1.0)
    assert diffusion_spectral_entropy(np.arange(9.0), 2.0) == diffusion_spectral_entropy(np.arange(9.0)[:, None], 2.0)
    assert diffusion_spectral_entropy(np.arange(9), 2.0) == diffusion_spectral_entropy(np.arange(9.0), 2.0)


def test_the_share_of_eigenvalues_above_a_hundredth():
    x = np.random.default_rng(0).normal(size=(100, 3))
    for t in (1, 4):
        kernel = gaussian_affinity(x, 1.5).numpy()
        mass = kernel.sum(1)
        values = np.linalg.eigvalsh(kernel / np.sqrt(mass[:, None] * mass))
        assert diffusion_spectral_entropy(x, 1.5, t).above == (values**t > 0.01).mean()


def test_subsampling_is_seeded_and_never_silent():
    x = np.random.default_rng(0).normal(size=(300, 3))
    one = diffusion_spectral_entropy(x, 1.0, max_n=100)
    assert one.n == 100
    assert one == diffusion_spectral_entropy(x, 1.0, max_n=100, seed=0)
    assert one != diffusion_spectral_entropy(x, 1.0, max_n=100, seed=1)
    with pytest.raises(OptionError, match="300 observations and max_n=100, so some must be drawn; give a seed"):
        diffusion_spectral_entropy(x, 1.0, max_n=100, seed=None)
    assert diffusion_spectral_entropy(x, 1.0, max_n=300, seed=None).n == 300


def test_entries_of_the_walk():
    x = np.random.default_rng(0).normal(size=(40, 3))
    kernel = np.exp(-(((x[:, None] - x[None]) ** 2).sum(2)) / 2)
    kernel /= np.sqrt(np.outer(kernel.sum(1), kernel.sum(1)))
    walk = kernel / kernel.sum(1, keepdims=True)
    for t in (1, 3):
        p = np.linalg.matrix_power(walk, t) / 40
        assert diffusion_entry_entropy(x, 1.0, t) == pytest.approx(-(p * np.log2(p)).sum(), abs=1e-9)
    assert diffusion_entry_entropy(x, 1e5) == pytest.approx(2 * math.log2(40), abs=1e-6)
    with pytest.raises(OptionError, match=r"t=1\.5 must be an integer"):
        diffusion_entry_entropy(x, 1.0, 1.5)


def test_adjacency_entropies():
    x = np.random.default_rng(0).normal(size=(90, 3))
    kernel = gaussian_affinity(x, 1.0).numpy()
    expected = entropy_of_shares(np.abs(np.linalg.eigvalsh(kernel)), base=2)
    assert adjacency_spectral_entropy(x, 1.0) == pytest.approx(expected, abs=1e-9)
    assert adjacency_spectral_entropy(x, 1.0, normalized=True) == diffusion_spectral_entropy(x, 1.0)
    separate = np.repeat(100 * np.eye(3), 10, axis=0) + 0.01 * np.random.default_rng(0).normal(size=(30, 3))
    found = adjacency_spectral_entropy(separate, neighbors=10)  # three complete graphs of ten
    assert found == pytest.approx(math.log2(3), abs=1e-9)
    assert math.isnan(found.sigma)
    assert adjacency_spectral_entropy(separate, neighbors=10, normalized=True) == pytest.approx(math.log2(3))


def test_published_values():
    peer = pytest.importorskip("dse_dsmi.dse")
    x = np.random.default_rng(0).normal(size=(500, 5))
    for t in (1, 2):
        theirs = peer.diffusion_spectral_entropy(x, gaussian_kernel_sigma=1.0, t=t)
        assert diffusion_spectral_entropy(x, 1.0, t) == pytest.approx(theirs, abs=1e-6)
    theirs = peer.diffusion_spectral_entropy(x, gaussian_kernel_sigma=1.0, matrix_entry_entropy=True)
    assert diffusion_entry_entropy(x, 1.0) == pytest.approx(theirs, abs=1e-6)
    theirs = peer.adjacency_spectral_entropy(x, gaussian_kernel_sigma=1.0)
    assert adjacency_spectral_entropy(x, 1.0) == pytest.approx(theirs, abs=1e-6)


@quiet
@pytest.mark.parametrize("t", [1, 2])
@pytest.mark.parametrize("operator", ["symmetric", "anisotropic"])
@pytest.mark.parametrize(
    ("kind", "sigma", "how"),
    [("clusters", 0.3, "blocks"), ("line", 3.0, "low rank"), ("noise", 4.0, "float32"), ("surface", 0.5, None)],
)
def test_every_short_way_stays_within_its_tolerance(kind, sigma, how, operator, t):
    rng = np.random.default_rng(0)
    n = 700
    x = {
        "clusters": np.eye(6)[rng.integers(6, size=n)] * 30 + 0.2 * rng.normal(size=(n, 6)),
        "line": np.outer(rng.normal(size=n), rng.normal(size=20)),
        "noise": rng.normal(size=(n, 60)),
        "surface": rng.normal(size=(n, 2)) @ rng.normal(size=(2, 9)),
    }[kind]
    exact = diffusion_spectral_entropy(x, sigma, t, operator, tolerance=0)
    found = diffusion_spectral_entropy(x, sigma, t, operator)
    assert exact.how == "float64"
    assert found == pytest.approx(exact, abs=1e-6)
    assert abs(found - exact) <= found.error + 1e-9
    if how is not None:
        assert found.how == how


def test_a_looser_tolerance_is_kept_too():
    x = np.random.default_rng(0).normal(size=(600, 3))
    exact = diffusion_spectral_entropy(x, 1.0, tolerance=0)
    ways = set()
    for tolerance in (1e-2, 1e-4, 1e-7):
        found = diffusion_spectral_entropy(x, 1.0, tolerance=tolerance)
        assert abs(found - exact) <= tolerance
        ways.add(found.how)
    assert "low rank" in ways


def test_the_fannes_bound_bounds():
    rng = np.random.default_rng(0)
    for _ in range(50):
        p = rng.dirichlet(np.full(30, 0.3))
        q = p + rng.uniform(0, 1) * (rng.dirichlet(np.full(30, 0.1)) - p)
        gap = abs(entropy_of_shares(p, base=2) - entropy_of_shares(q, base=2))
        assert gap <= psd._fannes(0.5 * np.abs(p - q).sum(), 30) + 1e-12
    for tolerance in (1e-6, 1e-2):
        assert psd._fannes(psd._allowed_remainder(tolerance, 1000), 1000) == pytest.approx(tolerance, rel=1e-3)


def test_entropy_of_shares_and_participation():
    assert entropy_of_shares([[1, 1], [0, 2]], base=2) == pytest.approx(1.5)
    assert entropy_of_shares([1e-300, 1e-300]) == pytest.approx(math.log(2))
    assert entropy_of_shares([1e308, 1e308]) == pytest.approx(math.log(2))
    for bad, message in ([], "none"), ([1, -1], "-1"), ([0, 0], "all zero"), ([1, np.nan], "not finite"):
        with pytest.raises(DataError, match=message):
            entropy_of_shares(bad)
    x = np.random.default_rng(0).normal(size=(500, 4)) * [5, 1, 1, 0.1]
    x = x - x.mean(0)
    values = np.linalg.eigvalsh(np.cov(x.T))
    expected = values.sum() ** 2 / (values**2).sum()
    assert participation_ratio(np.cov(x.T)) == pytest.approx(expected)
    assert participation_ratio(x, power=2) == pytest.approx(expected)
    assert participation_ratio(np.cov(x.T)) < effective_rank(np.cov(x.T))
    assert math.exp(spectral_entropy(np.eye(5))) == pytest.approx(participation_ratio(np.eye(5)))


@pytest.mark.parametrize(
    ("x", "options", "error", "message"),
    [
        (np.ones((1, 2)), {}, DataError, "X needs at least 2 rows, got 1"),
        (np.array([[1.0], [np.nan]]), {}, DataError, "X has 1 value that is not finite"),
        (torch.tensor([[1.0], [math.inf]]), {}, DataError, "X has 1 value that is not finite"),
        (np.ones((3, 2, 2)), {}, DataError, "X must be 2-D"),
        (np.ones((3, 2)), {"sigma": 0}, OptionError, "sigma=0 must be a number above 0"),
        (np.ones((3, 2)), {"sigma": -1.0}, OptionError, "sigma=-1.0 must be"),
        (np.ones((3, 2)), {"sigma": "mean"}, OptionError, "sigma='mean' is not allowed; choose one of 'median'"),
        (np.ones((3, 2)), {"t": 0}, OptionError, "t=0 must be a number above 0"),
        (np.ones((3, 2)), {"operator": "markov"}, OptionError, "operator='markov' is not allowed"),
        (np.ones((3, 2)), {"max_n": 1}, OptionError, "max_n=1 must be an integer at least 2"),
        (np.ones((3, 2)), {"tolerance": -1.0}, OptionError, "tolerance=-1.0 must be"),
        ([["a"], ["b"]], {}, DataError, "X must hold numbers"),
    ],
)
def test_bad_input(x, options, error, message):
    with pytest.raises(error, match=message):
        diffusion_spectral_entropy(x, **options)
