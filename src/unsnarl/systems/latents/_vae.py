"""Variational autoencoders: VAE (Kingma & Welling 2014, arXiv 1312.6114) and beta-VAE (Higgins et al. 2017).

The encoder gives a Gaussian posterior q(z|x) = N(mu, exp logvar); the loss is the negative evidence lower bound a pixel,

    L = (-log p(x|z) + beta KL(q(z|x) || N(0, I))) / pixels,   z = mu + exp(logvar / 2) eps.

beta > 1 presses the posterior towards the prior, one latent at a time. Dividing by the number of pixels (features) makes
the weights mean the same as in losses that are summed, and the learning rate the same as for the other autoencoders. The
published code of latent quantization has its VAEs give softplus^-1(sigma); ours give log-variances, as the VAE papers do.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from unsnarl.arrays import check_range
from unsnarl.nn import Architecture
from unsnarl.objectives import gaussian_kl, gaussian_sample
from unsnarl.systems.latents._learner import LatentLearner
from unsnarl.systems.latents._task import AutoencoderTask


class VAETask(AutoencoderTask):
    """The evidence lower bound, with a weight on its KL term that may grow over the first steps."""

    def __init__(self, *args: Any, beta: float, anneal_steps: int = 0, n: int = 0, **options: Any):
        latents = args[2]
        super().__init__(*args, encoder_outputs=2 * latents, **options)
        self.beta, self.anneal_steps, self.n = beta, anneal_steps, n
        self.pixels = int(np.prod(self.shape))

    def posterior(self, x: Float[Tensor, "batch ..."]) -> tuple[Tensor, Tensor]:
        """Mean and log-variance, each of shape (batch, latent)."""
        mu, logvar = self.encoder(x).chunk(2, dim=1)
        return mu, logvar

    def codes(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch latent"]:
        """Posterior means."""
        return self.posterior(x)[0]

    def annealed(self, weight: float, step: int) -> float:
        """The weight, growing linearly from 0 over the first `anneal_steps` steps."""
        return weight * min(1.0, step / self.anneal_steps) if self.anneal_steps else weight

    def penalty(
        self, z: Tensor, mu: Tensor, logvar: Tensor, step: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """What is added to the reconstruction loss, in nats an observation under "penalty"; the rest is logged."""
        kl = gaussian_kl(mu, logvar)
        return {"penalty": self.annealed(self.beta, step) * kl, "kl": kl.detach()}

    def forward(
        self, phase: str, batch: tuple[Tensor, ...], step: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """L of the module's docstring, with the penalty of the variant."""
        x = self.to_network(batch[0])
        mu, logvar = self.posterior(x)
        z = gaussian_sample(mu, logvar, generator)
        reconstruction = self.reconstruction_loss(self.decoder(z), x)
        terms = self.penalty(z, mu, logvar, step, generator)
        loss = reconstruction + terms.pop("penalty") / self.pixels
        return {"loss": loss, "reconstruction": reconstruction, **terms}


class GaussianLearner(LatentLearner):
    """What all learners with a Gaussian posterior can do."""

    task_: VAETask

    def encode(self, X: Any) -> tuple[Float[np.ndarray, "n latent"], Float[np.ndarray, "n latent"]]:
        """Posterior means and log-variances."""
        both = self._map(X, lambda x: torch.cat(self.task_.posterior(x), dim=1)).numpy()
        return both[:, : self.latents], both[:, self.latents :]

    def sample(self, n: int, seed: int = 0) -> Float[Tensor, "n ..."]:
        """Observations decoded from draws of the prior."""
        check_range(n, "n", low=1, integer=True)
        self._check_fitted()
        return self.decode(torch.randn(n, self.latents, generator=torch.Generator().manual_seed(seed)))

    def active_variables(self, X: Any, *, var_tol: float = 0.1, mean_tol: float = 0.1) -> Any:
        """Which latents are active, mixed or passive on these observations (see `unsnarl.classify_latents`)."""
        from unsnarl.measures import classify_latents

        return classify_latents(self.encode(X)[1], var_tol=var_tol, mean_tol=mean_tol)


class VAE(GaussianLearner):
    """Variational autoencoder; `beta` other than 1 makes it a beta-VAE.

    Args:
        latents: number of latents.
        beta: weight of the KL term.
        anneal_steps: steps over which beta grows from 0; 0 for none.
        network: "auto", a name of `unsnarl.nn.ARCHITECTURES`, or an `Architecture`.
        weight_decay: decoupled weight decay.
        lr: learning rate.
        batch_size: observations a step.
        steps: gradient steps of `fit`.
        seed: seed of weights, batches and noise.

    Examples:
        >>> x = np.random.default_rng(0).normal(size=(64, 5))
        >>> mu, logvar = VAE(latents=3).fit(x, steps=5).encode(x)
        >>> mu.shape, logvar.shape
        ((64, 3), (64, 3))
    """

    def __init__(
        self,
        latents: int = 10,
        *,
        beta: float = 1.0,
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
        self.anneal_steps = anneal_steps
        self.network = network
        self.weight_decay = weight_decay
        self.lr = lr
        self.batch_size = batch_size
        self.steps = steps
        self.seed = seed

    def _check_options(self) -> None:
        super()._check_options()
        check_range(self.beta, "beta", low=0)
        check_range(self.anneal_steps, "anneal_steps", low=0, integer=True)

    def _make_networks(self, architecture: Architecture, shape: tuple[int, ...], likelihood: str, n: int) -> VAETask:
        return VAETask(
            architecture,
            shape,
            self.latents,
            likelihood,
            lr=self.lr,
            weight_decay=self.weight_decay,
            beta=self.beta,
            anneal_steps=self.anneal_steps,
            n=n,
        )


class BetaVAE(VAE):
    """A `VAE` whose beta is 4 unless said otherwise (Higgins et al. 2017, for dSprites)."""

    def __init__(
        self,
        latents: int = 10,
        *,
        beta: float = 4.0,
        anneal_steps: int = 0,
        network: str | Architecture = "auto",
        weight_decay: float = 0.0,
        lr: float = 1e-3,
        batch_size: int = 128,
        steps: int = 200_000,
        seed: int = 0,
    ):
        super().__init__(
            latents,
            beta=beta,
            anneal_steps=anneal_steps,
            network=network,
            weight_decay=weight_decay,
            lr=lr,
            batch_size=batch_size,
            steps=steps,
            seed=seed,
        )
