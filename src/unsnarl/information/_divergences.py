"""How far apart two probability vectors are: Kullback-Leibler, Jeffreys, Jensen-Shannon, total variation, Hellinger, Renyi.

One normalisation of each, stated here because the literature has several:

- total variation is half the L1 distance, in [0, 1];
- the squared Hellinger distance is d_H^2 = sum (sqrt p - sqrt q)^2 = 2 (1 - BC), in [0, 2], **without** the factor 1/2 that
  many texts put before it; BC = sum sqrt(p q) is the Bhattacharyya coefficient. With it d_H^2 <= KL, TV^2 <= KL / 2
  (Pinsker) and d_H^2 / 2 <= TV <= d_H;
- Jensen-Shannon is the mean divergence to the midpoint, in [0, log 2], not its square root.

Everything is batched: the last axis holds the categories, the axes before it are broadcast against each other. NumPy arrays
(and lists) are worked in float64 and give NumPy; torch tensors keep their type and device, and gradients flow.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from jaxtyping import Num

from unsnarl.arrays import check_range, to_numpy
from unsnarl.errors import DataError
from unsnarl.information._units import nats_per_unit

Simplex = Num[np.ndarray, "*batch categories"] | Any
"""Probability vectors along the last axis: an array, a torch tensor, or nested lists."""

TOLERANCE = 1e-3
"""How far the sum of a probability vector may be from 1; what is nearer is divided by its sum."""


def as_probabilities(values: Simplex, argument: str = "p", *, tolerance: float = TOLERANCE) -> Any:
    """Checked probability vectors along the last axis, each divided by its sum.

    Args:
        values: (*batch, categories); an array, a torch tensor or nested lists.
        argument: the name used in error messages.
        tolerance: how far a sum may be from 1.

    Returns:
        A float64 array, or for a tensor a tensor of its own floating type.

    Raises:
        DataError: not numeric, no categories, not finite, negative, or a sum too far from 1 (as that of logits).
    """
    tensor = hasattr(values, "detach")
    array: Any = values if tensor else to_numpy(values, argument)
    if not tensor:
        if array.dtype.kind not in "iuf":
            raise DataError(f"{argument} must hold probabilities, got dtype {array.dtype}")
        array = array.astype(np.float64)
    elif not array.is_floating_point():
        array = array.double()
    if array.ndim == 0 or array.shape[-1] == 0:
        raise DataError(f"{argument} needs at least one category on its last axis, got shape {tuple(array.shape)}")
    if math.prod(array.shape) == 0:
        raise DataError(f"{argument} is empty (shape {tuple(array.shape)})")
    plain = array.detach() if tensor else array
    sums = plain.sum(-1)
    low, far = float(plain.min()), float(abs(sums - 1).max())
    if not math.isfinite(low) or not math.isfinite(far):
        raise DataError(f"{argument} has probabilities that are not finite")
    if low < 0:
        hint = "; these look like logits, so take their softmax first" if far > tolerance else ""
        raise DataError(f"{argument} has a negative probability ({low:.4g}){hint}")
    if far > tolerance:
        worst = float(sums.reshape(-1)[int(abs(sums - 1).reshape(-1).argmax())])
        raise DataError(
            f"{argument} must sum to 1 over its last axis (within {tolerance:g}), but a vector sums to {worst:.6g}"
        )
    return array / array.sum(-1)[..., None]


def _pair(p: Simplex, q: Simplex) -> tuple[Any, Any, Any]:
    """Two checked batches of one kind, and the library that works on them."""
    if hasattr(p, "detach") or hasattr(q, "detach"):
        import torch

        p, q = torch.as_tensor(p), torch.as_tensor(q)
        library: Any = torch
    else:
        library = np
    one, other = as_probabilities(p, "p"), as_probabilities(q, "q")
    if one.shape[-1] != other.shape[-1]:
        raise DataError(f"p has {one.shape[-1]} categories, q has {other.shape[-1]}")
    try:
        library.broadcast_shapes(one.shape, other.shape) if library is not np else np.broadcast_shapes(
            one.shape, other.shape
        )
    except (ValueError, RuntimeError):
        raise DataError(
            f"p of shape {tuple(one.shape)} and q of shape {tuple(other.shape)} do not go together"
        ) from None
    if library is not np:
        kind = library.promote_types(one.dtype, other.dtype)
        one, other = one.to(kind), other.to(kind)
    return one, other, library


def _log(values: Any, library: Any) -> Any:
    """The logarithm; -inf at zero with gradient 0 instead of NaN, so that a category of probability 0 does no harm."""
    positive = values > 0
    logs = library.log(library.where(positive, values, library.ones_like(values)))
    return library.where(positive, logs, library.full_like(logs, -math.inf))


def _plogp_over(p: Any, log_p: Any, log_q: Any, library: Any) -> Any:
    """The sum of p (log p - log q), with 0 log 0 = 0; infinite where q is 0 and p is not."""
    used = p > 0
    zero = library.zeros_like(log_p)
    gap = library.where(used, log_p, zero) - library.where(used, log_q, zero)
    return _at_least_zero((p * gap).sum(-1), library)


def _at_least_zero(values: Any, library: Any) -> Any:
    return library.clamp(values, min=0) if library is not np else np.maximum(values, 0.0)


def kl_divergence(p: Simplex, q: Simplex, *, base: float = math.e) -> Any:
    """KL(p || q) = sum p log(p / q) (Kullback and Leibler 1951).

    Args:
        p: (*batch, categories) probability vectors.
        q: likewise; broadcast against p.
        base: unit; e gives nats, 2 gives bits.

    Returns:
        (*batch,); infinite where q is 0 and p is not.

    Raises:
        DataError: not probability vectors, or shapes that do not go together.
        OptionError: base not above 1.

    Cost: O(batch * categories).

    >>> float(kl_divergence([1.0, 0.0], [0.5, 0.5], base=2)), float(kl_divergence([0.5, 0.5], [1.0, 0.0]))
    (1.0, inf)
    """
    unit = nats_per_unit(base)
    p, q, library = _pair(p, q)
    p, q = _spread(p, q, library)
    return _plogp_over(p, _log(p, library), _log(q, library), library) / unit


def kl_from_logits(p_logits: Simplex, q_logits: Simplex, *, base: float = math.e) -> Any:
    """KL(softmax(p_logits) || softmax(q_logits)), finite where the probabilities themselves would round to 0.

    Args:
        p_logits: (*batch, categories) unnormalised log-probabilities.
        q_logits: likewise; broadcast against them.
        base: unit; e gives nats, 2 gives bits.

    Raises:
        DataError: not finite, no categories, or shapes that do not go together.
        OptionError: base not above 1.

    Cost: O(batch * categories).

    >>> round(float(kl_from_logits([0.0, 0.0], [0.0, 1000.0])), 3)
    499.307
    """
    unit = nats_per_unit(base)
    tensor = hasattr(p_logits, "detach") or hasattr(q_logits, "detach")
    logs: list[Any] = []
    for values, name in ((p_logits, "p_logits"), (q_logits, "q_logits")):
        logits: Any = values if hasattr(values, "detach") else to_numpy(values, name)
        if tensor:
            import torch

            logits = torch.as_tensor(logits)
            finite = bool(torch.isfinite(logits).all())
        else:
            if logits.dtype.kind not in "iuf":
                raise DataError(f"{name} must hold numbers, got dtype {logits.dtype}")
            finite = bool(np.isfinite(logits).all())
        if logits.ndim == 0 or logits.shape[-1] == 0:
            raise DataError(f"{name} needs at least one category on its last axis, got shape {tuple(logits.shape)}")
        if not finite:
            raise DataError(f"{name} has values that are not finite")
        if tensor:
            logs.append((logits if logits.is_floating_point() else logits.double()).log_softmax(-1))
        else:
            shifted = logits.astype(np.float64) - logits.max(-1, keepdims=True)
            logs.append(shifted - np.log(np.exp(shifted).sum(-1, keepdims=True)))
    one, other = logs
    if one.shape[-1] != other.shape[-1]:
        raise DataError(f"p_logits has {one.shape[-1]} categories, q_logits has {other.shape[-1]}")
    try:
        total = ((one.exp() if tensor else np.exp(one)) * (one - other)).sum(-1)
    except (ValueError, RuntimeError):
        raise DataError(
            f"p_logits of shape {tuple(one.shape)} and q_logits of shape {tuple(other.shape)} do not go together"
        ) from None
    if tensor:
        import torch

        return _at_least_zero(total, torch) / unit
    return _at_least_zero(total, np) / unit


def jeffreys_divergence(p: Simplex, q: Simplex, *, base: float = math.e) -> Any:
    """KL(p || q) + KL(q || p), the sum and not its half (Jeffreys 1946); as `kl_divergence` otherwise.

    >>> round(float(jeffreys_divergence([0.9, 0.1], [0.1, 0.9])), 6) == round(1.6 * math.log(9), 6)
    True
    """
    unit = nats_per_unit(base)
    p, q, library = _pair(p, q)
    p, q = _spread(p, q, library)
    logs = _log(p, library), _log(q, library)
    return (_plogp_over(p, *logs, library) + _plogp_over(q, *logs[::-1], library)) / unit


def js_divergence(p: Simplex, q: Simplex, *, base: float = math.e) -> Any:
    """The Jensen-Shannon divergence, (KL(p || m) + KL(q || m)) / 2 with m = (p + q) / 2 (Lin 1991).

    Returns:
        (*batch,), in [0, log 2] (1 bit); the square root of it is a metric. Errors and cost as `kl_divergence`.

    >>> float(js_divergence([1.0, 0.0], [0.0, 1.0], base=2))
    1.0
    """
    unit = nats_per_unit(base)
    p, q, library = _pair(p, q)
    p, q = _spread(p, q, library)
    middle = _log((p + q) / 2, library)
    return (_plogp_over(p, _log(p, library), middle, library) + _plogp_over(q, _log(q, library), middle, library)) / (
        2 * unit
    )


def total_variation(p: Simplex, q: Simplex) -> Any:
    """Half the L1 distance: the largest difference of the probabilities of any event. In [0, 1].

    Raises:
        DataError: as `kl_divergence`.

    >>> float(total_variation([0.5, 0.5], [1.0, 0.0]))
    0.5
    """
    p, q, _ = _pair(p, q)
    return abs(p - q).sum(-1) / 2


def bhattacharyya_coefficient(p: Simplex, q: Simplex) -> Any:
    """BC = sum sqrt(p q), in [0, 1]; 1 for equal vectors (Bhattacharyya 1943).

    Raises:
        DataError: as `kl_divergence`.

    >>> float(bhattacharyya_coefficient([0.5, 0.5], [1.0, 0.0])) == math.sqrt(0.5)
    True
    """
    p, q, library = _pair(p, q)
    return (library.sqrt(p) * library.sqrt(q)).sum(-1)


def hellinger_distance(p: Simplex, q: Simplex, *, squared: bool = False) -> Any:
    """d_H = sqrt(sum (sqrt p - sqrt q)^2), in [0, sqrt 2]; d_H^2 = 2 (1 - BC), without the factor 1/2 some texts have.

    Args:
        p: (*batch, categories) probability vectors.
        q: likewise; broadcast against p.
        squared: give d_H^2, in [0, 2].

    Raises:
        DataError: as `kl_divergence`.

    >>> float(hellinger_distance([1.0, 0.0], [0.0, 1.0], squared=True))
    2.0
    """
    p, q, library = _pair(p, q)
    square = ((library.sqrt(p) - library.sqrt(q)) ** 2).sum(-1)
    return square if squared else library.sqrt(square)


def renyi_divergence(p: Simplex, q: Simplex, order: float, *, base: float = math.e) -> Any:
    """Renyi's divergence, log(sum p^a q^(1-a)) / (a - 1) for the order a (Renyi 1961; van Erven and Harremoes 2014).

    Order 1/2 is -2 log BC, 1 is KL, infinity is the log of the largest ratio p / q; it grows with the order.

    Args:
        p: (*batch, categories) probability vectors.
        q: likewise; broadcast against p.
        order: a >= 0; `math.inf` is allowed.
        base: unit; e gives nats, 2 gives bits.

    Returns:
        (*batch,); infinite where q is 0 and p is not (order 1 and above), or where they share no category.

    Raises:
        DataError: as `kl_divergence`.
        OptionError: a negative order, or base not above 1.

    Cost: O(batch * categories).

    >>> p, q = [0.5, 0.5], [0.25, 0.75]
    >>> [round(float(renyi_divergence(p, q, a)), 4) for a in (0, 0.5, 1, 2, math.inf)]
    [0.0, 0.0693, 0.1438, 0.2877, 0.6931]
    """
    if order != math.inf:
        check_range(order, "order", low=0)
    unit = nats_per_unit(base)
    if order == 1:
        return kl_divergence(p, q, base=base)
    p, q, library = _pair(p, q)
    p, q = _spread(p, q, library)
    used = p > 0
    if order < 1:
        used = used & (q > 0)  # a category that one of them lacks adds 0
    log_p, log_q = _log(p, library), _log(q, library)
    zero = library.zeros_like(log_p)
    log_p, log_q = library.where(used, log_p, zero), library.where(used, log_q, zero)
    nothing = library.full_like(p, -math.inf)
    if order == math.inf:
        ratio = library.where(used, log_p - log_q, nothing)
        top = ratio.max(-1) if library is np else ratio.amax(-1)
        return _at_least_zero(top, library) / unit
    with np.errstate(invalid="ignore"):
        terms = library.where(used, order * log_p + (1 - order) * log_q, nothing)
        total = np.logaddexp.reduce(terms, axis=-1) if library is np else library.logsumexp(terms, -1)
    return _at_least_zero(total / (order - 1), library) / unit


def _spread(p: Any, q: Any, library: Any) -> tuple[Any, Any]:
    """Both of one shape, without copies."""
    if library is np:
        one, other = np.broadcast_arrays(p, q)
        return one, other
    one, other = library.broadcast_tensors(p, q)
    return one, other
