import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from unsnarl.data import Simulator
from unsnarl.errors import DataError, OptionError
from unsnarl.measures import beta_vae_score, simulator_sampler
from unsnarl.measures._shared_value import RowSampler

QUICK = {"batch_size": 16, "train_size": 400, "test_size": 200}


def grid(*sizes, repeats=1):
    return np.repeat(np.stack(np.unravel_index(np.arange(np.prod(sizes)), sizes), axis=1), repeats, axis=0)


class Dots(Simulator):
    """Observations that are the factors' indices themselves."""

    def __init__(self, size, seed=0):
        self.grid = {"x": np.arange(4), "y": np.arange(4), "size": np.arange(4)}
        super().__init__(size, seed=seed)

    def render_indices(self, indices):
        import torch

        return torch.as_tensor(indices, dtype=torch.float32)


class Recorder(RowSampler):
    """Keeps what it gave."""

    def __init__(self, codes, labels):
        super().__init__(codes, labels)
        self.given = []

    def __call__(self, factor, batches, size, rng):
        codes = super().__call__(factor, batches, size, rng)
        self.given.append((factor, codes))
        return codes


def test_the_definition_written_again_gives_the_same_numbers():
    rng = np.random.default_rng(0)
    factors = grid(4, 3, 5, repeats=4)
    codes = factors @ rng.standard_normal((3, 4)) + 0.5 * rng.standard_normal((len(factors), 4))
    recorder = Recorder(codes, factors)
    score = beta_vae_score(codes, factors, sampler=recorder, **QUICK)
    points, labels = [], []
    for factor, drawn in recorder.given:
        for pairs in drawn.reshape(-1, 16, 2, 4):
            points.append(np.mean(np.abs(pairs[:, 0] - pairs[:, 1]), axis=0))
            labels.append(factor)
    points, labels = np.array(points), np.array(labels)
    assert len(points) == 600
    model = LogisticRegression().fit(points[:400], labels[:400])
    right = model.predict(points[400:]) == labels[400:]
    assert score == pytest.approx(right.mean(), abs=1e-12)
    assert score.train_accuracy == pytest.approx(np.mean(model.predict(points[:400]) == labels[:400]), abs=1e-12)
    np.testing.assert_allclose(score.per_factor, [right[labels[400:] == k].mean() for k in range(3)])
    expected = np.stack([points[:400][labels[:400] == k].mean(axis=0) for k in range(3)], axis=1)
    np.testing.assert_allclose(score.matrix, expected)
    assert score == beta_vae_score(codes, factors, **QUICK)  # the rows are what is drawn from by default


def test_row_sampler_shares_the_value_and_follows_the_data():
    labels = np.array([[0], [1], [1], [0], [2], [2], [2], [2]])
    sampler = RowSampler(np.arange(8.0)[:, None], labels)
    drawn = sampler(0, 20_000, 3, np.random.default_rng(0))[..., 0].astype(int)
    values = labels[drawn, 0]
    assert (values == values[:, :1]).all()
    np.testing.assert_allclose(np.bincount(values[:, 0]) / 20_000, [0.25, 0.25, 0.5], atol=0.01)
    np.testing.assert_allclose(np.bincount(drawn.ravel()) / 60_000, np.full(8, 1 / 8), atol=0.01)
    independent = np.mean(drawn[values[:, 0] == 2, 0] == drawn[values[:, 0] == 2, 1])
    assert independent == pytest.approx(1 / 4, abs=0.015)


def test_perfect_rotated_and_useless_codes():
    factors = grid(4, 4, 4, repeats=2)
    assert beta_vae_score(factors.astype(float), factors, **QUICK) == 1
    assert beta_vae_score(factors, factors, **QUICK) == 1  # integer codes
    turn, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))
    assert beta_vae_score(factors @ turn, factors, train_size=1000, test_size=200) > 0.9
    noise = np.random.default_rng(0).standard_normal((2048, 5))
    factors = grid(4, 4, 4, repeats=32)
    assert beta_vae_score(noise, factors, train_size=2000, test_size=2000) == pytest.approx(1 / 3, abs=0.06)
    constant = beta_vae_score(np.ones((128, 2)), grid(4, 4, 4, repeats=2), **QUICK)
    assert constant == pytest.approx(1 / 3, abs=0.1)


def test_small_codes_need_standardising():
    factors = grid(4, 4, 4, repeats=2)
    tiny = 1e-4 * factors
    assert beta_vae_score(tiny, factors, **QUICK) < 0.9
    assert beta_vae_score(tiny, factors, standardize=True, **QUICK) == 1


