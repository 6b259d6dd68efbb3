"""Which directions of a hidden state the prediction feels: the Fisher-Rao metric pulled back through the head.

Zhang 2025 (arXiv 2507.19247), section 6 and corollary 7.2. With J the Jacobian of the logits at h and s_w the gradient of
log p_h(w),

    g(h) = J^T (diag p_h - p_h p_h^T) J = E_(w ~ p_h)[ s_w s_w^T ],      J = W for a linear head,
    KL(p_(h + eps v) || p_h) = eps^2 / 2 v^T g(h) v + O(eps^3).

g is (d, d), positive semi-definite, of rank at most min(d, V - 1). The V x V matrix in the middle is never formed.
Along the segment from h' to h the metric adds up to the integrated separation, which for a linear head is the Jeffreys
divergence KL + KL of the two predictions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from unsnarl.arrays import check_range, to_numpy
from unsnarl.errors import DataError
from unsnarl.information._spectrum import entropy_of_shares
from unsnarl.measures.language._heads import Hidden, LanguageHead, as_hidden

_BLOCK_BYTES = 64 * 2**20  # of probabilities or rows of W held in float64 at a time
_TANGENTS = 64  # directions differentiated together

Metric = Float[np.ndarray, "*batch d d"]


def pullback_metric(model: Any, h: Any, *, average: bool = True) -> Float[np.ndarray, "*batch d d"]:
    """The Fisher-Rao metric on next-token distributions, pulled back to hidden states.

    Args:
        model: a causal language model, its head, the weight W (V, d), or any differentiable function from h to logits.
        h: (d,) one hidden state, or (n, d): the input of the head (after the final norm).
        average: for (n, d), the mean over the contexts; else one metric each, (n, d, d).

    Returns:
        (d, d) in float64, symmetric and positive semi-definite up to rounding; nats for a unit step, squared.

    Raises:
        DataError: h is not (d,) or (n, d), does not fit the head, or is not finite.
        OptionError: `model` is no head.

    Cost: for a linear head, soft-capped or not, O(V d^2 + n V d) for a mean and O(n V d^2) for single ones, memory
        64 MB beyond W. Any other head: d forward derivatives a context and a (V, d) Jacobian in memory.

    >>> g = pullback_metric(np.eye(2), np.zeros(2))  # two tokens, one logit each: p = 1/2
    >>> g
    array([[ 0.25, -0.25], [-0.25, 0.25]])
    """
    head = LanguageHead.of(model)
    states = as_hidden(h)
    if states.ndim > 2:
        raise DataError(f"h has shape {tuple(states.shape)}; pass one hidden state (d,) or contexts (n, d)")
    rows = states.detach().reshape(-1, states.shape[-1])
    if head.weight is not None:
        if rows.shape[1] != head.weight.shape[1]:
            raise DataError(f"h has {rows.shape[1]} entries, but the head takes {head.weight.shape[1]}")
        rows = rows.double().to(head.weight.device)
        if average and len(rows) > 1:
            return _mean_metric(head, rows)
        each = [_one_metric(head, row) for row in rows]
    else:
        each = [_gram(*_jacobian(head, row)) for row in rows]
        if average:
            each = [np.sum(each, axis=0) / len(each)]
    return each[0] if average or states.ndim == 1 else np.stack(each)


def _one_metric(head: LanguageHead, h: Float[Tensor, " d"]) -> Float[np.ndarray, "d d"]:
    """Rows of J centred with p and scaled by sqrt p, then their Gram matrix: positive semi-definite to rounding."""
    assert head.weight is not None
    logits = head(h)
    p = logits.softmax(-1)
    slope = head.slopes(logits)
    mean = _weighted_rows(head, (p if slope is None else p * slope)[None])[0]
    total = torch.zeros(len(h), len(h), dtype=torch.float64, device=h.device)
    for part, rows in _weight_blocks(head):
        jacobian = rows if slope is None else rows * slope[part, None]
        scaled = (jacobian - mean) * p[part, None].sqrt()
        total += scaled.T @ scaled
    return total.cpu().numpy()


def _mean_metric(head: LanguageHead, states: Float[Tensor, "n d"]) -> Float[np.ndarray, "d d"]:
    """The mean of g over contexts without a pass over W for each, the rows being weighted once.

    mean g = W^T diag(mean p s^2) W - mean mu mu^T,   mu_x = W^T (p_x s_x), s the slopes of the head.
    """
    assert head.weight is not None
    n, d = states.shape
    vocabulary = len(head.weight)
    weight = torch.zeros(vocabulary, dtype=torch.float64, device=states.device)
    means = []
    for some in states.split(max(1, _BLOCK_BYTES // (8 * vocabulary))):
        logits = head(some)
        p = logits.softmax(-1)
        slope = head.slopes(logits)
        felt = p if slope is None else p * slope
        means.append(_weighted_rows(head, felt))
        weight += (felt if slope is None else felt * slope).sum(0)
    mu = torch.cat(means)
    # where all slopes are one number, rows can be taken from their mean first: nothing large is then subtracted
    shift = mu.mean(0) / head.scale if head.softcap is None else torch.zeros(d, dtype=torch.float64, device=mu.device)
    total = torch.zeros(d, d, dtype=torch.float64, device=states.device)
    for part, rows in _weight_blocks(head):
        scaled = (rows - shift) * (weight[part, None] / n).sqrt()
        total += scaled.T @ scaled
    centred = mu - shift * head.scale
    total -= centred.T @ centred / n
    return ((total + total.T) / 2).cpu().numpy()


def _weight_blocks(head: LanguageHead) -> Iterator[tuple[slice, Float[Tensor, "rows d"]]]:
    """Slices of the vocabulary and those rows of W in float64, one block in memory at a time."""
    assert head.weight is not None
    size = max(1, _BLOCK_BYTES // (8 * head.weight.shape[1]))
    for start in range(0, len(head.weight), size):
        part = slice(start, min(start + size, len(head.weight)))
        yield part, head.weight[part].double()


def _weighted_rows(head: LanguageHead, weights: Float[Tensor, "n V"]) -> Float[Tensor, "n d"]:
    return sum(weights[:, part] @ rows for part, rows in _weight_blocks(head))  # type: ignore[return-value]


def _jacobian(head: LanguageHead, h: Float[Tensor, " d"]) -> tuple[Float[Tensor, "V d"], Float[Tensor, " V"]]:
    """The logits' Jacobian and probabilities, both in float64, by forward-mode differentiation in d directions."""
    with torch.no_grad():
        p = head(h[None])[0].double().softmax(-1)
    step = torch.func.vmap(lambda v: _derivative(head, h, v)[1], chunk_size=_TANGENTS)
    columns = step(torch.eye(len(h), dtype=h.dtype, device=h.device)).detach()
    return columns.double().T, p


