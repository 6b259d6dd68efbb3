"""How well a risk orders patients, and how well a predicted curve fits: through scikit-survival."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from unsnarl.arrays import as_matrix, as_vector, check_range, check_same_length
from unsnarl.data.survival._outcome import check_outcome
from unsnarl.errors import DataError, MissingExtraError, OptionError
from unsnarl.measures._scores import Score

TIED = 1e-8  # risks nearer than this count as equal, as in scikit-survival
PAIRS_AT_ONCE = 1 << 24


def sksurv(module: str) -> Any:
    """A module of scikit-survival.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        return importlib.import_module(f"sksurv.{module}")
    except ImportError:
        raise MissingExtraError("scikit-survival", "survival") from None


def concordance(time: Any, event: Any, risk: Any, *, bootstrap: int = 0, seed: int = 0, level: float = 0.95) -> Score:
    """Harrell's C: the share of comparable pairs of patients in which the one with the higher risk had the event first.

    A pair is comparable when the earlier time is that of an event; equal risks count one half. 0.5 is chance, 1 is perfect,
    below 0.5 the order is turned round. Harrell's C depends on who was censored: under heavy censoring, compare models on the
    same patients only (Uno et al. 2011).

    Args:
        time: times, at least 0.
        event: True where the event was seen.
        risk: higher for an earlier event; any scale.
        bootstrap: draws of patients with replacement for the interval; 0 for none. Copies of a patient are never compared.
        seed: of the draws.
        level: coverage of the interval.

    Returns:
        A `Score` with `low`, `high` and `pairs`, the number of comparable pairs.

    Raises:
        MissingExtraError: scikit-survival is absent.
        DataError: lengths differ, a value is not finite, or no pair can be compared.

    Cost: O(n log n + pairs); the interval O(bootstrap * n^2), one matrix product.
    """
    check_range(bootstrap, "bootstrap", low=0, integer=True)
    check_range(level, "level", low=0, high=1, open_low=True)
    times, events = check_outcome(time, event)
    risks = as_risk(risk, len(times))
    metrics = sksurv("metrics")
    try:
        value, concordant, discordant, tied, _ = metrics.concordance_index_censored(events, times, risks, tied_tol=TIED)
    except (metrics.NoComparablePairException, ValueError) as error:
        raise DataError(f"no two patients can be compared: {error}") from None
    interval = bootstrap_concordance(times, events, risks, bootstrap, seed, level) if bootstrap else None
    pairs = int(concordant + discordant + tied)
    return Score(float(value), name="c_index", interval=interval, extra={"pairs": pairs})


