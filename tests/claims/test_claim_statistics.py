import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from unsnarl.claims import paired_gains, paired_interval, verdict
from unsnarl.claims._statistics import RULES, _quantile, _resamples, overall
from unsnarl.errors import DataError, OptionError


def test_gains_are_signed_for_the_system():
    np.testing.assert_allclose(paired_gains([3, 1], [1, 2]), [2, -1])
    np.testing.assert_allclose(paired_gains([3, 1], [1, 2], higher_is_better=False), [-2, 1])
    # a quarter lower error; the sign of the baseline does not turn the gain round
    np.testing.assert_allclose(paired_gains([0.75], [1.0], higher_is_better=False, compare="relative"), [0.25])
    np.testing.assert_allclose(paired_gains([-1.0], [-2.0], compare="relative"), [0.5])


def test_gains_that_do_not_exist_are_nan():
    assert np.isnan(paired_gains([1.0, math.nan], [0.0, 1.0], compare="relative")).all()
    with pytest.raises(DataError, match="same seeds"):
        paired_gains([1, 2], [1])
    with pytest.raises(OptionError, match="compare='ratio'"):
        paired_gains([1], [1], compare="ratio")


def test_resamples_of_three_by_hand():
    counts, weights = _resamples(3)
    probability = {tuple(map(int, c)): w for c, w in zip(counts, weights, strict=True)}
    assert len(probability) == 10
    assert probability[3, 0, 0] == pytest.approx(1 / 27)
    assert probability[2, 1, 0] == pytest.approx(3 / 27)
    assert probability[1, 1, 1] == pytest.approx(6 / 27)
    for n in (2, 5, 7):
        assert _resamples(n)[1].sum() == pytest.approx(1)


def test_interval_of_three_by_hand():
    # P(all three the smallest) = 1/27 > 0.025, so the percentile interval is [min, max]; stretch = 4.3027 * sqrt(3/2) / 1.96
    stretch = 4.302653 * math.sqrt(1.5) / 1.959964
    estimate = paired_interval([1.0, 2.0, 6.0])
    assert estimate.mean == 3.0
    assert estimate.low == pytest.approx(3 - 2 * stretch, rel=1e-5)
    assert estimate.high == pytest.approx(3 + 3 * stretch, rel=1e-5)


def test_interval_of_five_by_hand():
    # of the 3,125 resamples of 0..4, sums 0, 1, 2, 3, 4 come up 1, 5, 15, 35, 70 times; 2.5% is 78.1 of them, which
    # sum 4 is the first to reach (126), so the mean's lower quantile is 0.8 and the upper one 3.2
    stretch = 2.776445 * math.sqrt(5 / 4) / 1.959964
    estimate = paired_interval([0.0, 1.0, 2.0, 3.0, 4.0])
    assert estimate.low == pytest.approx(2 - 1.2 * stretch, rel=1e-5)
    assert estimate.high == pytest.approx(2 + 1.2 * stretch, rel=1e-5)


def test_one_value_and_equal_values():
    assert paired_interval([0.3]) == (0.3, -math.inf, math.inf)
    assert paired_interval([0.25] * 4) == (0.25, 0.25, 0.25)
    with pytest.raises(DataError, match="not finite"):
        paired_interval([0.1, math.nan])
    with pytest.raises(DataError):
        paired_interval([])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=9), st.floats(-10, 10), st.floats(0.1, 10))
def test_interval_encloses_mean_and_moves_with_the_data(values, shift, scale):
    a = paired_interval(values)
    assert a.low <= a.mean + 1e-9
    assert a.mean <= a.high + 1e-9
    b = paired_interval([scale * v + shift for v in values])
    np.testing.assert_allclose(b, [scale * part + shift for part in a], atol=1e-6 * scale, rtol=1e-6)
    # the other way round: swapping system and baseline mirrors the interval
    c = paired_interval([-v for v in values])
    if len(values) <= 7:  # above, resamples are drawn, so the mirror is near but not exact
        np.testing.assert_allclose([-c.high, -c.low], [a.low, a.high], atol=1e-6)


def test_large_samples_agree_with_student():
    values = np.random.default_rng(0).standard_normal(200)
    low, high = stats.t.interval(0.95, 199, loc=values.mean(), scale=values.std(ddof=1) / math.sqrt(200))
    estimate = paired_interval(values)
    assert estimate.low == pytest.approx(low, abs=0.01)
    assert estimate.high == pytest.approx(high, abs=0.01)


