"""The categorical entropy of a language model's head, and how near it and the head itself are to those of the data.

Zhang 2025, "A Markov Categorical Framework for Language Modeling" (arXiv 2507.19247), definitions 2.5 and 4.1, theorems 5.2
and 7.1. The entropy of a kernel at h is how far copying its outcome is from drawing it twice,

    H_D(k)(h) = D( sum_w p_h(w) delta_(w,w) || p_h x p_h ),

averaged over the hidden states of real contexts. It is 0 exactly where p_h is a point mass. With

    D = KL                the Shannon entropy of p_h (proposition 4.2);
    D = total variation   1 - sum p^2, half the L1 distance of the two joint distributions;
    D = Renyi of order a  H_(2-a)(p), the Renyi entropy of order 2 - a, for 0 <= a < 2 (our reading of the same definition).

An average entropy tells how random the head is, not whether it is right: a model trained on shuffled targets can have the
entropy of the data. Hold it against the measured negative log-likelihood.
"""

from __future__ import annotations

import math
import warnings
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from unsnarl.arrays import check_choice, check_range, to_numpy
from unsnarl.errors import DataError, OptionError
from unsnarl.information._divergences import as_probabilities, hellinger_distance, kl_divergence, total_variation
from unsnarl.information._units import nats_per_unit

DIVERGENCES = ("kl", "tv", "renyi")
_BLOCK = 2**24  # logits worked at a time


