"""Diffusion spectral entropy of more points than an n x n matrix has room for, with a measured error.

The affinities are computed again, a tile at a time, in each of a few passes over all pairs, and never kept (float32; a
tile serves both halves of the symmetric matrix). With K the operator, S = log2 Z - (1/Z) sum_i f(lambda_i), f(x) = x^t log2
x^t and Z = sum_i lambda_i^t:

1. One pass gives the row sums q, and with them the trace of K exactly.
2. A few large eigenvalues carry much of the entropy. Their eigenvectors are sought on a few thousand landmarks (Nystroem:
   K is nearly C W^-1 C' with C its columns at the landmarks) and made orthonormal, U. The trace of f(K) is that of
   U' f(K) U plus that of P f(K) P, P = 1 - U U' (Meyer et al. 2021, Hutch++). The second has a smooth spectrum of many small
   eigenvalues; random sign vectors z, made normal to U, stand for it.
3. A few steps of block Lanczos from U and all z together, a pass over all pairs each, give quadrature rules for U' f(K) U
   and z' f(K) z (Golub and Meurant 1994; Ubaru, Chen and Saad 2017). Since the trace of K is known exactly, the rule of
   the z is scaled to it, which takes away most of their noise. The derivatives of f alternate in sign, so a Gauss rule and
   a Gauss-Radau rule with a node at 0 err in opposite directions: the result is their mean.

The error returned is two standard errors over the random vectors and half the distance of the two kinds of rule.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Num
from torch import Tensor

from unsnarl.arrays import check_range
from unsnarl.information._diffusion_spectral import DiffusionEntropy, kernel_width, warn_if_saturated
from unsnarl.information._distances import as_rows

_TILE = 1024


def approximate_diffusion_entropy(
    X: Num[np.ndarray, "n *dimension"] | Num[Tensor, "n *dimension"] | Any,
    sigma: float | str = 10.0,
    t: float = 1,
    *,
    probes: int = 8,
    steps: int = 3,
    landmarks: int = 2_000,
    deflate: int = 64,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> DiffusionEntropy:
    """Diffusion spectral entropy in bits (symmetric operator) of up to some hundred thousand points, all of them used.

    See the head of this module for the method. Against the exact value at n = 10,000 see `benchmarks/spectral_entropy.py`.

    Args:
        X: n observations of one or several columns: an array, or a tensor on any device.
        sigma: as in `diffusion_spectral_entropy`.
        t: diffusion time, at least 1.
        probes: random vectors; the noise falls with their square root.
        steps: Lanczos steps, so many passes over all pairs.
        landmarks: points on which the large eigenvectors are sought.
        deflate: how many of them are treated by themselves.
        seed: of landmarks and random vectors.
        progress: called with (tiles done, tiles in all), for a display.

    Returns:
        A float with the attributes of `diffusion_spectral_entropy`; `error` is the estimated error in bits ("how" is
        "stochastic Lanczos").

    Raises:
        DataError: not finite numbers, or fewer than 2 observations.
        OptionError: sigma not above 0, t below 1, or a count out of range.

    Warns:
        EstimatorWarning: as `diffusion_spectral_entropy`.

    Cost: O((steps + 1) n^2 (dimension + deflate + probes)); memory O(n (dimension + landmarks + steps (deflate + probes)))
    and 4 MB of tiles. Few columns with a wide kernel give eigenvalues over many orders of magnitude, for which the error
    is largest (0.03 to 0.14 bits by default for 3 to 5 Gaussian columns): more steps lower it, a pass each.

    >>> from unsnarl.information._diffusion_spectral import diffusion_spectral_entropy
    >>> points = np.random.default_rng(0).normal(size=(1_500, 40))
    >>> estimate = approximate_diffusion_entropy(points, sigma=6.0)
    >>> bool(abs(estimate - diffusion_spectral_entropy(points, sigma=6.0)) < estimate.error < 0.1)
    True
    """
    points = as_rows(X)
    check_range(t, "t", low=1)
    check_range(probes, "probes", low=2, integer=True)
    check_range(steps, "steps", low=2, integer=True)
    check_range(landmarks, "landmarks", low=1, integer=True)
    check_range(deflate, "deflate", low=1, integer=True)
    check_range(seed, "seed", low=0, integer=True)
    width = kernel_width(points, sigma)
    n = len(points)
    operator = _Operator(points, width, int(steps) + 1, progress)
    draw = torch.Generator(device="cpu").manual_seed(int(seed))
    few = min(int(landmarks), n)
    kept = min(int(deflate), few // 2, n - int(probes) - 1)
    large = _large_directions(operator, few, max(kept, 1), draw)
    probe = torch.randint(0, 2, (n, int(probes)), generator=draw, dtype=torch.float64).mul_(2).sub_(1)
    known, rules = _rules(operator, large, probe.to(points.device), int(steps))
    remainder = max(operator.trace - float(known[0][0] @ known[0][1]), 0.0)
    bits, noise, truncation = _assemble(known, rules, remainder, n - large.shape[1], float(t))
    error = 2 * noise + truncation
    warn_if_saturated(bits, n, width)
    above = float(known[0][1][known[0][0] ** t > 0.01].sum() / n)
    return DiffusionEntropy.of(
        bits,
        sigma=width,
        t=float(t),
        operator="symmetric",
        n=n,
        error=error,
        how="stochastic Lanczos",
        above=above,
    )


class _Operator:
    """K as a function of vectors: tiles of affinities in float32, sums in float64."""

    def __init__(self, points: Tensor, sigma: float, passes: int, progress: Callable[[int, int], None] | None):
        centred = (points - points.mean(0)) / sigma
        half = 0.5 * (centred * centred).sum(1)
        # float32 keeps exponents to 1e-5 where points lie within a hundred sigma of their mean
        self.dtype = torch.float32 if float(half.max()) < 5e3 else torch.float64
        one = torch.ones_like(half)
        # one product of these gives the exponent a.b - |a|^2/2 - |b|^2/2
        self.left = torch.column_stack([centred, -half, one]).to(self.dtype)
        self.right = torch.column_stack([centred, one, -half]).to(self.dtype)
        self.n = len(points)
        tiles = math.ceil(self.n / _TILE)
        self.total, self.done, self.progress = passes * tiles * (tiles + 1) // 2, 0, progress
        self.scale = torch.ones(self.n, dtype=torch.float64, device=points.device)
        mass = self.apply(self.scale[:, None])[:, 0]
        self.scale = mass.rsqrt()
        self.trace = float((1.0 / mass).sum())
        self.top = (mass / mass.sum()).sqrt()

    def apply(self, vectors: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
        """K times vectors, in one pass over all pairs."""
        scaled = (vectors * self.scale[:, None]).to(self.dtype)
        result = torch.zeros(vectors.shape, dtype=torch.float64, device=vectors.device)
        room = torch.empty(_TILE, _TILE, dtype=self.dtype, device=vectors.device)
        for a in range(0, self.n, _TILE):
            rows = slice(a, min(a + _TILE, self.n))
            for b in range(a, self.n, _TILE):
                columns = slice(b, min(b + _TILE, self.n))
                tile = room[: rows.stop - a, : columns.stop - b]
                torch.mm(self.left[rows], self.right[columns].T, out=tile)
                tile.exp_()
                if a == b:
                    tile.fill_diagonal_(1.0)
                else:
                    result[columns] += tile.T @ scaled[rows]
                result[rows] += tile @ scaled[columns]
                self.done += 1
                if self.progress is not None:
                    self.progress(self.done, self.total)
        return result.mul_(self.scale[:, None])

    def columns(self, chosen: Tensor) -> Float[Tensor, "n m"]:
        """The columns of K at some points, in the precision of its tiles."""
        affinity = (self.left @ self.right[chosen].T).clamp_(max=0.0).exp_()
        return affinity.mul_(self.scale[:, None].to(self.dtype)).mul_(self.scale[chosen].to(self.dtype))


def _large_directions(operator: _Operator, landmarks: int, kept: int, draw: torch.Generator) -> Float[Tensor, "n k"]:
    """Orthonormal directions near the eigenvectors of the largest eigenvalues, the first of them exact (eigenvalue 1)."""
    device = operator.scale.device
    chosen = torch.randperm(operator.n, generator=draw)[:landmarks].to(device)
    columns = operator.columns(chosen)  # float32
    values, vectors = torch.linalg.eigh(columns[chosen].double())
    order = torch.argsort(values, descending=True)[:kept]
    order = order[values[order] > 1e-7 * values.max()]
    lifted = (columns @ (vectors[:, order] / values[order]).to(columns.dtype)).double()
    basis = torch.column_stack([operator.top, lifted])
    return torch.linalg.qr(basis).Q


Rule = tuple[np.ndarray, np.ndarray]  # nodes and weights


def _rules(operator: _Operator, large: Tensor, probe: Tensor, steps: int) -> tuple[list[Rule], list[Rule]]:
    """Gauss and Gauss-Radau rules of K: of all large directions together (weights summing to how many they are), and of
    the probes made normal to them (a row each, weights summing to 1).

    One block Lanczos recursion from all of them, so that a probe's rule has as many nodes as all vectors together have.
    """
    probe = _against(_against(probe, [large]), [large])
    basis, mixture = torch.linalg.qr(probe / probe.norm(dim=0))
    blocks = [torch.column_stack([large, basis])]
    diagonal, beside = [], []
    for _ in range(steps):
        image = operator.apply(blocks[-1])
        inner = blocks[-1].T @ image
        diagonal.append((0.5 * (inner + inner.T)).cpu().numpy())
        following, triangle = torch.linalg.qr(_against(image, blocks))
        following, again = torch.linalg.qr(_against(following, blocks))  # rounding would let earlier vectors back in
        beside.append((again @ triangle).cpu().numpy())
        blocks.append(following)
    k, weights = large.shape[1], mixture.cpu().numpy()
    together, each = [], []
    for matrix in (_block_tridiagonal(diagonal, beside[:-1]), _with_node_at_zero(diagonal, beside)):
        nodes, vectors = np.linalg.eigh(matrix)
        nodes = nodes.clip(min=0.0)
        together.append((nodes, (vectors[:k] ** 2).sum(axis=0)))
        shares = (weights.T @ vectors[k : k + len(weights)]) ** 2
        each.append((np.broadcast_to(nodes, shares.shape), shares))
    return together, each


def _against(vectors: Tensor, blocks: list[Tensor]) -> Tensor:
    """The vectors made normal to earlier blocks."""
    for block in blocks:
        vectors = vectors - block @ (block.T @ vectors)
    return vectors


def _with_node_at_zero(diagonal: list[np.ndarray], beside: list[np.ndarray]) -> np.ndarray:
    """The recursion's matrix with one more block, chosen so that 0 is an eigenvalue (Golub 1973)."""
    size = len(diagonal[0])
    matrix = _block_tridiagonal(diagonal, beside[:-1])
    last = np.zeros((len(matrix), size))
    last[-size:] = beside[-1].T
    extra = last.T @ np.linalg.pinv(matrix, rcond=1e-13, hermitian=True) @ last
    return _block_tridiagonal([*diagonal, 0.5 * (extra + extra.T)], beside)


