"""CLUB against information that is known, and what joint and alternating training do to features."""

import math

import pytest
import torch

from unsnarl.errors import DataError, OptionError
from unsnarl.objectives._club import CLUB

RHO = 0.6


def correlated(n: int, dim: int = 2, rho: float = RHO, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x, e = torch.randn(2, n, dim, generator=generator)
    return x, rho * x + math.sqrt(1 - rho**2) * e


def exact(dim: int, rho: float, variance: str = "unit") -> CLUB:
    """The estimator with the true conditional: f(x) = rho x = rho (relu(x) - relu(-x))."""
    club = CLUB(dim, dim, hidden=2 * dim, variance=variance)
    with torch.no_grad():
        for p in club.parameters():
            p.zero_()
        eye = torch.eye(dim)
        club.mean[0].weight.copy_(torch.cat([eye, -eye]))
        club.mean[2].weight.copy_(rho * torch.cat([eye, -eye], 1))
        if club.log_variance is not None:
            club.log_variance[2].bias.fill_(math.atanh(math.log(1 - rho**2)))
    return club


def test_all_pairs_of_the_definition() -> None:
    torch.manual_seed(0)
    club = CLUB(3, 2, hidden=7)
    x, y = torch.randn(9, 3), torch.randn(9, 2)
    f = club.mean(x)
    pairs = (y[None] - f[:, None]).square().sum(2) / 2
    expected = (pairs.mean(1) - pairs.diagonal()).mean()
    assert club(x, y).item() == pytest.approx(expected.item(), abs=1e-5)
    assert club.learning_loss(x, y).item() == pytest.approx(2 * pairs.diagonal().mean().item(), abs=1e-5)


def test_all_pairs_with_learned_variances() -> None:
    torch.manual_seed(0)
    club = CLUB(3, 2, hidden=7, variance="learned")
    x, y = torch.randn(9, 3), torch.randn(9, 2)
    assert club.log_variance is not None
    log_variance = club.log_variance(x)
    pairs = ((y[None] - club.mean(x)[:, None]).square() / log_variance.exp()[:, None]).sum(2) / 2
    assert club(x, y).item() == pytest.approx((pairs.mean(1) - pairs.diagonal()).mean().item(), abs=1e-5)
    expected = (2 * pairs.diagonal() + log_variance.sum(1)).mean()
    assert club.learning_loss(x, y).item() == pytest.approx(expected.item(), abs=1e-5)


@pytest.mark.parametrize(("variance", "expected"), [("unit", RHO**2), ("learned", RHO**2 / (1 - RHO**2))])
def test_the_true_conditional_bounds_the_information(variance: str, expected: float) -> None:
    x, y = correlated(100_000)
    value = exact(2, RHO, variance)(x, y).item()
    assert value == pytest.approx(2 * expected, abs=0.02)
    assert value > 2 * -0.5 * math.log(1 - RHO**2)


def test_a_unit_variance_is_no_bound_for_near_copies() -> None:
    rho = 0.95
    x, y = correlated(100_000, rho=rho)
    assert exact(2, rho)(x, y).item() < 2 * -0.5 * math.log(1 - rho**2)


def test_fitting_finds_it() -> None:
    torch.manual_seed(0)
    club = CLUB(2, 2, hidden=32)
    optimizer = torch.optim.Adam(club.parameters(), lr=0.01)
    x, y = correlated(2_000)
    for _ in range(150):
        optimizer.zero_grad()
        club.learning_loss(x, y).backward()
        optimizer.step()
    fresh = correlated(20_000, seed=1)
    assert club(*fresh).item() == pytest.approx(2 * RHO**2, abs=0.08)
    a, b = fresh[0], fresh[1][torch.randperm(20_000)]
    assert abs(club(a, b).item()) < 0.05  # of pairs that have nothing in common


def test_joint_is_the_mean_of_both_distances() -> None:
    """Bound plus fit is (D_pos + D_neg) / 2, which shrinking features make as small as one likes."""
    torch.manual_seed(0)
    club = CLUB(3, 3, hidden=5)
    x, y = torch.randn(9, 3), torch.randn(9, 3)
    f = club.mean(x)
    positive = (f - y).square().sum(1).mean()
    negative = (y[None] - f[:, None]).square().sum(2).mean()
    joint = club(x, y) + club.learning_loss(x, y)
    assert joint.item() == pytest.approx((positive + negative).item() / 2, abs=1e-5)


def slope(joint: bool) -> float:
    """How the loss changes as a feature of fixed size turns away from what x tells, at the estimator's best response.

    The feature is cos(w) u + sin(w) v at w = 45 degrees, where u is known from x (correlation .9) and v is not.
    """
    x, u = correlated(100_000, dim=1, rho=0.9)
    v = torch.randn(100_000, 1, generator=torch.Generator().manual_seed(5))
    angle = torch.tensor(math.pi / 4, requires_grad=True)
    y = angle.cos() * u + angle.sin() * v
    known = 0.9 * math.cos(math.pi / 4)  # E[y | x] = known * x
    club = exact(1, known / 2 if joint else known)
    loss = club(x, y) + club.learning_loss(x, y) if joint else club(x, y)
    loss.backward()
    assert club.mean[2].weight.grad is not None
    if joint:  # half the conditional mean is where the sum is smallest in f
        assert club.mean[2].weight.grad.abs().max() < 0.02
    assert angle.grad is not None
    return angle.grad.item()


def test_alternating_steps_separate_and_joint_ones_do_the_opposite() -> None:
    """Where features cannot shrink, the joint loss falls as y gets nearer to f(x): it rewards what it should remove."""
    covariance = 0.81 * math.cos(math.pi / 4) ** 2
    assert slope(joint=False) == pytest.approx(-covariance, abs=0.02)
    assert slope(joint=True) == pytest.approx(covariance / 2, abs=0.02)


def test_with_unit_variance_it_is_a_covariance() -> None:
    torch.manual_seed(0)
    club = CLUB(3, 2, hidden=7)
    x, y = torch.randn(9, 3), torch.randn(9, 2)
    f = club.mean(x)
    covariance = ((f - f.mean(0)) * (y - y.mean(0))).mean(0).sum()
    assert club(x, y).item() == pytest.approx(covariance.item(), abs=1e-5)


def test_gradients_reach_both_sides() -> None:
    x, y = (t.requires_grad_() for t in correlated(50))
    club = CLUB(2, 2, hidden=4)
    club(x, y).backward()
    assert x.grad is not None
    assert y.grad is not None
    assert x.grad.abs().sum() > 0
    assert y.grad.abs().sum() > 0


def test_bad_input() -> None:
    club = CLUB(2, 3)
    with pytest.raises(DataError, match=r"x and y must have shapes \(n, 2\) and \(n, 3\), got \(4, 2\) and \(4, 2\)"):
        club(torch.zeros(4, 2), torch.zeros(4, 2))
    with pytest.raises(DataError, match="must have shapes"):
        club.learning_loss(torch.zeros(4, 3), torch.zeros(4, 3))
    with pytest.raises(OptionError, match="variance='full'"):
        CLUB(2, 2, variance="full")
    with pytest.raises(OptionError, match="hidden"):
        CLUB(2, 2, hidden=0)