def _derivative(head: LanguageHead, h: Hidden, direction: Hidden) -> tuple[Tensor, Tensor]:
    """Logits at h and their derivative along a direction."""

    def function(x: Tensor) -> Tensor:
        return head(x[None])[0] if x.ndim == 1 else head(x)

    both: tuple[Tensor, Tensor] = torch.func.jvp(function, (h,), (direction,))  # type: ignore[assignment]
    return both


def _gram(jacobian: Float[Tensor, "V d"], p: Float[Tensor, " V"]) -> Float[np.ndarray, "d d"]:
    scaled = (jacobian - p @ jacobian) * p[:, None].sqrt()
    return (scaled.T @ scaled).cpu().numpy()


@dataclass(frozen=True, eq=False)
class MetricSpectrum:
    """The eigenvalues of a metric and what they say.

    Attributes:
        eigenvalues: (d,) descending, not below 0.
        directions: (d, d) the unit eigenvectors as columns, in the same order.
        trace: their sum: the expected squared length of the gradient of log p.
        effective_rank: exp of the entropy of the eigenvalues' shares, in [1, d]: how many directions count.
        participation_ratio: (sum)^2 / sum of squares, in [1, d]: the same with more weight on the large ones.
    """

    eigenvalues: Float[np.ndarray, " d"]
    directions: Float[np.ndarray, "d d"]
    trace: float
    effective_rank: float
    participation_ratio: float

    def __repr__(self) -> str:
        return (
            f"MetricSpectrum(trace={self.trace:.4g}, effective_rank={self.effective_rank:.2f}, "
            f"participation_ratio={self.participation_ratio:.2f} of {len(self.eigenvalues)})"
        )


