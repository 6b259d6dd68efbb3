"""How much of an outcome risk each modality carries alone, which part they have in common, and how much none of them carries.

In a Cox model the log of time, on the scale on which the baseline hazard is constant, is -eta plus noise of variance pi^2 / 6, so

    R2 = var(eta) / (var(eta) + pi^2 / 6)

is the share of its variation that the risk eta explains, whatever the censoring (Kent and O'Quigley 1988; Royston and Sauerbrei
2004, who find it among the few that do not move with it). eta is fitted once, to the risks of all modalities. The part a set S
of them carries is what a linear regression of eta on S explains,

    R2(S) = var(E[eta | S]) / (var(eta) + pi^2 / 6),

and a commonality analysis (Newton and Spurrell 1967) divides R2 of all by inclusion and exclusion into what each modality carries
alone, and what two or more have in common. Independent modalities have nothing in common, and copies have everything: both hold
exactly in the population, which they would not if each set were given a Cox model of its own, whose coefficients shrink when
other causes of the outcome are left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from unsnarl.arrays import as_matrix, check_range, check_same_length, to_numpy
from unsnarl.data.survival._outcome import check_outcome
from unsnarl.errors import DataError, OptionError
from unsnarl.measures._cox import fit_cox
from unsnarl.measures._scores import Scores, half_sample_intervals

NOISE = math.pi**2 / 6  # variance of the log of an exponential time
MOST = 6
FEWEST_EVENTS = 10


def modality_shares(
    time: Any,
    event: Any,
    risks: Mapping[str, Any],
    *,
    bootstrap: int = 200,
    ridge: float = 10.0,
    folds: int = 5,
    seed: int = 0,
) -> Scores:
    """Divide what is known of an outcome among modalities: each alone, in common, and none.

    Args:
        time: times, at least 0.
        event: True where the event was seen.
        risks: modality -> (n,) risk from that modality alone, for patients its model has not seen (out of fold); or (n, d)
            embeddings of them by one model, which a ridge Cox regression turns into a risk, cross-fitted over `folds`. Risks of
            the patients a model was fitted on make its modality look far better than it is.
        bootstrap: half-samples for the 95% intervals; 0 for none.
        ridge: penalty of that regression, on standardised columns.
        folds: of the cross-fit.
        seed: of the folds and half-samples.

    Returns:
        `Scores` that sum to one but for "together": "<m> alone" for each modality; "<a> and <b> in common" for each set of two or
        more; "together", what all carry; and "none", 1 - together. Each is a share of the variation of log time as said above;
        much of "none" is chance that no measurement could foresee. The sampling noise of the coefficients is subtracted, so a
        modality without information has 0 on average and may come out slightly below. A share in common that is clearly
        negative says that the modalities tell more together than the sum of what each tells (one corrects the other).
        `coefficients` holds the fitted log-hazard a standard deviation of each risk.

    Raises:
        DataError: fewer than 10 events, other lengths, values that are not finite, or a constant risk.
        OptionError: fewer than two modalities or more than six.

    Cost: one Cox fit of as many columns as modalities, O(n), and as many again as half-samples; for embeddings `folds` more of
    d columns, O(n * d^2).

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> shared, noise = rng.standard_normal((2, 2000))
        >>> died, left = rng.exponential(np.exp(-shared)), rng.exponential(2.0, 2000)
        >>> risks = {"slide": shared, "genes": shared + noise}
        >>> shares = modality_shares(np.minimum(died, left), died <= left, risks, bootstrap=0)
        >>> {part: abs(round(float(share), 2)) for part, share in shares.items()}
        {'slide alone': 0.19, 'genes alone': 0.0, 'slide and genes in common': 0.18, 'together': 0.37, 'none': 0.63}
    """
    check_range(bootstrap, "bootstrap", low=0, integer=True)
    check_range(ridge, "ridge", low=0)
    if not 2 <= len(risks) <= MOST:
        raise OptionError(f"risks has {len(risks)} modalities; 2 to {MOST} can be compared")
    times, events = check_outcome(time, event)
    if events.sum() < FEWEST_EVENTS:
        raise DataError(f"the shares need at least {FEWEST_EVENTS} events, got {int(events.sum())}")
    columns = []
    for name, values in risks.items():
        column = _as_column(values, str(name), times, events, ridge, folds, seed)
        check_same_length(**{"time": times, f"risks[{name!r}]": column})
        if np.ptp(column) == 0:
            raise DataError(f"risks[{name!r}] is constant, so it carries nothing; leave the modality out")
        columns.append(column)
    x = np.column_stack(columns)
    x = (x - x.mean(0)) / x.std(0)
    names = [str(name) for name in risks]
    values, beta = _shares(x, times, events, names)
    intervals = {}
    if bootstrap:
        intervals = half_sample_intervals(
            lambda rows: _shares(x[rows], times[rows], events[rows], names)[0],
            values,
            len(times),
            repeats=bootstrap,
            seed=seed,
        )
    extra = {"coefficients": dict(zip(names, beta.tolist(), strict=True)), "modalities": names}
    return Scores(values, intervals=intervals, extra=extra, measure="modality_shares")


def _shares(
    x: Float[np.ndarray, "n modality"], time: np.ndarray, event: np.ndarray, names: list[str]
) -> tuple[dict[str, float], np.ndarray]:
    fit = fit_cox(x, time, event)
    covariance = np.cov(x, rowvar=False, bias=True)
    everyone = tuple(range(len(names)))
    carried = {s: _variance(fit.beta, fit.covariance, covariance, s) for s in _subsets(everyone)}
    total = max(carried[everyone], 0.0) + NOISE
    r2 = {(): 0.0} | {s: v / total for s, v in carried.items()}
    values = {}
    for s in _subsets(everyone):
        rest = tuple(i for i in everyone if i not in s)
        # the part of exactly the set s: sum over its subsets t of (-1)^(|t| + 1) R2(rest + t), the empty t included
        part = sum(
            (-1) ** (len(t) + 1) * r2[tuple(sorted(rest + t))]
            for size in range(len(s) + 1)
            for t in combinations(s, size)
        )
        values[_label([names[i] for i in s])] = float(part)
    values["together"] = float(r2[everyone])
    values["none"] = 1.0 - values["together"]
    return values, fit.beta


def _variance(beta: np.ndarray, noise: np.ndarray, covariance: np.ndarray, s: tuple[int, ...]) -> float:
    """var(E[eta | S]) = b' M b with M = C_.S C_SS^-1 C_S., less its expected inflation tr(M V) by the noise V of b."""
    part = covariance[:, list(s)]
    m = part @ np.linalg.pinv(covariance[np.ix_(s, s)]) @ part.T
    return float(beta @ m @ beta - np.trace(m @ noise))


