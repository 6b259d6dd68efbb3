"""HSIC and CKA against the matrix formulas."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist, pdist

import unsnarl.information._kernel as kernel_file
from unsnarl.errors import DataError, OptionError
from unsnarl.information import centered_kernel_alignment, hsic, pairwise_hsic


def gram(x, kernel, bandwidth=None):
    x = x.reshape(len(x), -1)
    if kernel == "linear":
        return x @ x.T
    return np.exp(-(cdist(x, x) ** 2) / (2 * (bandwidth or np.median(pdist(x))) ** 2))


def by_matrices(k, other, unbiased):
    n = len(k)
    if not unbiased:
        h = np.eye(n) - 1 / n
        return np.trace(k @ h @ other @ h) / (n - 1) ** 2
    k, other = k - np.diag(np.diag(k)), other - np.diag(np.diag(other))
    one = np.ones(n)
    return (
        np.trace(k @ other)
        + (one @ k @ one) * (one @ other @ one) / ((n - 1) * (n - 2))
        - 2 / (n - 2) * (one @ k @ other @ one)
    ) / (n * (n - 3))


@pytest.mark.parametrize("kernel", ["gaussian", "linear"])
@pytest.mark.parametrize("unbiased", [True, False])
@pytest.mark.parametrize("blocks", [1, 7])
def test_equals_the_matrix_formula(monkeypatch, kernel, unbiased, blocks):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(83, 3)) + 100
    y = np.column_stack([x[:, 0] ** 2, rng.normal(size=83)])
    monkeypatch.setattr(kernel_file, "_BLOCK_BYTES", 8 * 83 * 2 * (83 // blocks))
    expected = by_matrices(gram(x, kernel), gram(y, kernel), unbiased)
    assert hsic(x, y, kernel=kernel, unbiased=unbiased) == pytest.approx(expected, rel=1e-6)
    fixed = by_matrices(gram(x, kernel, 2.5), gram(y, kernel, 2.5), unbiased)
    assert hsic(x, y, kernel=kernel, unbiased=unbiased, bandwidth=2.5) == pytest.approx(fixed, rel=1e-6)
    given_grams = hsic(gram(x, kernel), gram(y, kernel), kernel="precomputed", unbiased=unbiased)
    assert given_grams == pytest.approx(expected, rel=1e-6)


def test_linear_hsic_is_the_squared_covariance():
    x, y = np.random.default_rng(0).normal(size=(2, 50))
    assert hsic(x, y, kernel="linear", unbiased=False) == pytest.approx(np.cov(x, y)[0, 1] ** 2)


@pytest.mark.parametrize("kernel", ["gaussian", "linear"])
@pytest.mark.parametrize("unbiased", [True, False])
def test_all_pairs(kernel, unbiased):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 4)) * [1, 10, 0.1, 0]
    y = x[:, :2] + rng.normal(size=(60, 2))
    options = {"kernel": kernel, "unbiased": unbiased}
    single = [[hsic(a, b, **options) for b in y.T] for a in x.T]
    assert pairwise_hsic(x, y, **options) == pytest.approx(np.array(single), abs=1e-12)
    assert pairwise_hsic(x, **options) == pytest.approx(pairwise_hsic(x, x, **options), abs=1e-12)


def test_unbiased_is_zero_on_average_at_independence_and_biased_is_not():
    rng = np.random.default_rng(0)
    samples = rng.normal(size=(200, 2, 30))
    unbiased = np.array([hsic(x, y, bandwidth=1.0) for x, y in samples])
    biased = np.array([hsic(x, y, bandwidth=1.0, unbiased=False) for x, y in samples])
    assert abs(unbiased.mean()) < 3 * unbiased.std() / np.sqrt(200)
    assert biased.min() > 0
    assert biased.mean() > 10 * abs(unbiased.mean())


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["gaussian", "linear"]), st.booleans())
def test_alignment_is_bounded_and_sees_no_rotation_scale_or_order(seed, kernel, unbiased):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(25, 3)), rng.normal(size=(25, 4))
    y[:, :3] += x
    options = {"kernel": kernel, "unbiased": unbiased}
    here = centered_kernel_alignment(x, y, **options)
    assert here <= 1 + 1e-9
    assert unbiased or here >= 0
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    order = rng.permutation(25)
    there = centered_kernel_alignment((5 * x @ rotation - 2)[order], y[order], **options)
    assert there == pytest.approx(here, abs=1e-8)
    assert centered_kernel_alignment(x, x, **options) == pytest.approx(1)


def test_linear_alignment_equals_kornblith():
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(40, 6)), rng.normal(size=(40, 5))
    a, b = x - x.mean(axis=0), y - y.mean(axis=0)
    expected = np.linalg.norm(b.T @ a) ** 2 / (np.linalg.norm(a.T @ a) * np.linalg.norm(b.T @ b))
    assert centered_kernel_alignment(x, y) == pytest.approx(expected)
    assert centered_kernel_alignment(a @ a.T, b @ b.T, kernel="precomputed") == pytest.approx(expected)


def test_wide_noise_looks_aligned_unless_unbiased():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 20, 500))
    assert centered_kernel_alignment(x, y) > 0.9
    assert abs(centered_kernel_alignment(x, y, unbiased=True)) < 0.1


def test_memory_stays_bounded(monkeypatch):
    monkeypatch.setattr(kernel_file, "_BLOCK_BYTES", 2**20)
    x, y = np.random.default_rng(0).normal(size=(2, 2000))
    hsic(x[:10], y[:10])
    monkeypatch.setattr(kernel_file, "_MEDIAN_ROWS", 100)
    tracemalloc.start()
    hsic(x, y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4e6  # one 2,000 x 2,000 matrix takes 32e6


def test_constants():
    x = np.random.default_rng(0).normal(size=50)
    assert hsic(x, np.ones(50)) == pytest.approx(0, abs=1e-12)
    assert hsic(x, np.ones(50), kernel="linear") == 0


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: hsic(np.arange(5.0), np.arange(6.0)), DataError, "x has 5, y has 6"),
        (
            lambda: hsic(np.arange(3.0), np.arange(3.0)),
            DataError,
            "unbiased estimate needs at least 4 observations, got 3",
        ),
        (lambda: hsic([0, np.nan], [0, 1]), DataError, "x has 1 value that is not finite"),
        (lambda: hsic(np.arange(5.0), np.arange(5.0), kernel="rbf"), OptionError, "kernel='rbf' is not allowed"),
        (
            lambda: hsic(np.arange(5.0), np.arange(5.0), bandwidth=0),
            OptionError,
            "bandwidth=0 must be a number above 0",
        ),
        (lambda: hsic(np.eye(5), np.ones((5, 2)), kernel="precomputed"), DataError, "y must be a symmetric"),
        (lambda: centered_kernel_alignment(np.arange(5.0), np.ones(5)), DataError, "y is constant"),
        (lambda: pairwise_hsic(np.eye(5), kernel="precomputed"), OptionError, "kernel='precomputed' is not allowed"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
