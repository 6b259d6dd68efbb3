"""beta-TCVAE (Chen, Li, Grosse & Duvenaud 2018, arXiv 1802.04942).

The KL term of a VAE is the sum of three: what the code knows of the observation's index, the total correlation of the
aggregate posterior, and the distance of its marginals from the prior. Only the second ties latents together, so it alone
gets the large weight:

    L = -log p(x|z) + alpha I(x; z) + beta TC(z) + gamma sum_j KL(q(z_j) || p(z_j))   (eq. 4)
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from unsnarl.arrays import check_range
from unsnarl.nn import Architecture
from unsnarl.objectives import kl_decomposition
from unsnarl.systems.latents._vae import GaussianLearner, VAETask


class BetaTCVAETask(VAETask):
    """The three terms, estimated by minibatch-weighted sampling."""

    def __init__(self, *args: Any, alpha: float, gamma: float, **options: Any):
        super().__init__(*args, **options)
        self.alpha, self.gamma = alpha, gamma

    def penalty(
        self, z: Tensor, mu: Tensor, logvar: Tensor, step: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Weighted sum: alpha I + beta TC + gamma KL of the marginals."""
        information, correlation, marginal = kl_decomposition(z, mu, logvar, self.n)
        beta = self.annealed(self.beta, step)
        penalty = self.alpha * information + beta * correlation + self.gamma * marginal
        return {
            "penalty": penalty,
            "index_code_information": information.detach(),
            "total_correlation": correlation.detach(),
            "dimension_wise_kl": marginal.detach(),
        }


class BetaTCVAE(GaussianLearner):
    """VAE that penalises the total correlation of its latents.

    Args:
        latents: number of latents.
        beta: weight of the total correlation; 3 is what latent quantization's authors found best on 3D Shapes.
        alpha: weight of the index-code mutual information.
        gamma: weight of the dimension-wise KL.
        anneal_steps: steps over which beta grows from 0; 0 for none.
        network: "auto", a name of `unsnarl.nn.ARCHITECTURES`, or an `Architecture`.
        weight_decay: decoupled weight decay.
        lr: learning rate.
        batch_size: observations a step.
        steps: gradient steps of `fit`.
        seed: seed of weights, batches and noise.
    """

    def __init__(
        self,
        latents: int = 10,
        *,
        beta: float = 3.0,
        alpha: float = 1.0,
        gamma: float = 1.0,
        anneal_steps: int = 0,
        network: str | Architecture = "auto",
        weight_decay: float = 0.0,
        lr: float = 1e-3,
        batch_size: int = 128,
        steps: int = 200_000,
        seed: int = 0,
    ):
        self.latents = latents
        self.beta = beta
        self.alpha = alpha
        self.gamma = gamma
        self.anneal_steps = anneal_steps
        self.network = network
        self.weight_decay = weight_decay
        self.lr = lr
        self.batch_size = batch_size
        self.steps = steps
        self.seed = seed

    def _check_options(self) -> None:
        super()._check_options()
        for name in ("alpha", "beta", "gamma"):
            check_range(getattr(self, name), name, low=0)
        check_range(self.anneal_steps, "anneal_steps", low=0, integer=True)

    def _make_networks(
        self, architecture: Architecture, shape: tuple[int, ...], likelihood: str, n: int
    ) -> BetaTCVAETask:
        return BetaTCVAETask(
            architecture,
            shape,
            self.latents,
            likelihood,
            lr=self.lr,
            weight_decay=self.weight_decay,
            beta=self.beta,
            alpha=self.alpha,
            gamma=self.gamma,
            anneal_steps=self.anneal_steps,
            n=n,
        )
