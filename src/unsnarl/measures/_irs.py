"""Interventional robustness score: how still a latent stays when everything but one factor changes.

Suter et al. 2019, "Robustly Disentangled Causal Mechanisms" (arXiv 1811.00007),
in the form of Locatello et al. 2019 (`disentanglement_lib`).
"""

from __future__ import annotations

import warnings
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from unsnarl.arrays import check_range
from unsnarl.information import equal_width_bins
from unsnarl.measures._inputs import Codes, Labels, Rows, half_intervals, read_inputs, varying
from unsnarl.measures._scores import Score


def irs(
    codes: Any,
    factors: Any,
    *,
    kinds: Any = None,
    bins: int | None = 20,
    diff_quantile: float = 0.99,
    bootstrap: int = 0,
    seed: int = 0,
) -> Score:
    """How little each latent moves when its own factor is held and all others change (Suter et al. 2019).

    With d_jk(v) the `diff_quantile` quantile of |z_j - mean(z_j | s_k = v)| among observations with s_k = v:
    R_jk = 1 - mean_v d_jk(v) / max |z_j - mean z_j| and the score is the mean over latents of
    max_k R_jk, each latent weighted by its largest deviation max |z_j - mean z_j|.

    The values agree with the published code, which bins every factor into 20 equal-width bins, discrete ones as well: for a
    discrete factor with up to 20 values nothing changes, for one with more, neighbouring values fall together. Constant
    latents are left out, as published.

    Args:
        codes: representation of n observations, shape (n, latent).
        factors: their factors, of any kind: a `FactorTable`, data frame or array of shape (n, factor). Discrete factors
            enter as category indices in the order of their values.
        kinds: "discrete" or "continuous" where the guess of `FactorTable` is wrong.
        bins: equal-width bins a factor; None takes the values of discrete factors as they are (and of continuous ones too,
            where each must repeat to mean anything).
        diff_quantile: which quantile of the deviations counts; 1 is the maximum, as in the paper.
        bootstrap: half samples for a 95% interval; 0 computes none.
        seed: seed of the halves.

    Returns:
        A number up to 1, which is reached when each latent depends on one factor alone. There is no fixed chance value:
        independent noise scores 1 - q / max, with q the quantile of its deviations (about 0.35 for 10,000 Gaussian values), and
        a latent with outliers scores higher. `.matrix`: R (latent x factor; 0 for constant latents); `.parents`: the factor
        with the largest R for each latent, -1 for constant ones; `.per_latent`: max_k R_jk, nan for constant latents;
        `.active`: which latents vary; `.per_factor`: the largest R of any latent for each factor.
        A mean over latents: their number does not enter, but shifts of a single latent do not matter and its scale does, as
        latents that move more weigh more.

    Raises:
        DataError: unusable arrays, or a factor with one value only.
        OptionError: bins below 2, or diff_quantile outside (0, 1].

    Cost: O(factors * latents * n).

    Examples:
        >>> factors = np.stack(np.meshgrid(np.arange(4), np.arange(5)), axis=-1).reshape(-1, 2)
        >>> score = irs(factors.astype(float), factors)
        >>> score, score.parents
        (Score(irs=1.000), array([0, 1]))
    """
    check_range(diff_quantile, "diff_quantile", low=0, high=1, open_low=True)
    if bins is not None:
        check_range(bins, "bins", low=2, integer=True)
    matrix, table = read_inputs(codes, factors, kinds)
    matrix = matrix.astype(np.float64)
    groups = _values_of(table.numeric, bins)
    found = _outcome(matrix, groups, diff_quantile)
    if not found["active"].any():
        warnings.warn("IRS is 0: every latent is constant", UserWarning, stacklevel=2)

    def of_half(rows: Rows) -> dict[str, float]:
        return {"irs": _outcome(matrix[rows], groups[rows], diff_quantile)["value"]}

    intervals = half_intervals(of_half, {"irs": found["value"]}, groups, bootstrap=bootstrap, seed=seed)
    return Score(
        found["value"],
        name="irs",
        interval=intervals.get("irs"),
        matrix=found["matrix"],
        per_factor=found["matrix"].max(axis=0),
        extra={name: found[name] for name in ("parents", "per_latent", "active")},
    )


def _values_of(factors: Float[np.ndarray, "n factor"], bins: int | None) -> Labels:
    if bins is not None:
        return equal_width_bins(factors, int(bins))
    return np.stack([np.unique(column, return_inverse=True)[1] for column in factors.T], axis=1)


def _outcome(codes: Codes, groups: Labels, quantile: float) -> dict[str, Any]:
    active = varying(codes)
    latents, factors = codes.shape[1], groups.shape[1]
    robustness = np.zeros((latents, factors))
    per_latent, parents = np.full(latents, np.nan), np.full(latents, -1)
    value = 0.0
    if active.any():
        kept = codes[:, active]
        largest = np.abs(kept - kept.mean(axis=0)).max(axis=0)
        for k in range(factors):
            robustness[active, k] = 1.0 - _mean_deviation(kept, groups[:, k], quantile) / largest
        per_latent[active] = robustness[active].max(axis=1)
        parents[active] = robustness[active].argmax(axis=1)
        value = float(np.average(per_latent[active], weights=largest))
    return {"value": value, "matrix": robustness, "per_latent": per_latent, "parents": parents, "active": active}


def _mean_deviation(
    codes: Float[np.ndarray, "n latent"], group: Int[np.ndarray, " n"], quantile: float
) -> Float[np.ndarray, " latent"]:
    """Mean over groups of the quantile of |z - group mean|, all latents of a group at once."""
    order = np.argsort(group, kind="stable")
    ordered = np.ascontiguousarray(codes[order].T)
    bounds = np.flatnonzero(np.diff(group[order], prepend=group[order[0]] - 1, append=group[order[-1]] + 1))
    total = np.zeros(len(ordered))
    for begin, end in pairwise(bounds):
        members = ordered[:, begin:end]
        deviation = np.abs(members - members.mean(axis=1, keepdims=True))
        place = quantile * (end - begin - 1)  # between two order statistics, linearly, as np.percentile has it
        below = int(place)
        above = min(below + 1, end - begin - 1)
        ranked = np.partition(deviation, [below, above], axis=1)
        total += ranked[:, below] + (place - below) * (ranked[:, above] - ranked[:, below])
    return total / (len(bounds) - 1)
