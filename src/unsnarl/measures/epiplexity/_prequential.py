"""How many bits of structure a learner took in while it trained: the area under its loss curve (prequential coding).

Send data token by token, each coded with the model trained on those before it: that costs the sum of the losses. The
part of it above the loss the learner ends with is what it cost to tell the receiver the learner itself.
"""

from __future__ import annotations

import math
import warnings
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Num

from unsnarl.arrays import as_vector, check_choice, check_range, check_same_length
from unsnarl.errors import DataError, OptionError
from unsnarl.information import EstimatorWarning

FEWEST_POINTS = 50
"""With fewer logged points the area under a loss curve is too coarse to be read as a code length."""


def prequential_bits(
    losses: Num[np.ndarray, " point"] | Any,
    tokens: Num[np.ndarray, " point"] | Any,
    *,
    logged: Literal["values", "means"] | str = "values",
    unit: Literal["nats", "bits"] | str = "nats",
    vocabulary: int | None = None,
    learning_rates: Num[np.ndarray, " point"] | Any = None,
    epochs: float = 1,
) -> Float[np.ndarray, " point"]:
    """Description length of the learner at each logged point of its training, in bits.

    |P|_t = (1 / ln 2) * integral_0^t (L_s - L_t) ds  (Finzi et al. 2026, arXiv 2601.03220; Dawid 1984), where L_s is
    the loss per token, in nats, after s tokens. Before the first point the loss is taken to be the first one.

    >>> t = np.linspace(1, 1_000, 1_000)
    >>> bits = prequential_bits(2.0 + np.exp(-t / 100), t)
    >>> bool(abs(bits[-1] * np.log(2) - 100) < 1)  # the area above 2 nats is 100 nats, less a little at either end
    True

    Args:
        losses: loss per token on data the learner saw for the first time, in the order of training.
        tokens: tokens trained on up to each loss, increasing.
        logged: what the losses are: "values" at those points, joined by trapezoids, or "means" over the tokens since
            the point before, whose area is exact whatever the curve does between points (trapezoids over means
            overstate it by half a window of the total fall).
        unit: of the losses.
        vocabulary: number of different tokens; where given, losses in nats that start at log2 of it are refused.
        learning_rates: the rate at each point; after its rise it must stay, for a rate that falls lowers the loss at
            the end by more than was learned, which swells the area.
        epochs: how often each token was seen.

    Returns:
        Bits at each point; the last one is that of the whole run. A loss that rises makes them negative.

    Raises:
        DataError: lengths differ, fewer than two points, values not finite or negative, tokens that do not increase;
            losses that are in bits, by the vocabulary; several epochs over the same data (the loss on a token seen
            before is no code length).
        OptionError: an option out of range.

    Warns:
        EstimatorWarning: fewer than 50 points, or a learning rate that falls.

    Cost: O(points).
    """
    check_choice(logged, ("values", "means"), "logged")
    check_choice(unit, ("nats", "bits"), "unit")
    check_range(epochs, "epochs", low=0, open_low=True)
    loss, seen = as_vector(losses, "losses").astype(np.float64), as_vector(tokens, "tokens").astype(np.float64)
    check_same_length(losses=loss, tokens=seen)
    if epochs > 1:
        raise DataError(
            f"epochs={epochs:g}: the area under a loss curve is a code length only for data seen once; train on fresh "
            "data, or cut the curve after its first pass"
        )
    if (loss < 0).any():
        raise DataError(f"losses has the negative value {loss.min():g}; pass the mean negative log-likelihood a token")
    if seen[0] <= 0 or (np.diff(seen) <= 0).any():
        raise DataError("tokens must be positive and increase from point to point")
    if vocabulary is not None:
        _check_nats(float(loss[0]), vocabulary, unit)
    _warn(len(loss), learning_rates)
    nats = loss * math.log(2) if unit == "bits" else loss
    widths = np.diff(seen, prepend=0.0)
    heights = nats if logged == "means" else 0.5 * (nats + np.concatenate([nats[:1], nats[:-1]]))
    return (np.cumsum(widths * heights) - seen * nats) / math.log(2)


def _check_nats(first: float, vocabulary: int, unit: str) -> None:
    """A learner that has seen little loses about log V; so a first loss far above ln V, but near log2 V, is in bits."""
    check_range(vocabulary, "vocabulary", low=2, integer=True)
    if unit == "nats" and abs(first - math.log2(vocabulary)) < 0.1 * math.log2(vocabulary):
        raise DataError(
            f"losses starts at {first:.3g}, which is log2 of the vocabulary of {vocabulary:,}: it seems to be in bits; "
            "pass unit='bits'"
        )


def _warn(points: int, learning_rates: Any) -> None:
    if points < FEWEST_POINTS:
        warnings.warn(
            f"{points} logged points are few for the area under a loss curve, most of which lies at its steep start; "
            f"log at least {FEWEST_POINTS}",
            EstimatorWarning,
            stacklevel=3,
        )
    if learning_rates is None:
        return
    rates = as_vector(learning_rates, "learning_rates").astype(np.float64)
    if len(rates) != points:
        raise OptionError(f"learning_rates has {len(rates):,} values for {points:,} losses; give one a point")
    if rates[-1] < 0.999 * rates.max():
        warn_decayed(stacklevel=4)


def warn_decayed(stacklevel: int = 3) -> None:
    """Say what a falling learning rate does to the area."""
    warnings.warn(
        "the learning rate falls towards the end, which lowers the last losses by more than was learned there and so "
        "overstates the description length; train at a constant rate after the warm-up",
        EstimatorWarning,
        stacklevel=stacklevel,
    )
