"""Diffusion spectral entropy: how many modes or clusters a cloud of points has, in bits (Liao et al. 2023).

Walk at random over the points, stepping to near ones: with G_ij = exp(-|x_i - x_j|^2 / (2 sigma^2)) and q_i = sum_j G_ij,
the step matrix is diag(q)^-1 G. Its eigenvalues, 1 = lambda_1 >= lambda_2 >= ... >= 0, say how slowly each mode of the
cloud is forgotten. Their shares a_i = lambda_i^t / sum_j lambda_j^t have the entropy

    DSE = -sum_i a_i log2 a_i,   between 0 and log2 n.

*Operators.* "symmetric", diag(q)^-1/2 G diag(q)^-1/2, is the published one; "random-walk" is another name for it, since
both matrices have the same eigenvalues. Its authors' code calls it anisotropic and says that its spectrum is that of
diag(K 1)^-1 K with K the symmetric matrix; that is another matrix with another spectrum (Coifman and Lafon 2006,
alpha = 1/2), given here as "anisotropic".

*Limits.* sigma -> 0 gives log2 n, sigma -> infinity or equal points 0; k far clusters of equal points and equal size
give log2 k for every t. Turning, shifting, or scaling points and sigma together changes nothing. A larger t forgets the
small modes and lowers the entropy.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int, Num
from torch import Tensor

from unsnarl.arrays import check_choice, check_range
from unsnarl.errors import OptionError
from unsnarl.information._distances import as_rows, gaussian_affinity, neighbor_adjacency
from unsnarl.information._kernel import median_distance
from unsnarl.information._psd_spectrum import SpectrumEntropy, entropy_of_psd
from unsnarl.information._reliability import _warn
from unsnarl.information._spectrum import entropy_of_shares

Operator = Literal["symmetric", "random-walk", "anisotropic"]
OPERATORS = ("symmetric", "random-walk", "anisotropic")


class DiffusionEntropy(float):
    """An entropy in bits that remembers how it was found.

    Attributes:
        sigma: width of the kernel, also where it was chosen by `sigma="median"`; nan where there was none.
        t: diffusion time.
        operator: the matrix whose spectrum it is.
        n: number of observations it is of, after any subsampling.
        error: bound of the numerical error in bits, beyond float64's.
        how: "float64", "float32", "low rank", "blocks", or "entries".
        above: share of the lambda^t above 0.01; the authors' rule of thumb chooses sigma and t so that it is about 1%.
    """

    sigma: float
    t: float
    operator: str
    n: int
    error: float
    how: str
    above: float

    @classmethod
    def of(cls, bits: float, **attributes: Any) -> DiffusionEntropy:
        """The number with its attributes."""
        value = cls(bits)
        for name, attribute in attributes.items():
            setattr(value, name, attribute)
        return value


def diffusion_spectral_entropy(
    X: Num[np.ndarray, "n *dimension"] | Num[Tensor, "n *dimension"] | Any,
    sigma: float | str = 10.0,
    t: float = 1,
    operator: Operator | str = "symmetric",
    *,
    max_n: int = 10_000,
    seed: int | None = 0,
    tolerance: float = 1e-6,
) -> DiffusionEntropy:
    """Diffusion spectral entropy in bits of a cloud of points; see the head of this module.

    Args:
        X: n observations of one or several columns: an array, or a tensor on any device.
        sigma: width of the Gaussian kernel, in the unit of X, or "median": the median pairwise distance / sqrt(2) (of
            1,000 evenly spaced rows when there are more), so that exp(-d^2 / 2 sigma^2) is 1/e at the median. The
            published 10 suits the authors' networks and no others: look at the warnings.
        t: diffusion time, above 0; larger forgets small modes.
        operator: "symmetric" (published; "random-walk" is the same) or "anisotropic".
        max_n: with more observations, so many of them are drawn without replacement (as published); or see
            `approximate_diffusion_entropy`, which uses all.
        seed: of that draw; None refuses to draw.
        tolerance: bits that may be lost for the sake of speed, from 400 observations on; 0 for float64 throughout.

    Returns:
        A float in [0, log2 n] with attributes `sigma`, `t`, `operator`, `n`, `error`, `how`, `above`.

    Raises:
        DataError: not finite numbers, or fewer than 2 observations.
        OptionError: sigma or t not above 0, unknown operator, more than max_n observations without a seed.

    Warns:
        EstimatorWarning: the entropy is within 2% of log2 n (sigma too small: every point is its own cluster) or below
            0.02 bits (sigma too large: all points are one); differences between representations do not show there.

    Cost: O(n^2 dimension + n^3), seconds for n = 3,000 and about a minute for 10,000; memory up to 24 n^2 bytes.
    Here 0 log 0 is 0; the 2e-16 inside the published logarithm moves the result by less than 1e-9.

    >>> corners = np.repeat([[0.0, 0], [99, 0], [0, 99], [99, 99]], 25, axis=0)
    >>> round(diffusion_spectral_entropy(corners), 6)  # four clusters
    2.0
    """
    points = draw_rows(as_rows(X), max_n, seed)
    check_range(t, "t", low=0, open_low=True)
    check_choice(operator, OPERATORS, "operator")
    width = kernel_width(points, sigma)
    found = entropy_at(points, width, float(t), operator, tolerance)
    warn_if_saturated(found.bits, len(points), width)
    above = float((np.abs(found.eigenvalues) ** t > 0.01).sum() / len(points))
    return DiffusionEntropy.of(
        found.bits,
        sigma=width,
        t=float(t),
        operator=str(operator),
        n=len(points),
        error=found.error,
        how=found.how,
        above=above,
    )


def kernel_width(points: Float[Tensor, "n dimension"], sigma: float | str, argument: str = "sigma") -> float:
    """The width as a number: as given, or the median pairwise distance / sqrt(2) for "median".

    Raises:
        OptionError: neither "median" nor a number above 0.
    """
    if isinstance(sigma, str):
        check_choice(sigma, ("median",), argument)
        return median_distance(points.cpu().numpy()) / math.sqrt(2)
    check_range(sigma, argument, low=0, open_low=True)
    return float(sigma)


def draw_indices(n: int, max_n: int, seed: int | None) -> Int[np.ndarray, "kept"] | None:
    """The rows to keep of n where only max_n are allowed, in order; None keeps all.

    Raises:
        OptionError: max_n below 2, or more rows than that without a seed.
    """
    check_range(max_n, "max_n", low=2, integer=True)
    if n <= max_n:
        return None
    if seed is None:
        raise OptionError(
            f"there are {n:,} observations and max_n={max_n:,}, so some must be drawn; give a seed, or a larger max_n"
        )
    check_range(seed, "seed", low=0, integer=True)
    return np.sort(np.random.default_rng(int(seed)).choice(n, size=int(max_n), replace=False))


def draw_rows(points: Float[Tensor, "n dimension"], max_n: int, seed: int | None) -> Float[Tensor, "m dimension"]:
    """The points, or max_n of them drawn without replacement."""
    kept = draw_indices(len(points), max_n, seed)
    return points if kept is None else points[torch.from_numpy(kept).to(points.device)]


def diffusion_operator(
    points: Float[Tensor, "n dimension"], sigma: float, operator: str = "symmetric"
) -> tuple[Float[Tensor, "n n"], Float[Tensor, "n"]]:
    """The symmetric matrix with the operator's spectrum, and the unit eigenvector of its largest eigenvalue, 1."""
    return _normalize(gaussian_affinity(points, sigma), 2 if operator == "anisotropic" else 1)


