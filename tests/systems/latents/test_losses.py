"""Every term of every loss, worked out again in NumPy from the papers' equations.

The networks are taken as given functions (they have tests of their own); what is checked is what the losses make of them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import norm

from unsnarl.nn import Architecture
from unsnarl.systems.latents import (
    AE,
    QLAE,
    VAE,
    VQVAE,
    BetaTCVAE,
    BetaVAE,
    BioAE,
    FactorVAE,
    InfoWGANGP,
    QuantizedInfoWGANGP,
)

DENSE = Architecture(kind="dense", hidden=(8,))
CONV = Architecture(widths=(4, 8), depth=1, hidden=(8,))
SHAPES = [(5,), (2, 8, 8)]
N = 6


def task_of(learner: Any, shape: tuple[int, ...]) -> Any:
    """An untrained task whose weights are large enough for every term to matter."""
    learner.network = CONV if len(shape) == 3 else DENSE
    task = learner._build({"shape": shape, "likelihood": "bernoulli" if len(shape) == 3 else "gaussian", "n": 50})
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for p in task.parameters():
            p.mul_(1.5).add_(0.1 * torch.randn(p.shape, generator=generator))
    if len(shape) == 1:
        task.mean.copy_(torch.linspace(-1, 1, 5))
        task.scale.copy_(torch.linspace(0.5, 2, 5))
    return task


def observations(shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    return torch.rand(N, *shape, generator=torch.Generator().manual_seed(seed))


def losses(task: Any, *x: torch.Tensor, phase: str = "main", step: int = 0, seed: int = 1) -> dict[str, float]:
    found = task(phase, x, step, torch.Generator().manual_seed(seed))
    return {name: value.item() for name, value in found.items()}


def network_scale(task: Any, x: torch.Tensor) -> np.ndarray:
    """Tables standardised, images as they are."""
    values = x.double().numpy()
    if x.ndim == 4:
        return values
    return (values - task.mean.double().numpy()) / task.scale.double().numpy()


def call(network: Callable[[torch.Tensor], torch.Tensor], values: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return network(torch.from_numpy(values).float()).double().numpy()


def reconstruction(task: Any, z: np.ndarray, x: np.ndarray) -> float:
    """Cross-entropy a pixel, or half the squared error a feature."""
    output = call(task.decoder, z)
    if x.ndim == 2:
        return float(np.mean((output - x) ** 2) / 2)
    p = 1 / (1 + np.exp(-output))
    return float(-np.mean(x * np.log(p) + (1 - x) * np.log(1 - p)))


@pytest.mark.parametrize("shape", SHAPES)
def test_ae(shape: tuple[int, ...]):
    task, x = task_of(AE(3), shape), observations(shape)
    inside = network_scale(task, x)
    assert losses(task, x) == pytest.approx(
        {"loss": reconstruction(task, call(task.encoder, inside), inside)}, rel=1e-5
    )


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("shared", [False, True])
def test_qlae(shape: tuple[int, ...], shared: bool):
    task = task_of(QLAE(3, levels=4, quantization=0.3, commitment=0.7, shared_codebook=shared), shape)
    x = observations(shape)
    inside = network_scale(task, x)
    z = call(task.encoder, inside)
    values = np.broadcast_to(task.quantizer.values.detach().double().numpy(), (3, 4))
    quantized = np.stack([values[j][np.abs(z[:, j, None] - values[j]).argmin(1)] for j in range(3)], axis=1)
    expected = {
        "reconstruction": reconstruction(task, quantized, inside),
        "quantization": np.mean((z - quantized) ** 2),
        "commitment": np.mean((z - quantized) ** 2),
    }
    expected["loss"] = expected["reconstruction"] + 0.3 * expected["quantization"] + 0.7 * expected["commitment"]
    assert expected["quantization"] > 1e-3
    assert losses(task, x) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_vqvae(shape: tuple[int, ...]):
    task, x = task_of(VQVAE(3, entries=7, size=4, quantization=0.3, commitment=0.7), shape), observations(shape)
    inside = network_scale(task, x)
    z = call(task.encoder, inside).reshape(N, 3, 4)
    entries = task.quantizer.vectors.detach().double().numpy()
    nearest = ((z[:, :, None] - entries) ** 2).sum(-1).argmin(-1)
    quantized = entries[nearest]
    expected = {
        "reconstruction": reconstruction(task, quantized.reshape(N, 12), inside),
        "quantization": np.mean((z - quantized) ** 2),
        "commitment": np.mean((z - quantized) ** 2),
    }
    expected["loss"] = expected["reconstruction"] + 0.3 * expected["quantization"] + 0.7 * expected["commitment"]
    assert losses(task, x) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_bioae(shape: tuple[int, ...]):
    task, x = task_of(BioAE(3, nonnegative=0.6, activity=0.2), shape), observations(shape)
    inside = network_scale(task, x)
    z = call(task.encoder, inside)
    expected = {
        "reconstruction": reconstruction(task, z, inside),
        "negative": np.mean(np.maximum(-z, 0)),
        "activity": np.mean(z**2),
    }
    expected["loss"] = expected["reconstruction"] + 0.6 * expected["negative"] + 0.2 * expected["activity"]
    assert (z < 0).any()
    assert losses(task, x) == pytest.approx(expected, rel=1e-5)


def posterior_and_draw(task: Any, inside: np.ndarray, generator: torch.Generator) -> tuple[np.ndarray, ...]:
    outputs = call(task.encoder, inside)
    mu, logvar = outputs[:, :3], outputs[:, 3:]
    noise = torch.randn(N, 3, generator=generator).double().numpy()
    return mu, logvar, mu + np.exp(logvar / 2) * noise


def divergence(mu: np.ndarray, logvar: np.ndarray) -> float:
    """KL to the standard normal, by its textbook form in means and standard deviations."""
    sd = np.exp(logvar / 2)
    return float(np.sum(-np.log(sd) + (sd**2 + mu**2) / 2 - 0.5, axis=1).mean())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", [VAE, BetaVAE])
def test_vae(shape: tuple[int, ...], kind: Any):
    task, x = task_of(kind(3, anneal_steps=10), shape), observations(shape)
    inside = network_scale(task, x)
    mu, logvar, z = posterior_and_draw(task, inside, torch.Generator().manual_seed(1))
    kl = divergence(mu, logvar)
    for step, share in ((0, 0.0), (4, 0.4), (10, 1.0), (99, 1.0)):
        beta = share * (1 if kind is VAE else 4)
        expected = {"reconstruction": reconstruction(task, z, inside), "kl": kl}
        expected["loss"] = expected["reconstruction"] + beta * kl / np.prod(shape)
        assert losses(task, x, step=step) == pytest.approx(expected, rel=1e-5)


def test_dividing_by_pixels_is_the_evidence_lower_bound_on_another_scale():
    task, x = task_of(VAE(3), (2, 8, 8)), observations((2, 8, 8))
    mu, logvar, z = posterior_and_draw(task, x.double().numpy(), torch.Generator().manual_seed(1))
    p = 1 / (1 + np.exp(-call(task.decoder, z)))
    t = x.double().numpy()
    log_likelihood = (t * np.log(p) + (1 - t) * np.log(1 - p)).sum(axis=(1, 2, 3)).mean()
    assert losses(task, x)["loss"] * 128 == pytest.approx(-(log_likelihood - divergence(mu, logvar)), rel=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_beta_tcvae(shape: tuple[int, ...]):
    task, x = task_of(BetaTCVAE(3, alpha=0.5, beta=6.0, gamma=2.0, anneal_steps=10), shape), observations(shape)
    inside = network_scale(task, x)
    mu, logvar, z = posterior_and_draw(task, inside, torch.Generator().manual_seed(1))
    sd = np.exp(logvar / 2)
    log_q_given_x = norm.logpdf(z, mu, sd).sum(1)
    pairs = norm.logpdf(z[:, None], mu[None], sd[None])
    log_nm = np.log(50 * N)
    log_q = logsumexp(pairs.sum(2), axis=1) - log_nm
    log_product = (logsumexp(pairs, axis=1) - log_nm).sum(1)
    information = (log_q_given_x - log_q).mean()
    correlation = (log_q - log_product).mean()
    marginal = (log_product - norm.logpdf(z).sum(1)).mean()
    for step, share in ((3, 0.3), (10, 1.0)):
        expected = {
            "reconstruction": reconstruction(task, z, inside),
            "index_code_information": information,
            "total_correlation": correlation,
            "dimension_wise_kl": marginal,
        }
        penalty = 0.5 * information + share * 6 * correlation + 2 * marginal  # only the total correlation is annealed
        expected["loss"] = expected["reconstruction"] + penalty / np.prod(shape)
        assert losses(task, x, step=step) == pytest.approx(expected, rel=1e-4, abs=1e-5)


def discriminate(task: Any, z: np.ndarray) -> np.ndarray:
    """The discriminator's two logits, layer by layer."""
    layers = [layer for layer in task.discriminator if isinstance(layer, torch.nn.Linear)]
    assert len(layers) == 7
    for i, layer in enumerate(layers):
        z = z @ layer.weight.detach().double().numpy().T + layer.bias.detach().double().numpy()
        z = z if i == 6 else np.where(z > 0, z, 0.2 * z)
    return z


