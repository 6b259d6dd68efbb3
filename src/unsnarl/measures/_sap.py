"""Separated attribute predictability (Kumar, Sattigeri and Balakrishnan 2018)."""

from __future__ import annotations

import warnings
from typing import Any, no_type_check

import numpy as np
from jaxtyping import Float
from numba import njit

from unsnarl.arrays import check_range
from unsnarl.errors import DataError
from unsnarl.measures._held_out import HeldOut
from unsnarl.measures._scores import Score, half_sample_intervals

_TIE = 1e-12  # decision values no further apart are rounding, as on a constant latent; the lower class is taken

_jit = njit(cache=True, nogil=True, error_model="numpy")


def sap(
    codes: Any,
    factors: Any,
    *,
    kinds: Any = None,
    test_codes: Any = None,
    test_factors: Any = None,
    test_size: float = 0.25,
    C: float = 0.01,
    bootstrap: int = 0,
    seed: int = 0,
) -> Score:
    """How much better the best single latent predicts a factor than the second best does (SAP).

    For each latent i and factor j a score S_ij; then the mean over factors of the largest minus the second largest
    entry of each column (Kumar, Sattigeri and Balakrishnan 2018, "Variational inference of disentangled latent
    concepts from unlabeled observations", Section 3). S_ij is

    - for a continuous factor the squared correlation of latent and factor (0 if the latent's variance is at most
      1e-12), on all rows of `codes`;
    - for a discrete one the accuracy on held-out rows of a linear support vector machine on that latent alone, as in
      Locatello et al. 2019: squared hinge, balanced class weights, one class against the rest, minimising
      (w^2 + b^2) / 2 + C sum_m c_m max(0, 1 - y_m (w x_m + b))^2. The weight c_m is n / (classes * members of the
      class), but 1 for "the rest" with three or more classes, and the intercept is penalised: both as liblinear has it.

    Each machine has two parameters and is solved here to machine precision. The published code calls scikit-learn's
    `LinearSVC` with its random coordinate descent of at most 1,000 passes, which may stop before that (it warns) and
    then differ in some predictions; with `dual=False, tol=1e-10` it agrees. A machine that cannot decide (a constant
    latent and two balanced classes) takes the lower class, where rounding decides in the published code.

    Args:
        codes: representation, shape (n, latent); arrays, tensors or data frames.
        factors: factor values, shape (n, factor); any mixture of discrete and continuous columns.
        kinds: "discrete" or "continuous" for all or by name; inferred where absent.
        test_codes: codes of held-out rows, shape (m, latent), on which discrete factors are predicted.
        test_factors: their factors, shape (m, factor); give both or neither.
        test_size: share of rows held out at random when there are no test rows.
        C: weight of the errors against the penalty.
        bootstrap: number of random halves for a 95% interval, 0 for none.
        seed: of the split and of the halves.

    Returns:
        `Score`: a float in [0, 1] (1: one latent tells all and no other tells anything; for discrete factors no more
        than 1 - accuracy of guessing) with the S of shape (latent, factor) as `matrix` and the gaps as `per_factor`.
        With one latent there is no second best: nan, and a warning.

    Raises:
        DataError: lengths differ, a value is not finite, a factor is constant, or a class has one member.
        OptionError: an option is out of range.

    Number of latents: only the two best count, so latents that tell nothing cannot raise the score; in small samples
    the best of many of them is above chance and lowers it. Not invariant to the scale of a latent under discrete
    factors, for the penalty weighs on it.

    Cost: O(latents * (n log n + factors * n)) plus O(latents * classes * test rows), the classes summed over factors:
    under half a second for 10,000 x 64 codes and 8 factors of 10 classes.

    Examples:
        >>> factors = np.random.default_rng(0).integers(2, size=(400, 2))
        >>> score = sap(factors * 4.0, factors)
        >>> score > 0.4, score.matrix.round(1)
        (True, array([[1. , 0.5],
               [0.5, 1. ]]))
    """
    check_range(C, "C", low=0, open_low=True)
    if bootstrap:
        check_range(bootstrap, "bootstrap", low=2, integer=True)
    given_test = test_codes is not None
    options = {"test_codes": test_codes, "test_factors": test_factors, "test_size": test_size, "seed": seed}
    split = HeldOut.of(codes, factors, kinds=kinds, **options)
    if split.codes.shape[1] == 1:
        warnings.warn("SAP compares latents and is undefined (nan) for a single one", stacklevel=2)
    matrix = _score_matrix(split, C, given_test)
    gaps = _gaps(matrix)
    interval = None
    if bootstrap:

        def estimate(rows: np.ndarray) -> dict[str, float]:
            half = split.some(rows)
            try:
                half.require_learnable()
                return {"sap": float(_gaps(_score_matrix(half, C, given_test)).mean())}
            except DataError:
                return {}

        values = {"sap": float(gaps.mean())}
        interval = half_sample_intervals(estimate, values, len(split.codes), repeats=bootstrap, seed=seed).get("sap")
    return Score(float(gaps.mean()), name="sap", interval=interval, matrix=matrix, per_factor=gaps)


