"""Linear probes of explicitness: how much of a factor a linear model reads from all latents together.

Predictive information with a linear family (Xu et al. 2020, arXiv 2002.10689), as InfoMEC uses it (Hsu et al. 2023):
(h0 - h) / h0, where h is the log-loss of a probe on the codes and h0 that of a probe on zeros.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int, Num
from scipy import sparse

from unsnarl.measures._inputs import Codes, Labels, varying

Probe = Literal["classification", "regression"]
PROBES = ("classification", "regression")
_TOLERANCE = 1e-4
_ITERATIONS = 100


def standardized(codes: Codes) -> Float[np.ndarray, "n latent"]:
    """Each latent with mean 0 and standard deviation 1; constant latents become 0."""
    codes = codes.astype(np.float64)
    active = varying(codes)
    out = np.zeros_like(codes)
    kept = codes[:, active]
    out[:, active] = (kept - kept.mean(axis=0)) / kept.std(axis=0)
    return out


def one_hot(codes: Codes) -> Any:
    """Indicators of every value of every latent as a sparse matrix of shape (n, values in all)."""
    from sklearn.preprocessing import OneHotEncoder

    return OneHotEncoder().fit_transform(codes)


def explained_information(inputs: Any, labels: Labels) -> np.ndarray:
    """(h0 - h) / h0 of each discrete factor, h from `log_loss_of_probe`; shape (factor,).

    h0 needs no fit. The probe's class weights are n / (C n_c), so on zeros, with equal logits, the gradient of the
    intercept of class c is sum_i w_i (1/C - [y_i = c]) = n/C - n_c n / (C n_c) = 0: the optimiser stops where it starts,
    every class has probability 1/C, and the log-loss is log C however skewed the factor.

    Cost: O(nonzeros * classes) for each of at most 100 iterations of each factor; factors run in threads.
    """

    def explained(factor: int) -> float:
        y = np.unique(labels[:, factor], return_inverse=True)[1]
        h0 = math.log(y.max() + 1)
        return (h0 - log_loss_of_probe(inputs, y)) / h0

    return np.array(in_threads(explained, labels.shape[1]))


def log_loss_of_probe(inputs: Any, y: Int[np.ndarray, " n"]) -> float:
    """Mean log-loss, on the same observations, of multinomial logistic regression without penalty, in nats.

    Scikit-learn's L-BFGS with balanced class weights, tol 1e-4 and at most 100 iterations, all of which belong to the
    definition: on separable data the optimum is at infinity and the stopping rule decides the value.
    """
    from sklearn.linear_model import LogisticRegression

    classes = int(y.max()) + 1
    settings: dict[str, Any] = {"C": np.inf, "class_weight": "balanced", "max_iter": _ITERATIONS, "tol": _TOLERANCE}
    if classes == 2:
        # Current scikit-learn fits two classes by one logit, the published probe by two. The two logits (-u, u) stay
        # opposite from the start, so with v = sqrt(2) u (same length as (-u, u), hence the same L-BFGS steps) the probe is
        # one logit on inputs times sqrt(2), whose gradient, and so tol, is sqrt(2) times as large.
        root = math.sqrt(2.0)
        inputs, settings["tol"], settings["fit_intercept"] = _with_ones(inputs) * root, _TOLERANCE * root, False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # stopping after 100 iterations is part of the definition
        model = LogisticRegression(**settings).fit(inputs, y)
    logits = model.decision_function(inputs)
    if classes == 2:
        return float(np.mean(np.logaddexp(0.0, logits) - logits * y))
    logits -= logits.max(axis=1, keepdims=True)
    return float(np.mean(np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(y)), y]))


def _with_ones(inputs: Any) -> Any:
    ones = np.ones((inputs.shape[0], 1))
    return sparse.hstack([inputs, ones], format="csr") if sparse.issparse(inputs) else np.hstack([inputs, ones])


def explained_variance(inputs: Any, targets: Num[np.ndarray, "n factor"]) -> Float[np.ndarray, " factor"]:
    """R^2 of least squares of each factor on the inputs, on the same observations; shape (factor,).

    Cost: O(n * features^2), once for all factors.
    """
    dense = inputs.toarray() if sparse.issparse(inputs) else inputs
    centred = dense - dense.mean(axis=0)
    wanted = targets - targets.mean(axis=0)
    residual = wanted - centred @ np.linalg.lstsq(centred, wanted, rcond=None)[0]
    return 1.0 - (residual**2).sum(axis=0) / (wanted**2).sum(axis=0)


def in_threads(task: Callable[[int], Any], count: int) -> list[Any]:
    """`[task(0), ..., task(count - 1)]`, one thread a core; the tasks' linear algebra releases the interpreter lock."""
    from joblib import Parallel, cpu_count, delayed
    from threadpoolctl import threadpool_limits

    workers = min(count, cpu_count())
    with (
        threadpool_limits(1),
        warnings.catch_warnings(),
    ):  # filters are shared by the threads, so they are kept out here
        warnings.simplefilter("ignore")
        return Parallel(n_jobs=workers, prefer="threads")(delayed(task)(i) for i in range(count))
