"""Pairwise distances and what is made of them: Gaussian affinities and graphs of nearest neighbours.

Everything is computed in float64, a block of rows at a time, on the device the points are on. Arrays and tensors share
their memory, so a NumPy array costs no copy (unless it is not float64).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from unsnarl.arrays import as_matrix, check_range
from unsnarl.errors import DataError, OptionError

_BLOCK_BYTES = 64 * 2**20  # of distances held at a time
_CACHE_BYTES = 4 * 2**20  # of affinities worked on at a time, so that they stay in the processor's cache
_ROUNDING = 2.0**-52


def as_rows(X: Any, argument: str = "X", *, min_rows: int = 2) -> Float[Tensor, "n dimension"]:
    """Observations as the rows of a float64 tensor; a tensor stays on its device, one column may come as 1-D.

    Raises:
        DataError: not 1-D or 2-D, not numeric, not finite, or too few rows.
    """
    if isinstance(X, Tensor) and X.is_floating_point() and X.device.type == "cuda":
        X = X.detach()
        X = X[:, None] if X.ndim == 1 else X
        if X.ndim == 2 and X.shape[1] and len(X) >= min_rows and bool(torch.isfinite(X).all()):
            return X.double()
    shape = getattr(X, "shape", None)
    array = as_matrix(X.reshape(-1, 1) if shape is not None and len(shape) == 1 else X, argument, min_rows=min_rows)
    array = array.astype("float64", order="C", copy=False)
    if not array.flags.writeable:  # torch would warn that it cannot protect it
        array = array.copy()
    return torch.from_numpy(array)


def squared_distance_blocks(
    x: Any, y: Any | None = None, *, direct: bool = False, block_bytes: int = _BLOCK_BYTES
) -> Iterator[tuple[slice, Float[Tensor, "rows m"]]]:
    """The squared Euclidean distances of the rows of x to those of y, a block of rows of x at a time.

    |a - b|^2 = |a|^2 + |b|^2 - 2 a.b, one matrix product a block, after the mean of y was taken off. The rounding
    error is about 2e-16 of the largest |a|^2; `direct=True` sums the squared differences instead, many times slower.

    Args:
        x: n points, an array or a tensor.
        y: m points; None takes x.
        direct: sum squared differences.
        block_bytes: memory a block may take; at least one row is given.

    Yields:
        (slice of rows, their squared distances), never negative; each block is a new tensor that may be written to.

    Raises:
        DataError: not finite numbers, or another number of columns.
        OptionError: block_bytes is not a positive integer.

    Cost: O(n m dimension); memory one block.

    >>> points = torch.tensor([[0.0], [3.0], [4.0]])
    >>> [block.round().tolist() for _, block in squared_distance_blocks(points)]
    [[[0.0, 9.0, 16.0], [9.0, 0.0, 1.0], [16.0, 1.0, 0.0]]]
    """
    check_range(block_bytes, "block_bytes", low=1, integer=True)
    points = as_rows(x, "x", min_rows=1)
    others = points if y is None else as_rows(y, "y", min_rows=1)
    if points.shape[1] != others.shape[1]:
        raise DataError(f"x has {points.shape[1]} columns and y {others.shape[1]}; they need the same number")
    return _blocks(points, others, y is None, direct, block_bytes)


def _blocks(
    points: Tensor, others: Tensor, same: bool, direct: bool, block_bytes: int
) -> Iterator[tuple[slice, Tensor]]:
    step = max(1, min(len(points), block_bytes // (8 * len(others))))
    mean = others.mean(0)
    here, there = points - mean, others - mean
    norms = (there * there).sum(1)
    for start in range(0, len(points), step):
        rows = slice(start, min(start + step, len(points)))
        part = here[rows]
        if direct:
            block = torch.cdist(part, there, compute_mode="donot_use_mm_for_euclid_dist").square_()
        else:
            block = torch.addmm(norms, part, there.T, alpha=-2.0)
            block += (part * part).sum(1, keepdim=True)
            block.clamp_(min=0.0)
        if same:
            block.diagonal(start).zero_()
        yield rows, block


def gaussian_affinity(X: Any, sigma: float) -> Float[Tensor, "n n"]:
    """G_ij = exp(-|x_i - x_j|^2 / (2 sigma^2)).

    Where rounding in |a|^2 + |b|^2 - 2 a.b could move an exponent by 1e-9 (points further than about 1,500 sigma from
    their mean), squared differences are summed instead.

    Args:
        X: n points, an array or a tensor.
        sigma: width of the kernel, in the unit of the points.

    Returns:
        A symmetric matrix with ones on its diagonal, float64, on the device of X.

    Raises:
        DataError: not finite numbers, or fewer than 2 rows.
        OptionError: sigma is not above 0.

    Cost: O(n^2 (dimension + 1)); memory 8 n^2 bytes.

    >>> gaussian_affinity(torch.tensor([[0.0], [2.0]]), sigma=2.0).numpy().round(4)
    array([[1.    , 0.6065],
           [0.6065, 1.    ]])
    """
    check_range(sigma, "sigma", low=0, open_low=True)
    points = as_rows(X)
    points = (points - points.mean(0)) / float(sigma)
    norms = 0.5 * (points * points).sum(1)
    direct = 4 * float(norms.max()) * _ROUNDING > 1e-9
    gram = torch.empty(len(points), len(points), dtype=torch.float64, device=points.device)
    step = max(1, _CACHE_BYTES // (8 * len(points)))
    for start in range(0, len(points), step):
        rows = slice(start, start + step)
        block = gram[rows]
        if direct:
            distance = torch.cdist(points[rows], points, compute_mode="donot_use_mm_for_euclid_dist")
            torch.mul(distance, distance, out=block).mul_(-0.5)
        else:
            torch.addmm(norms, points[rows], points.T, beta=-1.0, out=block)
            block.sub_(norms[rows, None]).clamp_(max=0.0)
        block.diagonal(start).zero_()
        block.exp_()
    return gram


def neighbor_adjacency(X: Any, neighbors: int = 10, *, include_self: bool = True) -> Bool[Tensor, "n n"]:
    """The binary graph of nearest neighbours: i and j are joined when either is among the other's nearest.

    Args:
        X: n points, an array or a tensor.
        neighbors: how many nearest points a point is joined to.
        include_self: a point counts as its own nearest neighbour, which puts ones on the diagonal (as in the published
            adjacency spectral entropy); otherwise the diagonal is empty.

    Returns:
        A symmetric boolean matrix (n, n). Ties at the last neighbour are broken by torch's `topk`.

    Raises:
        DataError: not finite numbers, or fewer than 2 rows.
        OptionError: neighbors is not in 1..n (1..n-1 without the point itself).

    Cost: O(n^2 dimension); memory n^2 bytes and two blocks.

    >>> neighbor_adjacency(torch.tensor([[0.0], [1.0], [9.0]]), 2).int().tolist()
    [[1, 1, 0], [1, 1, 1], [0, 1, 1]]
    """
    check_range(neighbors, "neighbors", low=1, integer=True)
    points = as_rows(X)
    most = len(points) if include_self else len(points) - 1
    if neighbors > most:
        raise OptionError(f"neighbors={neighbors} must be at most {most} for {len(points):,} observations")
    joined = torch.zeros(len(points), len(points), dtype=torch.bool, device=points.device)
    for rows, block in _blocks(points, points, True, False, _BLOCK_BYTES):
        block.diagonal(rows.start).fill_(-1.0 if include_self else torch.inf)
        joined[rows].scatter_(1, block.topk(int(neighbors), dim=1, largest=False).indices, True)
    return joined | joined.T