def metric_spectrum(metric: Any) -> MetricSpectrum:
    """Eigenvalues, effective rank, participation ratio and trace of a metric (d, d).

    Raises:
        DataError: not a symmetric finite matrix, clearly negative eigenvalues, or all zero (predictions that nothing moves).

    Cost: O(d^3).

    >>> metric_spectrum(np.diag([3.0, 3.0, 0.0]))
    MetricSpectrum(trace=6, effective_rank=2.00, participation_ratio=2.00 of 3)
    """
    g = to_numpy(metric, "metric")
    if g.ndim != 2 or g.shape[0] != g.shape[1] or g.size == 0 or g.dtype.kind not in "iuf":
        raise DataError(f"metric must be a square matrix of numbers, got shape {g.shape} and dtype {g.dtype}")
    g = g.astype(np.float64)
    size = float(np.abs(g).max())
    if not math.isfinite(size):
        raise DataError("metric has values that are not finite")
    if size == 0:
        raise DataError("metric is zero: no direction of h changes the prediction")
    if np.abs(g - g.T).max() > 1e-6 * size:
        raise DataError("metric is not symmetric")
    values, vectors = np.linalg.eigh((g + g.T) / 2)
    if values[0] < -1e-6 * values[-1]:
        raise DataError(f"metric has a negative eigenvalue ({values[0]:.3g}), so it is none")
    values = np.maximum(values[::-1], 0.0)
    return MetricSpectrum(
        eigenvalues=values,
        directions=vectors[:, ::-1],
        trace=float(values.sum()),
        effective_rank=math.exp(entropy_of_shares(values)),
        participation_ratio=float(values.sum() ** 2 / (values**2).sum()),
    )


def metric_coordinates(metric: Any, h: Any) -> Float[np.ndarray, "n d"]:
    """Hidden states in coordinates whose Euclidean distance is the metric's: |x - x'|^2 = dh^T g dh.

    Args:
        metric: (d, d), such as the mean of `pullback_metric` over other contexts.
        h: (n, d) hidden states.

    Raises:
        DataError: as `metric_spectrum`, or another number of entries.

    Cost: O(d^3 + n d^2).

    >>> metric_coordinates(np.diag([4.0, 0.0]), np.array([[1.0, 5.0]])).round(6).tolist()
    [[2.0, 0.0]]
    """
    spectrum = metric_spectrum(metric)
    states = as_hidden(h).detach().cpu().double().numpy()
    if states.ndim != 2 or states.shape[1] != len(spectrum.eigenvalues):
        raise DataError(f"h has shape {states.shape}; the metric is of {len(spectrum.eigenvalues)} entries")
    vectors = spectrum.directions
    largest = vectors[np.abs(vectors).argmax(axis=0), np.arange(vectors.shape[1])]
    return states @ (vectors * np.sign(largest) * np.sqrt(spectrum.eigenvalues))


def integrated_separation(model: Any, h: Any, other: Any, *, points: int = 16) -> Float[np.ndarray, " n"]:
    """The metric added up along the segment between two hidden states (corollary 7.2), in nats.

    int_0^1 dh^T g(h' + t dh) dh dt with dh = h - h'. For a linear head it is exactly (p_h - p_h') . W dh, the Jeffreys
    divergence KL(p_h || p_h') + KL(p_h' || p_h); for other heads Gauss-Legendre quadrature (our choice of 16 points).

    Args:
        model: as in `pullback_metric`.
        h: (d,) or (n, d).
        other: h', likewise.
        points: nodes of the quadrature.

    Returns:
        (n,) non-negative numbers; (1,) for single states.

    Raises:
        DataError: shapes that differ or do not fit the head.
        OptionError: points below 1, or `model` is no head.

    Cost: O(n V d), times the points for a head that is not linear.

    >>> bool(np.isclose(integrated_separation(np.eye(2), [2.0, 0.0], [0.0, 2.0]), 4 * np.tanh(1))[0])
    True
    """
    head, pairs = _segments(model, h, other, points)
    return _along(head, pairs, lambda one, two: _separation(head, one, two, points))