def categorical_entropy(
    logits: Float[Tensor, "*batch V"] | Any,
    divergence: str = "kl",
    *,
    order: float = 0.5,
    average: bool = True,
    base: float = math.e,
) -> float | Float[np.ndarray, "*batch"]:
    """How random the next token is at each context, by a divergence between copying it and drawing it twice.

    Args:
        logits: (*batch, V) a tensor or array, those the model ends with: after the soft-cap and the scale, if it has
            them. -inf marks a token that cannot come.
        divergence: "kl" (Shannon entropy), "tv" (1 - sum p^2) or "renyi".
        order: a of the Renyi divergence, in [0, 2); 0 gives the collision entropy -log sum p^2, and 1 is "kl".
        average: the mean over all contexts; else one value a context.
        base: unit of "kl" and "renyi"; e gives nats. "tv" has no unit.

    Returns:
        A number (or (*batch,)) in [0, log V], for "tv" in [0, 1 - 1/V]; 0 where the next token is certain.

    Raises:
        DataError: no tokens, NaN or +inf, or a context with no possible token.
        OptionError: unknown divergence, order out of range, or base not above 1.

    Warns:
        UserWarning: every row is non-negative and sums to 1, so these look like probabilities.

    Cost: O(batch * V); memory for 2^24 logits at a time. float32 logits are worked in float32, others in float64.

    >>> round(categorical_entropy(np.zeros((3, 8)), base=2), 6), round(categorical_entropy(np.zeros((3, 8)), "tv"), 6)
    (3.0, 0.875)
    """
    check_choice(divergence, DIVERGENCES, "divergence")
    check_range(order, "order", low=0)
    if order >= 2:
        raise OptionError(f"order={order!r} must be below 2, where the entropy of order 2 - a stops being one")
    unit = nats_per_unit(base) if divergence != "tv" else 1.0
    values = as_logits(logits)
    _warn_of_probabilities(values)
    rows = values.reshape(-1, values.shape[-1])
    made = [
        entropies_of(block.log_softmax(-1), divergence, order) for block in rows.split(max(1, _BLOCK // rows.shape[1]))
    ]
    entropies = np.maximum(torch.cat(made).double().numpy() / unit, 0.0)
    return float(entropies.mean()) if average else entropies.reshape(values.shape[:-1])


def entropies_of(logp: Float[Tensor, "n V"], divergence: str, order: float) -> Float[Tensor, " n"]:
    """`categorical_entropy` of checked log-probabilities, in nats, one value a context."""
    if divergence == "tv":
        return 1 - (2 * logp).exp().sum(-1)
    if divergence == "kl" or order == 1:
        p = logp.exp()
        return -torch.where(p > 0, p * logp, torch.zeros_like(p)).sum(-1)
    power = 2 - order
    return torch.logsumexp(power * logp, -1) / (1 - power)


def as_logits(logits: Any, argument: str = "logits") -> Float[Tensor, "*batch V"]:
    """Checked logits on the CPU: float32 stays, half precision becomes float32, everything else float64.

    Raises:
        DataError: no tokens, NaN or +inf, or a context in which no token can come.
    """
    values = logits.detach().cpu() if isinstance(logits, Tensor) else _from_array(logits, argument)
    if not values.is_floating_point():
        values = values.double()
    if values.dtype in (torch.float16, torch.bfloat16):
        values = values.float()
    if values.ndim == 0 or values.numel() == 0:
        raise DataError(f"{argument} has shape {tuple(values.shape)}; logits are (contexts, vocabulary)")
    top = values.amax(-1)
    if not bool(torch.isfinite(top).all()):  # NaN and +inf reach the maximum; a row of -inf is one
        bad = "a context in which no token can come" if bool((top == -math.inf).any()) else "values that are not finite"
        raise DataError(f"{argument} has {bad}")
    return values


def _from_array(values: Any, argument: str) -> Tensor:
    array = to_numpy(values, argument)
    if array.dtype.kind not in "iuf":
        raise DataError(f"{argument} must hold numbers, got dtype {array.dtype}")
    return torch.from_numpy(np.ascontiguousarray(array))


def _warn_of_probabilities(values: Float[Tensor, "*batch V"]) -> None:
    some = values.reshape(-1, values.shape[-1])[:64]
    if values.shape[-1] > 1 and bool((some >= 0).all()) and bool(((some.sum(-1) - 1).abs() < 1e-4).all()):
        warnings.warn(
            "logits are non-negative and sum to 1, as probabilities do; pass their logarithm if that is what they are",
            UserWarning,
            stacklevel=3,
        )


class EntropyConvergence(NamedTuple):
    """How near a model's randomness is to that of the data; everything in nats a token, averaged over contexts.

    Attributes:
        model: categorical entropy of the model, in the divergence asked for.
        data: the same of the data's own kernel.
        difference: |model - data|, which goes to 0 with the KL (theorem 5.2).
        kl: KL(data || model).
        nll: expected negative log-likelihood of the model on the data, the Shannon entropy of the data plus `kl`.
    """

    model: float
    data: float
    difference: float
    kl: float
    nll: float


def entropy_convergence(
    logits: Any,
    data_probs: Any,
    divergence: str = "kl",
    *,
    order: float = 0.5,
    weights: Float[np.ndarray, " n"] | None = None,
) -> EntropyConvergence:
    """|H_model - H_data| beside the KL that bounds it (theorem 5.2), where the data's kernel is known.

    Args:
        logits: (n, V) of the model at n contexts.
        data_probs: (n, V) the true distribution of the next token there (or a reference model's).
        divergence: as in `categorical_entropy`.
        order: likewise.
        weights: how often each context comes; alike when absent.

    Raises:
        DataError: shapes that differ, or not probabilities.
        OptionError: as `categorical_entropy`.

    Cost: O(n V).

    >>> p = np.array([[0.5, 0.5], [0.9, 0.1]])
    >>> entropy_convergence(np.log(p), p).difference < 1e-12
    True
    """
    values = as_logits(logits)
    truth = np.asarray(as_probabilities(to_numpy(data_probs, "data_probs"), "data_probs"))
    if truth.ndim != 2 or tuple(values.shape) != truth.shape:
        raise DataError(f"logits have shape {tuple(values.shape)}, data_probs {truth.shape}; both must be (n, V)")
    share = _shares(weights, len(truth))
    with np.errstate(divide="ignore"):
        true_logits = np.log(truth)
    model = np.asarray(categorical_entropy(values.double(), divergence, order=order, average=False))
    data = np.asarray(categorical_entropy(true_logits, divergence, order=order, average=False))
    logp = values.double().log_softmax(-1).numpy()
    nll = -np.where(truth > 0, truth * logp, 0.0).sum(-1)
    shannon = np.asarray(categorical_entropy(true_logits, average=False))
    there, here = float(share @ model), float(share @ data)
    return EntropyConvergence(
        there, here, abs(there - here), float(share @ np.maximum(nll - shannon, 0)), float(share @ nll)
    )


class PinskerCheck(NamedTuple):
    """Theorem 7.1: distances of predictions against the KL that training lowers, averaged over contexts.

    Attributes:
        kl: mean KL(data || model), nats.
        hellinger: mean d_H^2 = 2 (1 - BC).
        tv: mean TV^2.
        hellinger_ratio: hellinger / kl, at most 1.
        tv_ratio: tv / kl, at most 1/2 (Pinsker).
        holds: both bounds are kept.
    """

    kl: float
    hellinger: float
    tv: float
    hellinger_ratio: float
    tv_ratio: float
    holds: bool


def pinsker_check(data_probs: Any, model_probs: Any, *, weights: Float[np.ndarray, " n"] | None = None) -> PinskerCheck:
    """Theorem 7.1 on data: mean d_H^2 <= KL and mean TV^2 <= KL / 2.

    The constants belong to d_H^2 = 2 (1 - BC); the paper states that distance but bounds of another normalisation. The
    first cannot be lowered: where the model gives a little mass to what never comes, d_H^2 is nearly KL.

    Args:
        data_probs: (n, V) the true next-token distributions.
        model_probs: (n, V) the model's.
        weights: how often each context comes; alike when absent.

    Raises:
        DataError: not probabilities (a row that does not sum to 1, say), or shapes that differ.

    Cost: O(n V).

    >>> check = pinsker_check([[0.5, 0.5]], [[0.9, 0.1]])
    >>> check.holds, round(check.hellinger_ratio, 3), round(check.tv_ratio, 3)
    (True, 0.413, 0.313)
    """
    truth = np.asarray(as_probabilities(to_numpy(data_probs, "data_probs"), "data_probs"))
    model = np.asarray(as_probabilities(to_numpy(model_probs, "model_probs"), "model_probs"))
    if truth.ndim != 2 or truth.shape != model.shape:
        raise DataError(f"data_probs have shape {truth.shape}, model_probs {model.shape}; both must be (n, V)")
    share = _shares(weights, len(truth))
    kl = float(share @ kl_divergence(truth, model))
    hellinger = float(share @ hellinger_distance(truth, model, squared=True))
    tv = float(share @ total_variation(truth, model) ** 2)
    rounding = 1e-12
    ratios = (hellinger / kl, tv / kl) if kl > 0 else (math.nan, math.nan)
    return PinskerCheck(kl, hellinger, tv, *ratios, holds=hellinger <= kl + rounding and tv <= kl / 2 + rounding)


def _shares(weights: Any, n: int) -> Float[np.ndarray, " n"]:
    if weights is None:
        return np.full(n, 1 / n)
    share = to_numpy(weights, "weights").astype(np.float64)
    if share.shape != (n,) or not np.isfinite(share).all() or share.min() < 0 or share.sum() <= 0:
        raise DataError(f"weights must be {n} non-negative numbers, not all zero, got shape {share.shape}")
    return share / share.sum()
