"""FactorVAE (Kim & Mnih 2018, arXiv 1802.05983).

A discriminator learns to tell codes z ~ q(z) from codes whose latents were shuffled over the batch one by one, which are
draws of the product of marginals. Its log-odds estimate the total correlation, which the VAE pays for:

    L_vae = -log p(x|z) + KL(q(z|x) || p(z)) + gamma (D_joint(z) - D_product(z))     (eq. 2, D are logits)
    L_disc = 1/2 CE(D(z), joint) + 1/2 CE(D(permute(z')), product),  z' from a second batch   (alg. 2)

As in `VAE`, L_vae is divided by the number of pixels; the VAE's gradients are clipped like those of its siblings.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from unsnarl.arrays import check_range
from unsnarl.nn import Architecture
from unsnarl.objectives import gaussian_kl, gaussian_sample, permute_latents
from unsnarl.systems.latents._vae import GaussianLearner, VAETask
from unsnarl.training import decayed_adam


def discriminator(latents: int, width: int, layers: int) -> nn.Sequential:
    """Code -> two logits: drawn jointly, or from the product of marginals."""
    sizes = [latents, *[width] * layers]
    stack: list[nn.Module] = []
    for i in range(layers):
        stack += [nn.Linear(sizes[i], sizes[i + 1]), nn.LeakyReLU(0.2)]
    return nn.Sequential(*stack, nn.Linear(sizes[-1], 2))


class FactorVAETask(VAETask):
    """Two phases a step: the VAE, then the discriminator."""

    def __init__(self, *args: Any, gamma: float, discriminator_lr: float, discriminator_width: int, **options: Any):
        super().__init__(*args, beta=1.0, **options)
        self.gamma, self.discriminator_lr = gamma, discriminator_lr
        self.discriminator = discriminator(self.latents, discriminator_width, layers=6)
        self._codes: Tensor | None = None

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """The VAE's optimiser and the discriminator's (Adam, betas .5 and .9)."""
        parts = [self.encoder, self.decoder]
        vae = decayed_adam(parts, lr=self.lr, weight_decay=self.weight_decay, clip_value=1.0)
        parameters = self.discriminator.parameters()
        return {
            "vae": vae,
            "discriminator": torch.optim.Adam(parameters, lr=self.discriminator_lr, betas=(0.5, 0.9), fused=True),
        }

    def forward(
        self, phase: str, batch: tuple[Tensor, ...], step: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """L_vae or L_disc of the module's docstring."""
        if phase == "vae":
            x = self.to_network(batch[0])
            mu, logvar = self.posterior(x)
            z = gaussian_sample(mu, logvar, generator)
            self._codes = z.detach()
            reconstruction = self.reconstruction_loss(self.decoder(z), x)
            kl = gaussian_kl(mu, logvar)
            logits = self.discriminator(z)
            correlation = (logits[:, 0] - logits[:, 1]).mean()
            loss = reconstruction + (kl + self.annealed(self.gamma, step) * correlation) / self.pixels
            return {"loss": loss, "reconstruction": reconstruction, "kl": kl, "total_correlation": correlation}
        assert self._codes is not None
        with torch.no_grad():
            other = gaussian_sample(*self.posterior(self.to_network(batch[1])), generator)
            shuffled = permute_latents(other, generator)
        joint = torch.zeros(len(self._codes), dtype=torch.long, device=other.device)
        cross_entropy = nn.functional.cross_entropy
        loss = 0.5 * (
            cross_entropy(self.discriminator(self._codes), joint)
            + cross_entropy(self.discriminator(shuffled), torch.ones_like(joint))
        )
        return {"loss": loss}


class FactorVAE(GaussianLearner):
    """VAE that pays for the total correlation that a discriminator sees in its codes.

    Args:
        latents: number of latents.
        gamma: weight of the total correlation; 35 for dSprites and 20 for 3D Shapes in the paper.
        discriminator_lr: learning rate of the discriminator.
        discriminator_width: width of its six hidden layers.
        anneal_steps: steps over which gamma grows from 0; 0 for none.
        network: "auto", a name of `unsnarl.nn.ARCHITECTURES`, or an `Architecture`.
        weight_decay: decoupled weight decay of the VAE.
        lr: learning rate of the VAE.
        batch_size: observations a step (each step draws two batches).
        steps: gradient steps of `fit`.
        seed: seed of weights, batches and noise.
    """

    batches_per_step: ClassVar[int] = 2

    def __init__(
        self,
        latents: int = 10,
        *,
        gamma: float = 35.0,
        discriminator_lr: float = 1e-4,
        discriminator_width: int = 1000,
        anneal_steps: int = 0,
        network: str | Architecture = "auto",
        weight_decay: float = 0.0,
        lr: float = 1e-4,
        batch_size: int = 64,
        steps: int = 300_000,
        seed: int = 0,
    ):
        self.latents = latents
        self.gamma = gamma
        self.discriminator_lr = discriminator_lr
        self.discriminator_width = discriminator_width
        self.anneal_steps = anneal_steps
        self.network = network
        self.weight_decay = weight_decay
        self.lr = lr
        self.batch_size = batch_size
        self.steps = steps
        self.seed = seed

    def _check_options(self) -> None:
        super()._check_options()
        check_range(self.gamma, "gamma", low=0)
        check_range(self.discriminator_lr, "discriminator_lr", low=0, open_low=True)
        check_range(self.discriminator_width, "discriminator_width", low=1, integer=True)
        check_range(self.anneal_steps, "anneal_steps", low=0, integer=True)

    def _make_networks(
        self, architecture: Architecture, shape: tuple[int, ...], likelihood: str, n: int
    ) -> FactorVAETask:
        return FactorVAETask(
            architecture,
            shape,
            self.latents,
            likelihood,
            lr=self.lr,
            weight_decay=self.weight_decay,
            gamma=self.gamma,
            discriminator_lr=self.discriminator_lr,
            discriminator_width=self.discriminator_width,
            anneal_steps=self.anneal_steps,
            n=n,
        )
