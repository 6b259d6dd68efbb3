"""Terms of the evidence lower bound for diagonal Gaussian posteriors, with their decomposition and density ratios."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

Posterior = tuple[Tensor, Tensor]


def gaussian_kl(mu: Float[Tensor, "batch latent"], logvar: Float[Tensor, "batch latent"]) -> Float[Tensor, ""]:
    """KL(N(mu, exp logvar) || N(0, I)) in nats: summed over latents, mean over the batch (Kingma & Welling 2014, app. B).

    Examples:
        >>> gaussian_kl(torch.zeros(2, 3), torch.zeros(2, 3)).item()
        0.0
    """
    return 0.5 * (mu.square() + logvar.exp() - 1 - logvar).sum(1).mean()


def gaussian_sample(
    mu: Float[Tensor, "batch latent"], logvar: Float[Tensor, "batch latent"], generator: torch.Generator
) -> Float[Tensor, "batch latent"]:
    """One reparameterised draw mu + exp(logvar / 2) eps."""
    noise = torch.randn(mu.shape, generator=generator, device=mu.device, dtype=mu.dtype)
    return torch.addcmul(mu, noise, (0.5 * logvar).exp())


def gaussian_log_density(z: Tensor, mu: Tensor, logvar: Tensor) -> Tensor:
    """Element-wise log N(z; mu, exp logvar), in nats."""
    return -0.5 * (math.log(2 * math.pi) + logvar + (z - mu).square() * (-logvar).exp())


def kl_decomposition(
    z: Float[Tensor, "batch latent"],
    mu: Float[Tensor, "batch latent"],
    logvar: Float[Tensor, "batch latent"],
    dataset_size: int,
) -> tuple[Float[Tensor, ""], Float[Tensor, ""], Float[Tensor, ""]]:
    """Index-code mutual information, total correlation and dimension-wise KL by minibatch-weighted sampling.

    log q(z) is estimated by logsumexp_j log q(z_i | x_j) - log(N M) for a batch of M out of N observations, and each
    log q(z_k) likewise (Chen et al. 2018, eqs. 2 and 5, estimator S1). Their sum is exactly log q(z|x) - log p(z).
    """
    log_qz_x = gaussian_log_density(z, mu, logvar).sum(1)
    log_pz = gaussian_log_density(z, torch.zeros_like(z), torch.zeros_like(z)).sum(1)
    pairs = gaussian_log_density(z[:, None], mu[None], logvar[None])  # (i, j, latent)
    log_nm = math.log(dataset_size) + math.log(len(z))
    log_qz = pairs.sum(2).logsumexp(1) - log_nm
    log_prod_qz = (pairs.logsumexp(1) - log_nm).sum(1)
    return (log_qz_x - log_qz).mean(), (log_qz - log_prod_qz).mean(), (log_prod_qz - log_pz).mean()


def permute_latents(z: Float[Tensor, "batch latent"], generator: torch.Generator) -> Float[Tensor, "batch latent"]:
    """Each latent shuffled over the batch on its own: draws from the product of marginals (Kim & Mnih 2018, alg. 1)."""
    order = torch.rand(z.shape, generator=generator, device=z.device).argsort(0)
    return z.gather(0, order)
