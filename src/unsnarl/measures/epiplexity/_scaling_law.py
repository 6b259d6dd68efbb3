"""Epiplexity from published scaling laws, without training anything.

A law L(N, D) = E + (N0 / N)^alpha + (D0 / D)^beta gives the loss (nats per token) of a model of N parameters after D
tokens. The area under it is the description length of the model, so the budget's best model and its structure follow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from unsnarl.arrays import as_vector, check_range
from unsnarl.errors import DataError, OptionError

PETAFLOP_DAY = 8.64e19
"""Floating-point operations of a petaflop-day, the unit of many published fits."""


@dataclass(frozen=True)
class ScalingLawEpiplexity:
    """Structure and randomness at one or several budgets; numbers for one, arrays (budget,) for several.

    Attributes:
        compute: the budgets, in floating-point operations.
        S: bits of structure, |P| of the best model.
        H: bits that stay unpredictable to it in the test tokens.
        tokens: D, tokens the best model trains on.
        parameters: N, its size.
        loss: its loss, nats per token.
    """

    compute: float | Float[np.ndarray, " budget"]
    S: float | Float[np.ndarray, " budget"]
    H: float | Float[np.ndarray, " budget"]
    tokens: float | Float[np.ndarray, " budget"]
    parameters: float | Float[np.ndarray, " budget"]
    loss: float | Float[np.ndarray, " budget"]

    @property
    def K(self) -> float | Float[np.ndarray, " budget"]:
        """Bits of model and data together, S + H: what the best model has least of."""
        return self.S + self.H


def epiplexity_from_scaling_law(
    alpha: float,
    beta: float,
    N0: float,
    D0: float,
    E: float,
    compute: float | Float[np.ndarray, " budget"] | Any,
    test_tokens: float,
) -> ScalingLawEpiplexity:
    """Bits of structure and of randomness that the best model of a compute budget finds, from a scaling law.

    The area under L between 0 and D tokens is S = beta / (1 - beta) * D0^beta * D^(1 - beta) nats. A budget
    C = 2 N (3 D + D_test) for training and for reading D_test test tokens is best spent (least S + H) where
    D0^beta beta (D_test - D) D^(-beta - 1) = 3 alpha D_test (2 N0)^alpha C^(-alpha) (3 D + D_test)^(alpha - 1)
    (Finzi et al. 2026, arXiv 2601.03220). As C grows, D tends to D_test and S to a limit.

    >>> found = epiplexity_from_scaling_law(  # Chinchilla's law
    ...     0.3392, 0.2849, N0=4.915e7, D0=1.491e9, E=1.6934, compute=1e25, test_tokens=1e12)
    >>> f"{found.S:.3g} bits of structure, {found.H:.3g} bits of randomness"
    '7.95e+10 bits of structure, 2.72e+12 bits of randomness'

    Args:
        alpha: exponent of the model's size.
        beta: exponent of the training tokens, below 1.
        N0: parameters at which the size costs 1 nat.
        D0: tokens at which the data cost 1 nat.
        E: irreducible loss, nats per token.
        compute: budget or budgets, in floating-point operations.
        test_tokens: D_test, tokens whose description counts.

    Raises:
        OptionError: a constant out of its range.
        DataError: budgets that are not positive numbers.

    Cost: some 50 evaluations of the equation a budget.
    """
    check_range(alpha, "alpha", low=0, open_low=True)
    check_range(beta, "beta", low=0, open_low=True)
    if beta >= 1:
        raise OptionError(f"beta={beta!r} must be below 1: at 1 or more the area under the law is infinite")
    check_range(N0, "N0", low=0, open_low=True)
    check_range(D0, "D0", low=0, open_low=True)
    check_range(E, "E", low=0)
    check_range(test_tokens, "test_tokens", low=0, open_low=True)
    budgets = as_vector(np.atleast_1d(compute), "compute", min_rows=1).astype(np.float64)
    if (budgets <= 0).any():
        raise DataError(f"compute has the value {budgets.min():g}; budgets must be positive")
    tokens = np.array([_best_tokens(c, alpha, beta, N0, D0, test_tokens) for c in budgets])
    parameters = budgets / (2 * (3 * tokens + test_tokens))
    loss = E + (N0 / parameters) ** alpha + (D0 / tokens) ** beta
    structure = beta / (1 - beta) * D0**beta * tokens ** (1 - beta) / math.log(2)
    found = (budgets, structure, loss * test_tokens / math.log(2), tokens, parameters, loss)
    return ScalingLawEpiplexity(*(found if np.ndim(compute) else (float(v[0]) for v in found)))


def _best_tokens(compute: float, alpha: float, beta: float, N0: float, D0: float, test: float) -> float:
    """The D that makes S + H least; found by the logarithm of D / D_test, where both sides are tame."""
    from scipy.optimize import brentq

    left = math.log(beta) + beta * math.log(D0) - beta * math.log(test)
    right = math.log(3 * alpha) + alpha * (math.log(2 * N0) - math.log(compute)) + alpha * math.log(test)

    def excess(u: float) -> float:  # log of one side over the other at D = D_test e^u, both divided by powers of D_test
        x = math.exp(u)
        return left + math.log1p(-x) - (beta + 1) * u - (right + (alpha - 1) * math.log1p(3 * x))

    low = -1.0
    while excess(low) <= 0:  # the left side grows without bound as D -> 0
        low *= 2
    high = -1e-15
    if excess(high) >= 0:  # so much compute that D_test is reached to machine precision
        return test
    return test * math.exp(float(brentq(excess, low, high, xtol=1e-14, rtol=1e-14)))


@dataclass(frozen=True)
class ComputeOptimalFit:
    """A published fit along the compute-optimal line: N*(C) = (C / C_star)^delta and L*(C) = E + (C0 / C)^gamma.

    Attributes:
        gamma: exponent of the loss.
        delta: exponent of the size, between 0 and 1.
        C0: compute at which the reducible loss is 1 nat.
        C_star: compute whose best model has one parameter.
        E: irreducible loss, nats per token.
    """

    gamma: float
    delta: float
    C0: float
    C_star: float
    E: float = 0.0

    def __post_init__(self) -> None:
        check_range(self.gamma, "gamma", low=0, open_low=True)
        check_range(self.delta, "delta", low=0, high=1, open_low=True)
        if self.delta >= 1 or self.gamma >= 1 - self.delta:
            raise OptionError(
                f"gamma={self.gamma!r} must be below 1 - delta = {1 - self.delta:g}, so that beta is below 1"
            )
        check_range(self.C0, "C0", low=0, open_low=True)
        check_range(self.C_star, "C_star", low=0, open_low=True)
        check_range(self.E, "E", low=0)

    def law(self, N0: float | None = None) -> dict[str, float]:
        """The constants of the two-variable law, as keywords of `epiplexity_from_scaling_law`.

        beta = gamma / (1 - delta), alpha = gamma / delta, D0 = (C_star / 6) N0^(alpha / beta) (beta / alpha)^(-1 / beta).

        Args:
            N0: where a publication gives it; otherwise it follows from C0, since on the optimal line the reducible
                loss is (1 + alpha / beta) (N0 / N)^alpha.

        Raises:
            OptionError: N0 is not positive.
        """
        alpha, beta = self.gamma / self.delta, self.gamma / (1 - self.delta)
        if N0 is None:
            N0 = ((self.C0 / self.C_star) ** self.gamma / (1 + alpha / beta)) ** (1 / alpha)
        check_range(N0, "N0", low=0, open_low=True)
        D0 = self.C_star / 6 * N0 ** (alpha / beta) * (beta / alpha) ** (-1 / beta)
        return {"alpha": alpha, "beta": beta, "N0": N0, "D0": D0, "E": self.E}

    def with_embeddings(
        self,
        vocabulary: int,
        context: int,
        aspect_ratio: float,
        *,
        compute: tuple[float, float] = (1e-6 * PETAFLOP_DAY, 0.1 * PETAFLOP_DAY),
    ) -> ComputeOptimalFit:
        """The fit that counts embeddings and head as parameters, where the published one left them out.

        A stack of N = 12 layers width^2 parameters with width = aspect_ratio * layers is
        (aspect_ratio / 12)^(1/3) N^(1/3) wide, so that embeddings add (vocabulary + context) and the head vocabulary
        times this width. Along the fitted line sizes and compute grow by that; both power laws are fitted anew.

        Args:
            vocabulary: number of different tokens.
            context: length of the learned position embeddings; 0 for none.
            aspect_ratio: width over number of layers.
            compute: the range over which the line was published, floating-point operations.

        Raises:
            OptionError: an option out of range.
        """
        from scipy.optimize import least_squares

        check_range(vocabulary, "vocabulary", low=2, integer=True)
        check_range(context, "context", low=0, integer=True)
        check_range(aspect_ratio, "aspect_ratio", low=0, open_low=True)
        low, high = compute
        check_range(low, "compute[0]", low=0, open_low=True)
        check_range(high, "compute[1]", low=low, open_low=True)
        old = np.geomspace(low, high, 20)
        size = (old / self.C_star) ** self.delta
        loss = self.E + (self.C0 / old) ** self.gamma
        whole = size + (2 * vocabulary + context) * (aspect_ratio / 12 * size) ** (1 / 3)
        spent = np.log(old * whole / size)
        delta, offset = np.polyfit(spent, np.log(whole), 1)

        def residuals(p: np.ndarray) -> np.ndarray:
            return np.log(np.exp(-p[0] * (spent - p[1])) + max(p[2], 0.0)) - np.log(loss)

        start = [self.gamma, math.log(self.C0), self.E or 0.1]
        fitted = least_squares(residuals, start, bounds=([1e-6, -np.inf, 0], [1, np.inf, np.inf]), x_scale=[0.1, 1, 1])
        gamma, log_c0, e = (float(v) for v in fitted.x)
        return replace(
            self,
            gamma=gamma,
            delta=float(delta),
            C0=math.exp(log_c0),
            C_star=math.exp(-float(offset) / float(delta)),
            E=e,
        )