def _gaps(matrix: Float[np.ndarray, "latent factor"]) -> Float[np.ndarray, " factor"]:
    if len(matrix) == 1:
        return np.full(matrix.shape[1], np.nan)
    top = np.sort(matrix, axis=0)
    return top[-1] - top[-2]


def _score_matrix(split: HeldOut, C: float, given_test: bool) -> Float[np.ndarray, "latent factor"]:
    discrete = split.factors.discrete
    matrix = np.empty((split.codes.shape[1], len(discrete)))
    names = np.array(split.factors.names)
    if (~discrete).any():
        rows = split.train if given_test else np.ones(len(split.codes), bool)
        values = np.stack([split.factors.column(n)[rows] for n in names[~discrete]], axis=1)
        matrix[:, ~discrete] = _squared_correlation(split.codes[rows], values)
    if discrete.any():
        labels = np.stack([split.factors.column(n) for n in names[discrete]])
        classes = labels.max(axis=1) + 1
        codes = split.codes[split.train]
        centre, scale = codes.mean(axis=0), codes.std(axis=0)
        scale[scale == 0] = 1.0
        standard = ((split.codes - centre) / scale).T
        train, test = np.ascontiguousarray(standard[:, split.train]), np.ascontiguousarray(standard[:, ~split.train])
        order = np.argsort(train, axis=1, kind="stable")
        known, asked = np.ascontiguousarray(labels[:, split.train]), np.ascontiguousarray(labels[:, ~split.train])
        matrix[:, discrete] = _accuracies(train, order, known, test, asked, classes, centre, scale, C)
    return matrix


def _squared_correlation(
    codes: Float[np.ndarray, "n latent"], values: Float[np.ndarray, "n factor"]
) -> Float[np.ndarray, "latent factor"]:
    x, y = codes - codes.mean(axis=0), values - values.mean(axis=0)
    y = y / np.sqrt((y**2).sum(axis=0))
    spread = (x**2).sum(axis=0)
    alive = spread / (len(x) - 1) > 1e-12
    return np.where(alive[:, None], (x.T @ y) ** 2 / np.where(alive, spread, 1.0)[:, None], 0.0)