def _block_tridiagonal(diagonal: list[np.ndarray], beside: list[np.ndarray]) -> np.ndarray:
    size = len(diagonal[0])
    matrix = np.zeros((size * len(diagonal), size * len(diagonal)))
    for i, block in enumerate(diagonal):
        here = slice(i * size, (i + 1) * size)
        matrix[here, here] = block
        if i < len(beside):
            below = slice((i + 1) * size, (i + 2) * size)
            matrix[below, here], matrix[here, below] = beside[i], beside[i].T
    return matrix


def _assemble(
    known: list[Rule],
    rules: list[Rule],
    remainder: float,
    count: int,
    t: float,
) -> tuple[float, float, float]:
    """The entropy in bits from the rules of the large directions and those of the probes, which stand for `count`
    eigenvalues that sum to `remainder`; its standard error over the probes; and half the distance of the two kinds of rule.
    """

    def entropy(large: Rule, nodes: np.ndarray, weights: np.ndarray) -> float:
        mean = float((nodes * weights).sum() / len(nodes)) * count
        scale = remainder / mean if mean > 0 else 0.0
        power = np.concatenate([large[0], nodes.ravel()]) ** t
        # how many eigenvalues each node stands for
        weight = np.concatenate([large[1], (count * scale / len(nodes) * weights).ravel()])
        total = float(weight @ power)
        return math.log2(total) - float(weight @ (power * np.log2(np.where(power > 0, power, 1.0)))) / total

    ends = [entropy(large, *rule) for large, rule in zip(known, rules, strict=True)]
    nodes, weights = rules[0]
    size = len(nodes)
    without = np.array([entropy(known[0], np.delete(nodes, i, 0), np.delete(weights, i, 0)) for i in range(size)])
    noise = math.sqrt((size - 1) / size * float(((without - without.mean()) ** 2).sum()))  # jackknife
    return sum(ends) / 2, noise, abs(ends[0] - ends[1]) / 2