@pytest.mark.parametrize("shape", SHAPES)
def test_factor_vae(shape: tuple[int, ...]):
    task = task_of(FactorVAE(3, gamma=7.0, discriminator_width=8, anneal_steps=4), shape)
    x, other = observations(shape), observations(shape, seed=9)
    inside = network_scale(task, x)
    mu, logvar, z = posterior_and_draw(task, inside, torch.Generator().manual_seed(1))
    logits = discriminate(task, z)
    kl, correlation = divergence(mu, logvar), float((logits[:, 0] - logits[:, 1]).mean())
    for step, share in ((1, 0.25), (4, 1.0)):
        expected = {"reconstruction": reconstruction(task, z, inside), "kl": kl, "total_correlation": correlation}
        expected["loss"] = expected["reconstruction"] + (kl + share * 7 * correlation) / np.prod(shape)
        assert losses(task, x, other, phase="vae", step=step) == pytest.approx(expected, rel=1e-5)

    generator = torch.Generator().manual_seed(2)
    _, _, second = posterior_and_draw(task, network_scale(task, other), generator)
    order = torch.rand(N, 3, generator=generator).argsort(0).numpy()
    shuffled = np.stack([second[order[:, j], j] for j in range(3)], axis=1)
    joint, product = discriminate(task, z), discriminate(task, shuffled)
    cross_entropy = (logsumexp(joint, axis=1) - joint[:, 0]).mean() + (
        logsumexp(product, axis=1) - product[:, 1]
    ).mean()
    assert losses(task, x, other, phase="discriminator", seed=2) == pytest.approx({"loss": cross_entropy / 2}, rel=1e-5)


