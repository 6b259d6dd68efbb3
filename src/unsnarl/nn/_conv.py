"""The convolutional encoder and the style decoder of latent quantization (Hsu et al. 2023, official code).

Both are described by `widths`, one an octave (each halves or doubles the image), and `depth`, the number of convolutions
an octave: depth - 1 of kernel 3 and stride 1, then one of kernel 4 and stride 2. The published large networks are
widths (32, 64, 128, 256), depth 3, hidden (256, 256); the published small ones (64, 128, 256, 512), depth 1, hidden (512,).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unsnarl.errors import OptionError
from unsnarl.nn._dense import dense_stack, uniform_fan_in


def octave(depth: int) -> list[tuple[int, int]]:
    """(kernel, stride) of the convolutions of one octave."""
    return [(3, 1)] * (depth - 1) + [(4, 2)]


def lowest_map(shape: Sequence[int], widths: Sequence[int]) -> tuple[int, int]:
    """Height and width of the map below the last octave.

    Raises:
        OptionError: no image, or one that cannot be halved that often down to a map of two pixels or more (over a
            single one, instance normalisation has nothing to normalise).
    """
    factor = 2 ** len(widths)
    if len(shape) != 3:
        raise OptionError(
            f"convolutions need images (channels, height, width), but one observation has shape {tuple(shape)}; "
            "take a network of kind 'dense'"
        )
    height, width = shape[1] // factor, shape[2] // factor
    if shape[1] % factor or shape[2] % factor or height * width < 2:
        raise OptionError(
            f"images of shape {tuple(shape)} (channels, height, width) cannot be halved {len(widths)} times; height and "
            f"width must be multiples of {factor}, and one of them larger: give fewer widths or pad the images"
        )
    return height, width


class ConvEncoder(nn.Module):
    """Image -> [Conv (no bias) -> InstanceNorm (affine) -> LeakyReLU .2] * -> dense -> outputs.

    Args:
        shape: (channels, height, width) of one image.
        out_size: number of outputs.
        widths: channels of each octave.
        depth: convolutions an octave.
        hidden: widths of the dense layers; the last one holds the features.
    """

    def __init__(self, shape: Sequence[int], out_size: int, widths: Sequence[int], depth: int, hidden: Sequence[int]):
        super().__init__()
        height, width = lowest_map(shape, widths)
        layers: list[nn.Module] = []
        channels = shape[0]
        for out in widths:
            for kernel, stride in octave(depth):
                layers += [
                    nn.Conv2d(channels, out, kernel, stride, 1, bias=False),
                    nn.InstanceNorm2d(out, eps=1e-6, affine=True),
                    nn.LeakyReLU(0.2, inplace=True),
                ]
                channels = out
        self.conv = nn.Sequential(*layers)
        self.body = dense_stack(channels * height * width, hidden)
        self.head = nn.Linear(hidden[-1], out_size)
        self.feature_size = hidden[-1]

    def features(self, x: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch feature"]:
        """The last dense layer."""
        return self.body(self.conv(x).flatten(1))

    def forward(self, x: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch out"]:
        """The outputs."""
        return self.head(self.features(x))


class StyleBlock(nn.Module):
    """ConvTranspose (no bias) -> LeakyReLU .2 -> InstanceNorm -> scale and shift by the style (AdaIN).

    `[scale, shift] = ReLU(Linear(w))`: the ReLU on both is the official code's, not a slip of ours.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int, style_size: int):
        super().__init__()
        self.conv = nn.ConvTranspose2d(in_channels, out_channels, kernel, stride, 1, bias=False)
        uniform_fan_in(self.conv.weight, in_channels * kernel * kernel)  # torch would take the output channels
        self.style = nn.Linear(style_size, 2 * out_channels)

    def forward(
        self, x: Float[Tensor, "batch channel height width"], w: Float[Tensor, "batch style"]
    ) -> Float[Tensor, "batch out height2 width2"]:
        """One block."""
        x = nn.functional.leaky_relu(self.conv(x), 0.2, inplace=True)
        x = nn.functional.instance_norm(x, eps=1e-6)
        scale, shift = torch.relu(self.style(w))[:, :, None, None].chunk(2, dim=1)
        return torch.addcmul(shift, x, scale)


class StyleDecoder(nn.Module):
    """Latents set the style of every block; the image grows from a learned constant map (after StyleGAN).

    Args:
        latent_size: number of latent inputs.
        shape: (channels, height, width) of one image.
        widths: the encoder's widths; used in reverse.
        depth: convolutions an octave.
        hidden: widths of the mapping network latent -> style.
    """

    def __init__(
        self, latent_size: int, shape: Sequence[int], widths: Sequence[int], depth: int, hidden: Sequence[int]
    ):
        super().__init__()
        height, width = lowest_map(shape, widths)
        self.mapping = dense_stack(latent_size, hidden)
        self.constant = nn.Parameter(torch.full((widths[-1], height, width), 0.1))
        blocks = []
        channels = widths[-1]
        for out in reversed(widths):
            for kernel, stride in octave(depth):
                blocks.append(StyleBlock(channels, out, kernel, stride, hidden[-1]))
                channels = out
        self.blocks = nn.ModuleList(blocks)
        self.to_image = nn.Conv2d(channels, shape[0], 3, 1, 1, bias=False)

    def forward(self, z: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch channel height width"]:
        """Image logits."""
        w = self.mapping(z)
        x = self.constant.expand(len(z), *self.constant.shape)
        for block in self.blocks:
            x = block(x, w)
        return self.to_image(x)


class ConvDecoder(nn.Module):
    """Dense -> [ConvTranspose -> InstanceNorm (affine) -> LeakyReLU .2] * -> image logits: the plain decoder."""

    def __init__(
        self, latent_size: int, shape: Sequence[int], widths: Sequence[int], depth: int, hidden: Sequence[int]
    ):
        super().__init__()
        height, width = lowest_map(shape, widths)
        self.map_shape = (widths[-1], height, width)
        self.body = dense_stack(latent_size, (*hidden, widths[-1] * height * width))
        layers: list[nn.Module] = []
        channels = widths[-1]
        for out in reversed(widths):
            for kernel, stride in octave(depth):
                conv = nn.ConvTranspose2d(channels, out, kernel, stride, 1, bias=False)
                uniform_fan_in(conv.weight, channels * kernel * kernel)
                norm = nn.InstanceNorm2d(out, eps=1e-6, affine=True)
                layers += [conv, norm, nn.LeakyReLU(0.2, inplace=True)]
                channels = out
        self.conv = nn.Sequential(*layers)
        self.to_image = nn.Conv2d(channels, shape[0], 1, bias=False)

    def forward(self, z: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch channel height width"]:
        """Image logits."""
        return self.to_image(self.conv(self.body(z).unflatten(1, self.map_shape)))