def fisher_length(model: Any, h: Any, other: Any, *, points: int = 16) -> Float[np.ndarray, " n"]:
    """The length of the segment between two hidden states in the pulled-back metric, int_0^1 sqrt(dh^T g dh) dt.

    No path between the two predictions is shorter than the geodesic of the simplex, 2 arccos(BC), so neither is this.
    Its square is at most the integrated separation (Cauchy and Schwarz). Gauss-Legendre quadrature for every head.

    Args:
        model: as in `pullback_metric`.
        h: (d,) or (n, d).
        other: h', likewise.
        points: nodes of the quadrature.

    Returns:
        (n,) lengths, in the unit of the Fisher-Rao distance (the root of nats, to second order).

    Raises:
        DataError, OptionError: as `integrated_separation`.

    Cost: O(points n V), and O(n V d).

    >>> bool(fisher_length(np.eye(2), [1e-3, 0.0], [0.0, 0.0])[0].round(9) == 0.0005)
    True
    """
    head, pairs = _segments(model, h, other, points)
    return _along(head, pairs, lambda one, two: _quadrature(head, one, two, points, torch.sqrt))


def _segments(model: Any, h: Any, other: Any, points: int) -> tuple[LanguageHead, tuple[Tensor, Tensor]]:
    check_range(points, "points", low=1, integer=True)
    head = LanguageHead.of(model)
    one, two = as_hidden(h), as_hidden(other, "other")
    if one.shape != two.shape or one.ndim > 2:
        raise DataError(f"h has shape {tuple(one.shape)}, other {tuple(two.shape)}; both must be (d,) or (n, d)")
    one, two = (x.detach().reshape(-1, x.shape[-1]) for x in (one, two))
    if head.weight is not None:
        one, two = (x.double().to(head.weight.device) for x in (one, two))
    return head, (one, two)


def _along(
    head: LanguageHead, pairs: tuple[Tensor, Tensor], work: Callable[[Tensor, Tensor], Tensor]
) -> Float[np.ndarray, " n"]:
    """Work on a few segments at a time."""
    size = 64 if head.weight is None else max(1, _BLOCK_BYTES // (32 * len(head.weight)))
    with torch.no_grad():
        parts = [work(one, two) for one, two in zip(*(x.split(size) for x in pairs), strict=True)]
    return np.maximum(torch.cat(parts).detach().double().cpu().numpy(), 0.0)


def _separation(head: LanguageHead, here: Float[Tensor, "n d"], there: Float[Tensor, "n d"], points: int) -> Tensor:
    if head.linear:
        z, other = head(here), head(there)
        return ((z.softmax(-1) - other.softmax(-1)) * (z - other)).sum(-1)
    return _quadrature(head, here, there, points, lambda square: square)


def _quadrature(
    head: LanguageHead,
    here: Float[Tensor, "n d"],
    there: Float[Tensor, "n d"],
    points: int,
    of_square: Callable[[Tensor], Tensor],
) -> Tensor:
    """The integral along the segment of a function of dh^T g dh, which is the variance of the logits' derivative."""
    step = here - there
    nodes, weights = np.polynomial.legendre.leggauss(points)
    ends = (head(here), head(there)) if head.linear else None
    total: Any = 0.0
    for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        if ends is not None:
            change = ends[0] - ends[1]
            logits = ends[1] + float(node) * change
        else:
            logits, change = _derivative(head, there + float(node) * step, step)
        p, change = logits.double().softmax(-1), change.double()
        mean = (p * change).sum(-1, keepdim=True)
        total = total + float(weight) * of_square((p * (change - mean) ** 2).sum(-1))
    return total
