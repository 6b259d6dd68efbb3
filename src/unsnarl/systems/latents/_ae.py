"""The plain autoencoder: the baseline of all others."""

from __future__ import annotations

from typing import Any

from unsnarl.nn import Architecture
from unsnarl.systems.latents._learner import LatentLearner
from unsnarl.systems.latents._task import AutoencoderTask


class AE(LatentLearner):
    """Autoencoder with continuous latents, optimised like the quantized one (decoupled decay on weights alone).

    Args:
        latents: number of latents.
        network: "auto", a name of `unsnarl.nn.ARCHITECTURES`, or an `Architecture`.
        weight_decay: decoupled weight decay; the published baseline uses 1e-3.
        lr: learning rate.
        batch_size: observations a step.
        steps: gradient steps of `fit`.
        seed: seed of weights, batches and noise.

    Examples:
        >>> import numpy as np
        >>> x = np.random.default_rng(0).normal(size=(64, 5))
        >>> AE(latents=2).fit(x, steps=5).transform(x).shape
        (64, 2)
    """

    def __init__(
        self,
        latents: int = 10,
        *,
        network: str | Architecture = "auto",
        weight_decay: float = 1e-3,
        lr: float = 1e-3,
        batch_size: int = 128,
        steps: int = 200_000,
        seed: int = 0,
    ):
        self.latents = latents
        self.network = network
        self.weight_decay = weight_decay
        self.lr = lr
        self.batch_size = batch_size
        self.steps = steps
        self.seed = seed

    def _make_networks(self, architecture: Architecture, shape: tuple[int, ...], likelihood: str, n: int) -> Any:
        return AutoencoderTask(
            architecture, shape, self.latents, likelihood, lr=self.lr, weight_decay=self.weight_decay
        )