def test_fresh_observations_of_a_simulator():
    dots = Dots(200, seed=0)
    turn = np.random.default_rng(1).standard_normal((3, 3))
    sampler = simulator_sampler(dots, lambda images: images.numpy() @ turn)
    drawn = sampler(1, 5, 7, np.random.default_rng(0)) @ np.linalg.inv(turn)
    assert drawn.shape == (5, 7, 3)
    np.testing.assert_allclose(drawn[:, :, 1], np.broadcast_to(drawn[:, :1, 1], (5, 7)), atol=1e-9)
    assert np.ptp(drawn[:, :, 0], axis=1).max() > 1
    fresh = beta_vae_score(dots.table.indices @ turn, dots.table, sampler=sampler, train_size=500, test_size=1000)
    whole = grid(4, 4, 4)
    rows = beta_vae_score(whole @ turn, whole, train_size=500, test_size=1000)
    assert fresh == pytest.approx(rows, abs=0.06)  # on a full grid the rows are fresh samples


def test_a_sampler_allows_continuous_factors():
    rng = np.random.default_rng(0)
    factors = rng.random((100, 2))

    def sampler(factor, batches, size, rng):
        codes = rng.random((batches, size, 2))
        codes[:, :, factor] = codes[:, :1, factor]
        return codes

    with pytest.raises(
        DataError, match=r"the BetaVAE score is defined for discrete factors only, but 'factor 0', 'fact"
    ):
        beta_vae_score(factors, factors, **QUICK)
    assert beta_vae_score(factors, factors, sampler=sampler, **QUICK) == 1
    assert 0.9 < beta_vae_score(factors, factors, factor_bins=5, **QUICK) <= 1


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (np.zeros((3, 2, 2)), r"sampler must return numbers of shape \(batches, size, latents\) = "),
        (np.zeros((1, 1)), r"got float64 of shape \(1, 1\)"),
    ],
)
def test_a_sampler_that_returns_something_else(returned, message):
    factors = grid(4, 4)
    with pytest.raises(DataError, match=message):
        beta_vae_score(factors, factors, sampler=lambda *_: returned, **QUICK)
    with pytest.raises(DataError, match="sampler's codes has"):
        beta_vae_score(factors, factors, sampler=lambda f, b, s, rng: np.full((b, s, 2), np.nan), **QUICK)


def test_rare_values_are_named():
    factors = np.stack([np.repeat(["cube", "ball", "cone"], [50, 46, 4]), np.arange(100) % 5], axis=1)
    codes = np.random.default_rng(0).random((100, 2))
    message = r"factor 'factor 0' has the value cone in 4 rows only and min_rows=8; drop or merge rare values"
    with pytest.raises(DataError, match=message):
        beta_vae_score(codes, factors, **QUICK)
    assert 0 <= beta_vae_score(codes, factors, min_rows=4, **QUICK) <= 1


@pytest.mark.parametrize(
    ("codes", "factors", "message"),
    [
        (
            np.ones((90, 2)),
            np.arange(90) % 3,
            "the BetaVAE score asks which factor was fixed, so it needs at least two",
        ),
        (np.ones((90, 2)), np.arange(80) % 3, "codes has 90, factors has 80"),
        ([[0.0, np.nan]] * 90, np.arange(90) % 3, "codes has 90 values that are not finite"),
        (np.ones((90, 2)), np.stack([np.ones(90, int), np.arange(90) % 3], axis=1), "'factor 0' has the same value"),
    ],
)
def test_arrays_that_cannot_be_scored(codes, factors, message):
    with pytest.raises(DataError, match=message):
        beta_vae_score(codes, factors, **QUICK)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size=0 must be an integer at least 1"),
        ({"train_size": 0}, "train_size=0 must be an integer at least 1"),
        ({"test_size": -1}, "test_size=-1 must be an integer at least 1"),
        ({"min_rows": 1}, "min_rows=1 must be an integer at least 2"),
        ({"bootstrap": 10, "sampler": lambda *_: None}, "with sampler= the score does not come from the rows"),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(OptionError, match=message):
        beta_vae_score(grid(4, 4), grid(4, 4), **options)


def test_interval_and_seed():
    rng = np.random.default_rng(0)
    factors = grid(4, 4, repeats=10)
    codes = factors + 2.5 * rng.standard_normal((160, 2))
    score = beta_vae_score(codes, factors, bootstrap=10, **QUICK)
    assert score.low <= score <= score.high
    assert score.low < score.high
    assert score == beta_vae_score(codes, factors, **QUICK)
    assert score != beta_vae_score(codes, factors, seed=1, **QUICK)


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_labels_and_place_do_not_matter(seed):
    rng = np.random.default_rng(seed)
    factors = grid(3, 4, repeats=10)
    codes = factors @ rng.standard_normal((2, 3)) + rng.standard_normal((120, 3))
    score = beta_vae_score(codes, factors, **QUICK)
    assert 0 <= score <= 1
    latents = rng.permutation(3)
    moved = codes[:, latents] + rng.standard_normal(3)
    other = beta_vae_score(moved, np.array([1, 5, 7, 30])[factors], **QUICK)
    assert other == pytest.approx(score, abs=0.01)  # the fit stops at a tolerance
    rows = rng.permutation(120)
    assert beta_vae_score(codes[rows], factors[rows][:, ::-1], **QUICK) == pytest.approx(score, abs=0.2)  # other draws
