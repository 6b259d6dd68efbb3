"""Losses that systems share, against closed forms and numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from unsnarl.objectives import (
    bernoulli_loss,
    gaussian_kl,
    gaussian_log_density,
    gaussian_loss,
    gaussian_sample,
    kl_decomposition,
    permute_latents,
    psnr,
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_kl_of_known_gaussians():
    # KL(N(m, s^2) || N(0, 1)) = (m^2 + s^2 - 1) / 2 - log s
    mu = torch.tensor([[1.0, 0.0], [0.0, -2.0]])
    logvar = torch.log(torch.tensor([[1.0, 4.0], [0.25, 1.0]]))
    first = 0.5 + (1.5 - math.log(2))
    second = (-0.375 - math.log(0.5)) + 2.0
    assert gaussian_kl(mu, logvar).item() == pytest.approx((first + second) / 2, rel=1e-6)
    assert gaussian_kl(torch.zeros(3, 4), torch.zeros(3, 4)).item() == 0


def test_kl_is_the_mean_of_the_log_ratio_over_draws():
    mu, logvar = torch.tensor([[0.7, -0.3]]), torch.tensor([[-1.0, 0.4]])
    z = gaussian_sample(mu.expand(200_000, 2), logvar.expand(200_000, 2), seeded())
    zero = torch.zeros(1, 2)
    ratio = (gaussian_log_density(z, mu, logvar) - gaussian_log_density(z, zero, zero)).sum(1)
    assert ratio.mean().item() == pytest.approx(gaussian_kl(mu, logvar).item(), abs=5 * ratio.std().item() / 447)


def test_draws_have_the_stated_mean_and_variance():
    mu, logvar = torch.tensor([2.0, -1.0]), torch.log(torch.tensor([0.25, 9.0]))
    z = gaussian_sample(mu.expand(100_000, 2), logvar.expand(100_000, 2), seeded())
    np.testing.assert_allclose(z.mean(0).numpy(), [2, -1], atol=0.05)
    np.testing.assert_allclose(z.std(0).numpy(), [0.5, 3], rtol=0.02)
    assert torch.equal(
        gaussian_sample(mu[None], logvar[None], seeded(3)), gaussian_sample(mu[None], logvar[None], seeded(3))
    )


def test_a_draw_has_the_gradients_of_its_parametrisation():
    mu = torch.zeros(4, 3, requires_grad=True)
    logvar = torch.full((4, 3), 0.6, requires_grad=True)
    z = gaussian_sample(mu, logvar, seeded())
    z.sum().backward()
    assert mu.grad is not None
    assert logvar.grad is not None
    assert torch.equal(mu.grad, torch.ones(4, 3))
    torch.testing.assert_close(logvar.grad, 0.5 * z.detach())  # d/dl exp(l / 2) eps = z / 2 for mu = 0


def test_log_density_is_that_of_scipy():
    rng = np.random.default_rng(0)
    z, mu, logvar = rng.normal(size=(3, 6, 4))
    ours = gaussian_log_density(*(torch.from_numpy(a) for a in (z, mu, logvar)))
    np.testing.assert_allclose(ours.numpy(), norm.logpdf(z, mu, np.exp(logvar / 2)), rtol=1e-12)


def decomposition_by_loops(z: np.ndarray, mu: np.ndarray, logvar: np.ndarray, n: int) -> list[float]:
    """Minibatch-weighted sampling as its equation says, one pair at a time."""
    m, latents = z.shape
    sd = np.exp(logvar / 2)
    information, correlation, marginal = [], [], []
    for i in range(m):
        q_z_given_x = np.prod([norm.pdf(z[i, k], mu[i, k], sd[i, k]) for k in range(latents)])
        q_z = sum(np.prod([norm.pdf(z[i, k], mu[j, k], sd[j, k]) for k in range(latents)]) for j in range(m)) / (n * m)
        product = np.prod(
            [sum(norm.pdf(z[i, k], mu[j, k], sd[j, k]) for j in range(m)) / (n * m) for k in range(latents)]
        )
        prior = np.prod([norm.pdf(z[i, k]) for k in range(latents)])
        information.append(np.log(q_z_given_x / q_z))
        correlation.append(np.log(q_z / product))
        marginal.append(np.log(product / prior))
    return [float(np.mean(part)) for part in (information, correlation, marginal)]


@pytest.mark.parametrize("n", [7, 1000])
def test_decomposition_against_loops(n: int):
    rng = np.random.default_rng(1)
    z, mu, logvar = rng.normal(size=(3, 7, 3))
    ours = kl_decomposition(*(torch.from_numpy(a) for a in (z, mu, logvar)), n)
    np.testing.assert_allclose([part.item() for part in ours], decomposition_by_loops(z, mu, logvar, n), rtol=1e-8)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(8, 10_000))
def test_the_three_terms_add_up_to_the_log_ratio(seed: int, n: int):
    rng = np.random.default_rng(seed)
    z, mu, logvar = (torch.from_numpy(a) for a in rng.normal(size=(3, 8, 4)))
    zero = torch.zeros_like(z)
    ratio = (gaussian_log_density(z, mu, logvar) - gaussian_log_density(z, zero, zero)).sum(1).mean()
    assert sum(part.item() for part in kl_decomposition(z, mu, logvar, n)) == pytest.approx(ratio.item(), rel=1e-9)


def means_on_a_grid(correlated: bool) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Posteriors of 40 x 40 observations, tight around a grid or around its diagonal, and a draw of each."""
    values = np.linspace(-2, 2, 40)
    grid = np.stack(np.meshgrid(values, values), axis=-1).reshape(-1, 2)
    if correlated:
        grid = np.stack([grid[:, 0], grid[:, 0]], axis=1)
    mu = torch.from_numpy(grid)
    logvar = torch.full_like(mu, 2 * math.log(0.1))
    return gaussian_sample(mu, logvar, seeded()), mu, logvar


