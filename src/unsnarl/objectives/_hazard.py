"""Discrete-time survival: the hazard of each time bin, its likelihood under censoring, the curve and the risk.

Zadeh and Schmid, "Bias in Cross-Entropy-Based Training of Deep Survival Networks", IEEE TPAMI 2021 (with the weight alpha);
Gensheimer and Narasimhan, "A scalable discrete-time survival model for neural networks", PeerJ 2019.

A network gives K logits, one a time bin. The hazard h_k = sigmoid(logit_k) is the probability that the event happens in bin k
given that it did not before, and S_k = prod_{j <= k} (1 - h_j) the probability of living past bin k (S_{-1} = 1). Everything is
computed from logsigmoid, since log h = logsigmoid(logit) and log(1 - h) = logsigmoid(-logit): no hazard rounds to 0 or 1 on the
way to a logarithm, and no clamp flattens a gradient.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Integer, Shaped
from torch import Tensor

from unsnarl.arrays import check_choice, check_range
from unsnarl.errors import DataError

REDUCTIONS = ("mean", "sum", "none")


def hazard_nll(
    logits: Float[Tensor, "batch bins"],
    time_bin: Integer[Tensor, " batch"],
    event: Shaped[Tensor, " batch"],
    *,
    alpha: float = 0.5,
    reduction: str = "mean",
) -> Float[Tensor, "..."]:
    """Negative log-likelihood of censored times in bins, in nats (Zadeh and Schmid 2021).

    With y the bin of a patient's time, a patient who had the event costs u = -(log S_{y-1} + log h_y), one who was censored
    costs c = -log S_y: it is only known that the event did not come by the end of bin y. The loss is

        (1 - alpha) * (c + u) + alpha * u,

    so alpha = 0 is the likelihood itself and alpha = 1 leaves the censored patients out.

    Args:
        logits: one logit of the hazard a bin.
        time_bin: the bin of each time, 0 to K - 1.
        event: True (or 1) where the event was seen, False (or 0) where the patient was censored. Mind that files often hold
            the opposite flag, censorship = 1 - event.
        alpha: how much less a censored patient counts, in [0, 1].
        reduction: "mean" or "sum" over the batch, or "none" for the (batch,) values.

    Raises:
        DataError: a bin that is not among the K, an event that is not 0 or 1.
        OptionError: alpha or reduction out of range.

    Cost: O(batch * bins).

    Examples:
        >>> logits = torch.zeros(2, 4)  # every hazard is one half
        >>> hazard_nll(logits, torch.tensor([1, 1]), torch.tensor([True, False]), alpha=0.0, reduction="none")
        tensor([1.3863, 1.3863])
    """
    check_range(alpha, "alpha", low=0, high=1)
    check_choice(reduction, REDUCTIONS, "reduction")
    bins = logits.shape[1]
    y = time_bin.long()
    if len(y) and not bool(((y >= 0) & (y < bins)).all()):
        raise DataError(
            f"time_bin runs from {int(y.min())} to {int(y.max())}, but the logits have bins 0 to {bins - 1}"
        )
    seen = event.to(logits.dtype)
    if event.dtype != torch.bool and not bool(((seen == 0) | (seen == 1)).all()):
        raise DataError("event must be True or False (1 or 0) for each patient, got other values")
    y = y[:, None]
    log_survival = F.logsigmoid(-logits).cumsum(1)
    log_before = F.pad(log_survival, (1, 0))[:, :-1].gather(1, y)[:, 0]
    log_hazard = F.logsigmoid(logits).gather(1, y)[:, 0]
    uncensored = -seen * (log_before + log_hazard)
    censored = -(1 - seen) * log_survival.gather(1, y)[:, 0]
    loss = (1 - alpha) * (censored + uncensored) + alpha * uncensored
    if reduction == "none":
        return loss
    return loss.sum() if reduction == "sum" else loss.mean()


def hazard_survival(logits: Float[Tensor, "batch bins"]) -> Float[Tensor, "batch bins"]:
    """The probability of living past each bin: S_k = prod_{j <= k} (1 - sigmoid(logit_j)), falling from left to right.

    Cost: O(batch * bins).

    Examples:
        >>> hazard_survival(torch.zeros(1, 4))
        tensor([[0.5000, 0.2500, 0.1250, 0.0625]])
    """
    return F.logsigmoid(-logits).cumsum(1).exp()


def hazard_risk(logits: Float[Tensor, "batch bins"]) -> Float[Tensor, " batch"]:
    """One number a patient, larger for an earlier event: minus the sum of the survival curve, in [-K, 0].

    -sum_k S_k is, up to a constant, minus the expected number of bins lived through; it ranks patients for a concordance index.

    Examples:
        >>> hazard_risk(torch.tensor([[-9.0, -9.0], [9.0, 9.0]]))
        tensor([-1.9996e+00, -1.2341e-04])
    """
    return -hazard_survival(logits).sum(1)
