"""Quantized-latent autoencoder, QLAE (Hsu, Dorrell, Whittington, Wu & Finn 2023, arXiv 2305.18378).

The idea: give each latent few values to say things with, and decay the weights hard. A latent that can take one of `levels`
learned scalars cannot smear a factor over fine digits, and decayed networks must give each value a consistent meaning;
together they line single latents up with single factors, with neither factor labels nor a prior.

    k_j = argmin_k |zc_j - V_jk|,  zq_j = V_j,k_j,  z = zc + sg(zq - zc)
    L = BCE(x, decoder(z)) + quantization * mean_j (sg(zc) - zq)^2 + commitment * mean_j (zc - sg(zq))^2

V has one row a latent, each initialised linspace(-.5, .5, levels). Weights: element-wise gradient clip to [-1, 1], AdamW
with decoupled decay 0.1. Biases and V: Adam without either. Networks: `ConvEncoder`, `StyleDecoder`.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from unsnarl.arrays import check_range
from unsnarl.nn import Architecture, ScalarQuantizer
from unsnarl.systems.latents._quantized import QuantizedLearner, QuantizedTask


class QLAETask(QuantizedTask):
    """Reconstruction through scalar-quantized latents; L of the module's docstring."""

    quantizer: ScalarQuantizer

    def decoder_input(self, codes: Shaped[Tensor, "batch latent"]) -> Float[Tensor, "batch latent"]:
        """The values of level indices; floats are taken as values."""
        return codes.float() if codes.is_floating_point() else self.quantizer.lookup(codes.long())


class QLAE(QuantizedLearner):
    """Autoencoder whose latents each take one of a few learned scalar values.

    Args:
        latents: number of latents; the paper uses twice the number of factors.
        levels: number of values of each latent.
        weight_decay: decoupled decay of the weights. It acts through lr * weight_decay * steps, 20 in the paper; in short
            runs more decay is no substitute for steps (0.5 did worse than 0.1 in 5,000 steps, see the claim's record).
        quantization: weight of the pull on the codebook.
        commitment: weight of the pull on the encoder.
        shared_codebook: one row of values for all latents: the ablation, not the method.
        network: "auto", a name of `unsnarl.nn.ARCHITECTURES`, or an `Architecture`.
        lr: learning rate.
        batch_size: observations a step.
        steps: gradient steps of `fit`.
        seed: seed of weights and batches.

    Examples:
        >>> x = np.random.default_rng(0).normal(size=(64, 5))
        >>> codes = QLAE(latents=3, levels=4).fit(x, steps=5).transform(x)
        >>> codes.shape, codes.dtype
        ((64, 3), dtype('int64'))
    """

    task_: QLAETask

    def __init__(
        self,
        latents: int = 10,
        levels: int = 10,
        *,
        weight_decay: float = 0.1,
        quantization: float = 0.01,
        commitment: float = 0.01,
        shared_codebook: bool = False,
        network: str | Architecture = "auto",
        lr: float = 1e-3,
        batch_size: int = 128,
        steps: int = 200_000,
        seed: int = 0,
    ):
        self.latents = latents
        self.levels = levels
        self.weight_decay = weight_decay
        self.quantization = quantization
        self.commitment = commitment
        self.shared_codebook = shared_codebook
        self.network = network
        self.lr = lr
        self.batch_size = batch_size
        self.steps = steps
        self.seed = seed

    def _check_options(self) -> None:
        super()._check_options()
        check_range(self.levels, "levels", low=2, integer=True)

    def _make_networks(self, architecture: Architecture, shape: tuple[int, ...], likelihood: str, n: int) -> QLAETask:
        return QLAETask(
            architecture,
            shape,
            self.latents,
            likelihood,
            lr=self.lr,
            weight_decay=self.weight_decay,
            quantizer=ScalarQuantizer(self.latents, self.levels, shared=self.shared_codebook),
            quantization=self.quantization,
            commitment=self.commitment,
        )

    def latent_values(self, latent: int, n_values: int = 7) -> Int[np.ndarray, " value"]:
        """Level indices of a latent in the order of their values, evenly thinned to at most `n_values`."""
        return self.task_.quantizer.ordered_levels(latent, n_values)
