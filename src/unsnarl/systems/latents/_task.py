"""Encoder, decoder and likelihood: what every autoencoder of this folder trains."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from unsnarl.nn import Architecture
from unsnarl.objectives import bernoulli_loss, gaussian_loss
from unsnarl.training import Task, decayed_adam


class AutoencoderTask(Task):
    """An encoder and a decoder with a Bernoulli or a Gaussian likelihood; as it stands, the plain autoencoder.

    Args:
        architecture: sizes of encoder and decoder.
        shape: shape of one observation.
        latents: number of latents.
        likelihood: "bernoulli" for pixels in [0, 1] (the decoder gives logits), "gaussian" for standardised tables.
        lr: learning rate.
        weight_decay: decoupled decay of the weights, not of biases and codebooks.
        encoder_outputs: numbers the encoder gives; `latents` when absent.
        decoder_inputs: numbers the decoder takes; `latents` when absent.
    """

    mean: Tensor
    scale: Tensor
    low: Tensor
    high: Tensor

    def __init__(
        self,
        architecture: Architecture,
        shape: Sequence[int],
        latents: int,
        likelihood: str,
        *,
        lr: float,
        weight_decay: float,
        encoder_outputs: int | None = None,
        decoder_inputs: int | None = None,
    ):
        super().__init__()
        self.shape, self.latents, self.likelihood = tuple(shape), latents, likelihood
        self.lr, self.weight_decay = lr, weight_decay
        self.encoder = architecture.encoder(shape, encoder_outputs or latents)
        self.decoder = architecture.make_decoder(decoder_inputs or latents, shape)
        self.register_buffer("mean", torch.zeros(self.shape if likelihood == "gaussian" else ()))
        self.register_buffer("scale", torch.ones(self.shape if likelihood == "gaussian" else ()))
        self.register_buffer("low", torch.full((latents,), -1.0))
        self.register_buffer("high", torch.full((latents,), 1.0))

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """AdamW with the published groups: decay and element-wise clip on weights only."""
        return {"main": decayed_adam(self, lr=self.lr, weight_decay=self.weight_decay, clip_value=1.0)}

    def to_network(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch ..."]:
        """Observations on the scale of the network: tables standardised, images as they are."""
        return (x - self.mean) / self.scale if self.likelihood == "gaussian" else x

    def to_data(self, output: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch ..."]:
        """The decoder's outputs as observations."""
        return output * self.scale + self.mean if self.likelihood == "gaussian" else torch.sigmoid(output)

    def reconstruction_loss(self, output: Float[Tensor, "batch ..."], x: Float[Tensor, "batch ..."]) -> Tensor:
        """Negative log-likelihood a pixel or feature (nats), up to a constant; `x` on the network's scale."""
        return bernoulli_loss(output, x) if self.likelihood == "bernoulli" else gaussian_loss(output, x)

    def codes(self, x: Float[Tensor, "batch ..."]) -> Shaped[Tensor, "batch latent"]:
        """The representation that users see, of observations on the network's scale."""
        return self.encoder(x)

    def decoder_input(self, codes: Shaped[Tensor, "batch latent"]) -> Float[Tensor, "batch input"]:
        """What the decoder takes for given codes."""
        return codes.float()

    def forward(
        self, phase: str, batch: tuple[Tensor, ...], step: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """The reconstruction loss alone."""
        x = self.to_network(batch[0])
        return {"loss": self.reconstruction_loss(self.decoder(self.encoder(x)), x)}
