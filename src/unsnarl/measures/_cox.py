"""Cox's partial likelihood and its maximum for a few columns, in NumPy: many small fits without the cost of a package."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

ROUNDS = 30


class CoxFit(NamedTuple):
    """A fit: coefficients, the inverse of their information, and what the partial log-likelihood gained over zero, in nats."""

    beta: Float[np.ndarray, " columns"]
    covariance: Float[np.ndarray, "columns columns"]
    gain: float


def fit_cox(
    x: Float[np.ndarray, "n columns"],
    time: Float[np.ndarray, " n"],
    event: Bool[np.ndarray, " n"],
    *,
    ridge: float = 0.0,
) -> CoxFit:
    """Coefficients that maximise the partial log-likelihood minus ridge * |b|^2 / 2 (Cox 1972).

    Newton's method with step halving on Breslow's likelihood, sum over events i of x_i b - log sum_{j: t_j >= t_i} exp(x_j b).

    Cost: O(n * columns^2) a round, about 5 rounds.
    """
    order = np.argsort(-time, kind="stable")
    x, t, e = x[order], time[order], event[order]
    last = np.searchsorted(-t, -t, side="right") - 1  # ties share the risk set of the last of them
    at = last[e]
    beta = np.zeros(x.shape[1])
    start = value = _objective(x, e, at, beta, ridge)
    hessian = np.eye(len(beta))
    for _ in range(ROUNDS):
        eta = x @ beta
        w = np.exp(eta - eta.max())
        s0 = np.cumsum(w)[at]
        mean = np.cumsum(w[:, None] * x, axis=0)[at] / s0[:, None]
        gradient = (x[e] - mean).sum(0) - ridge * beta
        often = np.cumsum(np.bincount(at, 1 / s0, len(t))[::-1])[
            ::-1
        ]  # sum of 1 / s0 over the risk sets a patient is in
        hessian = (x.T * (w * often)) @ x - mean.T @ mean + (ridge + 1e-9) * np.eye(len(beta))
        step = np.linalg.solve(hessian, gradient)
        size = 1.0
        while size > 1e-4:
            tried = _objective(x, e, at, beta + size * step, ridge)
            if tried >= value - 1e-12:
                break
            size /= 2
        else:
            break
        gained, value = tried - value, tried
        beta = beta + size * step
        if gained < 1e-9 * (1 + abs(value)):
            break
    return CoxFit(beta, np.linalg.inv(hessian), float(value + 0.5 * ridge * beta @ beta - start))


def _objective(x: np.ndarray, e: np.ndarray, at: np.ndarray, beta: np.ndarray, ridge: float) -> float:
    eta = x @ beta
    top = eta.max()
    return float(eta[e].sum() - (np.log(np.cumsum(np.exp(eta - top))[at]) + top).sum() - 0.5 * ridge * beta @ beta)
