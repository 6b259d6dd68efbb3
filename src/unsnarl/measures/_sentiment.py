"""The numbers that papers on multimodal sentiment report, each under a name that says what it is.

Two accuracies go by the name "Acc-2" in that field, and papers often give the higher one: sentences with a label of exactly 0
are left out ("nonzero"), or count as positive ("nonnegative"). Both are given here.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from unsnarl.arrays import as_vector, check_same_length
from unsnarl.errors import DataError

LIMIT = 3.0
NAMES = ("mae", "corr", "acc2_nonzero", "acc2_nonnegative", "f1_nonzero", "acc7")


def sentiment_scores(y: Float[np.ndarray, " n"] | Any, prediction: Float[np.ndarray, " n"] | Any) -> dict[str, float]:
    """Scores of predicted sentiment on the scale from -3 to 3 (Zadeh et al. 2016; as computed by Tsai et al. 2019, MulT).

    Args:
        y: labels of n utterances, in [-3, 3].
        prediction: predictions; they may leave the scale.

    Returns:
        - "mae": mean absolute error;
        - "corr": Pearson correlation;
        - "acc2_nonzero": part of the utterances with y != 0 whose sign is right (a prediction of exactly 0 counts as negative);
        - "acc2_nonnegative": part of all utterances for which (prediction >= 0) is (y >= 0);
        - "f1_nonzero": over utterances with y != 0, the F1 of "positive" and of "negative", weighted by their numbers;
        - "acc7": part of the utterances whose label and prediction, clipped to [-3, 3], round to the same whole number
          (halves to the even one).

    Raises:
        DataError: not 1-D, different lengths, not finite, not numbers, or fewer than 2 utterances.

    Warns:
        UserWarning: labels outside [-3, 3] (clipped for "acc7" alone); a correlation or a score of no utterance, given as NaN.

    Cost: O(n).

    Examples:
        >>> sentiment_scores([-3.0, 0.0, 1.2, 2.0], [-1.0, 0.5, 1.4, -0.5])["acc2_nonzero"]
        0.6666666666666666
    """
    label = _numbers(y, "y")
    guess = _numbers(prediction, "prediction")
    check_same_length(y=label, prediction=guess)
    outside = int((np.abs(label) > LIMIT).sum())
    if outside:
        _warn(f"{outside} label{'s' if outside > 1 else ''} outside [-3, 3] count as -3 or 3 in acc7; rescale y")
    sevens = [np.round(np.clip(values, -LIMIT, LIMIT)) for values in (label, guess)]
    charged = label != 0
    return {
        "mae": float(np.abs(label - guess).mean()),
        "corr": _correlation(label, guess),
        "acc2_nonzero": _share((label[charged] > 0) == (guess[charged] > 0)),
        "acc2_nonnegative": _share((label >= 0) == (guess >= 0)),
        "f1_nonzero": _weighted_f1(label[charged] > 0, guess[charged] > 0),
        "acc7": _share(sevens[0] == sevens[1]),
    }


def _numbers(values: Any, argument: str) -> Float[np.ndarray, " n"]:
    vector = as_vector(values, argument)
    if vector.dtype.kind not in "iufb":
        raise DataError(f"{argument} must hold numbers, got dtype {vector.dtype}")
    return vector.astype(np.float64)


def _correlation(a: Float[np.ndarray, " n"], b: Float[np.ndarray, " n"]) -> float:
    a, b = a - a.mean(), b - b.mean()
    lengths = np.linalg.norm(a) * np.linalg.norm(b)
    if lengths <= 1e-12 * len(a):
        _warn("the correlation is not defined, since labels or predictions are all the same; it is given as NaN")
        return float("nan")
    return float(a @ b / lengths)


def _share(right: Bool[np.ndarray, " _"]) -> float:
    return float(right.mean()) if len(right) else float("nan")


def _weighted_f1(label: Bool[np.ndarray, " _"], guess: Bool[np.ndarray, " _"]) -> float:
    if not len(label):
        _warn("every label is 0, so acc2_nonzero and f1_nonzero are not defined; they are given as NaN")
        return float("nan")
    total = 0.0
    for kind in (True, False):
        hits = int(((label == kind) & (guess == kind)).sum())
        named = int((label == kind).sum() + (guess == kind).sum())
        total += int((label == kind).sum()) * (2 * hits / named if named else 0.0)
    return total / len(label)


def _warn(message: str) -> None:
    warnings.warn(message, UserWarning, stacklevel=4)
