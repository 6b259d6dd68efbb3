"""Batches of codes that agree in one factor: what the BetaVAE and FactorVAE scores look at.

Both scores were defined on a simulator: fix one factor, draw all others afresh, encode. Here the default draws from the
observations there are: a value of the fixed factor with the frequency it has in the data, then rows with that value,
uniformly and with replacement. On a full grid with one row for each combination, this is exactly fresh sampling. On other
data the remaining factors keep whatever dependence on the fixed one the data has, and a value with few rows repeats them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Num

from unsnarl.arrays import check_finite, check_range, to_numpy
from unsnarl.data import FactorTable, Simulator
from unsnarl.errors import DataError, OptionError
from unsnarl.measures._inputs import Labels

Sampler = Callable[[int, int, int, np.random.Generator], Any]
"""`sampler(factor, batches, size, rng)`: codes of shape (batches, size, latent) of fresh observations, those of one batch
alike in the factor with that index and independent in the others."""

_NUMBERS_AT_ONCE = 1 << 18  # codes held at a time when drawing rows: 2 MiB, which stays in the second-level cache
_OBSERVATIONS_AT_ONCE = 4096  # observations asked of a sampler at a time: bounds the memory rendering takes


class RowSampler:
    """A `Sampler` that draws from the observations themselves.

    Args:
        codes: representation of n observations.
        labels: category indices of their factors.
    """

    def __init__(self, codes: Float[np.ndarray, "n latent"], labels: Labels):
        self._codes = codes
        self._order = np.argsort(labels, axis=0, kind="stable").T
        ordered = np.take_along_axis(labels, self._order.T, axis=0).T
        self._start = np.stack([np.searchsorted(column, column, side="left") for column in ordered])
        self._count = np.stack([np.searchsorted(column, column, side="right") for column in ordered]) - self._start

    def __call__(
        self, factor: int, batches: int, size: int, rng: np.random.Generator
    ) -> Float[np.ndarray, "batches size latent"]:
        """Rows of `batches` groups, each group of one value of the factor."""
        anchor = rng.integers(len(self._codes), size=batches)  # so a value comes as often as it is in the data
        within = rng.random((batches, size)) * self._count[factor, anchor][:, None]
        place = self._start[factor, anchor][:, None] + within.astype(np.int64)
        return self._codes[self._order[factor, place]]


def simulator_sampler(simulator: Simulator, encode: Callable[[Any], Any]) -> Sampler:
    """Fresh observations from a simulator as a `sampler=` for `beta_vae_score` and `factor_vae_score`.

    Factor indices are those of the simulator's grid, so pass the measure the simulator's own factors. Fixing a factor may
    leave what `correlate` or `leave_out` of the simulator allow; use one without them.

    Args:
        simulator: draws and renders factor combinations.
        encode: maps rendered observations to codes, e.g. a learner's `transform`.
    """

    def sample(factor: int, batches: int, size: int, rng: np.random.Generator) -> Any:
        indices = simulator.sample_indices(batches * size, rng).reshape(batches, size, -1)
        indices[:, :, factor] = indices[:, :1, factor]
        codes = to_numpy(encode(simulator.render_indices(indices.reshape(batches * size, -1))), "codes")
        return codes.reshape(batches, size, -1)

    return sample


def check_rows(table: FactorTable, min_rows: int, measure: str) -> None:
    """Refuse factors with a value too rare to draw batches from.

    Raises:
        DataError: names the factor, the value and its number of rows.
    """
    check_range(min_rows, "min_rows", low=2, integer=True)
    for name in table.names:
        value, count = np.unique(table.column(name), return_counts=True)
        if count.min() < min_rows:
            rarest = table.levels[name][int(value[count.argmin()])]
            raise DataError(
                f"{measure} draws batches of observations that share a factor's value, but factor {name!r} has the value "
                f"{rarest!s} in {count.min()} row{'s' if count.min() > 1 else ''} only and min_rows={min_rows}; drop or "
                "merge rare values, leave the factor out, or draw afresh with sampler="
            )


def check_two_factors(table: FactorTable, measure: str) -> None:
    """Refuse a single factor, as the score asks which of the factors was fixed.

    Raises:
        DataError: there is one factor.
    """
    if len(table.names) < 2:
        raise DataError(f"{measure} asks which factor was fixed, so it needs at least two factors, got one")


def draw_batches(
    sampler: Sampler,
    factor_of_point: Int[np.ndarray, " points"],
    *,
    batches: int,
    size: int,
    latents: int,
    rng: np.random.Generator,
) -> Iterator[tuple[slice, Num[np.ndarray, "points batches size latent"]]]:
    """`batches` batches of `size` for each point, in pieces that fit in memory.

    Args:
        sampler: where the codes come from.
        factor_of_point: which factor is shared at each point, in ascending order.
        batches: batches a point.
        size: observations a batch.
        latents: width the codes must have.
        rng: source of randomness.

    Yields:
        which points, and their codes.

    Raises:
        DataError: the sampler returned another shape, or values that are not finite.
    """
    if isinstance(sampler, RowSampler):
        step = max(1, _NUMBERS_AT_ONCE // (batches * size * latents))
    else:
        step = max(1, _OBSERVATIONS_AT_ONCE // (batches * size))
    for factor in range(int(factor_of_point[-1]) + 1):
        first, last = np.searchsorted(factor_of_point, [factor, factor + 1])
        for begin in range(int(first), int(last), step):
            points = slice(begin, min(begin + step, int(last)))
            count = points.stop - points.start
            drawn = to_numpy(sampler(factor, count * batches, size, rng), "sampler")
            wanted = (count * batches, size, latents)
            if drawn.shape != wanted or drawn.dtype.kind not in "iuf":
                raise DataError(
                    f"sampler must return numbers of shape (batches, size, latents) = {wanted}, "
                    f"got {drawn.dtype} of shape {drawn.shape}"
                )
            check_finite(drawn, "sampler's codes")
            yield points, drawn.reshape(count, batches, size, latents)


def random_factors(points: int, factors: int, rng: np.random.Generator) -> Int[np.ndarray, " points"]:
    """Which factor each point fixes, uniformly at random, in ascending order."""
    return np.sort(rng.integers(factors, size=points))


def check_no_bootstrap(bootstrap: int, sampler: Sampler | None) -> None:
    """Refuse half-sample intervals where the observations come from a sampler rather than from the rows.

    Raises:
        OptionError: both are asked for.
    """
    if bootstrap and sampler is not None:
        raise OptionError(
            f"bootstrap={bootstrap} draws halves of the rows, but with sampler= the score does not come from the rows; "
            "repeat with several seeds instead"
        )
