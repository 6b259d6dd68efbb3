"""BetaVAE score: how well a linear classifier sees from code differences which factor was fixed.

Higgins et al. 2017, "beta-VAE: Learning Basic Visual Concepts with a Constrained Variational Framework", Section 3,
in the form of Locatello et al. 2019 (`disentanglement_lib`).
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from unsnarl.arrays import check_range
from unsnarl.measures._inputs import Rows, as_categories, half_intervals, read_inputs, varying
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

_MEASURE = "the BetaVAE score"


def beta_vae_score(
    codes: Any,
    factors: Any,
    *,
    kinds: Any = None,
    batch_size: int = 64,
    train_size: int = 10_000,
    test_size: int = 5_000,
    standardize: bool = False,
    factor_bins: int | None = None,
    min_rows: int = 8,
    sampler: Sampler | None = None,
    bootstrap: int = 0,
    seed: int = 0,
) -> Score:
    """How often a linear classifier tells which factor two observations share (Higgins et al. 2017).

    A point is made so: pick a factor k at random; draw `batch_size` pairs (a, b) of observations with the same value of k;
    average |z_a - z_b| over the pairs. A multinomial logistic regression learns k from `train_size` such points; the score
    is its accuracy on `test_size` new ones.

    What differs from the published code: pairs are drawn from the rows given (see `sampler` for fresh ones; on a full grid
    with one row a combination the two are the same); the classifier is today's default of scikit-learn (multinomial,
    L-BFGS, C = 1, at most 100 iterations), as the published code has it on a current scikit-learn, while the study of 2019
    ran the default of its time (one against the rest, liblinear).

    Args:
        codes: representation of n observations, shape (n, latent).
        factors: their factors: a `FactorTable`, data frame or array of shape (n, factor); at least two, all discrete.
        kinds: "discrete" or "continuous" where the guess of `FactorTable` is wrong.
        batch_size: pairs a point.
        train_size: points the classifier learns from.
        test_size: points it is scored on.
        standardize: divide each latent by its standard deviation first. Off as published; then, because the classifier's
            penalty has a scale, the score of codes much smaller than 1 is too low.
        factor_bins: cut continuous factors into this many equally filled bins instead of refusing them.
        min_rows: fewest rows a value of a factor may have.
        sampler: `sampler(factor, batches, size, rng)` gives codes of shape (batches, size, latent) of fresh observations
            that share the factor with this index within each batch (`simulator_sampler` makes one). Any kind of factor
            will do then; `codes` and `factors` only say how many there are.
        bootstrap: half samples for a 95% interval; 0 computes none. Each costs as much as the score.
        seed: seed of all draws.

    Returns:
        Accuracy in [0, 1]; chance is 1 / factors. `.per_factor`: accuracy for each factor; `.matrix`: mean |z_a - z_b| of
        each latent when each factor is shared (latent x factor); `.train_accuracy`.
        More latents can only help the classifier, so compare representations of equal width; and a rotation of perfect codes
        still scores near 1: the score sees whether factors can be told apart, not whether single latents carry them.

    Raises:
        DataError: unusable arrays, fewer than two factors, a continuous factor, or a value with fewer than `min_rows` rows.
        OptionError: a size out of range, or `bootstrap` together with `sampler`.

    Cost: O((train_size + test_size) * batch_size * latents), and the classifier, O(train_size * latents * factors) for each
    of at most 100 iterations; independent of n but for O(factors * n log n) once.

    Examples:
        >>> factors = np.stack(np.meshgrid(*[np.arange(4)] * 3), axis=-1).reshape(-1, 3)
        >>> beta_vae_score(factors.astype(float), factors, train_size=500, test_size=200)
        Score(beta_vae=1.000)
    """
    for name, value in (("batch_size", batch_size), ("train_size", train_size), ("test_size", test_size)):
        check_range(value, name, low=1, integer=True)
    matrix, table = read_inputs(codes, factors, kinds)
    check_two_factors(table, _MEASURE)
    check_no_bootstrap(bootstrap, sampler)
    width, count = matrix.shape[1], len(table.names)
    scale = np.where(varying(matrix), matrix.std(axis=0), 1.0) if standardize else np.ones(width)

    def outcome(source: Sampler) -> dict[str, Any]:
        rng = np.random.default_rng(seed)
        train, train_factor = _points(source, train_size, batch_size, count, scale, rng)
        test, test_factor = _points(source, test_size, batch_size, count, scale, rng)
        model = _classifier(train, train_factor)
        right = model.predict(test) == test_factor
        with np.errstate(invalid="ignore"):
            per_factor = np.bincount(test_factor, right, count) / np.bincount(test_factor, minlength=count)
            mean = [train[train_factor == k].sum(axis=0) / np.sum(train_factor == k) for k in range(count)]
        return {
            "value": float(right.mean()),
            "per_factor": per_factor,
            "matrix": np.stack(mean, axis=1),
            "train_accuracy": float((model.predict(train) == train_factor).mean()),
        }

    if sampler is not None:
        found = outcome(sampler)
        intervals = {}
    else:
        table = as_categories(table, factor_bins, _MEASURE)
        check_rows(table, min_rows, _MEASURE)
        matrix = matrix.astype(np.float64)
        found = outcome(RowSampler(matrix, table.indices))

        def of_half(rows: Rows) -> dict[str, float]:
            return {"beta_vae": outcome(RowSampler(matrix[rows], table.indices[rows]))["value"]}

        values = {"beta_vae": found["value"]}
        intervals = half_intervals(of_half, values, table.indices, bootstrap=bootstrap, seed=seed)
    return Score(
        found["value"],
        name="beta_vae",
        interval=intervals.get("beta_vae"),
        matrix=found["matrix"],
        per_factor=found["per_factor"],
        extra={"train_accuracy": found["train_accuracy"]},
    )


def _points(
    sampler: Sampler,
    count: int,
    batch_size: int,
    factors: int,
    scale: Float[np.ndarray, " latent"],
    rng: np.random.Generator,
) -> tuple[Float[np.ndarray, "points latent"], Int[np.ndarray, " points"]]:
    """Mean absolute code differences of pairs that share a factor, and which factor."""
    factor = random_factors(count, factors, rng)
    points = np.empty((count, len(scale)))
    for chosen, pairs in draw_batches(sampler, factor, batches=batch_size, size=2, latents=len(scale), rng=rng):
        points[chosen] = np.abs(pairs[:, :, 0] - pairs[:, :, 1]).mean(axis=1)
    return points / scale, factor


def _classifier(points: Float[np.ndarray, "points latent"], factor: Int[np.ndarray, " points"]) -> Any:
    from sklearn.dummy import DummyClassifier
    from sklearn.linear_model import LogisticRegression

    if len(np.unique(factor)) < 2:  # so few points that one factor only was drawn
        return DummyClassifier().fit(points, factor)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the iterations are limited by definition
        return LogisticRegression().fit(points, factor)
