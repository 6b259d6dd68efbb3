"""Measures of the code as a whole: how many directions and modes it has, and what all latents together tell of each factor.

The other measures look at latents one by one; these do not change when the code is rotated, so they say how much is there,
not how it is laid out.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from jaxtyping import Float

from unsnarl.arrays import check_range
from unsnarl.data import FactorTable
from unsnarl.errors import DataError
from unsnarl.information import (
    diffusion_spectral_entropy,
    diffusion_spectral_mi,
    effective_rank,
    mutual_information,
    participation_ratio,
)
from unsnarl.measures._inputs import Codes, Labels, Rows, half_intervals, quantile_bins, read_inputs, varying
from unsnarl.measures._scores import Scores

_CUTS = 10
_NEIGHBORS = 5
_ENOUGH = 0.8


def dimensionality(codes: Any, factors: Any, *, kinds: Any = None, bootstrap: int = 0, seed: int = 0) -> Scores:
    """How many directions the code spreads over, from the eigenvalues of its covariance.

    `effective_rank` is the exponential of the entropy of their shares (Roy and Vetterli 2007), `participation_ratio`
    (sum)^2 / sum of squares, which weighs the large ones more. Both depend on the scale of each latent.

    Args:
        codes: representation of n observations, shape (n, latent).
        factors: their factors; they do not enter, but the rows must match.
        kinds: as in the other measures.
        bootstrap: half samples for the 95% intervals; 0 computes none.
        seed: seed of the halves.

    Returns:
        `effective_rank` and `participation_ratio`, from 1 to the number of latents.

    Raises:
        DataError: unusable arrays, or a code that is constant.

    Cost: O(n latents^2).

    >>> axis = np.linspace(-1, 1, 50)
    >>> square = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    >>> dimensionality(square @ [[1, 0, 0], [0, 1, 0]], np.arange(2500) % 2)
    dimensionality(effective_rank=2.000, participation_ratio=2.000)
    """
    matrix, table = read_inputs(codes, factors, kinds)
    matrix = matrix.astype(np.float64)
    if not varying(matrix).any():
        raise DataError("every latent is constant, so the code has no direction at all")

    def estimate(rows: Rows) -> dict[str, float]:
        covariance = np.atleast_2d(np.cov(matrix[rows], rowvar=False))
        return {
            "effective_rank": effective_rank(covariance),
            "participation_ratio": participation_ratio(covariance),
        }

    values = estimate(np.arange(len(matrix)))
    intervals = half_intervals(estimate, values, _labels(table), bootstrap=bootstrap, seed=seed)
    return Scores(values, intervals, measure="dimensionality")


def diffusion_spectral(
    codes: Any,
    factors: Any,
    *,
    kinds: Any = None,
    sigma: float | str = "median",
    t: float = 1.0,
    max_n: int = 2_000,
    bootstrap: int = 0,
    seed: int = 0,
) -> Scores:
    """How many modes the cloud of codes has, and how much of them each factor explains, in bits (Liao et al. 2023).

    Args:
        codes: representation of n observations, shape (n, latent).
        factors: their factors; continuous ones are cut into ten bins of equal width.
        kinds: "discrete" or "continuous" where the guess of `FactorTable` is wrong.
        sigma: width of the Gaussian kernel; "median" is the median distance / sqrt(2). The published 10 suits one scale only.
        t: diffusion time.
        max_n: with more observations, so many of them, drawn without replacement.
        bootstrap: half samples for the 95% intervals; 0 computes none.
        seed: seed of draws and halves.

    Returns:
        `dse`, from 0 to log2 n, and `dsmi: FACTOR` for each factor, at most its entropy; `.sigma` is the width used.

    Raises:
        DataError: unusable arrays, or a factor with one value only.
        OptionError: sigma, t or max_n out of range.

    Warns:
        EstimatorWarning: sigma is so small or so large that every code would get the same number.

    Cost: O(m^3) with m = min(n, max_n), and somewhat less for each factor: 2 s and 1 s for 2,000.

    >>> shapes = np.repeat([0, 1, 2, 3], 50)
    >>> codes = 100.0 * np.eye(4)[shapes]
    >>> diffusion_spectral(codes, {"shape": shapes}, sigma=10)
    diffusion_spectral(dse=2.000, dsmi: shape=2.000)
    """
    check_range(max_n, "max_n", low=8, integer=True)
    matrix, table = _drawn(*read_inputs(codes, factors, kinds), int(max_n), seed)
    labels = _labels(table)
    whole = diffusion_spectral_entropy(matrix, sigma, t)
    width = whole.sigma  # the same for the halves

    def estimate(rows: Rows) -> dict[str, float]:
        points = matrix[rows]
        found = {"dse": float(whole if len(rows) == len(matrix) else diffusion_spectral_entropy(points, width, t))}
        for place, name in enumerate(table.names):
            found[f"dsmi: {name}"] = float(diffusion_spectral_mi(points, labels[rows, place], width, t, seed=seed).mi)
        return found

    values = estimate(np.arange(len(matrix)))
    intervals = half_intervals(estimate, values, labels, bootstrap=bootstrap, seed=seed)
    extra = {"sigma": width, "t": float(t), "n": len(matrix)}
    return Scores(values, intervals, extra=extra, measure="diffusion_spectral")


def lossy_information(
    codes: Any,
    factors: Any,
    *,
    kinds: Any = None,
    dim: int = 4,
    max_n: int = 5_000,
    bootstrap: int = 0,
    seed: int = 0,
) -> Scores:
    """What all latents together tell of each factor, in nats, through `dim` principal components (Butakov et al. 2024).

    Compression can only lose, so this is a lower bound up to the error of estimation. It sees what several latents hold only
    together, which no latent x factor matrix shows. Information between components and factor is sought by nearest
    neighbours in shared balls (Ross 2014 for discrete factors, Kraskov et al. 2004 for continuous ones) instead of as a sum of
    entropies: codes in tight clusters, such as good codes of a discrete factor, have entropies whose biases do not cancel
    (a sum of them told 3.6 nats of a factor of log 4 in four components). Each component counts with unit deviation.

    Args:
        codes: representation of n observations, shape (n, latent); quantities, not categories.
        factors: their factors, of any kind.
        kinds: "discrete" or "continuous" where the guess of `FactorTable` is wrong.
        dim: principal components kept; no more than 9, and more is not better.
        max_n: with more observations, so many of them, drawn without replacement.
        bootstrap: half samples for the 95% intervals; 0 computes none.
        seed: seed of draws and halves.

    Returns:
        `mi: FACTOR` for each factor; a little below 0 means 0. `.kept`: share of the variance in the components.

    Raises:
        DataError: unusable arrays, or a factor with one value only.

    Warns:
        EstimatorWarning: too few observations for the number of dimensions, or codes that coincide.
        UserWarning: the components keep less than 80% of the variance, so the bound is loose.

    Cost: O(m^2 dim) for each factor at most, with m = min(n, max_n).

    >>> rng = np.random.default_rng(0)
    >>> shape = rng.integers(4, size=2000)
    >>> found = lossy_information(rng.normal(size=(2000, 6)) + 20 * shape[:, None], {"shape": shape})
    >>> bool(abs(found["mi: shape"] - np.log(4)) < 0.1)
    True
    """
    check_range(dim, "dim", low=1, high=9, integer=True)
    check_range(max_n, "max_n", low=8, integer=True)
    matrix, table = _drawn(*read_inputs(codes, factors, kinds), int(max_n), seed)
    matrix = matrix[:, varying(matrix)].astype(np.float64)
    if not matrix.shape[1]:
        raise DataError("every latent is constant, so the code tells nothing")
    components, kept = _principal(matrix, int(dim))
    if kept < _ENOUGH:
        warnings.warn(
            f"{components.shape[1]} principal components keep {kept:.0%} of the variance of the code, so what they tell of a "
            "factor may be far below what the code tells",
            UserWarning,
            stacklevel=2,
        )

    def estimate(rows: Rows) -> dict[str, float]:
        found = {}
        for name in table.names:
            discrete = table.kinds[name] == "discrete"
            options: dict[str, Any] = {"estimator": "ross", "discrete": "y"} if discrete else {"estimator": "ksg1"}
            column = table.column(name)[rows]
            found[f"mi: {name}"] = mutual_information(components[rows], column, n_neighbors=_NEIGHBORS, **options)
        return found

    values = estimate(np.arange(len(matrix)))
    intervals = half_intervals(estimate, values, _labels(table), bootstrap=bootstrap, seed=seed)
    return Scores(values, intervals, extra={"kept": kept, "n": len(matrix)}, measure="lossy_information")


def _principal(matrix: Float[np.ndarray, "n latent"], dim: int) -> tuple[Float[np.ndarray, "n component"], float]:
    """The first principal components, and their share of the variance."""
    centred = matrix - matrix.mean(axis=0)
    _, singular, directions = np.linalg.svd(centred, full_matrices=False)
    variance = singular**2
    found = int(min(dim, (singular > 1e-9 * singular[0]).sum()))
    return centred @ directions[:found].T, float(variance[:found].sum() / variance.sum())


def _drawn(matrix: Codes, table: FactorTable, most: int, seed: int) -> tuple[np.ndarray, FactorTable]:
    """At most so many rows, without replacement."""
    check_range(seed, "seed", low=0, integer=True)
    if len(matrix) <= most:
        return matrix, table
    rows = np.sort(np.random.default_rng(seed).choice(len(matrix), size=most, replace=False))
    drawn = table.rows(rows)
    drawn.require_varying()
    return matrix[rows], drawn


def _labels(table: FactorTable) -> Labels:
    """Category indices, continuous factors cut into bins of equal width (equally filled where one bin would hold all)."""
    from unsnarl.information import equal_width_bins

    columns = []
    for name in table.names:
        column = table.column(name)
        if table.kinds[name] != "discrete":
            cut = equal_width_bins(column[:, None].astype(np.float64), _CUTS)[:, 0]
            column = cut if varying(cut) else quantile_bins(column, _CUTS)
        columns.append(np.unique(column, return_inverse=True)[1])
    return np.stack(columns, axis=1)
