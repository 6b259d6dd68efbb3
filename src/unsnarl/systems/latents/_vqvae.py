"""Vector-quantized autoencoder with a fixed number of vector latents (after van den Oord et al. 2017, arXiv 1711.00937).

Each latent is a vector of `size` numbers that takes one of `entries` learned vectors shared by all latents: the same
straight-through quantization as QLAE with a far more expressive codebook, and so its natural ablation.

    L = reconstruction + quantization * |sg(zc) - zq|^2 + commitment * |zc - sg(zq)|^2   (means over all numbers)
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from unsnarl.arrays import check_finite, check_range, to_numpy
from unsnarl.errors import DataError
from unsnarl.nn import Architecture, VectorQuantizer
from unsnarl.systems.latents._quantized import QuantizedLearner, QuantizedTask


class VQVAETask(QuantizedTask):
    """Reconstruction through vector-quantized latents; L of the module's docstring."""

    quantizer: VectorQuantizer

    def decoder_input(self, codes: Shaped[Tensor, "batch latent"]) -> Float[Tensor, "batch number"]:
        """The vectors of entry indices."""
        return self.quantizer.lookup(codes.long())


class VQVAE(QuantizedLearner):
    """Autoencoder with vector-quantized latents; its codes are entry indices.

    Args:
        latents: number of latents.
        entries: number of codebook vectors.
        size: numbers in each vector.
        quantization: weight of the pull on the codebook.
        commitment: weight of the pull on the encoder.
        network: "auto", a name of `unsnarl.nn.ARCHITECTURES`, or an `Architecture`.
        weight_decay: decoupled weight decay of the weights.
        lr: learning rate.
        batch_size: observations a step.
        steps: gradient steps of `fit`.
        seed: seed of weights and batches.
    """

    task_: VQVAETask

    def __init__(
        self,
        latents: int = 10,
        *,
        entries: int = 512,
        size: int = 64,
        quantization: float = 1.0,
        commitment: float = 0.25,
        network: str | Architecture = "auto",
        weight_decay: float = 0.01,
        lr: float = 1e-3,
        batch_size: int = 128,
        steps: int = 200_000,
        seed: int = 0,
    ):
        self.latents = latents
        self.entries = entries
        self.size = size
        self.quantization = quantization
        self.commitment = commitment
        self.network = network
        self.weight_decay = weight_decay
        self.lr = lr
        self.batch_size = batch_size
        self.steps = steps
        self.seed = seed

    def _check_options(self) -> None:
        super()._check_options()
        check_range(self.entries, "entries", low=2, integer=True)
        check_range(self.size, "size", low=1, integer=True)

    def _make_networks(self, architecture: Architecture, shape: tuple[int, ...], likelihood: str, n: int) -> VQVAETask:
        return VQVAETask(
            architecture,
            shape,
            self.latents,
            likelihood,
            lr=self.lr,
            weight_decay=self.weight_decay,
            encoder_outputs=self.latents * self.size,
            decoder_inputs=self.latents * self.size,
            quantizer=VectorQuantizer(self.latents, self.entries, self.size),
            quantization=self.quantization,
            commitment=self.commitment,
        )

    def decode(self, codes: Any) -> Float[Tensor, "n ..."]:
        """Observations for entry indices of shape (n, latents); whole numbers stored as floats will do."""
        self._check_fitted()
        array = to_numpy(codes, "codes")
        if array.dtype.kind == "f":
            check_finite(array, "codes")
            if not np.array_equal(array, array.round()):
                raise DataError("codes must be whole numbers: the indices of codebook entries")
            array = array.astype(np.int64)
        return super().decode(array)

    def latent_values(self, latent: int, n_values: int = 7) -> Int[np.ndarray, " value"]:
        """Entries to show in a traversal: evenly over the range of indices in use (their order has no meaning)."""
        low, high = float(self.task_.low[latent]), float(self.task_.high[latent])
        return np.unique(np.linspace(low, high, n_values).round().astype(np.int64))