def _subsets(items: tuple[int, ...]) -> list[tuple[int, ...]]:
    return [s for size in range(1, len(items) + 1) for s in combinations(items, size)]


def _label(names: list[str]) -> str:
    return f"{names[0]} alone" if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]} in common"


def _as_column(
    values: Any, name: str, time: np.ndarray, event: np.ndarray, ridge: float, folds: int, seed: int
) -> np.ndarray:
    array = to_numpy(values, f"risks[{name!r}]")
    matrix = as_matrix(array[:, None] if array.ndim == 1 else array, f"risks[{name!r}]").astype(np.float64)
    check_same_length(**{"time": time, f"risks[{name!r}]": matrix})
    return matrix[:, 0] if matrix.shape[1] == 1 else cross_fitted_risk(matrix, time, event, ridge, folds, seed)


def cross_fitted_risk(
    x: Float[np.ndarray, "n columns"],
    time: Float[np.ndarray, " n"],
    event: Bool[np.ndarray, " n"],
    ridge: float = 10.0,
    folds: int = 5,
    seed: int = 0,
) -> Float[np.ndarray, " n"]:
    """The risk of each patient by a ridge Cox regression on the columns of the patients in other folds.

    Cost: O(folds * n * columns^2).
    """
    from sklearn.model_selection import StratifiedKFold

    risk = np.empty(len(time))
    for train, test in StratifiedKFold(folds, shuffle=True, random_state=seed).split(x, event):
        risk[test] = risk_by_ridge(x[train], time[train], event[train], x[test], ridge)
    return risk


def risk_by_ridge(
    x: Float[np.ndarray, "n columns"],
    time: Float[np.ndarray, " n"],
    event: Bool[np.ndarray, " n"],
    new: Float[np.ndarray, "m columns"],
    ridge: float = 10.0,
) -> Float[np.ndarray, " m"]:
    """The risk of new patients by a ridge Cox regression on these, columns standardised on these.

    Cost: O(n * columns^2).
    """
    center, spread = x.mean(0), x.std(0)
    spread = np.where(spread > 1e-12, spread, 1.0)
    return (new - center) / spread @ fit_cox((x - center) / spread, time, event, ridge=ridge).beta
