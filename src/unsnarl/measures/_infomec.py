"""InfoMEC: modularity, explicitness and compactness from information.

Hsu, Dorrell, Whittington, Wu, Finn 2023, "Disentanglement via Latent Quantization" (arXiv 2305.18378).
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float

from unsnarl.arrays import check_choice, check_range
from unsnarl.errors import DataError
from unsnarl.information import EstimatorWarning, column_entropies, pairwise_mutual_information
from unsnarl.measures._explicitness import (
    PROBES,
    Probe,
    explained_information,
    explained_variance,
    one_hot,
    standardized,
)
from unsnarl.measures._inputs import (
    ROUNDING,
    Codes,
    Labels,
    Rows,
    as_categories,
    half_intervals,
    levels_of,
    read_inputs,
)
from unsnarl.measures._scores import Scores

Statistic = Literal["ratio", "gap"]
Variant = Literal["published", "training-log"]
_VARIANTS: dict[str, tuple[int, float]] = {"published": (10, 20.0), "training-log": (3, 8.0)}
_FEW = 1000
_TIE_BREAK = (
    1e-10  # standard deviations of noise, as in scikit-learn: without it, codes that take few values tell nothing
)


@dataclass(frozen=True)
class _Settings:
    """What the estimate depends on besides the arrays."""

    discrete: bool
    n_neighbors: int
    prune: float
    prune_discrete: bool
    statistic: str
    probe: str
    variant: str
    seed: int


def infomec(
    codes: Any,
    factors: Any,
    discrete: bool | None = None,
    *,
    kinds: Any = None,
    n_neighbors: int | None = None,
    prune: float | None = None,
    statistic: Statistic | str = "ratio",
    probe: Probe | str = "classification",
    variant: Variant | str = "published",
    factor_bins: int | None = None,
    bootstrap: int = 0,
    seed: int = 0,
) -> Scores:
    """Modularity, explicitness and compactness of codes in terms of information (Hsu et al. 2023, InfoMEC).

    With NMI_ij = I(s_i; z_j) / H(s_i), N factors, A active latents:

    - modularity, InfoM = (mean_j max_i NMI_ij / sum_i NMI_ij - 1/N) / (1 - 1/N) over active j: 1 when each latent tells of
      one factor only, 0 when it tells of all alike;
    - explicitness, InfoE = mean_i (h0_i - h_i) / h0_i: 1 when a linear classifier reads every factor from all latents, h_i
      being its log-loss on the same observations and h0_i that of one that sees nothing (log of the number of values);
    - compactness, InfoC = (mean_i max_j NMI_ij / sum_j NMI_ij - 1/A) / (1 - 1/A) over active j: 1 when each factor is told of
      by one latent only.

    Discrete codes: I by counting, a latent is active when it varies, the classifier sees one-hot codes. Continuous codes:
    I by the neighbour estimator of Ross (2014) on standardised latents, never by bins; a latent is active when its range
    exceeds the largest range / 20; the classifier sees standardised codes.

    What differs from the published code: the noise of 1e-10 standard deviations that breaks ties in scikit-learn's
    mutual_info_classif is drawn from `seed`; a constant latent has NMI 0 instead of what the noise gives; active latents
    (factors) that share no information with anything are left out of the mean, with a warning, where the published mean is
    nan. Inputs are computed in float64. The classifier's stopping rule is that of the installed scikit-learn: before version
    1.4 it was applied to the summed instead of the mean loss, so values of InfoE from older ones are up to about 0.001
    higher for factors read perfectly.

    Args:
        codes: representation of n observations, shape (n, latent).
        factors: their factors: a `FactorTable`, data frame or array of shape (n, factor), all discrete.
        discrete: whether codes are categories; None takes integer codes for categories and others for quantities. Score a
            quantised representation by its indices: its values may differ by rounding and be split into several.
        kinds: "discrete" or "continuous" where the guess of `FactorTable` is wrong.
        n_neighbors: neighbours of the Ross estimator; None is the variant's.
        prune: a latent is active when its range exceeds the largest range / prune; None is the variant's (for
            "published" discrete codes: when it varies at all).
        statistic: "ratio" as above, or "gap": the mean difference of the largest two NMI instead of the normalised ratios.
        probe: "classification" as above, or "regression": InfoE is the mean R^2 of least squares (ordered factors).
        variant: "published" is the stand-alone definition above (10 neighbours, prune 20). "training-log" is what the
            authors' training script logs: 3 neighbours, prune 8 for discrete codes too, discrete codes standardised as
            numbers for the probe, the gap of compactness over all latents. Never compare one with the other.
        factor_bins: cut continuous factors into this many equally filled bins instead of refusing them (the normalisation
            by H(s) has no meaning for a continuous factor).
        bootstrap: half samples for 95% intervals; 0 computes none. Each costs about half as much as the scores.
        seed: seed of the halves and of the noise that breaks ties.

    Returns:
        `.modularity`, `.explicitness`, `.compactness`; `.nmi` of shape (factor, latent), as the published function has it
        (other measures' matrices are latent x factor); `.active`, a mask over latents; `.explicitness_per_factor`;
        `.factor_names`, `.discrete`, `.variant`.
        Modularity and compactness with "ratio" lie in [0, 1]; explicitness is at most 1, about 0 for codes that tell nothing
        (it may fall below, as the classifier weighs classes equally and the score does not). It grows with the number of
        latents: a classifier with d inputs and C classes reads about d (C - 1) / (2 n log C) from noise. Compactness falls
        with the number of latents that carry the same thing; modularity is a mean over latents, so latents of noise lower
        it. Information that only several latents together hold lowers explicitness alone.
        A value that is not defined (no or one active latent, a single factor) is nan, with a warning.

    Raises:
        DataError: unusable arrays, a constant or continuous factor, `discrete=True` for quantities.
        OptionError: an option outside its range.

    Warns:
        EstimatorWarning: fewer than 1,000 observations of continuous codes.

    Cost: continuous codes O(factors * latents * n log n), discrete ones O(factors * latents * n); the probes O(n * latents *
    values) for each of at most 100 iterations of each factor, which takes most of the time.

    Examples:
        >>> factors = np.random.default_rng(0).integers(4, size=(2000, 3))
        >>> infomec(factors[:, [0, 1, 2, 2]], factors)
        infomec(modularity=0.99..., explicitness=1.000, compactness=0.77...)
    """
    check_choice(statistic, ("ratio", "gap"), "statistic")
    check_choice(probe, PROBES, "probe")
    check_choice(variant, tuple(_VARIANTS), "variant")
    neighbors, divisor = _VARIANTS[variant]
    neighbors = neighbors if n_neighbors is None else n_neighbors
    divisor = divisor if prune is None else prune
    check_range(neighbors, "n_neighbors", low=1, integer=True)
    check_range(divisor, "prune", low=1)
    matrix, table = read_inputs(codes, factors, kinds)
    targets = table.numeric
    table = as_categories(table, factor_bins, "InfoMEC")
    settings = _Settings(
        discrete=_is_discrete(matrix, discrete),
        n_neighbors=int(neighbors),
        prune=float(divisor),
        prune_discrete=variant == "training-log" or prune is not None,
        statistic=statistic,
        probe=probe,
        variant=variant,
        seed=seed,
    )
    labels = table.indices
    found = _estimate(matrix, labels, targets, settings)
    _warn_of(found, len(labels), settings)
    values = {name: found[name] for name in ("modularity", "explicitness", "compactness")}

    def of_half(rows: Rows) -> dict[str, float]:
        result = _estimate(matrix[rows], labels[rows], targets[rows], settings)
        return {name: result[name] for name in values}

    intervals = half_intervals(of_half, values, labels, bootstrap=bootstrap, seed=seed)
    return Scores(
        values,
        intervals=intervals,
        matrices={"nmi": found["nmi"]},
        extra={
            "active": found["active"],
            "explicitness_per_factor": found["explicitness_per_factor"],
            "factor_names": table.names,
            "discrete": settings.discrete,
            "variant": variant,
        },
        measure="infomec",
    )


def _is_discrete(codes: Codes, discrete: bool | None) -> bool:
    """The flag given, or what the dtype says; refuse categories that are quantities."""
    n = len(codes)
    if discrete is None:
        discrete = codes.dtype.kind in "iu"
    if not discrete:
        return False
    levels = levels_of(codes)
    worst = int(levels.argmax())
    if codes.dtype.kind == "f" and levels[worst] > n / 10:
        raise DataError(
            f"discrete=True, but latent {worst} of codes takes {levels[worst]:,} different values in {n:,} rows (more than a "
            "tenth); pass the integer indices of a quantised code (equal values may differ by rounding), or discrete=False"
        )
    return True


def _estimate(
    codes: Codes, labels: Labels, targets: Float[np.ndarray, "n factor"], settings: _Settings
) -> dict[str, Any]:
    """The three numbers and what they came from; nan where the definition does not apply."""
    nmi = _normalized_information(codes, labels, settings)
    active = _active(codes, settings)
    kept = nmi[:, active]
    mean_preference = _mean_ratio if settings.statistic == "ratio" else _mean_gap
    all_latents = settings.statistic == "gap" and settings.variant == "training-log"
    per_factor = _explicitness(codes, labels, targets, settings)
    return {
        "modularity": mean_preference(kept.T),
        "explicitness": float(per_factor.mean()),
        "compactness": mean_preference(nmi if all_latents else kept),
        "nmi": nmi,
        "active": active,
        "explicitness_per_factor": per_factor,
    }


def _normalized_information(codes: Codes, labels: Labels, settings: _Settings) -> Float[np.ndarray, "factor latent"]:
    """NMI_ij = I(s_i; z_j) / H(s_i)."""
    entropy = column_entropies(labels)
    if settings.discrete:
        information = pairwise_mutual_information(codes, labels, estimator="plugin")
    else:
        information = pairwise_mutual_information(
            standardized(codes),
            labels,
            estimator="ross",
            n_neighbors=settings.n_neighbors,
            clip=True,
            jitter=_TIE_BREAK,
            seed=settings.seed,
        )
    nmi = information.T / entropy[:, None]
    nmi[nmi < ROUNDING] = 0.0
    return nmi


def _active(codes: Codes, settings: _Settings) -> Bool[np.ndarray, " latent"]:
    extent = codes.max(axis=0).astype(np.float64) - codes.min(axis=0)
    if settings.discrete and not settings.prune_discrete:
        return extent > 0
    return extent > extent.max() / settings.prune


def _mean_ratio(nmi: Float[np.ndarray, "one other"]) -> float:
    """Mean over rows of the largest share of a row, rescaled so that equal shares give 0; rows of zeros are left out."""
    total = nmi.sum(axis=1)
    others = nmi.shape[1]
    if others < 2 or not (total > 0).any():
        return math.nan
    share = nmi[total > 0].max(axis=1) / total[total > 0]
    return float((share.mean() - 1 / others) / (1 - 1 / others))


def _mean_gap(nmi: Float[np.ndarray, "one other"]) -> float:
    """Mean over rows of the largest minus the second largest entry."""
    if nmi.shape[0] < 1 or nmi.shape[1] < 2:
        return math.nan
    top = np.partition(nmi, -2, axis=1)[:, -2:]
    return float((top[:, 1] - top[:, 0]).mean())


def _explicitness(
    codes: Codes, labels: Labels, targets: Float[np.ndarray, "n factor"], settings: _Settings
) -> Float[np.ndarray, " factor"]:
    inputs = one_hot(codes) if settings.discrete and settings.variant == "published" else standardized(codes)
    if settings.probe == "regression":
        return explained_variance(inputs, targets)
    return explained_information(inputs, labels)


def _warn_of(found: dict[str, Any], n: int, settings: _Settings) -> None:
    """Say which numbers are nan or lean on little, and why."""
    nmi, active = found["nmi"], int(found["active"].sum())
    if not settings.discrete and n < _FEW:
        warnings.warn(
            f"InfoMEC of continuous codes from {n:,} observations is unreliable (its neighbour estimates are biased below "
            f"about {_FEW:,}); use more observations",
            EstimatorWarning,
            stacklevel=3,
        )
    if active < 2:
        names = "compactness is" if active else "modularity and compactness are"
        warnings.warn(
            f"{names} nan: {active or 'no'} latent{'' if active == 1 else 's'} of {nmi.shape[1]} "
            f"{'is' if active == 1 else 'are'} active",
            UserWarning,
            stacklevel=3,
        )
    if nmi.shape[0] < 2:
        warnings.warn("modularity is nan: it compares factors, and there is one only", UserWarning, stacklevel=3)
    kept = nmi[:, found["active"]]
    if settings.statistic == "ratio" and active:
        for axis, what, score in ((0, "active latent", "modularity"), (1, "factor", "compactness")):
            silent = int((kept.max(axis=axis) <= 0).sum())
            if silent:
                warnings.warn(
                    f"{silent} {what}{'s' if silent > 1 else ''} shared no information with anything and "
                    f"{'were' if silent > 1 else 'was'} left out of {score}",
                    UserWarning,
                    stacklevel=3,
                )
