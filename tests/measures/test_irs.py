import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unsnarl.errors import DataError, OptionError
from unsnarl.measures import irs


def grid(*sizes, repeats=1):
    return np.repeat(np.stack(np.unravel_index(np.arange(np.prod(sizes)), sizes), axis=1), repeats, axis=0)


def noisy(seed=0, sizes=(4, 3, 5), latents=4):
    rng = np.random.default_rng(seed)
    factors = grid(*sizes, repeats=3)
    codes = factors @ rng.standard_normal((len(sizes), latents)) + 0.5 * rng.standard_normal((len(factors), latents))
    return codes, factors


def by_hand(codes, factors, quantile=0.99, bins=20):
    largest = np.abs(codes - codes.mean(axis=0)).max(axis=0)
    robustness = np.empty((codes.shape[1], factors.shape[1]))
    for k, s in enumerate(factors.T):
        s = np.digitize(s, np.histogram(s, bins)[1][:-1])
        for j, z in enumerate(codes.T):
            deviations = [np.percentile(np.abs(z[s == v] - z[s == v].mean()), 100 * quantile) for v in np.unique(s)]
            robustness[j, k] = 1 - np.mean(deviations) / largest[j]
    return robustness, np.average(robustness.max(axis=1), weights=largest)


@pytest.mark.parametrize("quantile", [0.5, 0.99, 1.0])
@pytest.mark.parametrize("bins", [2, 20])
def test_the_definition_written_again_gives_the_same_numbers(quantile, bins):
    codes, factors = noisy()
    robustness, value = by_hand(codes, factors, quantile, bins)
    score = irs(codes, factors, diff_quantile=quantile, bins=bins)
    np.testing.assert_allclose(score.matrix, robustness, atol=1e-12)
    assert score == pytest.approx(value, abs=1e-12)
    np.testing.assert_array_equal(score.parents, robustness.argmax(axis=1))
    np.testing.assert_allclose(score.per_latent, robustness.max(axis=1), atol=1e-12)
    np.testing.assert_allclose(score.per_factor, robustness.max(axis=0), atol=1e-12)


def test_factors_with_many_values_fall_into_bins():
    codes, factors = noisy(sizes=(40, 3))
    assert irs(codes, factors) == pytest.approx(by_hand(codes, factors)[1], abs=1e-12)
    assert irs(codes, factors, bins=None) == pytest.approx(by_hand(codes, factors, bins=40)[1], abs=1e-12)
    assert irs(codes, factors) != irs(codes, factors, bins=None)


def test_continuous_factors_are_binned():
    codes, factors = noisy()
    angle = codes[:, 0] * 7 - 1
    score = irs(codes, {"angle": angle, "shape": factors[:, 0]})
    assert score == pytest.approx(by_hand(codes, np.stack([angle, factors[:, 0]], axis=1))[1], abs=1e-12)
    assert score.parents[0] == 0


def test_perfect_codes_and_noise():
    factors = grid(4, 3, 5)
    score = irs(factors.astype(float), factors)
    assert score == pytest.approx(1)
    assert score.parents.tolist() == [0, 1, 2]
    assert irs(factors[:, [2, 2, 0]], factors) == pytest.approx(1)
    noise = np.random.default_rng(0).standard_normal((10_000, 3))
    factors = np.stack([np.arange(10_000) % 4, np.arange(10_000) // 4 % 5], axis=1)
    assert irs(noise, factors) == pytest.approx(1 - 2.576 / np.abs(noise).max(axis=0).mean(), abs=0.02)


def test_constant_latents_are_left_out():
    codes, factors = noisy()
    padded = np.insert(codes, 1, 0.1, axis=1)
    score = irs(padded, factors)
    assert score == irs(codes, factors)
    assert score.active.tolist() == [True, False, True, True, True]
    assert score.parents[1] == -1
    assert np.isnan(score.per_latent[1])
    assert (score.matrix[1] == 0).all()
    with pytest.warns(UserWarning, match="IRS is 0: every latent is constant"):
        assert irs(np.ones((len(codes), 2)), factors) == 0


@pytest.mark.parametrize(
    ("codes", "factors", "message"),
    [
        (np.ones((9, 2)), np.arange(8), "codes has 9, factors has 8"),
        ([[0.0, np.nan]] * 9, np.arange(9), "codes has 9 values that are not finite"),
        (np.ones((9, 2)), np.ones(9, int), "'factor 0' has the same value in every row"),
    ],
)
def test_arrays_that_cannot_be_scored(codes, factors, message):
    with pytest.raises(DataError, match=message):
        irs(codes, factors)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bins": 1}, "bins=1 must be an integer at least 2"),
        ({"diff_quantile": 0}, "diff_quantile=0 must be a number above 0 and at most 1"),
        ({"diff_quantile": 1.1}, "diff_quantile=1.1 must be a number above 0 and at most 1"),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(OptionError, match=message):
        irs(*noisy(), **options)


def test_interval():
    score = irs(*noisy(), bootstrap=30)
    assert score.low < score < score.high
    assert score.interval == irs(*noisy(), bootstrap=30).interval


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), scale=st.floats(1e-3, 1e3))
def test_order_labels_scale_and_place_do_not_matter(seed, scale):
    rng = np.random.default_rng(seed)
    codes, factors = noisy(seed)
    score = irs(codes, factors)
    assert score <= 1
    rows, latents, names = rng.permutation(len(codes)), rng.permutation(4), rng.permutation(3)
    moved = scale * codes[rows][:, latents] + rng.standard_normal(4)
    other = irs(moved, rng.permutation(5)[factors][rows][:, names])
    assert other == pytest.approx(score, abs=1e-9)
    np.testing.assert_allclose(other.matrix, score.matrix[latents][:, names], atol=1e-9)