def _normalize(kernel: Tensor, times: int) -> tuple[Tensor, Tensor]:
    """diag(q)^-1/2 K diag(q)^-1/2 with q the row sums, in place, once or twice."""
    for _ in range(times):
        mass = kernel.sum(1)
        scale = mass.rsqrt()
        kernel.mul_(scale[:, None]).mul_(scale)
    return kernel, (mass / mass.sum()).sqrt()


def entropy_at(points: Tensor, sigma: float, t: float, operator: str, tolerance: float = 1e-6) -> SpectrumEntropy:
    """The entropy for checked input."""
    check_range(tolerance, "tolerance", low=0)
    matrix, top = diffusion_operator(points, sigma, operator)
    return entropy_of_psd(matrix, t=t, tolerance=tolerance, top=top)


def warn_if_saturated(bits: float, n: int, sigma: float, what: str = "the diffusion spectral entropy") -> None:
    """Say so when an entropy sits at one of its ends, where it cannot tell representations apart."""
    if bits > 0.98 * math.log2(n):
        _warn(
            f"{what} is {bits:.2f} bits, at its ceiling of log2 n = {math.log2(n):.2f}: at sigma={sigma:.3g} nearly every "
            "point is a cluster of its own, so sigma is too small to tell anything; try sigma='median' or larger"
        )
    elif bits < 0.02:
        _warn(
            f"{what} is {bits:.2g} bits, at its floor of 0: at sigma={sigma:.3g} all points are as one, so sigma is too "
            "large to tell anything (or the points are equal); try sigma='median' or smaller"
        )


