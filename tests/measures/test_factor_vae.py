import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unsnarl.errors import DataError, OptionError
from unsnarl.measures import factor_vae_score
from unsnarl.measures._shared_value import RowSampler

QUICK = {"batch_size": 16, "train_size": 400, "test_size": 200}


def grid(*sizes, repeats=1):
    return np.repeat(np.stack(np.unravel_index(np.arange(np.prod(sizes)), sizes), axis=1), repeats, axis=0)


def noisy(seed=0):
    rng = np.random.default_rng(seed)
    factors = grid(4, 3, 5, repeats=4)
    return factors @ rng.standard_normal((3, 4)) + 0.5 * rng.standard_normal((len(factors), 4)), factors


def test_the_definition_written_again_gives_the_same_numbers():
    codes, factors = noisy()
    codes = np.column_stack([codes, np.zeros(len(codes))])
    given = []

    class Recorder(RowSampler):
        def __call__(self, factor, batches, size, rng):
            drawn = super().__call__(factor, batches, size, rng)
            given.extend((factor, batch) for batch in drawn)
            return drawn

    score = factor_vae_score(codes, factors, sampler=Recorder(codes, factors), **QUICK)
    assert len(given) == 600
    spread = codes[:, :4].var(axis=0, ddof=1)
    votes = np.zeros((2, 5, 3), dtype=int)
    for number, (factor, batch) in enumerate(given):
        votes[int(number >= 400), np.argmin(batch[:, :4].var(axis=0, ddof=1) / spread), factor] += 1
    best = votes[0].argmax(axis=1)
    assert score == pytest.approx(votes[1][np.arange(5), best].sum() / 200, abs=1e-12)
    assert score.train_accuracy == pytest.approx(votes[0].max(axis=1).sum() / 400, abs=1e-12)
    np.testing.assert_array_equal(score.matrix, votes[0])
    np.testing.assert_array_equal(score.active, [True] * 4 + [False])
    right = [votes[1][best == k, k].sum() / votes[1][:, k].sum() for k in range(3)]
    np.testing.assert_allclose(score.per_factor, right)
    assert score == factor_vae_score(codes, factors, **QUICK)


def test_perfect_mixed_and_useless_codes():
    factors = grid(4, 4, 4, repeats=2)
    assert factor_vae_score(factors.astype(float), factors, **QUICK) == 1
    assert factor_vae_score(factors[:, [0, 1, 2, 2]], factors, **QUICK) == 1
    assert factor_vae_score(factors @ [[1, 0], [1, 0], [0, 1]], factors, train_size=2000) == pytest.approx(
        2 / 3, abs=0.03
    )
    factors = grid(4, 4, 4, repeats=32)
    noise = np.random.default_rng(0).standard_normal((2048, 5))
    assert factor_vae_score(noise, factors, train_size=3000, test_size=3000) == pytest.approx(1 / 3, abs=0.06)


def test_collapsed_latents_do_not_vote():
    codes, factors = noisy()
    codes[:, 0] = 3.0
    codes[:, 1] *= 1e-3
    assert factor_vae_score(codes, factors, **QUICK).active.tolist() == [False, True, True, True]
    assert factor_vae_score(codes, factors, threshold=0.05, **QUICK).active.tolist() == [False, False, True, True]
    with pytest.warns(UserWarning, match="the FactorVAE score is 0: no latent is active"):
        score = factor_vae_score(np.ones((240, 2)), factors, **QUICK)
    assert score == 0
    assert score.train_accuracy == 0


def test_continuous_factors():
    codes, _ = noisy()
    with pytest.raises(
        DataError, match="the FactorVAE score is defined for discrete factors only, but 'x', 'y' are cont"
    ):
        factor_vae_score(codes, {"x": codes[:, 0], "y": codes[:, 1]}, **QUICK)
    assert factor_vae_score(codes[:, :2], {"x": codes[:, 0], "y": codes[:, 1]}, factor_bins=6, **QUICK) > 0.8


def test_rare_values_are_named():
    factors = np.stack([np.repeat([0.5, 1.5], [97, 3]), np.arange(100) % 5], axis=1)
    with pytest.raises(DataError, match=r"factor 'factor 0' has the value 1\.5 in 3 rows only and min_rows=8"):
        factor_vae_score(np.random.default_rng(0).random((100, 2)), factors, kinds="discrete", **QUICK)


@pytest.mark.parametrize(
    ("codes", "factors", "message"),
    [
        (
            np.ones((90, 2)),
            np.arange(90) % 3,
            "the FactorVAE score asks which factor was fixed, so it needs at least two",
        ),
        (np.ones((90, 2)), np.arange(80) % 3, "codes has 90, factors has 80"),
        ([[0.0, np.inf]] * 90, np.arange(90) % 3, "codes has 90 values that are not finite"),
    ],
)
def test_arrays_that_cannot_be_scored(codes, factors, message):
    with pytest.raises(DataError, match=message):
        factor_vae_score(codes, factors, **QUICK)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 1}, "batch_size=1 must be an integer at least 2"),
        ({"train_size": 0}, "train_size=0 must be an integer at least 1"),
        ({"test_size": 0}, "test_size=0 must be an integer at least 1"),
        ({"threshold": -0.1}, "threshold=-0.1 must be a number at least 0"),
        ({"bootstrap": 10, "sampler": lambda *_: None}, "with sampler= the score does not come from the rows"),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(OptionError, match=message):
        factor_vae_score(*noisy(), **options)


def test_interval_and_seed():
    codes, factors = noisy()
    score = factor_vae_score(codes, factors, bootstrap=10, **QUICK)
    assert score.low <= score <= score.high
    assert score.low < score.high
    assert score == factor_vae_score(codes, factors, **QUICK)
    assert score != factor_vae_score(codes, factors, seed=1, **QUICK)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_labels_scale_and_place_do_not_matter(seed):
    rng = np.random.default_rng(seed)
    codes, factors = noisy(seed)
    score = factor_vae_score(codes, factors, **QUICK)
    assert 0 <= score <= 1
    latents = rng.permutation(4)
    moved = codes[:, latents] * rng.uniform(0.1, 10, 4) * rng.choice([-1, 1], 4) + rng.standard_normal(4)
    other = factor_vae_score(moved, np.array([1, 5, 7, 30, 31])[factors], **QUICK)
    assert other == score
    np.testing.assert_array_equal(other.matrix, score.matrix[latents])
