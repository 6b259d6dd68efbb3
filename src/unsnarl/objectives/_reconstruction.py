"""How well a decoder's output explains the observations."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def bernoulli_loss(logits: Float[Tensor, "batch ..."], x: Float[Tensor, "batch ..."]) -> Float[Tensor, ""]:
    """Binary cross-entropy of pixels in [0, 1] given logits, mean over pixels, channels and batch (nats a pixel)."""
    return torch.nn.functional.binary_cross_entropy_with_logits(logits, x)


def gaussian_loss(mean: Float[Tensor, "batch ..."], x: Float[Tensor, "batch ..."]) -> Float[Tensor, ""]:
    """Half the squared error, mean over features and batch: the unit-variance Gaussian negative log-likelihood."""
    return 0.5 * torch.nn.functional.mse_loss(mean, x)


def psnr(x: Float[Tensor, "n ..."], reconstruction: Float[Tensor, "n ..."]) -> Float[Tensor, " n"]:
    """Peak signal-to-noise ratio of each observation in dB, for values in [0, 1]: -10 log10(mean squared error)."""
    error = (x - reconstruction).square().flatten(1).mean(1)
    return -10 * torch.log10(error.clamp_min(1e-12))
