"""Diffusion spectral entropy of more points than an n x n matrix has room for, with a measured error.

The affinities are computed again, a tile at a time, in each of a few passes over all pairs, and never kept (float32; a
tile serves both halves of the symmetric matrix). With K the operator, S = log2 Z - (1/Z) sum_i f(lambda_i), f(x) = x^t log2
x^t and Z = sum_i lambda_i^t:

1. One pass gives the row sums q, and with them the trace of K exactly.
2. A few large eigenvalues carry much of the entropy. Their eigenvectors are sought on a few thousand landmarks (Nystroem:
   K is nearly C W^-1 C' with C its columns at the landmarks) and made orthonormal, U. The trace of f(K) is that of
   U' f(K) U plus that of P f(K) P, P = 1 - U U' (Meyer et al. 2021, Hutch++). A few steps of block Lanczos from U give
   the first.
3. The second has a smooth spectrum of many small eigenvalues: stochastic Lanczos quadrature (Ubaru, Chen and Saad 2017).
   Random sign vectors z = P z, so many Lanczos steps of K each, a quadrature rule for z' f(K) z. One pass over all pairs
   makes one step for U and all z at once. The noise of the random vectors is that of what f(K) has beyond f of the
   Nystroem approximation, whose trace is known exactly; and since the trace of K is known exactly as well, that excess is
   scaled to it. The derivatives of f alternate in sign, so a Gauss rule and a Gauss-Radau rule with a node at 0 err
   in opposite directions (Golub and Meurant 1994), here and in 2; the result is their mean.

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

_TILE = 2048


def approximate_diffusion_entropy(
    X: Num[np.ndarray, "n *dimension"] | Num[Tensor, "n *dimension"] | Any,
    sigma: float | str = 10.0,
    t: float = 1,
    *,
    probes: int = 8,
    steps: int = 3,
    landmarks: int = 1_000,
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
        steps: Lanczos steps, so many passes over all pairs; a rule of that many nodes for the small eigenvalues.
        landmarks: points the Nystroem approximation is made of; it takes 4 n landmarks bytes.
        deflate: how many of them are treated by themselves, in blocks.
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

    Cost: O((steps + 1) n^2 (dimension + deflate + probes)); memory O(n (dimension + landmarks + steps (deflate + probes))) and 50 MB of tiles.

    >>> rng = np.random.default_rng(0)
    >>> points = rng.normal(size=(1_500, 3))
    >>> estimate = approximate_diffusion_entropy(points, sigma=0.5, landmarks=500)
    >>> from unsnarl.information._diffusion_spectral import diffusion_spectral_entropy
    >>> bool(abs(estimate - diffusion_spectral_entropy(points, sigma=0.5)) < 0.02), estimate.error < 0.05
    (True, True)
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
    near = _Landmarks(operator, few, draw)
    large = near.vectors(max(1, min(int(deflate), len(near.values), n - int(probes) - 1)))
    probe = torch.randint(0, 2, (n, int(probes)), generator=draw, dtype=torch.float64).mul_(2).sub_(1)
    probe = _against(_against(probe.to(points.device), [large]), [large])
    probe = probe / probe.norm(dim=0)
    known, rules = _rules(operator, large, probe, int(steps))
    rank = large.shape[1]
    control = near.values[rank:].cpu().numpy(), near.shares(probe, rank)
    remainder = max(operator.trace - float(known[0][0] @ known[0][1]), 0.0)
    bits, noise, truncation = _assemble(known, rules, control, remainder, n - rank, float(t))
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
        """The columns of K at some points, without their factor 1/sqrt(q) of the points themselves."""
        affinity = (self.left @ self.right[chosen].T).clamp_(max=0.0).exp_()
        return affinity.mul_(self.scale[:, None].to(self.dtype)).mul_(self.scale[chosen].to(self.dtype))


class _Landmarks:
    """The Nystroem approximation A = C W^-1 C' of K, with its eigenvalues and eigenvectors.

    A is K cut down to the landmarks' span, so both A and K - A are positive semidefinite.
    """

    def __init__(self, operator: _Operator, landmarks: int, draw: torch.Generator):
        chosen = torch.randperm(operator.n, generator=draw)[:landmarks].to(operator.scale.device)
        self.columns = operator.columns(chosen)  # C, usually in float32
        values, vectors = torch.linalg.eigh(self.columns[chosen].double())
        kept = values > 1e-6 * values[-1]
        half = vectors[:, kept] * values[kept].rsqrt()
        inner = half.T @ self._against(None) @ half
        values, turn = torch.linalg.eigh(0.5 * (inner + inner.T))
        values, turn = values.flip(0), turn.flip(1)
        kept = values > 1e-9 * values[0]
        self.values = values[kept]  # largest first
        self.lift = half @ turn[:, kept] * self.values.rsqrt()  # eigenvectors are C times this

    def vectors(self, count: int) -> Float[Tensor, "n k"]:
        """Orthonormal eigenvectors of the largest eigenvalues."""
        lift = self.lift[:, :count]
        return torch.linalg.qr(torch.cat([part.double() @ lift for part in self.columns.split(_TILE)])).Q

    def shares(self, probe: Float[Tensor, "n probes"], skip: int) -> Float[np.ndarray, "rank probes"]:
        """The squared components of unit vectors along all eigenvectors but the first ones."""
        return (self.lift[:, skip:].T @ self._against(probe)).square().cpu().numpy()

    def _against(self, vectors: Tensor | None) -> Tensor:
        """C' times some vectors, or times C; in float64, so that the eigenvectors are orthonormal to its precision."""
        total: Any = 0.0
        others = self.columns if vectors is None else vectors
        for part, other in zip(self.columns.split(_TILE), others.split(_TILE), strict=True):
            total = total + part.double().T @ other.double()
        return total


