"""The discrete hazard's likelihood against NumPy, its stability, and its curves."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from unsnarl.errors import DataError, OptionError
from unsnarl.objectives._hazard import hazard_nll, hazard_risk, hazard_survival


def reference(logits: np.ndarray, y: np.ndarray, event: np.ndarray, alpha: float) -> np.ndarray:
    """The equations as written, one patient at a time, in float64."""
    out = []
    for row, k, seen in zip(logits.astype(np.float64), y, event, strict=True):
        hazards = 1 / (1 + np.exp(-row))
        survival = np.concatenate([[1.0], np.cumprod(1 - hazards)])  # S_{-1}, S_0, ...
        uncensored = -(np.log(survival[k]) + np.log(hazards[k])) if seen else 0.0
        censored = 0.0 if seen else -np.log(survival[k + 1])
        out.append((1 - alpha) * (censored + uncensored) + alpha * uncensored)
    return np.array(out)


@pytest.fixture
def batch():
    rng = np.random.default_rng(0)
    return rng.normal(0, 2, (40, 4)).astype(np.float32), rng.integers(0, 4, 40), rng.random(40) < 0.6


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_the_loss_is_that_of_the_equations(batch, alpha):
    logits, y, event = batch
    want = reference(logits, y, event, alpha)
    inputs = torch.tensor(logits), torch.tensor(y), torch.tensor(event)
    np.testing.assert_allclose(hazard_nll(*inputs, alpha=alpha, reduction="none"), want, atol=1e-5)
    assert hazard_nll(*inputs, alpha=alpha, reduction="sum").item() == pytest.approx(want.sum(), rel=1e-5)
    assert hazard_nll(*inputs, alpha=alpha).item() == pytest.approx(want.mean(), rel=1e-5)


def test_the_default_weighs_censored_patients_by_half(batch):
    logits, y, _ = (torch.tensor(v) for v in batch)
    censored = torch.zeros(40, dtype=torch.bool)
    half = hazard_nll(logits, y, censored, reduction="none")
    torch.testing.assert_close(half, 0.5 * hazard_nll(logits, y, censored, alpha=0.0, reduction="none"))
    assert (hazard_nll(logits, y, censored, alpha=1.0, reduction="none") == 0).all()


def test_probabilities_of_all_outcomes_sum_to_one(batch):
    # an event in each of the bins, or censored in the last one (nothing happened): these exhaust what can be
    logits = torch.tensor(batch[0], dtype=torch.float64)
    total = torch.zeros(40, dtype=torch.float64)
    for k in range(4):
        y = torch.full((40,), k)
        total += (-hazard_nll(logits, y, torch.ones(40), alpha=0.0, reduction="none")).exp()
    total += (-hazard_nll(logits, torch.full((40,), 3), torch.zeros(40), alpha=0.0, reduction="none")).exp()
    np.testing.assert_allclose(total, 1, atol=1e-12)


def test_extreme_logits_stay_finite_with_gradients():
    logits = torch.tensor([[-200.0, -200, -200, -200], [200.0, 200, 200, 200]], requires_grad=True)
    for y in range(4):
        for event in (True, False):
            loss = hazard_nll(logits, torch.full((2,), y), torch.tensor([event, event]))
            (gradient,) = torch.autograd.grad(loss, logits)
            assert torch.isfinite(loss)
            assert torch.isfinite(gradient).all()
    # an event at a hazard of e^-200 costs 200 nats; a clamp at 1e-7 would say 16 and have no gradient
    first = hazard_nll(logits[:1], torch.tensor([0]), torch.tensor([True]), alpha=0.0)
    assert first.item() == pytest.approx(200)
    assert torch.autograd.grad(first, logits)[0][0, 0].item() == pytest.approx(-1)


def test_gradients_are_right(batch):
    logits = torch.tensor(batch[0][:5], dtype=torch.float64, requires_grad=True)
    y, event = torch.tensor(batch[1][:5]), torch.tensor(batch[2][:5])
    assert torch.autograd.gradcheck(lambda x: hazard_nll(x, y, event), logits)


def test_curves_fall_and_risk_is_minus_their_sum(batch):
    logits = torch.tensor(batch[0])
    survival = hazard_survival(logits)
    want = np.cumprod(1 - 1 / (1 + np.exp(-batch[0].astype(np.float64))), axis=1)
    np.testing.assert_allclose(survival, want, atol=1e-6)
    assert (survival.diff(dim=1) <= 0).all()
    np.testing.assert_allclose(hazard_risk(logits), -want.sum(1), atol=1e-5)
    riskier = logits.clone()
    riskier[:, 1] += 1
    assert (hazard_risk(riskier) > hazard_risk(logits)).all()


def test_learning_recovers_the_rates_of_a_life_table():
    rng = np.random.default_rng(1)
    true = np.array([0.1, 0.3, 0.2])
    draws = rng.random((4000, 3)) < true
    happens = np.where(draws.any(1), draws.argmax(1), 3)
    event, y = torch.tensor(happens < 3), torch.tensor(np.minimum(happens, 2))
    logits = torch.zeros(3, requires_grad=True)
    optimiser = torch.optim.LBFGS([logits], max_iter=50)

    def closure():
        optimiser.zero_grad()
        loss = hazard_nll(logits.expand(4000, 3), y, event, alpha=0.0)
        loss.backward()
        return loss

    optimiser.step(closure)
    np.testing.assert_allclose(torch.sigmoid(logits).detach(), true, atol=0.025)


def test_flags_of_every_kind(batch):
    logits, y, event = batch
    want = hazard_nll(torch.tensor(logits), torch.tensor(y), torch.tensor(event))
    for flags in (torch.tensor(event).float(), torch.tensor(event).long(), torch.tensor(event).double()):
        assert hazard_nll(torch.tensor(logits), torch.tensor(y).int(), flags).item() == pytest.approx(want.item())


def test_bad_input(batch):
    logits, y, event = (torch.tensor(v) for v in batch)
    with pytest.raises(DataError, match="bins 0 to 3"):
        hazard_nll(logits, y + 1, event)
    with pytest.raises(DataError, match="runs from -1"):
        hazard_nll(logits, y - 1, event)
    with pytest.raises(DataError, match="True or False"):
        hazard_nll(logits, y, event.long() + 1)
    with pytest.raises(OptionError, match="alpha"):
        hazard_nll(logits, y, event, alpha=1.5)
    with pytest.raises(OptionError, match="reduction"):
        hazard_nll(logits, y, event, reduction="max")
    assert math.isfinite(hazard_nll(logits[:1], y[:1], event[:1]).item())