@_jit
@no_type_check
def _below(z, value):
    """How many entries of sorted z are smaller than value."""
    low, high = 0, len(z)
    while low < high:
        middle = (low + high) >> 1
        if z[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low


@_jit
@no_type_check
def _sums(z, first, second, low, high):
    """Count, sum and sum of squares of z[low:high], from running sums."""
    return high - low, first[high] - first[low], second[high] - second[low]


@_jit
@no_type_check
def _errors(u, v, mine, mine_1, mine_2, every, every_1, every_2):
    """Rows in error: (count, sum, sum of squares) of those of the class and of the rest, each by a binary search.

    The class is in error where u z + v < 1, the rest where u z + v > -1; z is sorted, so both are ranges.
    """
    m, n = len(mine), len(every)
    if u == 0:
        own = _sums(mine, mine_1, mine_2, 0, m if v < 1 else 0)
        a, b, c, d = (0, n, 0, m) if v > -1 else (0, 0, 0, 0)
    elif u > 0:
        own = _sums(mine, mine_1, mine_2, 0, _below(mine, (1 - v) / u))
        a, b = _below(every, (-1 - v) / u), n
        c, d = _below(mine, (-1 - v) / u), m
    else:
        own = _sums(mine, mine_1, mine_2, _below(mine, (1 - v) / u), m)
        a, b = 0, _below(every, (-1 - v) / u)
        c, d = 0, _below(mine, (-1 - v) / u)
    whole, part = _sums(every, every_1, every_2, a, b), _sums(mine, mine_1, mine_2, c, d)
    return own, (whole[0] - part[0], whole[1] - part[1], whole[2] - part[2])


@_jit
@no_type_check
def _loss(u, v, own, rest, cost, rest_cost, centre, scale):
    n, s, q = own
    loss = cost * (n * (1 - v) ** 2 - 2 * (1 - v) * u * s + u * u * q)
    n, s, q = rest
    loss += rest_cost * (n * (1 + v) ** 2 + 2 * (1 + v) * u * s + u * u * q)
    return loss + 0.5 * ((u / scale) ** 2 + (v - u * centre / scale) ** 2)


@_jit
@no_type_check
def _separate(mine, mine_1, mine_2, every, every_1, every_2, cost, rest_cost, centre, scale):
    """The machine u z + v of one class against the rest, by Newton's method.

    The loss is convex and quadratic wherever no row crosses the margin: once a step leaves the rows in error the same,
    it is exact. The penalty is on w = u / scale and b = v - u centre / scale, the coefficients for x = centre + scale
    z.
    """
    u, v = 0.0, 0.0
    own, rest = _errors(u, v, mine, mine_1, mine_2, every, every_1, every_2)
    loss = _loss(u, v, own, rest, cost, rest_cost, centre, scale)
    tilt = centre / scale
    for _ in range(200):
        p, r = 2 * cost, 2 * rest_cost
        uu = (1 / scale) ** 2 + tilt**2 + p * own[2] + r * rest[2]
        uv = -tilt + p * own[1] + r * rest[1]
        vv = 1.0 + p * own[0] + r * rest[0]
        gu, gv = p * own[1] - r * rest[1], p * own[0] - r * rest[0]
        det = uu * vv - uv * uv
        du, dv = (vv * gu - uv * gv) / det - u, (uu * gv - uv * gu) / det - v
        drop = du * (uu * du + uv * dv) + dv * (uv * du + vv * dv)
        step = 1.0
        for _halving in range(50):
            own_next, rest_next = _errors(u + step * du, v + step * dv, mine, mine_1, mine_2, every, every_1, every_2)
            same = step == 1.0 and own_next == own and rest_next == rest
            after = _loss(u + step * du, v + step * dv, own_next, rest_next, cost, rest_cost, centre, scale)
            if same or after <= loss - 1e-4 * step * drop:
                break
            step *= 0.5
        if not same and after >= loss:  # nothing left to gain in this precision
            break
        u, v, loss, own, rest = u + step * du, v + step * dv, after, own_next, rest_next
        if same:
            break
    return u, v


@_jit
@no_type_check
def _accuracies(train, order, known, test, asked, classes, centre, scale, C):
    """Share of test rows a machine on one latent gets right, for every latent and factor.

    train, test: standardised latents, shape (latent, rows); order sorts the former; known, asked: labels, shape
    (factor, rows).
    """
    latents, n = train.shape
    factors, rows = asked.shape
    result = np.empty((latents, factors))
    every, every_1, every_2 = np.empty(n), np.zeros(n + 1), np.zeros(n + 1)
    mine, mine_1, mine_2 = np.empty(n), np.zeros(n + 1), np.zeros(n + 1)
    most = 0
    for j in range(factors):
        most = max(most, classes[j])
    members, start, at = np.zeros(most, np.int64), np.zeros(most + 1, np.int64), np.zeros(most, np.int64)
    slope, height = np.empty(most), np.empty(most)
    for i in range(latents):
        for m in range(n):
            z = train[i, order[i, m]]
            every[m] = z
            every_1[m + 1] = every_1[m] + z
            every_2[m + 1] = every_2[m] + z * z
        for j in range(factors):
            members[:] = 0
            for m in range(n):
                members[known[j, m]] += 1
            present = 0
            for k in range(classes[j]):
                present += members[k] > 0
                start[k + 1] = start[k] + members[k]
                at[k] = start[k]
            for m in range(n):  # the same order, class by class
                k = known[j, order[i, m]]
                mine[at[k]] = every[m]
                at[k] += 1
            last = 0
            for k in range(classes[j]):
                if members[k] == 0:
                    continue
                a, b = start[k], start[k + 1]
                for m in range(b - a):
                    mine_1[m + 1] = mine_1[m] + mine[a + m]
                    mine_2[m + 1] = mine_2[m] + mine[a + m] ** 2
                cost = C * n / (present * members[k])
                rest_cost = C if present > 2 else C * n / (present * (n - members[k]))
                slope[k], height[k] = _separate(
                    mine[a:b], mine_1, mine_2, every, every_1, every_2, cost, rest_cost, centre[i], scale[i]
                )
                last = k
            hits = 0
            for m in range(rows):
                z = test[i, m]
                if present == 2:  # one machine: the higher class against the lower
                    best = last if slope[last] * z + height[last] > _TIE else -1
                    if best < 0:
                        for k in range(last):
                            if members[k] > 0:
                                best = k
                else:
                    best, highest = -1, -np.inf
                    for k in range(classes[j]):
                        if members[k] > 0 and slope[k] * z + height[k] > highest + _TIE:
                            best, highest = k, slope[k] * z + height[k]
                hits += best == asked[j, m]
            result[i, j] = hits / rows
    return result