Rule = tuple[np.ndarray, np.ndarray]  # nodes and weights


def _rules(operator: _Operator, large: Tensor, probe: Tensor, steps: int) -> tuple[list[Rule], list[Rule]]:
    """Gauss and Gauss-Radau rules of K: of all large directions together (weights summing to how many they are), and of
    the probes normal to them (a row each, weights summing to 1).

    Both run in the same passes: block Lanczos from the large directions, Lanczos from each probe.
    """
    k, probes = large.shape[1], probe.shape[1]
    blocks, singles = [large], [probe]
    diagonal, beside = [], []  # of the block recursion (k, k)
    alphas, betas = [], []  # of each probe
    for _ in range(steps):
        image = operator.apply(torch.column_stack([blocks[-1], singles[-1]]))
        wide, narrow = image[:, :k], image[:, k:]
        inner = blocks[-1].T @ wide
        diagonal.append(0.5 * (inner + inner.T))
        following, triangle = torch.linalg.qr(_against(wide, blocks))
        following, again = torch.linalg.qr(_against(following, blocks))
        beside.append(again @ triangle)
        blocks.append(following)
        alphas.append((narrow * singles[-1]).sum(0))
        for _again in range(2):  # rounding would let copies of earlier vectors back in
            for vector in singles:
                narrow = narrow - vector * (narrow * vector).sum(0)
        betas.append(narrow.norm(dim=0))
        singles.append(narrow / betas[-1].clamp(min=1e-300))
    together = _gauss_and_radau(_arrays(diagonal), _arrays(beside))
    alpha, beta = torch.stack(alphas).cpu().numpy(), torch.stack(betas).cpu().numpy()
    each = [
        _gauss_and_radau([a.reshape(1, 1) for a in alpha[:, i]], [b.reshape(1, 1) for b in beta[:, i]])
        for i in range(probes)
    ]
    return together, [
        (np.stack([pair[kind][0] for pair in each]), np.stack([pair[kind][1] for pair in each])) for kind in (0, 1)
    ]


def _against(vectors: Tensor, blocks: list[Tensor]) -> Tensor:
    """The vectors made normal to earlier blocks."""
    for block in blocks:
        vectors = vectors - block @ (block.T @ vectors)
    return vectors


def _arrays(matrices: list[Tensor]) -> list[np.ndarray]:
    return [matrix.cpu().numpy() for matrix in matrices]


def _gauss_and_radau(diagonal: list[np.ndarray], beside: list[np.ndarray]) -> list[Rule]:
    """The two rules of a (block) Lanczos recursion; the second has its additional block chosen so that 0 is a node."""
    size = len(diagonal[0])
    matrix = _block_tridiagonal(diagonal, beside[:-1])
    last = np.zeros((len(matrix), size))
    last[-size:] = beside[-1].T
    extra = last.T @ np.linalg.pinv(matrix, rcond=1e-13, hermitian=True) @ last
    return [_rule(matrix, size), _rule(_block_tridiagonal([*diagonal, 0.5 * (extra + extra.T)], beside), size)]


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


def _rule(matrix: np.ndarray, size: int) -> Rule:
    nodes, vectors = np.linalg.eigh(matrix)
    return nodes.clip(min=0.0), (vectors[:size] ** 2).sum(axis=0)


def _assemble(
    known: list[Rule],
    rules: list[Rule],
    control: tuple[np.ndarray, np.ndarray],
    remainder: float,
    count: int,
    t: float,
) -> tuple[float, float, float]:
    """The entropy in bits; its standard error over the probes; and half the distance of the two kinds of rule.

    Args:
        known: the two rules of the large directions.
        rules: the two rules of the probes, which stand for `count` eigenvalues that sum to `remainder`.
        control: the further eigenvalues of the Nystroem approximation, and each probe's squared components along them.
        remainder: what the large directions leave of the trace.
        count: the dimension that the probes are drawn in.
        t: diffusion time.
    """
    near, shares = control

    def entropy(large: Rule, small: Rule, chosen: np.ndarray) -> float:
        nodes, weights = small[0][chosen], small[1][chosen]

        def trace(function: Callable[[np.ndarray], np.ndarray]) -> float:
            """Of a function of K: exact for A, and what a probe sees beyond A scaled to what the trace has beyond A."""
            beyond = (weights * function(nodes)).sum(1).mean() - (function(near) @ shares[:, chosen]).mean()
            linear = (weights * nodes).sum(1).mean() - (near @ shares[:, chosen]).mean()
            left = max(remainder - near.sum(), 0.0)
            # where A leaves hardly anything there is nothing to scale
            scaled = left * beyond / linear if count * linear > 0.5 * left and left > 0 else count * beyond
            return float(large[1] @ function(large[0]) + function(near).sum() + scaled)

        total = trace(lambda values: values**t)
        spread = trace(lambda values: values**t * t * np.log2(np.where(values > 0, values, 1.0)))
        return math.log2(total) - spread / total

    probes = np.arange(shares.shape[1])
    ends = [entropy(large, small, probes) for large, small in zip(known, rules, strict=True)]
    without = np.array([entropy(known[0], rules[0], np.delete(probes, i)) for i in probes])
    noise = math.sqrt((len(probes) - 1) / len(probes) * float(((without - without.mean()) ** 2).sum()))  # jackknife
    return sum(ends) / 2, noise, abs(ends[0] - ends[1]) / 2