def _coverage(draw, truth, n, repeats):
    rng = np.random.default_rng(n)
    counts, weights = _resamples(n)
    ours = plain = 0
    for values in draw(rng, (repeats, n)):
        estimate = paired_interval(values)
        ours += estimate.low <= truth <= estimate.high
        means = counts @ values / n
        plain += _quantile(means, weights, 0.025) <= truth <= -_quantile(-means, weights, 0.025)
    return ours / repeats, plain / repeats


@pytest.mark.parametrize(("n", "repeats", "plain_at_most"), [(3, 2000, 0.79), (5, 2000, 0.87), (10, 600, 0.94)])
def test_coverage_gaussian(n, repeats, plain_at_most):
    ours, plain = _coverage(lambda rng, shape: rng.standard_normal(shape), 0.0, n, repeats)
    assert 0.925 <= ours <= 0.975
    assert plain <= plain_at_most  # why the plain percentile bootstrap will not do
    assert ours > plain


@pytest.mark.parametrize(("n", "repeats", "plain_at_most"), [(3, 2000, 0.73), (5, 2000, 0.83), (10, 600, 0.91)])
def test_coverage_skewed(n, repeats, plain_at_most):
    # the limit that the module states: 88 to 90 percent for the exponential
    ours, plain = _coverage(lambda rng, shape: rng.exponential(size=shape), 1.0, n, repeats)
    assert 0.855 <= ours <= 0.95
    assert plain <= plain_at_most


def test_exchangeable_arms_seldom_hold_though_skewed():
    # the difference of two runs of the same skewed kind is symmetric: at most about 2.5% may hold by chance
    rng = np.random.default_rng(5)
    gains = rng.exponential(size=(3000, 5)) - rng.exponential(size=(3000, 5))
    held = np.mean([paired_interval(row).low > 0 for row in gains])
    assert held <= 0.032


@pytest.mark.parametrize(
    ("low", "high", "minimum", "expected"),
    [
        (0.1, 0.2, 0.1, "inconclusive"),  # the bar itself is not beyond the bar
        (0.1001, 0.2, 0.1, "holds"),
        (0.0, 0.2, 0.0, "inconclusive"),
        (-0.2, 0.1, 0.1, "inconclusive"),
        (-0.2, 0.0999, 0.1, "does not hold"),
        (-1.4, 0.5, -1.5, "holds"),  # not worse by more than 1.5
        (-1.6, -1.4, -1.5, "inconclusive"),
        (-3.0, -1.6, -1.5, "does not hold"),
        (None, None, 0.0, "inconclusive"),
        (-math.inf, math.inf, 0.0, "inconclusive"),
        (math.nan, math.nan, 0.0, "inconclusive"),
    ],
)
def test_verdict(low, high, minimum, expected):
    assert verdict(low, high, minimum) == expected


@pytest.mark.parametrize(
    ("mean", "low", "high", "expected"),
    [
        (0.10, 0.001, 0.2, "holds"),
        (0.099, 0.05, 0.15, "inconclusive"),
        (0.2, 0.0, 0.4, "inconclusive"),
        (0.05, 0.02, 0.08, "does not hold"),  # surely positive, surely too small
        (-0.2, -0.3, -0.1, "does not hold"),
    ],
)
def test_verdict_by_the_mean(mean, low, high, expected):
    assert verdict(low, high, 0.10, mean=mean, rule=RULES[1]) == expected


def test_verdict_refuses():
    with pytest.raises(OptionError, match="rule='whatever'"):
        verdict(0, 1, 0, rule="whatever")
    with pytest.raises(DataError, match="needs the mean"):
        verdict(0, 1, 0, rule=RULES[1])
    with pytest.raises(OptionError, match="minimum_effect=-1"):
        verdict(0, 1, -1, mean=0.5, rule=RULES[1])
    with pytest.raises(DataError, match="above high"):
        verdict(1, 0, 0)


def test_overall():
    assert overall(["holds", "holds"]) == "holds"
    assert overall(["holds", "inconclusive"]) == "inconclusive"
    assert overall(["holds", "inconclusive", "does not hold"]) == "does not hold"
    with pytest.raises(DataError):
        overall([])
