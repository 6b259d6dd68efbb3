"""All pairs of columns give what each pair gives by itself."""

import numpy as np
import pytest
from sklearn.metrics import mutual_info_score

import unsnarl.information._threads as threads
from unsnarl.errors import DataError, OptionError
from unsnarl.information import (
    EstimatorWarning,
    column_entropies,
    equal_width_bins,
    mutual_information,
    pairwise_mutual_information,
)


def discrete_sample(n=500, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, [3, 4, 1], size=(n, 3))
    x = np.column_stack([y[:, 0] * 100, (y[:, 1] + rng.integers(0, 2, n)) % 4, rng.integers(0, 12, n), np.full(n, 7)])
    return x, y


def continuous_sample(n=400, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.normal(size=(n, 3))
    y[:, 2] = 0.1
    x = rng.normal(size=(n, 4)) * [1, 50, 1e-3, 0]
    x[:, :2] += y[:, :2]
    return x, y


@pytest.mark.parametrize("estimator", ["plugin", "miller-madow"])
def test_discrete_pairs(estimator):
    x, y = discrete_sample()
    table = pairwise_mutual_information(x, y, estimator=estimator)
    single = [[mutual_information(a, b, estimator=estimator) for b in y.T] for a in x.T]
    assert table == pytest.approx(np.array(single), abs=1e-12)
    if estimator == "plugin":
        theirs = [[mutual_info_score(a, b) for b in y.T] for a in x.T]
        assert table == pytest.approx(np.array(theirs), abs=1e-12)
    assert table[0, 0] == pytest.approx(column_entropies(y, estimator=estimator)[0], abs=1e-12)
    assert (table[3] == 0).all()


@pytest.mark.filterwarnings("ignore::unsnarl.information.EstimatorWarning")
def test_a_table_too_large_to_hold_is_counted_by_sorting():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 300, size=(400, 2))
    y = rng.integers(0, 250, size=(400, 2))
    theirs = [[mutual_info_score(a, b) for b in y.T] for a in x.T]
    assert pairwise_mutual_information(x, y) == pytest.approx(np.array(theirs), abs=1e-12)


@pytest.mark.parametrize("estimator", ["ksg1", "ksg2", "gaussian"])
def test_continuous_pairs(estimator):
    x, y = continuous_sample()
    table = pairwise_mutual_information(x, y, estimator=estimator)
    single = [[mutual_information(a, b, estimator=estimator) for b in y.T] for a in x.T]
    assert table == pytest.approx(np.array(single), abs=1e-12)
    assert (table[3] == 0).all()
    assert (table[:, 2] == 0).all()


@pytest.mark.parametrize("estimator", ["plugin", "miller-madow", "ksg1", "ksg2", "gaussian"])
def test_one_matrix_with_itself(estimator):
    x = discrete_sample()[0] if estimator in ("plugin", "miller-madow") else continuous_sample()[0]
    table = pairwise_mutual_information(x, estimator=estimator)
    assert np.array_equal(table, table.T)
    off = ~np.eye(4, dtype=bool)
    with pytest.warns(EstimatorWarning) if "ksg" in estimator else np.errstate():
        both = pairwise_mutual_information(x, x, estimator=estimator)
    assert table[off] == pytest.approx(both[off], abs=1e-12)
    if estimator in ("plugin", "miller-madow"):
        assert np.diag(table) == pytest.approx(column_entropies(x, estimator=estimator), abs=1e-12)
    else:
        assert np.diag(table).tolist() == [np.inf, np.inf, np.inf, 0.0]


