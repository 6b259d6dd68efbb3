"""Autoencoders whose latents take values from a codebook: the task and the learner that QLAE and VQ-VAE share."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from unsnarl.arrays import check_range
from unsnarl.nn import ScalarQuantizer, VectorQuantizer
from unsnarl.objectives import commitment_loss, quantization_loss
from unsnarl.systems.latents._learner import LatentLearner
from unsnarl.systems.latents._task import AutoencoderTask
from unsnarl.training import decayed_adam


class QuantizedTask(AutoencoderTask):
    """Reconstruction through quantized latents, with the two pulls that keep codes and codebook together.

        L = reconstruction + quantization * mean (sg(zc) - zq)^2 + commitment * mean (zc - sg(zq))^2

    Args:
        *args: of `AutoencoderTask`.
        quantizer: gives codebook values for the encoder's outputs.
        quantization: weight of the pull on the codebook.
        commitment: weight of the pull on the encoder.
        **options: of `AutoencoderTask`.
    """

    quantizer: ScalarQuantizer | VectorQuantizer

    def __init__(
        self,
        *args: Any,
        quantizer: ScalarQuantizer | VectorQuantizer,
        quantization: float,
        commitment: float,
        **options: Any,
    ):
        super().__init__(*args, **options)
        self.quantizer = quantizer
        self.quantization, self.commitment = quantization, commitment

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Weights are clipped and decayed; biases and the codebook are not."""
        options: dict[str, Any] = {"lr": self.lr, "weight_decay": self.weight_decay, "clip_value": 1.0}
        return {"main": decayed_adam([self.encoder, self.decoder], undecayed=[self.quantizer], **options)}

    def codes(self, x: Float[Tensor, "batch ..."]) -> Int[Tensor, "batch latent"]:
        """Indices into the codebook."""
        return self.quantizer(self.encoder(x)).indices

    def forward(
        self, phase: str, batch: tuple[Tensor, ...], step: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """L of the class's docstring."""
        x = self.to_network(batch[0])
        z = self.quantizer(self.encoder(x))
        reconstruction = self.reconstruction_loss(self.decoder(z.straight_through), x)
        quantization = quantization_loss(z.continuous, z.quantized)
        commitment = commitment_loss(z.continuous, z.quantized)
        loss = reconstruction + self.quantization * quantization + self.commitment * commitment
        return {
            "loss": loss,
            "reconstruction": reconstruction,
            "quantization": quantization,
            "commitment": commitment,
        }


class QuantizedLearner(LatentLearner):
    """A learner whose codes are indices into a codebook; a subclass says which."""

    discrete_codes = True
    task_: QuantizedTask
    quantization: float
    commitment: float

    def _check_options(self) -> None:
        super()._check_options()
        check_range(self.quantization, "quantization", low=0)
        check_range(self.commitment, "commitment", low=0)

    def encode(self, X: Any) -> tuple[Float[np.ndarray, "n number"], Int[np.ndarray, "n latent"]]:
        """Quantized values and their indices; score the indices, not the floats."""
        indices = self._map(X, lambda x: self.task_.codes(x))
        with torch.inference_mode():
            return self.task_.quantizer.lookup(indices).numpy(), indices.numpy()
