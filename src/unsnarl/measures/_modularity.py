"""Modularity and explicitness of Ridgeway and Mozer 2018.

"Learning Deep Disentangled Embeddings with the F-Statistic Loss" (arXiv 1802.05312), Section 3, in the form of Locatello
et al. 2019 (`disentanglement_lib`).
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from unsnarl.arrays import check_range
from unsnarl.errors import DataError, OptionError
from unsnarl.information import pairwise_mutual_information
from unsnarl.measures._explicitness import in_threads
from unsnarl.measures._gap import code_categories
from unsnarl.measures._inputs import ROUNDING, Codes, Labels, Rows, as_categories, half_intervals, read_inputs, varying
from unsnarl.measures._scores import Scores


def modularity_explicitness(
    codes: Any,
    factors: Any,
    *,
    kinds: Any = None,
    bins: int | None = 20,
    train_fraction: float = 2 / 3,
    factor_bins: int | None = None,
    bootstrap: int = 0,
    seed: int = 0,
) -> Scores:
    """Whether each latent tells of one factor, and a linear classifier reads every factor (Ridgeway and Mozer 2018).

    - modularity: with m_ji = I(s_i; z_j) and k the factor with the largest, the mean over latents of
      1 - sum_{i != k} m_ji^2 / (m_jk^2 (factors - 1));
    - explicitness: the mean over factors and their values of the area under the ROC curve of a logistic regression that tells
      this value from the others, on observations held out; `explicitness_train` on those it was fitted to.

    Real-valued codes give the modularity of the published study's code: 20 equal-width bins a latent, plug-in information; a
    latent with no information at all counts 0. Integer codes are taken as categories, as in `mutual_information_gap`. What
    differs: rows are split at random (the published code draws 10,000 and 5,000 fresh observations), modularity uses all of
    them; constant latents enter the classifier as zeros (published: division by zero); a value missing from either part is
    left out of the mean (published: an error). The classifier is scikit-learn's default (multinomial, C = 1) on latents
    standardised by the training part; the study of 2019 ran the default of its time (one against the rest, liblinear).

    Args:
        codes: representation of n observations, shape (n, latent).
        factors: their factors: a `FactorTable`, data frame or array of shape (n, factor), all discrete.
        kinds: "discrete" or "continuous" where the guess of `FactorTable` is wrong.
        bins: equal-width bins a real-valued latent is cut into for modularity; None takes its values as categories.
        train_fraction: share of the rows the classifiers learn from.
        factor_bins: cut continuous factors into this many equally filled bins instead of refusing them.
        bootstrap: half samples for 95% intervals; 0 computes none. Each costs about half as much as the scores.
        seed: seed of the split and of the halves.

    Returns:
        `.modularity` in [0, 1], `.explicitness` and `.explicitness_train` in [0, 1] with chance 0.5; `.mutual_information`
        in nats (latent x factor); `.modularity_per_latent`; `.explicitness_per_factor`; `.train_rows`, the rows the
        classifiers learned from.
        Modularity is a mean over latents and noise latents score high in it (their small informations differ by chance), so
        it says little when many latents carry nothing; explicitness rises with the number of latents.
        Modularity is nan, with a warning, when there is one factor only.

    Raises:
        DataError: unusable arrays, a constant or continuous factor, more than n/10 different values to take as categories, or
            a split that leaves no factor with two values in both parts.
        OptionError: bins below 2, or train_fraction that leaves a part empty.

    Cost: O(n * latents * factors) for modularity; the classifiers O(n * latents * values) for each of at most 100 iterations
    of each factor, which takes most of the time.

    Examples:
        >>> factors = np.random.default_rng(0).integers(3, size=(600, 2))
        >>> modularity_explicitness(factors.astype(float), factors)
        modularity_explicitness(modularity=1.000, explicitness=..., explicitness_train=...)
    """
    check_range(train_fraction, "train_fraction", low=0, high=1, open_low=True)
    matrix, table = read_inputs(codes, factors, kinds)
    labels = as_categories(table, factor_bins, "modularity").indices

    def estimate(rows: Rows) -> dict[str, Any]:
        information = pairwise_mutual_information(code_categories(matrix[rows], bins), labels[rows], estimator="plugin")
        train, test = _split(len(rows), train_fraction, seed)
        train_area, test_area = _areas(matrix[rows].astype(np.float64), labels[rows], train, test)
        return {
            "modularity_per_latent": _modularity(information),
            "mutual_information": information,
            "explicitness_per_factor": test_area,
            "train_per_factor": train_area,
            "train_rows": train,
        }

    def numbers(found: dict[str, Any]) -> dict[str, float]:
        return {
            "modularity": float(found["modularity_per_latent"].mean()),
            "explicitness": _mean(found["explicitness_per_factor"]),
            "explicitness_train": _mean(found["train_per_factor"]),
        }

    found = estimate(np.arange(len(matrix)))
    values = numbers(found)
    if labels.shape[1] < 2:
        warnings.warn("modularity is nan: it compares factors, and there is one only", UserWarning, stacklevel=2)
    if math.isnan(values["explicitness"]):
        raise DataError(
            f"no factor takes two values in both parts of the split (train_fraction={train_fraction:g} of {len(matrix):,} "
            "rows); use more rows or another fraction"
        )
    intervals = half_intervals(lambda rows: numbers(estimate(rows)), values, labels, bootstrap=bootstrap, seed=seed)
    return Scores(
        values,
        intervals=intervals,
        matrices={"mutual_information": found["mutual_information"]},
        extra={name: found[name] for name in ("modularity_per_latent", "explicitness_per_factor", "train_rows")},
        measure="modularity_explicitness",
    )


def _modularity(information: Float[np.ndarray, "latent factor"]) -> Float[np.ndarray, " latent"]:
    """1 - normalised squared deviation from a template with the largest information only; 0 for a latent without any."""
    if information.shape[1] < 2:
        return np.full(len(information), math.nan)
    squared = information**2
    largest = squared.max(axis=1)
    informed = largest > ROUNDING**2
    rest = squared.sum(axis=1) - largest
    deviation = np.divide(rest, largest * (information.shape[1] - 1), out=np.ones_like(rest), where=informed)
    return 1.0 - deviation


def _split(n: int, train_fraction: float, seed: int) -> tuple[Int[np.ndarray, " train"], Int[np.ndarray, " test"]]:
    count = round(n * train_fraction)
    if not 0 < count < n:
        raise OptionError(
            f"train_fraction={train_fraction:g} leaves no row of {n:,} to {'test on' if count else 'learn from'}"
        )
    order = np.random.default_rng(seed).permutation(n)
    return np.sort(order[:count]), np.sort(order[count:])


def _areas(
    codes: Codes, labels: Labels, train: Int[np.ndarray, " train"], test: Int[np.ndarray, " test"]
) -> tuple[Float[np.ndarray, " factor"], Float[np.ndarray, " factor"]]:
    """Mean area under the ROC curve over the values of each factor, on the training and the test part."""
    active = varying(codes[train])
    kept = codes[:, active]
    mean, scale = kept[train].mean(axis=0), kept[train].std(axis=0)
    inputs = np.zeros_like(codes)
    inputs[:, active] = (kept - mean) / scale

    def area(factor: int) -> tuple[float, float]:
        from sklearn.linear_model import LogisticRegression

        y = labels[:, factor]
        if not varying(y[train][:, None]).all():
            return math.nan, math.nan
        model = LogisticRegression().fit(inputs[train], y[train])
        one, other = (
            _mean(_one_against_rest(model.predict_proba(inputs[part]), y[part], model.classes_))
            for part in (train, test)
        )
        return one, other

    both = np.array(in_threads(area, labels.shape[1]))
    return both[:, 0], both[:, 1]


def _one_against_rest(
    score: Float[np.ndarray, "n value"], y: Int[np.ndarray, " n"], values: Int[np.ndarray, " value"]
) -> Float[np.ndarray, " value"]:
    """Area under the ROC curve of each column for its value, by the ranks of the positives (Mann and Whitney 1947)."""
    from scipy.stats import rankdata

    member = y[:, None] == values
    positives = member.sum(axis=0)
    pairs = positives * (len(y) - positives)
    wins = (rankdata(score, axis=0) * member).sum(axis=0) - positives * (positives + 1) / 2
    return np.divide(wins, pairs, out=np.full(len(values), math.nan), where=pairs > 0)


def _mean(values: Float[np.ndarray, " count"]) -> float:
    """Mean of the values that are defined; nan if none is."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan
