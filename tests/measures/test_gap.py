import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unsnarl.errors import DataError, OptionError
from unsnarl.measures import mutual_information_gap


def entangled(n=800, seed=0, latents=4):
    rng = np.random.default_rng(seed)
    factors = np.stack([rng.integers(v, size=n) for v in (4, 3, 2)], axis=1)
    return factors @ rng.standard_normal((3, latents)) + 0.4 * rng.standard_normal((n, latents)), factors


def plug_in(a, b):
    _, a = np.unique(a, return_inverse=True)
    _, b = np.unique(b, return_inverse=True)
    table = np.zeros((a.max() + 1, b.max() + 1))
    np.add.at(table, (a, b), 1 / len(a))
    product = table.sum(axis=1, keepdims=True) * table.sum(axis=0, keepdims=True)
    return np.sum(table[table > 0] * np.log(table[table > 0] / product[table > 0]))


def by_hand(codes, factors, bins=20):
    binned = [np.digitize(z, np.histogram(z, bins)[1][:-1]) for z in codes.T]
    share = np.array([[plug_in(z, s) / plug_in(s, s) for s in factors.T] for z in binned])
    ordered = np.sort(share, axis=0)
    return share, ordered[-1] - ordered[-2]


@pytest.mark.parametrize("bins", [5, 20])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_definition_written_again_gives_the_same_numbers(bins, dtype):
    codes, factors = entangled()
    codes = codes.astype(dtype)
    share, gap = by_hand(codes, factors, bins)
    score = mutual_information_gap(codes, factors, bins=bins)
    np.testing.assert_allclose(score.matrix, share, atol=1e-12)
    np.testing.assert_allclose(score.per_factor, gap, atol=1e-12)
    assert score == pytest.approx(gap.mean(), abs=1e-12)
    assert score.matrix.shape == (4, 3)


def test_integer_codes_are_categories_as_binning_up_to_twenty_values_has_them():
    rng = np.random.default_rng(0)
    factors = np.stack([np.arange(2000) % 20, np.arange(2000) // 100 % 4], axis=1)
    codes = (factors @ [[1, 0, 1], [0, 5, 3]] + rng.integers(2, size=(2000, 3))) % 20
    assert mutual_information_gap(codes, factors) == pytest.approx(by_hand(codes, factors)[1].mean(), abs=1e-12)
    assert mutual_information_gap(codes, factors) == mutual_information_gap(codes.astype(float), factors, bins=None)
    wide = codes * 3 + np.arange(2000)[:, None] % 3  # 60 values: binning merges neighbours, categories stay apart
    assert mutual_information_gap(wide.astype(float), factors) == pytest.approx(by_hand(wide, factors)[1].mean())
    assert mutual_information_gap(wide, factors) != pytest.approx(by_hand(wide, factors)[1].mean(), abs=1e-3)


def test_perfect_doubled_and_useless_codes():
    factors = np.stack(np.unravel_index(np.arange(60), (3, 4, 5)), axis=1)
    assert mutual_information_gap(factors.astype(float), factors) == pytest.approx(1)
    assert mutual_information_gap(factors[:, [0, 1, 2, 2]], factors) == pytest.approx(2 / 3)
    noise = np.random.default_rng(0).standard_normal((20_000, 5))
    assert mutual_information_gap(noise, np.arange(20_000) % 4) < 2e-3
    assert mutual_information_gap(np.zeros((60, 2)), factors) == 0


def test_one_latent_has_no_second():
    with pytest.warns(
        UserWarning, match="the mutual information gap is nan: it compares latents, and there is one only"
    ):
        assert math.isnan(mutual_information_gap(np.arange(50.0)[:, None], np.arange(50) % 2))


def test_too_many_values_to_be_categories():
    codes, factors = entangled()
    with pytest.raises(DataError, match="latent 0 of codes takes 800 different values in 800 rows"):
        mutual_information_gap(codes, factors, bins=None)
    with pytest.raises(DataError, match="latent 1 of codes takes 800 different values in 800 rows"):
        mutual_information_gap(np.stack([np.arange(800) % 5, np.arange(800)], axis=1), factors)


def test_continuous_factors_need_bins():
    codes, factors = entangled()
    table = {"shape": factors[:, 0], "x": codes[:, 0], "y": codes[:, 1]}
    with pytest.raises(DataError, match=r"gap is defined for discrete factors only, but 'x', 'y' are continuous; pass"):
        mutual_information_gap(codes, table)
    assert mutual_information_gap(codes, table, factor_bins=10) > 0.2


@pytest.mark.parametrize(
    ("codes", "factors", "message"),
    [
        (np.ones((9, 2)), np.arange(8), "codes has 9, factors has 8"),
        ([[0.0, np.inf]] * 9, np.arange(9), "codes has 9 values that are not finite"),
        (np.ones((9, 2)), np.ones(9, int), "'factor 0' has the same value in every row"),
    ],
)
def test_arrays_that_cannot_be_scored(codes, factors, message):
    with pytest.raises(DataError, match=message):
        mutual_information_gap(codes, factors)


def test_bins_out_of_range():
    with pytest.raises(OptionError, match="bins=1 must be an integer at least 2"):
        mutual_information_gap(*entangled(), bins=1)


def test_interval():
    score = mutual_information_gap(*entangled(), bootstrap=40, seed=1)
    assert score.low < score < score.high
    assert score.interval == mutual_information_gap(*entangled(), bootstrap=40, seed=1).interval
    assert score.interval != mutual_information_gap(*entangled(), bootstrap=40, seed=2).interval


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), power=st.integers(-8, 8))
def test_order_labels_scale_and_place_do_not_matter(seed, power):
    rng = np.random.default_rng(seed)
    codes, factors = entangled(n=200, seed=seed)
    codes = np.round(codes, 3)  # away from the edges of bins, where rounding decides
    score = mutual_information_gap(codes, factors)
    assert 0 <= score <= 1
    rows, latents, names = rng.permutation(200), rng.permutation(4), rng.permutation(3)
    moved = codes[rows][:, latents] * 2.0**power
    other = mutual_information_gap(moved, rng.permutation(4)[factors][rows][:, names])
    assert other == pytest.approx(score, abs=1e-12)
    np.testing.assert_allclose(other.matrix, score.matrix[latents][:, names], atol=1e-12)