def test_options_reach_the_estimator():
    x, y = continuous_sample()
    labels = equal_width_bins(y, 3)
    nats = pairwise_mutual_information(x, labels, estimator="ross")
    assert pairwise_mutual_information(x, labels, estimator="ross", base=2) == pytest.approx(nats / np.log(2))
    assert (nats < 0).any()
    assert np.array_equal(pairwise_mutual_information(x, labels, estimator="ross", clip=True), np.maximum(nats, 0))
    more = pairwise_mutual_information(x, labels, estimator="ross", n_neighbors=7)
    assert more[0, 0] == mutual_information(x[:, 0], labels[:, 0], estimator="ross", n_neighbors=7)
    assert np.array_equal(pairwise_mutual_information(labels, x, estimator="ross"), nats.T)
    raw = pairwise_mutual_information(x, y, estimator="ksg1", standardize=False)
    assert raw[1, 1] == mutual_information(x[:, 1], y[:, 1], estimator="ksg1", standardize=False)


def test_float32_and_torch_codes():
    import torch

    x, y = continuous_sample(200)
    labels = equal_width_bins(y, 3)
    single = x.astype(np.float32)
    found = pairwise_mutual_information(torch.tensor(single), torch.tensor(labels), estimator="ross")
    assert found.dtype == np.float64
    assert np.array_equal(found, pairwise_mutual_information(single.astype(np.float64), labels, estimator="ross"))


@pytest.mark.parametrize("estimator", ["plugin", "ross", "ksg2"])
def test_the_number_of_threads_changes_nothing(monkeypatch, estimator):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 5, size=(3000, 7)) if estimator != "ksg2" else rng.normal(size=(3000, 2))
    x = rng.integers(0, 9, size=(3000, 99)) if estimator == "plugin" else rng.normal(size=(3000, 4))
    tables = []
    for count in (1, 5):
        monkeypatch.setattr(threads, "thread_count", lambda count=count: count)
        tables.append(pairwise_mutual_information(x, y, estimator=estimator))
    assert np.array_equal(*tables)


def test_warnings_name_the_worst_column():
    x, y = continuous_sample()
    x[:, 1] = np.round(x[:, 1] / 100)
    with pytest.warns(EstimatorWarning, match="column 1 of x"):
        pairwise_mutual_information(x, equal_width_bins(y, 3), estimator="ross")
    ids = np.column_stack([np.arange(400) % 2, np.arange(400)])
    with pytest.warns(EstimatorWarning, match="column 1 of x and column 0 of y"):
        pairwise_mutual_information(ids, np.arange(400)[:, None] % 9)


@pytest.mark.parametrize(
    ("x", "y", "options", "error", "message"),
    [
        (np.zeros((3, 2), int), np.zeros((4, 1), int), {}, DataError, "x has 3, y has 4"),
        (np.zeros(3, int), None, {}, DataError, "x must be 2-D"),
        (np.zeros((3, 2), int), np.zeros((3, 1, 1)), {}, DataError, r"y must be 2-D .* got shape \(3, 1, 1\)"),
        (np.array([[np.nan], [0.0]]), None, {"estimator": "ksg1"}, DataError, "x has 1 value that is not finite"),
        (np.array([[None], [0]]), None, {}, DataError, "x is an object array"),
        (np.zeros((3, 2), int), None, {"estimator": "mine"}, OptionError, "estimator='mine' is not allowed"),
        (np.eye(3), None, {"estimator": "ross", "n_neighbors": 1}, OptionError, "pass both x and y"),
        (
            np.eye(3),
            np.arange(3)[:, None],
            {"estimator": "ross", "n_neighbors": 1},
            DataError,
            "every value of y column 0",
        ),
        (
            np.eye(3),
            np.eye(3),
            {"estimator": "ksg1", "n_neighbors": 3},
            OptionError,
            "below the number of observations",
        ),
        (np.eye(2), np.eye(2), {"estimator": "gaussian"}, DataError, "2 observations cannot determine the covariance"),
    ],
)
def test_bad_input(x, y, options, error, message):
    with pytest.raises(error, match=message):
        pairwise_mutual_information(x, y, **options)


def test_measurements_are_no_categories():
    x, _ = continuous_sample()
    with pytest.raises(DataError, match="x column 0 holds 400 different non-integer values"):
        pairwise_mutual_information(x, x)
