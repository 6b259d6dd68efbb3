"""KSG-1 and KSG-2 against their definitions, closed forms and scikit-learn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import digamma
from sklearn.feature_selection import mutual_info_regression
from sklearn.feature_selection._mutual_info import _compute_mi_cc

import unsnarl.information._point_neighbors as point_neighbors
from unsnarl.errors import DataError, OptionError
from unsnarl.information import EstimatorWarning, mutual_information, total_correlation

quiet = pytest.mark.filterwarnings("ignore::unsnarl.information.EstimatorWarning")


def by_definition(variables, k, second):
    """Equations 8, 9, 22 and 23 of Kraskov et al. (2004), written down with n x n distances."""
    n, m = len(variables[0]), len(variables)
    apart = [np.abs(v[:, None, :] - v[None, :, :]).max(axis=2) for v in variables]
    joint = np.max(apart, axis=0)
    np.fill_diagonal(joint, np.inf)
    radius = np.sort(joint, axis=1)[:, k - 1]
    total = digamma(k) + (m - 1) * digamma(n) - ((m - 1) / k if second else 0)
    for distance in apart:
        np.fill_diagonal(distance, np.inf)
        if second:
            reach = np.where(joint <= radius[:, None], distance, 0).max(axis=1)
            total -= digamma((distance <= reach[:, None]).sum(axis=1)).mean()
        else:
            total -= digamma((distance < radius[:, None]).sum(axis=1) + 1).mean()
    return total


def correlated(n, rho, dimension=1, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, dimension))
    return x, rho * x + np.sqrt(1 - rho**2) * rng.normal(size=(n, dimension))


@quiet
@pytest.mark.parametrize("second", [False, True])
@pytest.mark.parametrize(("dx", "dy"), [(1, 1), (1, 2), (3, 2), (5, 7)])
@pytest.mark.parametrize("k", [1, 4])
def test_equals_the_definition(dx, dy, k, second):
    rng = np.random.default_rng(dx + 10 * dy)
    x = rng.normal(size=(90, dx))
    y = rng.normal(size=(90, dy))
    y[:, 0] += x[:, 0]
    estimator = "ksg2" if second else "ksg1"
    found = mutual_information(x, y, estimator=estimator, n_neighbors=k, standardize=False)
    assert found == pytest.approx(by_definition([x, y], k, second), abs=1e-10)


@quiet
@pytest.mark.parametrize("second", [False, True])
@pytest.mark.parametrize("kind", ["heavy tails", "a function", "a circle", "whole numbers", "clumps"])
def test_the_grid_of_two_columns_misses_no_neighbour(kind, second):
    rng = np.random.default_rng(4)
    x, y = rng.standard_cauchy(size=(2, 700))
    if kind == "a function":
        y = np.sin(5 * x)
    elif kind == "a circle":
        x, y = np.cos(x), np.sin(x)
    elif kind == "whole numbers":
        x, y = rng.integers(60, size=(2, 700)).astype(float)
    elif kind == "clumps":
        x, y = rng.integers(3, size=(2, 700)) + 1e-6 * rng.normal(size=(2, 700))
    estimator = "ksg2" if second else "ksg1"
    found = mutual_information(x, y, estimator=estimator, n_neighbors=3, standardize=False)
    assert found == pytest.approx(by_definition([x[:, None], y[:, None]], 3, second), abs=1e-10)


@quiet
@pytest.mark.parametrize("estimator", ["ksg1", "ksg2"])
def test_total_correlation_of_more_than_two_variables_equals_the_definition(estimator):
    rng = np.random.default_rng(5)
    x = rng.normal(size=(120, 4)) @ rng.normal(size=(4, 4))
    found = total_correlation(x, estimator=estimator, standardize=False)
    expected = by_definition([x[:, [j]] for j in range(4)], 3, estimator == "ksg2")
    assert found == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("estimator", ["ksg1", "ksg2"])
@pytest.mark.parametrize("rho", [0.0, 0.3, 0.6, 0.9, 0.99])
def test_correlated_gaussians(estimator, rho):
    estimates = [mutual_information(*correlated(5000, rho, seed=seed), estimator=estimator) for seed in range(6)]
    assert np.mean(estimates) == pytest.approx(-0.5 * np.log(1 - rho**2), abs=0.03)


@pytest.mark.parametrize("estimator", ["ksg1", "ksg2"])
def test_gaussians_of_two_dimensions(estimator):
    x, y = correlated(4000, 0.7, dimension=2, seed=2)
    rotated = x @ np.array([[0.6, -0.8], [0.8, 0.6]])
    assert mutual_information(rotated, y, estimator=estimator) == pytest.approx(-np.log(1 - 0.49), abs=0.04)


def test_total_correlation_of_gaussians():
    cov = np.array([[1, 0.5, 0.3], [0.5, 1, 0.4], [0.3, 0.4, 1]])
    samples = np.random.default_rng(0).multivariate_normal(np.zeros(3), cov, size=(6, 3000))
    truth = -0.5 * np.linalg.slogdet(cov)[1]
    for estimator, tolerance in (("ksg1", 0.03), ("ksg2", 0.03), ("gaussian", 0.02)):
        estimates = [total_correlation(x, estimator=estimator) for x in samples]
        assert np.mean(estimates) == pytest.approx(truth, abs=tolerance)


def test_agrees_with_scikit_learn():
    x, y = correlated(1500, 0.5, seed=7)
    ours = mutual_information(x, y, estimator="ksg1", standardize=False)
    assert ours == pytest.approx(_compute_mi_cc(x[:, 0], y[:, 0], 3), abs=1e-9)
    y *= 1000  # scikit-learn scales the columns and adds noise of 1e-10
    ours = mutual_information(x, y, estimator="ksg1", n_neighbors=5)
    theirs = mutual_info_regression(x, y[:, 0], n_neighbors=5, random_state=0)[0]
    assert ours == pytest.approx(theirs, abs=1e-6)


def test_ties_are_counted_as_scikit_learn_counts_them():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 6, size=400).astype(float)
    y = x + rng.integers(0, 3, size=400)
    with pytest.warns(EstimatorWarning, match="coincide with their n_neighbors nearest neighbours"):
        ours = mutual_information(x, y, estimator="ksg1", standardize=False, clip=True)
    assert ours == pytest.approx(_compute_mi_cc(x, y, 3), abs=1e-9)


@quiet
@pytest.mark.parametrize("rectangle", [False, True])
@pytest.mark.parametrize("tied", [False, True])
def test_tree_and_brute_force_count_alike(monkeypatch, rectangle, tied):
    rng = np.random.default_rng(11)
    points = rng.normal(size=(600, 4))
    if tied:
        points = np.round(2 * points)
    block_of = np.array([0, 0, 1, 1])
    monkeypatch.setattr(point_neighbors, "_tree_is_quicker", lambda n, dimension: True)
    by_tree = point_neighbors.count_in_blocks(points, block_of, 3, rectangle=rectangle)
    monkeypatch.setattr(point_neighbors, "_tree_is_quicker", lambda n, dimension: False)
    by_force = point_neighbors.count_in_blocks(points, block_of, 3, rectangle=rectangle)
    assert np.array_equal(by_tree[0], by_force[0])
    assert by_tree[1] == by_force[1]
    assert (by_tree[1] > 0) == tied


@quiet
@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from(["ksg1", "ksg2"]),
    st.integers(1, 2),
    st.integers(1, 5),
    st.booleans(),
)
def test_invariances(seed, estimator, dx, k, tied):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(40, dx)), rng.normal(size=40)
    y += x[:, 0]
    if tied:
        x, y = np.round(4 * x) / 4, np.round(4 * y) / 4
    here = mutual_information(x, y, estimator=estimator, n_neighbors=k, standardize=False)
    order = rng.permutation(40)
    reordered = mutual_information(x[order], y[order], estimator=estimator, n_neighbors=k, standardize=False)
    assert reordered == pytest.approx(here, abs=1e-10)
    swapped = mutual_information(y, x, estimator=estimator, n_neighbors=k, standardize=False)
    assert swapped == pytest.approx(here, abs=1e-10)
    scaled = mutual_information(8 - 4 * x, 4 * y, estimator=estimator, n_neighbors=k, standardize=False)
    assert scaled == pytest.approx(here, abs=1e-10)


@pytest.mark.parametrize("estimator", ["ksg1", "ksg2"])
def test_the_unit_of_a_column_does_not_matter(estimator):
    x, y = correlated(500, 0.8)
    here = mutual_information(x, y, estimator=estimator)
    assert mutual_information(1e6 * x - 3, y / 512, estimator=estimator) == pytest.approx(here, abs=1e-9)
    raw = mutual_information(1e6 * x, y, estimator=estimator, standardize=False)
    assert abs(raw - here) > 0.1  # that is what standardize is for


def test_constants_share_nothing():
    x, y = correlated(100, 0.9)
    constant = np.full(100, 0.1)
    assert mutual_information(x, constant, estimator="ksg1") == 0.0
    with_constant = np.column_stack([x, constant])
    assert mutual_information(with_constant, y, estimator="ksg2") == mutual_information(x, y, estimator="ksg2")


def test_small_negative_estimates_are_returned_unless_clipped():
    rng = np.random.default_rng(0)
    estimates = np.array([mutual_information(*rng.normal(size=(2, 300)), estimator="ksg1") for _ in range(60)])
    assert (estimates < 0).sum() > 15
    assert abs(estimates.mean()) < 0.02
    x, y = np.random.default_rng(0).normal(size=(2, 300))
    value = mutual_information(x, y, estimator="ksg1")
    assert mutual_information(x, y, estimator="ksg1", clip=True) == max(value, 0.0)


def test_jitter_is_seeded_and_breaks_ties():
    x, y = (np.round(2 * part) for part in correlated(4000, 0.8))
    options = {"estimator": "ksg1", "jitter": 1e-3}
    first = mutual_information(x, y, **options)
    assert mutual_information(x, y, **options) == first
    assert mutual_information(x, y, seed=1, **options) != first
    assert first == pytest.approx(mutual_information(x, y, estimator="miller-madow"), abs=0.03)


def test_memory_stays_linear():
    import tracemalloc

    x, y = correlated(3000, 0.5, dimension=6)
    tracemalloc.start()
    with pytest.warns(EstimatorWarning, match="KSG-1 in 12 dimensions with 3,000 observations"):
        mutual_information(x, y, estimator="ksg1")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5e6  # a 3,000 x 3,000 matrix takes 72e6


@pytest.mark.parametrize(
    ("x", "y", "options", "error", "message"),
    [
        (np.arange(9.0), np.arange(8.0), {}, DataError, "x has 9, y has 8"),
        (np.array([0, np.nan, 1]), np.arange(3.0), {}, DataError, "x has 1 value that is not finite"),
        (np.arange(3.0), np.array([0, 1, -np.inf]), {}, DataError, "y has 1 value that is not finite"),
        (np.zeros((3, 2, 2)), np.arange(3.0), {}, DataError, r"x must be 2-D .* got shape \(3, 2, 2\)"),
        (np.array(["a", "b", "c"]), np.arange(3.0), {}, DataError, "x must hold numbers"),
        (
            np.arange(5.0),
            np.arange(5.0),
            {"n_neighbors": 5},
            OptionError,
            r"must be below the number of observations \(5\)",
        ),
        (
            np.arange(5.0),
            np.arange(5.0),
            {"n_neighbors": 0},
            OptionError,
            "n_neighbors=0 must be an integer at least 1",
        ),
        (np.arange(5.0), np.arange(5.0), {"n_neighbors": -2}, OptionError, "n_neighbors=-2 must be an integer"),
        (np.arange(5.0), np.arange(5.0), {"jitter": -1}, OptionError, "jitter=-1 must be a number at least 0"),
        (np.array([0, 1, 1.7e308]), np.arange(3.0), {"n_neighbors": 1}, DataError, "x has values whose spread"),
    ],
)
def test_bad_input(x, y, options, error, message):
    with pytest.raises(error, match=message):
        mutual_information(x, y, estimator="ksg1", **options)


def test_jitter_never_repeats_the_draws_that_made_the_data():
    rng = np.random.default_rng(5)
    hidden = rng.normal(size=3000)
    rounded = np.round(hidden / 100)  # all zero but for the noise
    rounded[0] = 1.0
    assert abs(mutual_information(rounded, hidden, estimator="ksg1", jitter=1.0, seed=5)) < 0.05
