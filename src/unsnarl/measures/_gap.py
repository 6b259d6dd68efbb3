"""Mutual information gap: how far each factor is carried by one latent rather than two.

Chen et al. 2018, "Isolating Sources of Disentanglement in Variational Autoencoders" (arXiv 1802.04942), Section 4,
with the estimator of Locatello et al. 2019 (`disentanglement_lib`).
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
from jaxtyping import Float

from unsnarl.arrays import check_range
from unsnarl.errors import DataError
from unsnarl.information import column_entropies, equal_width_bins, pairwise_mutual_information
from unsnarl.measures._inputs import (
    Codes,
    Labels,
    Rows,
    as_categories,
    half_intervals,
    levels_of,
    read_inputs,
)
from unsnarl.measures._scores import Score


def mutual_information_gap(
    codes: Any,
    factors: Any,
    *,
    kinds: Any = None,
    bins: int | None = 20,
    factor_bins: int | None = None,
    bootstrap: int = 0,
    seed: int = 0,
) -> Score:
    """How much more the best latent says about a factor than the second best (Chen et al. 2018, MIG).

    For each factor s_i: (largest - second largest I(s_i; z_j)) / H(s_i); then the mean over factors.

    Real-valued codes give the value of the published study's code: each latent is cut into 20 equal-width bins over its
    range, and information is the plug-in estimate of the table. Integer codes are taken as categories; the published code
    bins them too, which changes nothing for up to 20 consecutive values and merges neighbours beyond (pass them as floats
    to have that). The paper itself integrates over the encoder's density instead of binning, so its own values differ.

    Args:
        codes: representation of n observations, shape (n, latent).
        factors: their factors: a `FactorTable`, data frame or array of shape (n, factor), all discrete.
        kinds: "discrete" or "continuous" where the guess of `FactorTable` is wrong.
        bins: equal-width bins a real-valued latent is cut into; None takes its values as categories.
        factor_bins: cut continuous factors into this many equally filled bins instead of refusing them.
        bootstrap: half samples for a 95% interval; 0 computes none. Each costs half as much as the score.
        seed: seed of the halves.

    Returns:
        A number in [0, 1]; 1 when each factor is carried whole by one latent alone, near 0 for codes that carry nothing, and 0
        as well for a factor that two latents carry alike. `.per_factor`: the gap of each factor; `.matrix`:
        I(s_i; z_j) / H(s_i) (latent x factor). More bins than n supports add about (bins - 1)(values - 1) / 2n nats to each
        information. Latents that say nothing do not lower the score, so it can be compared between widths, but each latent
        that repeats what another says does.
        nan with a warning when there is one latent only.

    Raises:
        DataError: unusable arrays, a constant or continuous factor, or more than n/10 different values to take as categories.
        OptionError: bins below 2.

    Cost: O(n * latents * factors) and O(n * latents * bins).

    Examples:
        >>> factors = np.stack(np.meshgrid(np.arange(4), np.arange(5)), axis=-1).reshape(-1, 2)
        >>> mutual_information_gap(factors.astype(float), factors)
        Score(mig=1.000)
        >>> mutual_information_gap(factors[:, [0, 0, 1]], factors).per_factor
        array([0., 1.])
    """
    matrix, table = read_inputs(codes, factors, kinds)
    labels = as_categories(table, factor_bins, "the mutual information gap").indices
    categories = code_categories(matrix, bins)
    gap, matrix_of_shares = _gaps(categories, labels)
    value = float(gap.mean())
    if math.isnan(value):
        warnings.warn(
            "the mutual information gap is nan: it compares latents, and there is one only", UserWarning, stacklevel=2
        )

    def of_half(rows: Rows) -> dict[str, float]:
        return {"mig": float(_gaps(code_categories(matrix[rows], bins), labels[rows])[0].mean())}

    intervals = half_intervals(of_half, {"mig": value}, labels, bootstrap=bootstrap, seed=seed)
    return Score(value, name="mig", interval=intervals.get("mig"), matrix=matrix_of_shares, per_factor=gap)


def code_categories(codes: Codes, bins: int | None) -> Codes:
    """Integer codes as categories, real-valued ones by their equal-width bins (by their values for `bins=None`).

    Raises:
        DataError: a latent has more than n/10 (and more than 20) different values to take as categories.
    """
    if bins is not None:
        check_range(bins, "bins", low=2, integer=True)
        if codes.dtype.kind == "f":
            return equal_width_bins(codes, int(bins))
    levels = levels_of(codes)
    worst = int(levels.argmax())
    if levels[worst] > max(20, len(codes) / 10):
        raise DataError(
            f"latent {worst} of codes takes {levels[worst]:,} different values in {len(codes):,} rows (more than a tenth), too "
            "many to take as categories; pass the codes as floats with bins=20"
        )
    return codes


def _gaps(categories: Codes, labels: Labels) -> tuple[Float[np.ndarray, " factor"], Float[np.ndarray, "latent factor"]]:
    """The gap of each factor and I / H."""
    share = pairwise_mutual_information(categories, labels, estimator="plugin") / column_entropies(labels)
    if len(share) < 2:
        return np.full(share.shape[1], math.nan), share
    top = np.partition(share, -2, axis=0)[-2:]
    return top[1] - top[0], share