def bootstrap_concordance(
    time: Float[np.ndarray, " n"],
    event: Bool[np.ndarray, " n"],
    risk: Float[np.ndarray, " n"],
    draws: int,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[float, float]:
    """Percentile interval of Harrell's C over draws of patients with replacement.

    A draw gives patient i the weight w_i (how often it was drawn), and C is sum w_i w_j concordant_ij / sum w_i w_j comparable_ij,
    so that all draws together are two matrix products.

    Raises:
        DataError: no draw has a comparable pair.
    """
    check_range(draws, "bootstrap", low=2, integer=True)
    n = len(time)
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(n, np.full(n, 1 / n), size=draws).astype(np.float32)
    top, bottom = np.zeros(draws), np.zeros(draws)
    rows = max(1, PAIRS_AT_ONCE // n)
    for start in range(0, n, rows):
        part = slice(start, start + rows)
        comparable, concordant = _pairs(time, event, risk, part)
        w = weights[:, part]
        top += np.einsum("bi,bi->b", w, weights @ concordant.T, dtype=np.float64)
        bottom += np.einsum("bi,bi->b", w, weights @ comparable.T, dtype=np.float64)
    values = (top / np.where(bottom > 0, bottom, np.nan))[bottom > 0]
    if not len(values):
        raise DataError("no draw of the bootstrap has two patients that can be compared")
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _pairs(time: np.ndarray, event: np.ndarray, risk: np.ndarray, part: slice) -> tuple[np.ndarray, np.ndarray]:
    """comparable[i, j]: i had the event before j was last seen; concordant: 1 where i has the higher risk, one half if tied."""
    t, e, r = time[part, None], event[part, None], risk[part, None]
    comparable = e & ((t < time) | ((t == time) & ~event))
    gap = r - risk
    concordant = comparable * np.where(np.abs(gap) <= TIED, 0.5, gap > 0)
    return comparable.astype(np.float32), concordant.astype(np.float32)


def integrated_brier(train: Any, test: Any, survival: Any, times: Any) -> float:
    """Integrated Brier score: the mean squared error of the survival curve over a range of times, 0 is perfect.

    Censoring is weighed out by its Kaplan-Meier estimate on the training patients (Graf et al. 1999).

    Args:
        train: `SurvivalData` or a structured array; for the censoring weights only.
        test: the patients the curves are for.
        survival: (n, times) probability of living past each time.
        times: at least two ascending times inside the follow-up of both.

    Raises:
        MissingExtraError: scikit-survival is absent.
        DataError: shapes do not fit, or a time lies outside the follow-up.
    """
    curves = as_matrix(survival, "survival", min_rows=1)
    moments = as_vector(times, "times")
    if curves.shape != (len(test), len(moments)):
        raise DataError(f"survival has shape {curves.shape}, expected ({len(test)}, {len(moments)}): patients x times")
    if curves.min() < 0 or curves.max() > 1:
        raise DataError(f"survival must lie in [0, 1], got {curves.min():g} to {curves.max():g}")
    known, asked = _structured(train), _structured(test)
    metrics = sksurv("metrics")
    try:
        return float(metrics.integrated_brier_score(known, asked, curves, moments))
    except ValueError as error:
        raise DataError(f"the integrated Brier score cannot be computed: {error}") from None


def dynamic_auc(train: Any, test: Any, risk: Any, times: Any) -> Score:
    """Mean over times of the area under the ROC curve between those with the event by then and those without (Uno et al. 2007).

    Args:
        train: `SurvivalData` or a structured array; for the censoring weights only.
        test: the patients the risks are for.
        risk: (n,) higher for an earlier event, or (n, times).
        times: ascending times inside the follow-up of both.

    Returns:
        A `Score`; `.auc` has the value at each time and `.times` the times.

    Raises:
        MissingExtraError: scikit-survival is absent.
        DataError: lengths differ, or a time lies outside the follow-up.
    """
    moments = as_vector(times, "times", min_rows=1)
    risks = np.asarray(risk, dtype=np.float64)
    known, asked = _structured(train), _structured(test)
    check_same_length(test=asked, risk=risks)
    metrics = sksurv("metrics")
    try:
        auc, mean = metrics.cumulative_dynamic_auc(known, asked, risks, moments)
    except ValueError as error:
        raise DataError(f"the time-dependent AUC cannot be computed: {error}") from None
    return Score(float(mean), name="dynamic_auc", extra={"auc": auc, "times": moments})


def as_risk(risk: Any, n: int) -> Float[np.ndarray, " n"]:
    """A risk as float64, one number a patient.

    Raises:
        DataError: another length, or a value that is not finite.
    """
    risks = as_vector(risk, "risk", min_rows=1)
    if risks.dtype.kind not in "biuf":
        raise DataError(f"risk must hold numbers, got dtype {risks.dtype}")
    if len(risks) != n:
        raise DataError(f"risk has {len(risks):,} values for {n:,} patients")
    return risks.astype(np.float64)


def _structured(data: Any) -> np.ndarray:
    y = getattr(data, "y", data)
    if getattr(getattr(y, "dtype", None), "names", None) is None:
        raise OptionError("train and test must be SurvivalData or scikit-survival's structured arrays")
    return y