def test_total_correlation_of_the_whole_data_set():
    z, mu, logvar = means_on_a_grid(correlated=False)
    n = len(z)
    information, correlation, marginal = (part.item() for part in kl_decomposition(z, mu, logvar, n))
    # A batch that is the whole data set has weight 1/(N M) = 1/N^2 where the exact mixture has 1/N: each log q is short of
    # log N, which the joint counts once and the product of two marginals twice.
    assert correlation - math.log(n) == pytest.approx(0, abs=0.02)
    # q(z) is nearly uniform on a square whose side is 40 grid steps
    side, entropy = 40 * 4 / 39, 2 * (0.5 * math.log(2 * math.pi * math.e) + math.log(0.1))
    assert information - math.log(n) == pytest.approx(2 * math.log(side) - entropy, abs=0.1)
    second_moment = float(mu[:, 0].square().mean()) + 0.01
    divergence = 2 * (0.5 * math.log(2 * math.pi) + second_moment / 2 - math.log(side))
    assert marginal + 2 * math.log(n) == pytest.approx(divergence, abs=0.1)
    z, mu, logvar = means_on_a_grid(correlated=True)
    assert kl_decomposition(z, mu, logvar, n)[1].item() - math.log(n) > 1.5


def test_bernoulli_loss_by_hand():
    logits, x = torch.tensor([[0.0, 2.0], [-1.0, 5.0]]), torch.tensor([[0.3, 1.0], [0.0, 0.5]])
    p = 1 / (1 + np.exp(-logits.numpy().astype(float)))
    t = x.numpy()
    expected = -(t * np.log(p) + (1 - t) * np.log(1 - p)).mean()
    assert bernoulli_loss(logits, x).item() == pytest.approx(expected, rel=1e-6)


def test_gaussian_loss_by_hand():
    assert gaussian_loss(torch.tensor([[1.0, 2.0]]), torch.tensor([[0.0, 4.0]])).item() == 0.5 * (1 + 4) / 2


def test_psnr_by_hand():
    x = torch.zeros(3, 1, 2, 2)
    back = torch.stack([torch.full((1, 2, 2), e) for e in (0.1, 1.0, 0.0)])
    back[0, 0, 0, 0] = 0.2  # mean squared error (3 * .01 + .04) / 4
    np.testing.assert_allclose(psnr(x, back)[:2].numpy(), [-10 * math.log10(0.0175), 0], atol=1e-5)
    assert psnr(x, back)[2].item() == pytest.approx(120)  # identical images are capped


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_permuting_keeps_each_marginal(seed: int):
    z = torch.randn(17, 3, generator=seeded(seed))
    shuffled = permute_latents(z, seeded(seed + 1))
    assert torch.equal(shuffled.sort(0).values, z.sort(0).values)


def test_permuting_breaks_the_dependence():
    z = torch.randn(5000, 1, generator=seeded()).expand(5000, 3).contiguous()
    shuffled = permute_latents(z, seeded(1)).numpy()
    assert np.abs(np.corrcoef(shuffled.T) - np.eye(3)).max() < 0.06
