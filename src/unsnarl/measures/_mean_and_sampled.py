"""How the mean and the sampled representation of a Gaussian encoder differ, and what passive latents have to do with it.

Bonheme and Grzes 2023, "Be More Active! Understanding the Differences Between Mean and Sampled Representations of
Variational Autoencoders" (arXiv 2109.12679).

A passive latent (see `_active`) says nothing, yet its mean, although tiny, is a smooth echo of the same few encoder features
as every other passive mean, so passive means are strongly correlated. Sampling, z = mu + sqrt(s2) eps, drowns the echo in
unit noise. So the mean representation looks entangled where the sampled one does not, and leaving the passive latents out
removes the difference. Symbols in the code: `mu`, `logvar` and `z` are (n, latent).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, Num

from unsnarl.arrays import as_matrix, check_choice, check_range
from unsnarl.errors import DataError
from unsnarl.information import (
    EstimatorWarning,
    effective_rank,
    equal_width_bins,
    gaussian_total_correlation,
    gaussian_wasserstein_correlation,
    pairwise_mutual_information,
)
from unsnarl.measures._active import KINDS, SUBSETS, Latents, LatentTypes, Posterior, classify_latents
from unsnarl.measures._inputs import varying
from unsnarl.measures._scores import Scores, half_sample_intervals

if TYPE_CHECKING:
    import pandas as pd


def sample_codes(mu: Posterior, logvar: Posterior, seed: int = 0) -> Posterior:
    """One draw from each posterior: z = mu + sqrt(s2) eps."""
    eps = np.random.default_rng(seed).standard_normal(mu.shape)
    return mu + np.exp(logvar / 2) * eps


def _posterior(mu: Any, logvar: Any) -> tuple[Posterior, Posterior]:
    mu = as_matrix(mu, "mu").astype(np.float64)
    logvar = as_matrix(logvar, "logvar").astype(np.float64)
    if mu.shape != logvar.shape:
        raise DataError(f"mu and logvar must have one shape, got {mu.shape} and {logvar.shape}")
    return mu, logvar


def _covariance(codes: Posterior, name: str) -> tuple[Float[np.ndarray, "latent latent"], Bool[np.ndarray, " latent"]]:
    """np.cov with exact zeros for constant latents, and which those are; warn of what makes its determinant useless."""
    n, latents = codes.shape
    if n < 20 * latents:
        warnings.warn(
            f"{n:,} observations are few for the covariance of {latents} latents (20 a latent is a rule of thumb); total "
            f"correlations of the {name} representation are too high",
            EstimatorWarning,
            stacklevel=3,
        )
    constant = ~varying(codes)
    cov = np.atleast_2d(np.cov(codes, rowvar=False))
    cov[constant] = cov[:, constant] = 0.0
    if constant.any():
        which = ", ".join(map(str, np.flatnonzero(constant)[:10])) + (", ..." if constant.sum() > 10 else "")
        warnings.warn(
            f"the {name} representation is constant in latent{'s' if constant.sum() > 1 else ''} {which}: the total correlation "
            "of a subset with such a latent is infinite",
            UserWarning,
            stacklevel=3,
        )
    return cov, constant


def _total_correlation(cov: Float[np.ndarray, "latent latent"], chosen: Latents) -> float:
    """Gaussian TC of some latents, from a slice of the full covariance; 0 for fewer than two, infinite with a constant."""
    block = cov[np.ix_(chosen, chosen)]
    if len(chosen) < 2:
        return 0.0
    if (np.diag(block) == 0).any():
        return math.inf
    return gaussian_total_correlation(block)


def representation_report(
    mu: Num[np.ndarray, "n latent"] | Any,
    logvar: Num[np.ndarray, "n latent"] | Any,
    factors: Any = None,
    *,
    kinds: Any = None,
    types: LatentTypes | None = None,
    var_tol: float = 0.1,
    mean_tol: float = 0.1,
    is_logvar: bool = False,
    bins: int = 20,
    predictors: Sequence[str] = ("logistic",),
    train_size: int = 10_000,
    test_size: int = 5_000,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """How correlated and how useful the mean and the sampled representation are, with and without each kind of latent.

    For each subset of latents (all, active, mixed, passive, and the three pairs of these) with at least two latents, and for
    mu ("mean") and one draw of z ("sampled"):

    - `total_correlation`: Gaussian TC in nats, 0.5 (sum_j log C_jj - log det C), from a slice C of the full covariance;
    - `wasserstein_correlation`: 2 tr C - 2 tr sqrt(diag(C) C), and `wasserstein_correlation_normalized`: divided by tr C;
    - `mutual_information`: mean plug-in information of pairs of latents in equal-width bins, in nats. Its bias is positive,
      about (bins - 1)^2 / 2n; compare it, do not read it absolutely;
    - `effective_rank`: exp of the entropy of the singular values of C;
    - `condition_number` of C, and `condition_number_correlation` of its correlation matrix. Only the latter matters to TC,
      which does not depend on scales: beyond about 1e12 the TC is mostly rounding.

    With factors also, for each subset with at least one latent, the accuracy of predicting each factor from the codes on held
    out rows, the same rows for every subset: `logistic_accuracy_mean`, `_min` and `logistic_accuracy:<factor>` (5-fold
    cross-validated penalty, codes not standardised), likewise `boosting_...`; and a classifier that guesses uniformly,
    subset "random", metrics `uniform_...`.

    Args:
        mu: means of the posteriors of n inputs, shape (n, latent).
        logvar: their log-variances, same shape.
        factors: discrete factors of the same inputs, if there are any; anything `FactorTable` takes.
        kinds: "discrete" or "continuous" where the guess of `FactorTable` is wrong.
        types: a classification made elsewhere, on more inputs perhaps; None classifies by `logvar`.
        var_tol: as in `classify_latents`.
        mean_tol: as in `classify_latents`.
        is_logvar: as in `classify_latents`.
        bins: equal-width bins a latent, each latent over its own range.
        predictors: "logistic", "boosting" (gradient-boosted trees; slow), both or none.
        train_size: rows the classifiers learn from; with fewer than train_size + test_size rows both shrink alike.
        test_size: rows they are scored on.
        seed: of the draw of z, of the rows and of the guesses.
        progress: called as progress(done, all) after each representation of each subset is classified.

    Returns:
        A data frame with columns subset, representation, metric, value. The metric `latents` is the size of the subset and is
        there for all seven, empty ones too. `.attrs` holds n, the indices of each kind, and the number of rows used.

    Raises:
        DataError: unusable arrays, different shapes, values that look like variances, a continuous or constant factor.
        OptionError: an option out of range.

    Warns:
        EstimatorWarning: fewer than 20 observations a latent.
        UserWarning: a constant latent, which makes total correlations infinite; it is named.

    Cost: O(n * latents^2) without factors; each classifier O(train_size * latents * values) for each of some thousand
    iterations, about a second for 10 latents and 8 values.
    """
    import pandas as pd

    check_range(bins, "bins", low=2, integer=True)
    check_range(train_size, "train_size", low=1, integer=True)
    check_range(test_size, "test_size", low=1, integer=True)
    predictors = [predictors] if isinstance(predictors, str) else list(predictors)
    for predictor in predictors:
        check_choice(predictor, ("logistic", "boosting"), "predictors")
    mu, logvar = _posterior(mu, logvar)
    types = _types_of(logvar, types, var_tol, mean_tol, is_logvar)
    subsets = {name: types.of(name) for name in SUBSETS}
    representations = {"mean": mu, "sampled": sample_codes(mu, logvar, seed)}
    rows = [(name, kind, "latents", float(len(chosen))) for name, chosen in subsets.items() for kind in representations]
    for kind, codes in representations.items():
        rows += [
            (subset, kind, metric, value) for subset, metric, value in _correlations(codes, kind, subsets, int(bins))
        ]
    attrs: dict[str, Any] = {"n": len(mu), **{kind: types.of(kind).tolist() for kind in KINDS}}
    if factors is not None:
        from unsnarl.measures._downstream import accuracies, split_rows
        from unsnarl.measures._inputs import read_inputs

        table = read_inputs(mu, factors, kinds)[1]
        table.require_discrete("the accuracy of a classifier")
        train, test = split_rows(len(mu), int(train_size), int(test_size), seed)
        attrs |= {"train_rows": len(train), "test_rows": len(test)}
        rows += accuracies(representations, subsets, table, predictors, train, test, seed=seed, progress=progress)
    report = pd.DataFrame(rows, columns=["subset", "representation", "metric", "value"])
    report.attrs.update(attrs)
    return report


def _types_of(
    logvar: Posterior, types: LatentTypes | None, var_tol: float, mean_tol: float, is_logvar: bool
) -> LatentTypes:
    if types is None:
        return classify_latents(logvar, var_tol=var_tol, mean_tol=mean_tol, is_logvar=is_logvar)
    if len(types) != logvar.shape[1]:
        raise DataError(f"types describes {len(types)} latents, but logvar has {logvar.shape[1]}")
    return types


def _correlations(codes: Posterior, name: str, subsets: dict[str, Latents], bins: int) -> list[tuple[str, str, float]]:
    """(subset, metric, value) for every subset of two latents or more, all sliced from one covariance."""
    cov, _ = _covariance(codes, name)
    information = pairwise_mutual_information(equal_width_bins(codes, bins))
    np.fill_diagonal(information, 0.0)
    found = []
    for subset, chosen in subsets.items():
        k = len(chosen)
        if k < 2:
            continue
        block = cov[np.ix_(chosen, chosen)]
        trace = float(np.trace(block))
        wasserstein = gaussian_wasserstein_correlation(block)
        values = {
            "total_correlation": _total_correlation(cov, chosen),
            "wasserstein_correlation": wasserstein,
            "wasserstein_correlation_normalized": wasserstein / trace if trace else math.nan,
            "mutual_information": float(information[np.ix_(chosen, chosen)].sum()) / (k * k - k),
            "effective_rank": effective_rank(block) if trace else math.nan,
            "condition_number": _condition_number(block),
            "condition_number_correlation": _condition_number(correlation_of(block)),
        }
        found += [(subset, metric, value) for metric, value in values.items()]
    return found


def _condition_number(matrix: Float[np.ndarray, "k k"]) -> float:
    singular = np.linalg.svd(matrix, compute_uv=False)
    return float(singular[0] / singular[-1]) if singular[-1] > 0 else math.inf


def correlation_of(cov: Float[np.ndarray, "k k"]) -> Float[np.ndarray, "k k"]:
    """Correlations; 0 with a constant."""
    deviation = np.sqrt(np.diag(cov))
    scale = np.outer(deviation, deviation)
    return np.divide(cov, scale, out=np.zeros_like(cov), where=scale > 0)


def tc_gap(
    mu: Num[np.ndarray, "n latent"] | Any,
    logvar: Num[np.ndarray, "n latent"] | Any,
    *,
    types: LatentTypes | None = None,
    var_tol: float = 0.1,
    mean_tol: float = 0.1,
    is_logvar: bool = False,
    draws: int = 200,
    bootstrap: int = 0,
    seed: int = 0,
) -> Scores:
    """How much of the correlation that only the mean representation has comes from the passive latents.

    gap(S) = TC(mean, S) - TC(sampled, S) for a set S of latents, with the Gaussian total correlation in nats. Leaving out the
    passive latents removes the share 1 - |gap(non-passive)| / gap(full); two baselines leave out as many latents chosen
    otherwise.

    Args:
        mu: means of the posteriors of n inputs, shape (n, latent).
        logvar: their log-variances, same shape.
        types: a classification made elsewhere; None classifies by `logvar`.
        var_tol: as in `classify_latents`.
        mean_tol: as in `classify_latents`.
        is_logvar: as in `classify_latents`.
        draws: random choices the random baseline is averaged over.
        bootstrap: half samples for 95% intervals (the classification stays); 0 computes none.
        seed: of the draw of z, of the random choices and of the halves.

    Returns:
        `.share_removed`; `.share_removed_random`, mean over draws (`.random_shares` has each);
        `.share_removed_low_variance`, leaving out the latents whose mu varies least; `.gap`, `.gap_without_passive`;
        `.tc_mean`, `.tc_sampled`, `.tc_mean_without_passive`, `.tc_sampled_without_passive`; `.types`; `.low_variance`, the
        indices that baseline leaves out. All shares, and `gap_without_passive`, are nan where they are not defined.

    Raises:
        DataError: unusable arrays, different shapes, or values that look like variances.
        OptionError: an option out of range.

    Warns:
        UserWarning: no latent is passive; fewer than two others are left; the full gap is not positive, or not finite.

    Cost: O(n * latents^2 + draws * latents^3).
    """
    check_range(draws, "draws", low=1, integer=True)
    check_range(bootstrap, "bootstrap", low=0, integer=True)
    mu, logvar = _posterior(mu, logvar)
    types = _types_of(logvar, types, var_tol, mean_tol, is_logvar)
    z = sample_codes(mu, logvar, seed)
    latents, dropped = len(types), len(types.passive)
    reason = None
    if not dropped:
        reason = "no latent is passive"
    elif latents - dropped < 2:
        reason = f"{latents - dropped} of {latents} latents would be left, and total correlation needs two"
    kept = types.of("active+mixed")
    low_variance = np.sort(np.argsort(mu.var(axis=0), kind="stable")[:dropped])
    covs = _covariance(mu, "mean")[0], _covariance(z, "sampled")[0]

    values, gaps = _gap_values(covs, kept)
    if reason is None and not (math.isfinite(values["gap"]) and values["gap"] > 0):
        reason = f"the gap of all latents is {values['gap']:.4g} nats, of which no share can be taken"
    random_shares = np.full(int(draws), math.nan)
    if reason is None:
        rng = np.random.default_rng(seed)
        for i in range(int(draws)):
            left = np.sort(rng.choice(latents, size=latents - dropped, replace=False))
            random_shares[i] = 1 - abs(gaps(left)) / values["gap"]
        rest = np.setdiff1d(np.arange(latents), low_variance)
        shares = {
            "share_removed": 1 - abs(values["gap_without_passive"]) / values["gap"],
            "share_removed_random": float(random_shares.mean()),
            "share_removed_low_variance": 1 - abs(gaps(rest)) / values["gap"],
        }
    else:
        warnings.warn(f"the share of the gap that passive latents explain is nan: {reason}", UserWarning, stacklevel=2)
        shares = dict.fromkeys(("share_removed", "share_removed_random", "share_removed_low_variance"), math.nan)
        if dropped == 0 or latents - dropped < 2:
            values["gap_without_passive"] = math.nan
    values = shares | values

    def of_half(half: np.ndarray) -> dict[str, float]:
        found, _ = _gap_values((_quiet_covariance(mu[half]), _quiet_covariance(z[half])), kept)
        share = 1 - abs(found["gap_without_passive"]) / found["gap"] if found["gap"] > 0 else math.nan
        return found | {"share_removed": share}

    sampled_names = {k: v for k, v in values.items() if not k.startswith("share_removed_")}
    intervals = (
        half_sample_intervals(of_half, sampled_names, len(mu), repeats=int(bootstrap), seed=seed) if bootstrap else {}
    )
    return Scores(
        values,
        intervals=intervals,
        extra={"types": types, "random_shares": random_shares, "low_variance": low_variance},
        measure="tc_gap",
    )


def _gap_values(
    covs: tuple[np.ndarray, np.ndarray], kept: Latents
) -> tuple[dict[str, float], Callable[[Latents], float]]:
    """Total correlations and gaps of all and of the kept latents, and the gap of any others."""

    def both(chosen: Latents) -> tuple[float, float]:
        return _total_correlation(covs[0], chosen), _total_correlation(covs[1], chosen)

    def gap(chosen: Latents) -> float:
        mean, sampled = both(chosen)
        return mean - sampled

    mean, sampled = both(np.arange(len(covs[0])))
    mean_kept, sampled_kept = both(kept)
    values = {
        "gap": mean - sampled,
        "gap_without_passive": mean_kept - sampled_kept,
        "tc_mean": mean,
        "tc_sampled": sampled,
        "tc_mean_without_passive": mean_kept,
        "tc_sampled_without_passive": sampled_kept,
    }
    return values, gap


def _quiet_covariance(codes: Posterior) -> Float[np.ndarray, "latent latent"]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the whole sample has warned
        return _covariance(codes, "half")[0]