def critic(task: Any) -> Callable[[np.ndarray], np.ndarray]:
    """The critic's values, in double precision."""
    twin = copy.deepcopy(task).double()

    def value(images: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return twin.critic(twin.encoder.features(torch.from_numpy(images))).squeeze(1).numpy()

    return value


def slopes(value: Callable[[np.ndarray], np.ndarray], images: np.ndarray, width: float = 1e-5) -> np.ndarray:
    """The length of the critic's gradient at each image, by central differences, pixel by pixel."""
    gradient = np.zeros_like(images)
    for place in np.ndindex(images.shape[1:]):
        step = np.zeros(images.shape[1:])
        step[place] = width
        gradient[(slice(None), *place)] = (value(images + step) - value(images - step)) / (2 * width)
    return np.sqrt((gradient**2).sum(axis=(1, 2, 3)))


@pytest.mark.parametrize("quantized", [False, True])
def test_infowgan(quantized: bool):
    shape = (2, 8, 8)
    weights: dict[str, float] = {"value": 0.9, "gradient": 8.0, "latent": 30.0}
    options: dict[str, Any] = {f"{name}_weight": weight for name, weight in weights.items()}
    if quantized:
        weights |= {"quantization": 0.3, "commitment": 0.7}
        learner = QuantizedInfoWGANGP(3, levels=4, quantization=0.3, commitment=0.7, **options)
    else:
        learner = InfoWGANGP(3, **options)
    task, x = task_of(learner, shape), observations(shape)
    real = x.double().numpy()
    generator = torch.Generator().manual_seed(1)
    if quantized:
        values = task.quantizer.values.detach().double().numpy()
        levels = torch.randint(4, (N, 3), generator=generator).numpy()
        drawn = np.stack([values[j][levels[:, j]] for j in range(3)], axis=1)
    else:
        drawn = torch.rand(N, 3, generator=generator).double().numpy()
    fake = 1 / (1 + np.exp(-call(task.decoder, drawn)))
    mix = torch.rand(N, 1, 1, 1, generator=generator).double().numpy()
    z, value = call(task.encoder, fake), critic(task)
    terms = {}
    recovered = z
    if quantized:
        recovered = np.stack([values[j][np.abs(z[:, j, None] - values[j]).argmin(1)] for j in range(3)], axis=1)
        terms = {"quantization": np.mean((z - recovered) ** 2), "commitment": np.mean((z - recovered) ** 2)}
    terms["latent"] = np.mean((recovered - drawn) ** 2)

    expected = terms | {
        "value": (value(fake) - value(real)).mean(),
        "gradient": ((slopes(value, mix * real + (1 - mix) * fake) - 1) ** 2).mean(),
    }
    expected["loss"] = sum(weights[name] * term for name, term in expected.items())
    assert losses(task, x, phase="encoder") == pytest.approx(expected, rel=1e-4, abs=1e-5)

    expected = terms | {"value": -value(fake).mean()}
    expected["loss"] = sum(weights[name] * term for name, term in expected.items())
    assert losses(task, x, phase="generator") == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_the_gradient_of_the_penalty_reaches_the_critic():
    task = task_of(InfoWGANGP(3), (2, 8, 8))
    x, fake = observations((2, 8, 8)), observations((2, 8, 8), seed=4)
    twin = copy.deepcopy(task).double()

    def penalty(shift: float) -> float:
        moved = copy.deepcopy(twin)
        with torch.no_grad():
            moved.critic.weight[0, 0] += shift
        return moved.gradient_penalty(x.double(), fake.double(), torch.Generator().manual_seed(3)).item()

    twin.gradient_penalty(x.double(), fake.double(), torch.Generator().manual_seed(3)).backward()
    numeric = (penalty(1e-5) - penalty(-1e-5)) / 2e-5
    assert abs(numeric) > 1e-4
    assert twin.critic.weight.grad[0, 0].item() == pytest.approx(numeric, rel=1e-5)


def test_the_codebook_feels_the_image_through_the_generator_only():
    """In the generator's phase the values are moved by the image they draw; in an autoencoder by the pulls alone."""
    task = task_of(QuantizedInfoWGANGP(3, levels=4, quantization=0, commitment=0), (2, 8, 8))
    losses_ = task("generator", (observations((2, 8, 8)),), 0, torch.Generator().manual_seed(0))
    losses_["loss"].backward()
    assert task.quantizer.values.grad.abs().sum() > 0
    task.zero_grad()
    task("encoder", (observations((2, 8, 8)),), 0, torch.Generator().manual_seed(0))["loss"].backward()
    assert task.quantizer.values.grad is None or not task.quantizer.values.grad.any()
    assert all(p.grad is None for p in task.decoder.parameters())
    qlae = task_of(QLAE(3, levels=4, quantization=0, commitment=0), (5,))
    qlae("main", (observations((5,)),), 0, torch.Generator())["loss"].backward()
    assert qlae.quantizer.values.grad is None or not qlae.quantizer.values.grad.any()
    assert all(p.grad.abs().sum() > 0 for p in qlae.encoder.head.parameters())
