"""Gaussian prototypes against scipy and closed forms; fitting, shrinkage, gradients and bad input."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from unsnarl.errors import DataError, OptionError
from unsnarl.nn.prototypes._gaussian import GaussianPrototypes

FAMILIES = ["diagonal", "full", "mixture"]


def made(family: str, n: int = 3, dim: int = 4, seed: int = 0, **options) -> GaussianPrototypes:
    return GaussianPrototypes(n, dim, family=family, generator=torch.Generator().manual_seed(seed), **options)


def parameters(prototypes: GaussianPrototypes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights, means and covariances of all components in NumPy, from the raw parameters."""
    mu, raw = (p.detach().numpy().astype(float) for p in (prototypes.locations, prototypes.raw_diagonal))
    n, c, d = mu.shape
    positive = np.log1p(np.exp(raw))
    covariances = np.zeros((n, c, d, d))
    for k in range(n):
        for i in range(c):
            if prototypes.family == "diagonal":
                covariances[k, i] = np.diag(positive[k, i] ** 2)
            else:
                lower = np.diag(positive[k, i] + 1e-5)
                lower[np.tril_indices(d, -1)] = prototypes.raw_lower[k, i].detach().numpy()
                covariances[k, i] = lower @ lower.T
    weights = np.ones((n, c))
    if prototypes.family == "mixture":
        logits = prototypes.weight_logits.detach().numpy().astype(float)
        weights = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return weights, mu, covariances


@pytest.mark.parametrize("family", FAMILIES)
def test_log_density_is_that_of_scipy(family):
    prototypes = made(family)
    x = np.random.default_rng(1).normal(size=(6, 4))
    weights, mu, covariances = parameters(prototypes)
    expected = np.array(
        [
            [
                math.log(sum(w * multivariate_normal(m, c).pdf(row) for w, m, c in zip(*of, strict=True)))
                for of in zip(weights, mu, covariances, strict=True)
            ]
            for row in x
        ]
    )
    found = prototypes.log_density(torch.tensor(x, dtype=torch.float32)).detach().numpy()
    np.testing.assert_allclose(found, expected, atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_draws_have_the_stated_mean_and_covariance(family):
    prototypes = made(family)
    draws = prototypes.sample(40_000, torch.Generator().manual_seed(3)).detach()
    assert draws.shape == (40_000, 3, 4)
    np.testing.assert_allclose(draws.mean(0), prototypes.means.detach(), atol=0.02)
    for k in range(3):
        np.testing.assert_allclose(torch.cov(draws[:, k].T), prototypes.covariances()[k].detach(), atol=0.04)
    np.testing.assert_allclose(draws.std(0), prototypes.standard_deviations().detach(), atol=0.02)


def divergence(prototypes: GaussianPrototypes) -> torch.Tensor:
    """.5 (tr C + |mu|^2 - dim - log det C) in NumPy."""
    _, mu, covariances = parameters(prototypes)
    found = [
        0.5 * (np.trace(c) + m @ m - len(m) - np.linalg.slogdet(c)[1])
        for m, c in zip(mu[:, 0], covariances[:, 0], strict=True)
    ]
    return torch.tensor(found, dtype=torch.float32)


@pytest.mark.parametrize("family", ["diagonal", "full"])
def test_the_divergence_from_the_standard_normal_is_the_closed_form(family):
    prototypes = made(family)
    torch.testing.assert_close(prototypes.kl_to_standard_normal(), divergence(prototypes), atol=1e-4, rtol=1e-4)


def test_the_divergence_of_a_mixture_is_estimated():
    prototypes = made("mixture", components=1)
    with pytest.raises(OptionError, match="no closed form"):
        prototypes.kl_to_standard_normal()
    estimate = prototypes.kl_to_standard_normal(samples=20_000, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(estimate, divergence(prototypes), atol=0.05, rtol=0.02)


@pytest.mark.parametrize("family", FAMILIES)
def test_draws_and_densities_have_gradients(family):
    prototypes = made(family)
    prototypes.sample(7, torch.Generator().manual_seed(0)).square().sum().backward()
    assert prototypes.locations.grad.abs().sum() > 0
    assert prototypes.raw_diagonal.grad.abs().sum() > 0
    if family == "mixture":
        assert prototypes.weight_logits.grad is None  # draws choose a component; only densities weigh them
        prototypes.log_density(torch.zeros(2, 4)).sum().backward()
        assert prototypes.weight_logits.grad.abs().sum() > 0


@pytest.mark.parametrize("family", ["diagonal", "full"])
def test_a_fit_gives_means_and_covariances_of_classes(family):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 4)) @ rng.normal(size=(4, 4)) * 0.3
    y = np.arange(300) % 3
    x += 5 * y[:, None]
    prototypes = made(family)
    prototypes.fit_(torch.tensor(x, dtype=torch.float32), torch.tensor(y))
    for k in range(3):
        own = x[y == k]
        np.testing.assert_allclose(prototypes.means[k].detach(), own.mean(0), rtol=1e-5)
        covariance = np.cov(own.T)
        if family == "diagonal":  # standard deviations, not variances
            np.testing.assert_allclose(prototypes.standard_deviations()[k].detach(), own.std(0, ddof=1), rtol=1e-4)
            covariance = np.diag(covariance.diagonal())
        np.testing.assert_allclose(prototypes.covariances()[k].detach(), covariance, rtol=1e-3, atol=1e-5)


