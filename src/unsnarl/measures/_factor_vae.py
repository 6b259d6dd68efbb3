"""FactorVAE score: how often the latent that varies least tells which factor was fixed.

Kim and Mnih 2018, "Disentangling by Factorising" (arXiv 1802.05983), Section 4,
in the form of Locatello et al. 2019 (`disentanglement_lib`).
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from unsnarl.arrays import check_range
from unsnarl.measures._inputs import Codes, Rows, as_categories, half_intervals, read_inputs, varying
from unsnarl.measures._scores import Score
from unsnarl.measures._shared_value import (
    RowSampler,
    Sampler,
    check_no_bootstrap,
    check_rows,
    check_two_factors,
    draw_batches,
    random_factors,
)

_MEASURE = "the FactorVAE score"


def factor_vae_score(
    codes: Any,
    factors: Any,
    *,
    kinds: Any = None,
    batch_size: int = 64,
    train_size: int = 10_000,
    test_size: int = 5_000,
    threshold: float = 0.0,
    factor_bins: int | None = None,
    min_rows: int = 8,
    sampler: Sampler | None = None,
    bootstrap: int = 0,
    seed: int = 0,
) -> Score:
    """How often the latent that varies least in a batch tells which factor the batch shares (Kim and Mnih 2018).

    A vote is made so: pick a factor k at random; draw `batch_size` observations with one value of k; vote for the latent j
    with the smallest Var_batch(z_j) / Var(z_j). Over `train_size` votes each latent is given the factor it was voted for
    with most often; the score is how often that is right over `test_size` new votes.

    What differs from the published code: batches are drawn from the rows given (see `sampler` for fresh ones; on a full
    grid with one row a combination the two are the same); Var(z_j) is taken over all n rows instead of 10,000 fresh ones;
    a latent is active when its standard deviation is *above* `threshold`, so constant latents never vote. The published
    default of 0 keeps them, as it asks for "at least 0", and divides by zero; the published study ran with 0.05, which is
    meant for latents of a VAE, whose scale is 1.

    Args:
        codes: representation of n observations, shape (n, latent).
        factors: their factors: a `FactorTable`, data frame or array of shape (n, factor); at least two, all discrete.
        kinds: "discrete" or "continuous" where the guess of `FactorTable` is wrong.
        batch_size: observations a vote, at least 2.
        train_size: votes that give each latent its factor.
        test_size: votes that are scored.
        threshold: standard deviation up to which a latent counts as collapsed and does not vote.
        factor_bins: cut continuous factors into this many equally filled bins instead of refusing them.
        min_rows: fewest rows a value of a factor may have.
        sampler: `sampler(factor, batches, size, rng)` gives codes of shape (batches, size, latent) of fresh observations
            that share the factor with this index within each batch (`simulator_sampler` makes one). Any kind of factor
            will do then; Var(z_j) still comes from `codes`.
        bootstrap: half samples for a 95% interval; 0 computes none. Each costs as much as the score.
        seed: seed of all draws.

    Returns:
        Accuracy in [0, 1]; chance is about 1 / factors; 0 with a warning when no latent is active. `.per_factor`: accuracy
        for each factor; `.matrix`: training votes (latent x factor); `.train_accuracy`; `.active`: which latents voted.
        Latents that follow a factor closely win all votes, so the score hardly depends on how many others there are, and
        several latents that share one factor do not lower it.

    Raises:
        DataError: unusable arrays, fewer than two factors, a continuous factor, or a value with fewer than `min_rows` rows.
        OptionError: a size out of range, or `bootstrap` together with `sampler`.

    Cost: O((train_size + test_size) * batch_size * latents), independent of n but for O(factors * n log n) once.

    Examples:
        >>> factors = np.stack(np.meshgrid(*[np.arange(4)] * 3), axis=-1).reshape(-1, 3)
        >>> factor_vae_score(factors.astype(float), factors, train_size=500, test_size=200)
        Score(factor_vae=1.000)
    """
    check_range(batch_size, "batch_size", low=2, integer=True)
    check_range(train_size, "train_size", low=1, integer=True)
    check_range(test_size, "test_size", low=1, integer=True)
    check_range(threshold, "threshold", low=0)
    matrix, table = read_inputs(codes, factors, kinds)
    check_two_factors(table, _MEASURE)
    check_no_bootstrap(bootstrap, sampler)
    matrix = matrix.astype(np.float64)
    count = len(table.names)

    def outcome(observed: Codes, source: Sampler) -> dict[str, Any]:
        rng = np.random.default_rng(seed)
        active = varying(observed) & (observed.std(axis=0, ddof=1) > threshold)
        variance = observed.var(axis=0, ddof=1)
        if not active.any():
            warnings.warn(f"{_MEASURE} is 0: no latent is active", UserWarning, stacklevel=3)
            votes = checks = np.zeros((observed.shape[1], count), dtype=np.int64)
        else:
            votes = _votes(source, train_size, batch_size, count, variance, active, rng)
            checks = _votes(source, test_size, batch_size, count, variance, active, rng)
        assigned = votes.argmax(axis=1)
        latent = np.arange(len(assigned))
        right = np.bincount(assigned, checks[latent, assigned], minlength=count)
        return {
            "value": float(right.sum() / test_size),
            "per_factor": right / np.maximum(checks.sum(axis=0), 1),
            "matrix": votes,
            "train_accuracy": float(votes[latent, assigned].sum() / train_size),
            "active": active,
        }

    if sampler is not None:
        found = outcome(matrix, sampler)
        intervals = {}
    else:
        table = as_categories(table, factor_bins, _MEASURE)
        check_rows(table, min_rows, _MEASURE)
        found = outcome(matrix, RowSampler(matrix, table.indices))

        def of_half(rows: Rows) -> dict[str, float]:
            return {"factor_vae": outcome(matrix[rows], RowSampler(matrix[rows], table.indices[rows]))["value"]}

        values = {"factor_vae": found["value"]}
        intervals = half_intervals(of_half, values, table.indices, bootstrap=bootstrap, seed=seed)
    return Score(
        found["value"],
        name="factor_vae",
        interval=intervals.get("factor_vae"),
        matrix=found["matrix"],
        per_factor=found["per_factor"],
        extra={"train_accuracy": found["train_accuracy"], "active": found["active"]},
    )


def _votes(
    sampler: Sampler,
    count: int,
    batch_size: int,
    factors: int,
    variance: Float[np.ndarray, " latent"],
    active: Bool[np.ndarray, " latent"],
    rng: np.random.Generator,
) -> Int[np.ndarray, "latent factor"]:
    """How often each latent varied least while each factor was shared."""
    factor = random_factors(count, factors, rng)
    with np.errstate(divide="ignore"):
        weight = np.where(active, 1.0 / variance, np.nan)
    winner = np.empty(count, dtype=np.int64)
    for chosen, drawn in draw_batches(sampler, factor, batches=1, size=batch_size, latents=len(variance), rng=rng):
        winner[chosen] = np.nanargmin(drawn[:, 0].var(axis=1, ddof=1) * weight, axis=1)
    votes = np.bincount(winner * factors + factor, minlength=len(variance) * factors)
    return votes.reshape(len(variance), factors)
