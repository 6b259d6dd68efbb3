"""A "VAE" without loss: pixels rearranged to fewer places with more channels, so that a latent diffusion pipeline diffuses pixels.

Its name is public because diffusers writes it into `model_index.json` and imports it from there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.vae import DecoderOutput
from diffusers.models.modeling_outputs import AutoencoderKLOutput
from diffusers.models.modeling_utils import ModelMixin
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


class ExactPosterior:
    """The posterior of a code without noise: its sample, mode and mean are the code."""

    def __init__(self, code: Float[Tensor, "n channel height width"]):
        self.mean = self.code = code

    def sample(self, generator: Any = None) -> Tensor:
        """The code."""
        return self.code

    def mode(self) -> Tensor:
        """The code."""
        return self.code


class PixelUnshuffleVAE(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """(n, 3, s, s) to (n, 3 f^2, s / f, s / f) and back, exactly, with the interface of diffusers' `AutoencoderKL`.

    Args:
        in_channels: of the images.
        factor: f; 1 changes nothing.
        block_out_channels: only their number counts: pipelines take 2^(number - 1) for the ratio of sides.
        scaling_factor: pipelines multiply codes by it; 1, as pixels already lie in [-1, 1].
        shift_factor: Stable Diffusion 3 subtracts it.
        latent_channels: 3 f^2.
    """

    @register_to_config
    def __init__(
        self,
        in_channels: int = 3,
        factor: int = 2,
        block_out_channels: Sequence[int] = (1, 1),
        scaling_factor: float = 1.0,
        shift_factor: float = 0.0,
        latent_channels: int = 12,
    ):
        super().__init__()
        self.place = nn.Buffer(torch.zeros(1))  # says on which device and in which precision the module is

    def encode(self, x: Float[Tensor, "n channel height width"], return_dict: bool = True) -> Any:
        """An exact posterior under `.latent_dist`."""
        posterior = ExactPosterior(functional.pixel_unshuffle(x, self.config["factor"]))
        return AutoencoderKLOutput(latent_dist=posterior) if return_dict else (posterior,)

    def decode(self, z: Float[Tensor, "n latent height width"], return_dict: bool = True, generator: Any = None) -> Any:
        """The images under `.sample`."""
        images = functional.pixel_shuffle(z, self.config["factor"])
        return DecoderOutput(sample=images) if return_dict else (images,)

    def forward(self, sample: Tensor, return_dict: bool = True) -> Any:
        """There and back: the same images."""
        return self.decode(self.encode(sample).latent_dist.mode(), return_dict=return_dict)
