"""Active, mixed and passive latents of a Gaussian encoder, told apart by their posterior variances, and pruned.

Bonheme and Grzes 2023, "Be More Active! Understanding the Differences Between Mean and Sampled Representations of
Variational Autoencoders" (arXiv 2109.12679).

An encoder gives each input x a posterior N(mu(x), s2(x)). A latent whose posterior is the prior for every input (s2 = 1) is
*passive*: it says nothing. What the passive ones do to the mean representation is measured in `_mean_and_sampled`. Symbols
in the code: `logvar` is (n, latent); m_j and v_j are the mean and the population variance of s2_j = exp(logvar_j) over the
inputs.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Num

from unsnarl.arrays import as_matrix, check_choice, check_range, to_numpy
from unsnarl.errors import DataError, OptionError

KINDS = ("active", "mixed", "passive")
SUBSETS = ("full", "active", "mixed", "passive", "active+mixed", "active+passive", "mixed+passive")

Posterior = Float[np.ndarray, "n latent"]
Latents = Int[np.ndarray, " _"]


@dataclass(frozen=True, repr=False, eq=False)
class LatentTypes:
    """Which latents are active, mixed and passive.

    Attributes:
        active: indices of the latents used for every input.
        mixed: indices of the latents used for some inputs only.
        passive: indices of the latents used for none.
        mean: m_j, the mean posterior variance of each latent.
        var: v_j, the variance over inputs of the posterior variance of each latent.
    """

    active: Latents
    mixed: Latents
    passive: Latents
    mean: Float[np.ndarray, " latent"]
    var: Float[np.ndarray, " latent"]

    def __len__(self) -> int:
        return len(self.mean)

    def __repr__(self) -> str:
        parts = ", ".join(f"{len(self.of(kind))} {kind}" for kind in KINDS)
        return f"LatentTypes({parts} of {len(self)})"

    @property
    def kinds(self) -> np.ndarray:
        """The kind of each latent, in order."""
        names = np.empty(len(self), dtype="<U7")
        for kind in KINDS:
            names[self.of(kind)] = kind
        return names

    def of(self, subset: str) -> Latents:
        """Ascending indices of one of the seven subsets ("full", "active", ..., "mixed+passive").

        Raises:
            OptionError: another name.
        """
        check_choice(subset, SUBSETS, "subset")
        if subset == "full":
            return np.arange(len(self))
        return np.sort(np.concatenate([getattr(self, kind) for kind in subset.split("+")]))


def classify_latents(
    logvar: Num[np.ndarray, "n latent"] | Any,
    *,
    var_tol: float = 0.1,
    mean_tol: float = 0.1,
    is_logvar: bool = False,
) -> LatentTypes:
    """Tell active, mixed and passive latents apart by their posterior variances alone (Bonheme and Grzes 2023).

    Latent j, with m_j the mean and v_j the population variance of exp(logvar_j) over the inputs, is

    - *passive* if v_j < var_tol and 1 - mean_tol <= m_j <= 1 + mean_tol: the prior for every input;
    - *active* if v_j < var_tol and m_j <= mean_tol: precise for every input;
    - *mixed* otherwise: precise for some inputs only, or neither precise nor the prior.

    Args:
        logvar: log-variances of the posteriors of n inputs drawn at random from the data (10,000 in the paper).
        var_tol: v_j below which a posterior variance counts as constant.
        mean_tol: how far m_j may be from 0 (active) or 1 (passive); below 0.5.
        is_logvar: say that values wholly in [0, 1] are log-variances nevertheless.

    Raises:
        DataError: unusable array, values that look like standard deviations or variances, or variances that overflow.
        OptionError: a tolerance out of range.

    Warns:
        UserWarning: no value is negative, so every posterior would be at least as wide as the prior.

    Cost: O(n * latents).

    Examples:
        >>> s2 = np.full((100, 3), [0.01, 1.0, 0.5])
        >>> types = classify_latents(np.log(s2))
        >>> types, types.passive
        (LatentTypes(1 active, 1 mixed, 1 passive of 3), array([1]))
    """
    check_range(var_tol, "var_tol", low=0, open_low=True)
    check_range(mean_tol, "mean_tol", low=0)
    if mean_tol >= 0.5:
        raise OptionError(f"mean_tol={mean_tol!r} must be below 0.5, or a latent could be active and passive at once")
    logvar = as_matrix(logvar, "logvar").astype(np.float64)
    if not is_logvar:
        _refuse_variances(logvar)
    with np.errstate(over="ignore", invalid="ignore"):
        s2 = np.exp(logvar)
        mean, var = s2.mean(axis=0), s2.var(axis=0)
    if not (np.isfinite(mean) & np.isfinite(var)).all():
        worst = int(np.argmax(logvar.max(axis=0)))
        raise DataError(f"the variance of latent {worst} overflows: logvar reaches {logvar.max():.4g}")
    steady = var < var_tol
    active = steady & (mean <= mean_tol)
    passive = steady & (1 - mean_tol <= mean) & (mean <= 1 + mean_tol)
    return LatentTypes(
        active=np.flatnonzero(active),
        mixed=np.flatnonzero(~(active | passive)),
        passive=np.flatnonzero(passive),
        mean=mean,
        var=var,
    )


def _refuse_variances(logvar: Posterior) -> None:
    low, high = logvar.min(), logvar.max()
    if low >= 0 and high <= 1:
        raise DataError(
            f"all values of logvar lie in [0, 1] (from {low:.3g} to {high:.3g}), as standard deviations or variances do; pass "
            "2 * log(sigma) or log(sigma**2), or is_logvar=True if these really are log-variances"
        )
    if low >= 0:
        warnings.warn(
            f"no value of logvar is negative (from {low:.3g} to {high:.3g}), so every posterior would be at least as wide as "
            "the prior; if these are variances pass their logarithm, otherwise is_logvar=True",
            UserWarning,
            stacklevel=3,
        )


def prune(codes: Any, types: LatentTypes, keep: str | Sequence[str] = ("active", "mixed")) -> Any:
    """The codes without the latents of the other kinds.

    Args:
        codes: an array, a torch tensor (gradients flow) or a data frame whose axis 1 holds the latents.
        types: what `classify_latents` returned for them.
        keep: kinds to keep: "active", "mixed" or "passive", or several of them.

    Returns:
        The same type of object with fewer columns, in their order.

    Raises:
        DataError: another number of latents, or none is left.
        OptionError: an unknown kind.

    Examples:
        >>> types = classify_latents(np.log(np.full((100, 3), [0.01, 1.0, 0.5])))
        >>> prune(np.array([[1, 2, 3], [4, 5, 6]]), types)
        array([[1, 3], [4, 6]])
    """
    kinds = [keep] if isinstance(keep, str) else list(keep)
    for kind in kinds:
        check_choice(kind, KINDS, "keep")
    if not hasattr(codes, "shape"):
        codes = to_numpy(codes, "codes")
    if len(codes.shape) < 2 or codes.shape[1] != len(types):
        raise DataError(f"codes of shape {tuple(codes.shape)} do not have the {len(types)} latents of types in axis 1")
    chosen = np.flatnonzero(np.isin(types.kinds, kinds))
    if not len(chosen):
        raise DataError(f"no latent is left: none is {' or '.join(kinds)} ({types!r})")
    if hasattr(codes, "iloc"):
        return codes.iloc[:, chosen]
    return codes[:, chosen.tolist()]
