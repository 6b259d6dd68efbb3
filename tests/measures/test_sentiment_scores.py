"""The scores of multimodal sentiment against hand counts and scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score

from unsnarl.errors import DataError
from unsnarl.measures._sentiment import NAMES, sentiment_scores


def test_hand_counted():
    y = [-3.0, -1.2, 0.0, 0.0, 0.4, 2.6]
    guess = [-2.6, 0.3, 0.0, -0.1, 1.4, 3.9]
    found = sentiment_scores(y, guess)
    assert tuple(found) == NAMES
    assert found["mae"] == pytest.approx((0.4 + 1.5 + 0 + 0.1 + 1.0 + 1.3) / 6)
    assert found["corr"] == pytest.approx(np.corrcoef(y, guess)[0, 1])
    assert found["acc2_nonzero"] == 3 / 4  # the second is wrong
    assert found["acc2_nonnegative"] == 4 / 6  # and the fourth
    # positive: 2 hits, 3 guesses, 2 labels; negative: 1 hit, 1 guess, 2 labels
    assert found["f1_nonzero"] == pytest.approx((2 * 4 / 5 + 2 * 2 / 3) / 4)
    # rounded: -3 -1 0 0 0 3 against -3 0 0 0 1 3 (3.9 clipped)
    assert found["acc7"] == 4 / 6


@pytest.mark.parametrize("seed", range(20))
def test_against_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    y = np.clip(rng.normal(size=40) * 2, -3, 3).round(1)
    guess = y + rng.normal(size=40) * 2
    found = sentiment_scores(y, guess)
    charged = y != 0
    assert found["f1_nonzero"] == pytest.approx(f1_score(y[charged] > 0, guess[charged] > 0, average="weighted"))
    assert found["acc2_nonzero"] == pytest.approx(accuracy_score(y[charged] > 0, guess[charged] > 0))
    assert found["acc2_nonnegative"] == pytest.approx(accuracy_score(y >= 0, guess >= 0))
    order = rng.permutation(40)
    assert sentiment_scores(y[order], guess[order]) == pytest.approx(found)


def test_halves_round_to_the_even_number():
    assert sentiment_scores([0.5, 1.5, 2.5, -0.5], [0.0, 2.0, 2.0, 0.0])["acc7"] == 1.0


@pytest.mark.filterwarnings("ignore:the correlation is not")
def test_a_perfect_and_a_constant_prediction():
    y = np.array([-2.0, 1.0, 3.0])
    assert sentiment_scores(y, y) == pytest.approx(dict.fromkeys(NAMES, 1.0) | {"mae": 0.0})
    with pytest.warns(UserWarning, match="correlation is not defined"):
        found = sentiment_scores(y, np.full(3, 0.7))
    assert np.isnan(found["corr"])
    assert found["acc2_nonzero"] == pytest.approx(2 / 3)
    with pytest.warns(UserWarning, match="every label is 0"):
        zeros = sentiment_scores(np.zeros(3), y)
    assert np.isnan(zeros["acc2_nonzero"])
    assert np.isnan(zeros["f1_nonzero"])
    assert zeros["acc2_nonnegative"] == pytest.approx(2 / 3)


def test_labels_on_another_scale():
    with pytest.warns(UserWarning, match=r"2 labels outside \[-3, 3\]"):
        found = sentiment_scores([4.0, -3.5, 1.0], [3.0, -3.2, 1.0])
    assert found["acc7"] == 1.0
    assert found["mae"] == pytest.approx(1.3 / 3)


@pytest.mark.parametrize(
    ("y", "guess", "says"),
    [
        ([1.0, 2.0], [1.0, 2.0, 3.0], "y has 2, prediction has 3"),
        ([1.0, np.nan], [1.0, 2.0], "y has 1 value that is not finite"),
        ([1.0, 2.0], [1.0, np.inf], "prediction has 1 value"),
        (["good", "bad"], [1.0, 2.0], "y must hold numbers"),
        (np.ones((2, 2)), np.ones(2), "must be 1-D"),
        ([1.0], [1.0], "at least 2"),
    ],
)
def test_bad_input(y, guess, says):
    with pytest.raises(DataError, match=says):
        sentiment_scores(y, guess)
