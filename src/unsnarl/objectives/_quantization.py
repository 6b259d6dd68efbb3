"""The two pulls between a continuous code and its quantized value."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor


def quantization_loss(
    continuous: Float[Tensor, "batch latent"], quantized: Float[Tensor, "batch latent"]
) -> Float[Tensor, ""]:
    """Moves the codebook to the encoder's outputs: mean (stop_gradient(continuous) - quantized)^2."""
    return (continuous.detach() - quantized).square().mean()


def commitment_loss(
    continuous: Float[Tensor, "batch latent"], quantized: Float[Tensor, "batch latent"]
) -> Float[Tensor, ""]:
    """Moves the encoder's outputs to the codebook: mean (continuous - stop_gradient(quantized))^2."""
    return (continuous - quantized.detach()).square().mean()
