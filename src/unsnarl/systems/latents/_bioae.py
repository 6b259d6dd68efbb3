"""Biologically constrained autoencoder, BioAE (Whittington, Dorrell, Ganguli & Behrens 2023, arXiv 2210.01768).

Nonnegative, sparing activities and small weights are enough, in theory, for single units to take single factors:

    L = reconstruction + nonnegative * mean_j max(-z_j, 0) + activity * mean_j z_j^2,  with weight decay
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from unsnarl.arrays import check_range
from unsnarl.nn import Architecture
from unsnarl.systems.latents._learner import LatentLearner
from unsnarl.systems.latents._task import AutoencoderTask


class BioAETask(AutoencoderTask):
    """Reconstruction with the two pulls on the activities."""

    def __init__(self, *args: Any, nonnegative: float, activity: float, **options: Any):
        super().__init__(*args, **options)
        self.nonnegative, self.activity = nonnegative, activity

    def forward(
        self, phase: str, batch: tuple[Tensor, ...], step: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """L of the module's docstring."""
        x = self.to_network(batch[0])
        z = self.encoder(x)
        reconstruction = self.reconstruction_loss(self.decoder(z), x)
        negative, activity = torch.relu(-z).mean(), z.square().mean()
        loss = reconstruction + self.nonnegative * negative + self.activity * activity
        return {"loss": loss, "reconstruction": reconstruction, "negative": negative, "activity": activity}


class BioAE(LatentLearner):
    """Autoencoder with nonnegative, sparing latents.

    Args:
        latents: number of latents.
        nonnegative: weight of the penalty on negative activities.
        activity: weight of the penalty on squared activities.
        network: "auto", a name of `unsnarl.nn.ARCHITECTURES`, or an `Architecture`.
        weight_decay: decoupled weight decay.
        lr: learning rate.
        batch_size: observations a step.
        steps: gradient steps of `fit`.
        seed: seed of weights and batches.
    """

    def __init__(
        self,
        latents: int = 10,
        *,
        nonnegative: float = 1.0,
        activity: float = 0.01,
        network: str | Architecture = "auto",
        weight_decay: float = 1e-4,
        lr: float = 1e-3,
        batch_size: int = 128,
        steps: int = 200_000,
        seed: int = 0,
    ):
        self.latents = latents
        self.nonnegative = nonnegative
        self.activity = activity
        self.network = network
        self.weight_decay = weight_decay
        self.lr = lr
        self.batch_size = batch_size
        self.steps = steps
        self.seed = seed

    def _check_options(self) -> None:
        super()._check_options()
        check_range(self.nonnegative, "nonnegative", low=0)
        check_range(self.activity, "activity", low=0)

    def _make_networks(self, architecture: Architecture, shape: tuple[int, ...], likelihood: str, n: int) -> BioAETask:
        return BioAETask(
            architecture,
            shape,
            self.latents,
            likelihood,
            lr=self.lr,
            weight_decay=self.weight_decay,
            nonnegative=self.nonnegative,
            activity=self.activity,
        )