def test_a_mixture_finds_two_clusters_and_the_higher_peak():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(-4, 1, (100, 2)), rng.normal(4, 0.5, (300, 2))])
    prototypes = made("mixture", n=1, dim=2)
    prototypes.fit_(torch.tensor(x, dtype=torch.float32), torch.zeros(400, dtype=torch.long))
    np.testing.assert_allclose(prototypes.weights().detach(), [[0.75, 0.25]], atol=0.01)
    np.testing.assert_allclose(prototypes.locations[0].detach(), [[4, 4], [-4, -4]], atol=0.3)
    np.testing.assert_allclose(prototypes.means[0].detach(), x.mean(0), atol=0.01)
    np.testing.assert_allclose(prototypes.covariances()[0].detach(), np.cov(x.T), rtol=0.02)
    np.testing.assert_allclose(prototypes.modes()[0], x[100:].mean(0), atol=0.1)


def test_the_mode_of_a_mixture_is_where_no_step_leads_higher():
    prototypes = made("mixture", n=2, dim=3, seed=5)
    modes = prototypes.modes().requires_grad_()
    log_density = prototypes.log_density(modes).diagonal().sum()
    (slope,) = torch.autograd.grad(log_density, modes)
    assert slope.abs().max() < 1e-3
    at_components = prototypes.log_density(prototypes.locations.flatten(0, 1).detach())
    own = at_components.unflatten(0, (2, 2))[torch.arange(2), :, torch.arange(2)].amax(1)
    assert (prototypes.log_density(modes).diagonal() >= own - 1e-5).all()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("size", [1, 2, 4])
def test_a_small_class_is_shrunk_with_a_warning(family, size):
    rng = np.random.default_rng(0)
    x = torch.tensor(rng.normal(size=(40 + size, 5)), dtype=torch.float32)
    y = torch.tensor([0] * 40 + [1] * size)
    prototypes = made(family, n=2, dim=5)
    if family == "diagonal" and size > 1:
        prototypes.fit_(x, y)  # variances need two samples only
    else:
        with pytest.warns(UserWarning, match="class 1 has"):
            prototypes.fit_(x, y)
    eigenvalues = torch.linalg.eigvalsh(prototypes.covariances()[1].detach().double())
    assert eigenvalues.min() > 1e-4
    np.testing.assert_allclose(prototypes.means[1].detach(), x[40:].mean(0), atol=1e-5)
    assert torch.isfinite(prototypes.log_density(x)).all()


def test_samples_in_a_plane_are_shrunk():
    x = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    x[:, 2] = x[:, 0]
    prototypes = made("full", n=1, dim=3)
    with pytest.warns(UserWarning, match="do not span"):
        prototypes.fit_(x, torch.zeros(50, dtype=torch.long))
    assert torch.isfinite(prototypes.log_density(x)).all()


def test_first_values_follow_the_prior():
    full = made("full", n=200, dim=6, prior_scale=2.0)
    assert full.locations.std().item() == pytest.approx(2.0, rel=0.1)
    assert full.raw_diagonal.mean().item() == pytest.approx(0.4, abs=0.02)
    assert full.raw_diagonal.std().item() == pytest.approx(0.2, rel=0.1)
    assert full.raw_lower.mean().item() == pytest.approx(0.2, abs=0.01)
    assert full.raw_lower.std().item() == pytest.approx(0.1, rel=0.1)
    assert torch.equal(made("full").raw_lower, made("full").raw_lower)
    assert not torch.equal(made("full").raw_lower, made("full", seed=1).raw_lower)


def test_xavier_splits_one_matrix_into_means_and_raw_deviations():
    found = made("diagonal", n=5, dim=3, reset="xavier")
    both = torch.empty(5, 6)
    torch.nn.init.xavier_uniform_(both, generator=torch.Generator().manual_seed(0))
    assert torch.equal(found.means, both[:, :3])
    torch.testing.assert_close(found.standard_deviations(), torch.nn.functional.softplus(both[:, 3:]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"family": "round"}, "family='round'"),
        ({"n": 0}, "n=0"),
        ({"dim": 0}, "dim=0"),
        ({"prior_scale": 0.0}, "prior_scale"),
        ({"reset": "xavier"}, "diagonal"),
        ({"reset": "zeros"}, "reset='zeros'"),
    ],
)
def test_options_outside_their_range_are_refused(options, message):
    with pytest.raises(OptionError, match=message):
        GaussianPrototypes(**({"n": 2, "dim": 3} | options))


@pytest.mark.parametrize(
    ("labels", "message"), [([0, 0, 0, 1], "class 2 has no samples"), ([0, 1, 2, 3], "labels must be 0 to 2")]
)
def test_labels_that_leave_a_class_out_are_refused(labels, message):
    with pytest.raises(DataError, match=message):
        made("full").fit_(torch.randn(4, 4), torch.tensor(labels))


def test_features_that_are_not_finite_are_refused():
    with pytest.raises(DataError, match="finite"):
        made("full", n=1).fit_(torch.full((9, 4), float("nan")), torch.zeros(9, dtype=torch.long))
