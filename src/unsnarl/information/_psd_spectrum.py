"""Eigenvalues of a large positive semidefinite matrix, no more exactly than an entropy of them needs.

Householder reduction of an n x n matrix in float64 takes 4/3 n^3 operations, half of them waiting for memory. Before
that is done, three ways that are cheaper are tried where they can be shown to do:

1. *Blocks.* Affinities below 1e-18 do not move an eigenvalue in float64 (Weyl). Without them the matrix may fall into
   connected blocks, whose spectra are joined.
2. *Low rank.* Pivoted Cholesky (blocks of pivots drawn in proportion to the residual diagonal) leaves a positive
   semidefinite remainder, whose trace is known. With T the distance in total variation of the two spectra, the entropy
   moves by at most T log(n - 1) + h(T) (Fannes 1973, Audenaert 2007).
3. *Single precision.* Where the eigenvector of the largest eigenvalue is known it is taken off, the rest reduced in
   float32. The spectrum's errors d obey |d|_2 <= |E|_F (Hoffman and Wielandt 1953), E being the backward error. Trace
   and Frobenius norm are known exactly, so to first order the entropy is corrected by the straight line through its
   gradient, and what the line misses is bounded by Cauchy and Schwarz. That bound lets all errors conspire; rounding
   errors do not, so they are expected to add up to 1/sqrt(n) of it. The way is taken when three times the expected
   error is below the tolerance and the bound below a hundred times it.

A caller says how many bits of entropy may be lost and is told the bound; 0 asks for float64 throughout.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from unsnarl.information._spectrum import entropy_of_shares

_DENSE = 400  # below this many rows nothing is quicker than the plain solver
_OPENBLAS = 2000
_NEGLIGIBLE = 1e-18
_COLUMNS = 64  # pivots drawn at a time
_BACKWARD = 25.0  # |E|_F in units of 2^-24 |K|_F; measured: 2 to 19 for n from 1,000 to 3,000


class SpectrumEntropy(NamedTuple):
    """Entropy in bits of the normalised t-th powers of eigenvalues; how it was found and a bound of its error."""

    bits: float
    error: float
    how: str
    eigenvalues: Float[np.ndarray, "rank"]


def entropy_of_psd(
    matrix: Float[Tensor, "n n"],
    *,
    t: float = 1.0,
    tolerance: float = 1e-6,
    top: Float[Tensor, "n"] | None = None,
) -> SpectrumEntropy:
    """Entropy in bits of lambda_i^t / sum_j lambda_j^t for a positive semidefinite matrix.

    Args:
        matrix: symmetric and positive semidefinite up to rounding; not written to.
        t: exponent, above 0.
        tolerance: bits of entropy that may be lost; 0 for float64 throughout.
        top: the unit eigenvector of the largest eigenvalue, if that eigenvalue is exactly 1.

    Returns:
        The entropy, a bound of its error beyond float64's, the way taken ("blocks", "low rank", "float32",
        "float64"), and the eigenvalues found, ascending ("low rank" finds fewer than n).

    Cost: O(n^3) at worst, O(n rank^2) for a matrix of low rank; memory up to three copies of the matrix.
    """
    n = len(matrix)
    if n > _DENSE and tolerance > 0:
        found = _of_blocks(matrix, t, tolerance)
        if found is None and (t == 1 or (t > 1 and top is not None)):
            found = _of_low_rank(matrix, t, tolerance)
        if found is None and top is not None and t >= 1:
            found = _of_single_precision(matrix, t, tolerance, top)
        if found is not None:
            return found
    values = _eigenvalues(matrix)
    return SpectrumEntropy(_bits(values, t), 0.0, "float64", values)


def _eigenvalues(matrix: Tensor) -> Float[np.ndarray, "n"]:
    """All eigenvalues, ascending, in the precision of the matrix.

    On a processor OpenBLAS (SciPy's) is the quicker up to some 2,000 rows and MKL (torch's) beyond.
    """
    if matrix.device.type == "cpu" and len(matrix) <= _OPENBLAS:
        from scipy.linalg import eigvalsh

        return eigvalsh(matrix.numpy(), driver="evd", check_finite=False)
    return torch.linalg.eigvalsh(matrix).cpu().numpy()


def _bits(eigenvalues: np.ndarray, t: float) -> float:
    size = np.abs(eigenvalues)
    return entropy_of_shares((size / size.max()) ** t, base=2)


def _of_blocks(matrix: Tensor, t: float, tolerance: float) -> SpectrumEntropy | None:
    """Spectra of the connected blocks, where there are some and each is at most nine tenths of the whole."""
    n = len(matrix)
    present = matrix.abs() > _NEGLIGIBLE * float(matrix.diagonal().max()) if float(matrix.min()) < _NEGLIGIBLE else None
    if present is None or float(present.sum()) > 0.9 * n * n:
        return None
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import connected_components

    count, member = connected_components(csr_matrix(present.cpu().numpy()), directed=False)
    sizes = np.bincount(member, minlength=count)
    if sizes.max() > 0.9 * n:
        return None
    order = torch.from_numpy(np.argsort(member, kind="stable")).to(matrix.device)
    parts = []
    for rows in torch.split(order, sizes.tolist()):
        part = matrix[rows][:, rows]
        parts.append(part.diagonal().cpu().numpy() if len(rows) == 1 else _eigenvalues(part))
    values = np.sort(np.concatenate(parts))
    return SpectrumEntropy(_bits(values, t), 0.0, "blocks", values)


def _fannes(distance: float, n: int) -> float:
    """The most two distributions on n states at this total variation distance can differ in entropy, in bits."""
    if distance <= 0:
        return 0.0
    if distance >= 1 - 1 / n:
        return math.log2(n)
    binary = -distance * math.log2(distance) - (1 - distance) * math.log2(1 - distance)
    return distance * math.log2(n - 1) + binary


def _allowed_remainder(tolerance: float, n: int) -> float:
    """The distance whose Fannes bound is the tolerance, by bisection on its logarithm."""
    low, high = -60.0, 0.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _fannes(math.exp(middle), n) < tolerance else (low, middle)
    return math.exp(low)


def _of_low_rank(matrix: Tensor, t: float, tolerance: float) -> SpectrumEntropy | None:
    """Spectrum of a pivoted Cholesky factor of at most n/2 columns, if such a factor leaves little enough."""
    n = len(matrix)
    residual = matrix.diagonal().clone()
    total = float(residual.sum())
    # t = 1: the distance of the normalised spectra is at most the share of the trace that is missing. t > 1, eigenvalues
    # up to 1 and the largest 1: |lambda^t - mu^t| summed is at most t tr(E), and the powers sum to at least 1.
    scale = 1.0 if t == 1 else t * total
    goal = _allowed_remainder(tolerance, n) / scale
    limit = n // 2
    rng = np.random.default_rng(0)  # any pivots give a valid bound; a fixed seed gives the same number every time
    factor = torch.empty(n, limit + _COLUMNS, dtype=matrix.dtype, device=matrix.device)
    rank, seen = 0, [(0, 0.0)]
    while True:
        share = float(residual.sum()) / total
        if share <= goal:
            break
        seen.append((rank, math.log(share)))
        if rank >= limit or _hopeless(seen, math.log(goal), limit):
            return None
        weight = residual.cpu().numpy()
        count = min(_COLUMNS, int((weight > 0).sum()))
        chosen = rng.choice(n, size=count, replace=False, p=weight / weight.sum())
        pivots = torch.from_numpy(chosen).to(matrix.device)
        columns = matrix[:, pivots] - factor[:, :rank] @ factor[pivots, :rank].T
        kept, triangle = _pivoted(columns[pivots].cpu().numpy())
        new = torch.linalg.solve_triangular(
            torch.from_numpy(triangle).to(matrix.device), columns[:, kept].T, upper=False
        ).T
        factor[:, rank : rank + len(kept)] = new
        rank += len(kept)
        residual = (residual - (new * new).sum(1)).clamp_(min=0.0)
    values = _eigenvalues(factor[:, :rank].T @ factor[:, :rank]).clip(min=0.0)
    return SpectrumEntropy(_bits(values, t), _fannes(share * scale, n), "low rank", values)


def _pivoted(block: np.ndarray) -> tuple[list[int], np.ndarray]:
    """Pivoted Cholesky of a small block: the pivots worth keeping, and their lower triangular factor."""
    size = len(block)
    diagonal = block.diagonal().copy()
    least = 1e-2 * diagonal.max()  # points that others of the block stand for are left to later blocks
    kept: list[int] = []
    factor = np.zeros((size, size))
    for column in range(size):
        pivot = int(np.argmax(diagonal))
        if diagonal[pivot] <= least:
            break
        factor[:, column] = block[:, pivot] - factor[:, :column] @ factor[pivot, :column]
        factor[:, column] /= math.sqrt(diagonal[pivot])
        diagonal -= factor[:, column] ** 2
        diagonal[pivot] = -math.inf
        kept.append(pivot)
    return kept, np.tril(factor[np.ix_(kept, range(len(kept)))])


def _hopeless(seen: list[tuple[int, float]], goal: float, limit: int) -> bool:
    """Whether the residual falls too slowly: its logarithm is convex, so a straight line from here is the best case."""
    rank, now = seen[-1]
    if rank < 4 * _COLUMNS and rank < limit // 8:
        return False
    earlier, before = min(seen, key=lambda point: abs(point[0] - rank // 2))
    fall = (before - now) / max(rank - earlier, 1)
    return fall <= 0 or rank + (now - goal) / fall > limit


def _smallest_expected(matrix: Tensor) -> float:
    """What the smallest eigenvalue should be, going on from those of a sixth and a twelfth of the rows as a power law."""
    small, smaller = (float(torch.linalg.eigvalsh(matrix[::step, ::step])[0].clamp(min=1e-300)) for step in (6, 12))
    return small * (small / smaller) ** math.log2(6)


def _of_single_precision(matrix: Tensor, t: float, tolerance: float, top: Tensor) -> SpectrumEntropy | None:
    """Spectrum in float32 of what is left without the known top eigenvector, if little enough can be lost by it."""
    n = len(matrix)
    trace = float(matrix.diagonal().sum()) - 1.0
    square = max(float(torch.dot(matrix.view(-1), matrix.view(-1))) - 1.0, 0.0)
    backward = _BACKWARD * 2.0**-24 * math.sqrt(square)
    single = 0.5 * backward / math.sqrt(n)  # what one eigenvalue usually errs by
    least = 8 * single  # nearer to zero the logarithm has no expansion
    if _smallest_expected(matrix) < least:
        return None
    rest = torch.addr(matrix, top, top, alpha=-1.0).float()
    values = _eigenvalues(rest).astype(np.float64)
    values = np.delete(values, int(np.argmin(np.abs(values)))).clip(min=0.0)  # without the direction taken off
    if values.min() < least:
        return None
    weight = np.append(values, 1.0) ** t
    total = weight.sum()
    nats = entropy_of_shares(weight)
    slope = -t * values ** (t - 1) * (np.log(weight[:-1] / total) + nats) / total
    line = np.polynomial.Polynomial.fit(values, slope, 1)
    constant, tilt = (*line.convert().coef, 0.0)[:2]
    correction = constant * (trace - values.sum()) + tilt * 0.5 * (square - values @ values)
    missed = float(np.linalg.norm(slope - line(values)))
    bend = t * values ** (t - 2) * (2 * t - 1 + abs(t - 1) * np.abs(np.log(weight[:-1] / total) + nats)) / total
    expected = 3 * missed * single + 0.5 * single**2 * float(bend.sum())
    bound = missed * backward + 0.5 * float(bend.max()) * backward**2
    if expected > tolerance * math.log(2) or bound > 100 * tolerance * math.log(2):
        return None
    return SpectrumEntropy((nats + correction) / math.log(2), bound / math.log(2), "float32", np.append(values, 1.0))
