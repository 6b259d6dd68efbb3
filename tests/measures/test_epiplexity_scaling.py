"""Epiplexity from scaling laws: the published constants, the calculus behind them, limits, corrections."""

import math

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from unsnarl.errors import DataError, OptionError
from unsnarl.measures.epiplexity import ComputeOptimalFit, epiplexity_from_scaling_law, prequential_bits
from unsnarl.measures.epiplexity._scaling_law import PETAFLOP_DAY

CHINCHILLA = {"alpha": 0.3392, "beta": 0.2849, "N0": 4.915e7, "D0": 1.491e9, "E": 1.6934}


def cost(tokens, law, compute, test):
    """S + H in nats, written down a second time."""
    size = compute / (2 * (3 * tokens + test))
    loss = law["E"] + (law["N0"] / size) ** law["alpha"] + (law["D0"] / tokens) ** law["beta"]
    return law["beta"] / (1 - law["beta"]) * law["D0"] ** law["beta"] * tokens ** (1 - law["beta"]) + test * loss


def test_the_numbers_of_chinchillas_law():
    found = epiplexity_from_scaling_law(**CHINCHILLA, compute=1e25, test_tokens=1e12)
    assert pytest.approx(7.95e10, rel=0.001) == found.S
    assert pytest.approx(2.72e12, rel=0.002) == found.H
    assert found.K == found.S + found.H
    assert isinstance(found.S, float)
    assert 2 * found.parameters * (3 * found.tokens + 1e12) == pytest.approx(1e25)


@pytest.mark.parametrize(("compute", "test"), [(1e18, 1e9), (1e22, 1e12), (1e25, 1e12), (1e25, 1e10)])
def test_the_best_tokens_are_those_of_a_numerical_minimum(compute, test):
    found = epiplexity_from_scaling_law(**CHINCHILLA, compute=compute, test_tokens=test)
    at = minimize_scalar(
        lambda u: cost(test * math.exp(u), CHINCHILLA, compute, test),
        bounds=(-30, 1),
        method="bounded",
        options={"xatol": 1e-10},
    )
    assert cost(found.tokens, CHINCHILLA, compute, test) <= at.fun * (1 + 1e-12)
    assert math.log(found.tokens / test) == pytest.approx(at.x, abs=1e-3)
    assert found.K * math.log(2) == pytest.approx(at.fun, rel=1e-9)


def test_structure_is_the_area_under_the_law():
    found = epiplexity_from_scaling_law(**CHINCHILLA, compute=1e21, test_tokens=1e10)
    tokens = np.geomspace(1e-3, found.tokens, 200_000)
    losses = (CHINCHILLA["D0"] / tokens) ** CHINCHILLA["beta"]
    assert prequential_bits(losses, tokens)[-1] == pytest.approx(found.S, rel=1e-4)


def test_more_compute_finds_more_structure_up_to_a_limit():
    budgets = np.geomspace(1e15, 1e45, 40)
    found = epiplexity_from_scaling_law(**CHINCHILLA, compute=budgets, test_tokens=1e12)
    assert found.S.shape == (40,)
    assert (np.diff(found.S) >= 0).all()
    assert (np.diff(found.H) < 0).all()
    assert found.tokens[-1] == pytest.approx(1e12, rel=1e-3)
    one = epiplexity_from_scaling_law(**CHINCHILLA, compute=float(budgets[7]), test_tokens=1e12)
    assert found.S[7] == one.S


def test_constants_from_a_compute_optimal_fit():
    fit = ComputeOptimalFit(0.15484390322063774, 0.4564973561929178, 0.4365830700376358 * PETAFLOP_DAY,
                            3.9061774309042783e-20 * PETAFLOP_DAY, 1.6934)  # fmt: skip
    law = fit.law()
    assert law["alpha"] == pytest.approx(0.3392, rel=1e-4)
    assert law["beta"] == pytest.approx(0.2849, rel=1e-4)
    assert law["N0"] == pytest.approx(4.914630e7, rel=1e-4)  # as published, found from C0 alone
    assert law["D0"] == pytest.approx(1.491e9, rel=1e-3)
    assert fit.law(N0=1e7)["N0"] == 1e7


def test_the_law_of_a_fit_gives_its_line_back():
    fit = ComputeOptimalFit(gamma=0.12, delta=0.6, C0=1e14, C_star=1e6, E=2.0)
    law = fit.law()
    for compute in (1e15, 1e20):
        size = (compute / fit.C_star) ** fit.delta
        best = minimize_scalar(
            lambda u: law["E"] + (law["N0"] / math.exp(u)) ** law["alpha"]
            + (6 * law["D0"] * math.exp(u) / compute) ** law["beta"],  # noqa: B023
            bounds=(0, 60), method="bounded", options={"xatol": 1e-9},
        )  # fmt: skip
        assert best.x == pytest.approx(math.log(size), abs=1e-3)
        assert best.fun == pytest.approx(2.0 + (fit.C0 / compute) ** fit.gamma, rel=1e-6)


def test_counting_embeddings_moves_the_fit_to_larger_models():
    fit = ComputeOptimalFit(0.12, 0.7, 2.6e-6 * PETAFLOP_DAY, 9.4e-13 * PETAFLOP_DAY, 3.17)
    whole = fit.with_embeddings(vocabulary=1024, context=1024, aspect_ratio=5)
    assert whole.delta < fit.delta  # embeddings weigh most in small models
    assert whole.gamma > fit.gamma
    for compute in (1e15, 1e18):  # the corrected line passes near the corrected points
        size = (compute / fit.C_star) ** fit.delta
        total = size + 3 * 1024 * (5 / 12) ** (1 / 3) * size ** (1 / 3)
        spent = compute * total / size
        assert (spent / whole.C_star) ** whole.delta == pytest.approx(total, rel=0.1)
        loss = 3.17 + (fit.C0 / compute) ** fit.gamma
        assert whole.E + (whole.C0 / spent) ** whole.gamma == pytest.approx(loss, rel=0.02)
    # without a vocabulary to speak of, nothing changes
    same = fit.with_embeddings(vocabulary=2, context=0, aspect_ratio=1e-9)
    assert (same.gamma, same.delta, same.E) == pytest.approx((fit.gamma, fit.delta, fit.E), rel=1e-2)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"beta": 1.0}, OptionError, "beta=1.0 must be below 1"),
        ({"alpha": 0}, OptionError, "alpha=0"),
        ({"N0": -1}, OptionError, "N0=-1"),
        ({"test_tokens": 0}, OptionError, "test_tokens=0"),
        ({"compute": [1e20, -1]}, DataError, "budgets must be positive"),
        ({"compute": float("nan")}, DataError, "compute"),
    ],
)
def test_constants_that_make_no_sense(changes, error, message):
    with pytest.raises(error, match=message):
        epiplexity_from_scaling_law(**(CHINCHILLA | {"compute": 1e20, "test_tokens": 1e10} | changes))


def test_fits_that_make_no_sense():
    with pytest.raises(OptionError, match="below 1 - delta"):
        ComputeOptimalFit(gamma=0.5, delta=0.6, C0=1.0, C_star=1.0)
    with pytest.raises(OptionError, match="C0=0"):
        ComputeOptimalFit(gamma=0.1, delta=0.6, C0=0, C_star=1.0)