def diffusion_entry_entropy(
    X: Num[np.ndarray, "n *dimension"] | Num[Tensor, "n *dimension"] | Any,
    sigma: float | str = 10.0,
    t: float = 1,
    *,
    max_n: int = 10_000,
    seed: int | None = 0,
) -> DiffusionEntropy:
    """Entropy in bits of the entries of the t-step matrix P^t, normalised to sum 1, instead of its spectrum.

    P = diag(K 1)^-1 K with K = diag(q)^-1/2 G diag(q)^-1/2. Every row sums to 1, so the result is log2 n plus the mean
    entropy of where a walk from a point goes in t steps. The published function ignores t; this one does for t = 1 what
    that does for any.

    Args:
        X: as in `diffusion_spectral_entropy`.
        sigma: as in `diffusion_spectral_entropy`.
        t: number of steps, a positive integer.
        max_n: as in `diffusion_spectral_entropy`.
        seed: as in `diffusion_spectral_entropy`.

    Returns:
        A float in [log2 n, 2 log2 n], with the attributes of `diffusion_spectral_entropy`.

    Raises:
        DataError, OptionError: as `diffusion_spectral_entropy`; t is not a positive integer.

    Cost: O(n^2 dimension) for t = 1, O(n^3 log t) beyond; memory 8 n^2 bytes (24 n^2 beyond t = 1).

    >>> points = np.array([[0.0], [0.0], [1e3], [1e3]])
    >>> float(diffusion_entry_entropy(points, sigma=1.0))  # 2 bits of where it starts, 1 of where it goes
    3.0
    """
    points = draw_rows(as_rows(X), max_n, seed)
    check_range(t, "t", low=1, integer=True)
    width = kernel_width(points, sigma)
    matrix, _ = diffusion_operator(points, width)
    matrix /= matrix.sum(1, keepdim=True)
    if t > 1:
        matrix = torch.linalg.matrix_power(matrix, int(t))
    bits = entropy_of_shares(matrix.cpu().numpy(), base=2)
    return DiffusionEntropy.of(
        bits, sigma=width, t=float(t), operator="entries", n=len(points), error=0.0, how="entries", above=math.nan
    )


def adjacency_spectral_entropy(
    X: Num[np.ndarray, "n *dimension"] | Num[Tensor, "n *dimension"] | Any,
    sigma: float | str = 10.0,
    *,
    normalized: bool = False,
    neighbors: int | None = None,
    max_n: int = 10_000,
    seed: int | None = 0,
    tolerance: float = 1e-6,
) -> DiffusionEntropy:
    """Entropy in bits of the normalised |eigenvalues| of an adjacency matrix: diffusion left out, for comparison.

    Args:
        X: as in `diffusion_spectral_entropy`.
        sigma: width of the Gaussian adjacency; unused with `neighbors`.
        normalized: divide by the row sums as the diffusion operator does (then it is DSE at t = 1).
        neighbors: take instead the binary graph that joins i and j when either is among the other's so many nearest
            points, a point counting as its own nearest. (The published one joins i to its own nearest only and so is
            not symmetric; with complex eigenvalues an entropy of their moduli has no such reading.)
        max_n: as in `diffusion_spectral_entropy`.
        seed: as in `diffusion_spectral_entropy`.
        tolerance: as in `diffusion_spectral_entropy`.

    Returns:
        A float in [0, log2 n] with the attributes of `diffusion_spectral_entropy`.

    Raises:
        DataError, OptionError: as `diffusion_spectral_entropy`; neighbors is not in 1..n.

    Warns:
        EstimatorWarning: as `diffusion_spectral_entropy`.

    Cost: as `diffusion_spectral_entropy`.

    >>> float(adjacency_spectral_entropy(np.array([[0.0], [0.0], [1e3], [1e3]]), sigma=1.0))
    1.0
    """
    points = draw_rows(as_rows(X), max_n, seed)
    width = math.nan if neighbors is not None else kernel_width(points, sigma)
    found = adjacency_entropy_at(points, width, normalized, neighbors, tolerance)
    if neighbors is None:
        warn_if_saturated(found.bits, len(points), width, "the adjacency spectral entropy")
    return DiffusionEntropy.of(
        found.bits,
        sigma=width,
        t=1.0,
        operator="adjacency" if neighbors is None else f"{neighbors} nearest neighbours",
        n=len(points),
        error=found.error,
        how=found.how,
        above=float((np.abs(found.eigenvalues) > 0.01).sum() / len(points)),
    )


def adjacency_entropy_at(
    points: Tensor, sigma: float, normalized: bool, neighbors: int | None, tolerance: float = 1e-6
) -> SpectrumEntropy:
    """The adjacency's entropy for checked points and a sigma that is a number."""
    check_range(tolerance, "tolerance", low=0)
    if neighbors is None:
        if normalized:
            return entropy_at(points, sigma, 1.0, "symmetric", tolerance)
        return entropy_of_psd(gaussian_affinity(points, sigma), tolerance=tolerance)
    graph = neighbor_adjacency(points, neighbors).double()
    if normalized:
        graph = _normalize(graph, 1)[0]
    values = torch.linalg.eigvalsh(graph).cpu().numpy()  # a graph's adjacency is not positive semidefinite
    return SpectrumEntropy(entropy_of_shares(np.abs(values), base=2), 0.0, "float64", values)
