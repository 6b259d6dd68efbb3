"""A style-based generator and its discriminator (StyleGAN2, Karras et al. 2020, arXiv 1912.04958), for 32 x 32 pixels.

A latent z ~ N(0, I) goes through a mapping network to a style w; every layer of the synthesis network is told a w of its own,
so that an image is a function of w+ (layers, 64). Three spaces to work in:

- Z: normal numbers, of which only the direction counts (z is brought to mean square 1 first);
- W: one w for all layers, where factors lie straighter than in Z; `Generator.style(z)`;
- W+: one w a layer; `Generator.spread(w)`, and `Generator.swap(w, edited, (2, 6))` to edit some layers only.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unsnarl.arrays import check_range
from unsnarl.errors import DataError, OptionError
from unsnarl.zoo._style_layers import Convolution, Dense, ModulatedConvolution, Upsample, rectify

SMALLEST = 4  # pixels a side of the constant that an image grows from
FOLLOW = 0.998  # how slowly the mean style follows


class MappingNetwork(nn.Module):
    """z (n, latent) to w (n, style): z at mean square 1, then so many rectified linear layers that learn slowly."""

    def __init__(self, latent: int, style: int, depth: int):
        super().__init__()
        widths = [latent] + [style] * depth
        self.layers = nn.ModuleList(Dense(a, b, rate=0.01) for a, b in pairwise(widths))

    def forward(self, z: Float[Tensor, "n latent"]) -> Float[Tensor, "n style"]:
        """The styles."""
        x = z * torch.rsqrt(z.square().mean(1, keepdim=True) + 1e-8)
        for layer in self.layers:
            x = rectify(layer(x))
        return x


class StyledLayer(nn.Module):
    """A modulated convolution, noise if there is any, bias and rectifier."""

    def __init__(self, inputs: int, outputs: int, style: int, *, double: bool, noise: bool):
        super().__init__()
        self.convolution = ModulatedConvolution(inputs, outputs, 3, style, double=double)
        self.strength = nn.Parameter(torch.zeros(())) if noise else None

    def forward(
        self, x: Float[Tensor, "n inputs rows columns"], w: Float[Tensor, "n style"], noise: torch.Generator | None
    ) -> Float[Tensor, "n outputs out_rows out_columns"]:
        """Features."""
        y = self.convolution(x, w)
        if noise is not None and self.strength is not None:
            y = y + self.strength * torch.randn(len(y), 1, *y.shape[2:], generator=noise, device=y.device)
        return rectify(y + self.convolution.bias[:, None, None])


class Generator(nn.Module):
    """Latents to images of sprites, by way of styles.

    Each resolution has one layer at 4 x 4 and two above, and adds colours to an image that is doubled from one to the next. Layer k of w+
    is read by convolution k; the layer that puts out colours reads the w that comes next, as in the published network. For
    32 pixels there are 8: 0 and 1 at 4 x 4, 1 to 3 at 8, 3 to 5 at 16, 5 to 7 at 32.

    Args:
        latent: width of z.
        style: width of w.
        depth: layers of the mapping network.
        widths: channels at 4 x 4, 8 x 8, ...; their number sets the size of the images.
        noise: whether layers have noise inputs. Off by default: nothing of a sprite is left to chance once its factors are
            given, and without them an image is a function of w alone.

    Attributes:
        mean_w: (style,), the running mean of w in training, which truncation pulls towards.
        layers: number of styles an image takes.
        image_size: pixels a side.

    Examples:
        >>> generator = Generator(widths=(16, 8, 8, 8)).eval()
        >>> z = generator.latents(2, seed=0)
        >>> w = generator.style(z, truncation=0.7)
        >>> tuple(w.shape), tuple(generator.spread(w).shape), tuple(generator.synthesize(w).shape)
        ((2, 64), (2, 8, 64), (2, 3, 32, 32))
    """

    mean_w: Tensor

    def __init__(
        self,
        *,
        latent: int = 64,
        style: int = 64,
        depth: int = 4,
        widths: tuple[int, ...] = (192, 144, 64, 24),
        noise: bool = False,
    ):
        super().__init__()
        for name, value in (("latent", latent), ("style", style), ("depth", depth), *(("widths", w) for w in widths)):
            check_range(value, name, low=1, integer=True)
        if not widths:
            raise OptionError("widths must name at least one number of channels")
        self.latent, self.style_width, self.depth, self.widths, self.noise = latent, style, depth, tuple(widths), noise
        self.image_size = SMALLEST * 2 ** (len(widths) - 1)
        self.layers = 2 * len(widths)
        self.mapping = MappingNetwork(latent, style, depth)
        self.constant = nn.Parameter(torch.randn(widths[0], SMALLEST, SMALLEST))
        convolutions = [StyledLayer(widths[0], widths[0], style, double=False, noise=noise)]
        for below, width in pairwise(widths):
            convolutions.append(StyledLayer(below, width, style, double=True, noise=noise))
            convolutions.append(StyledLayer(width, width, style, double=False, noise=noise))
        self.convolutions = nn.ModuleList(convolutions)
        self.colors = nn.ModuleList(ModulatedConvolution(width, 3, 1, style, demodulate=False) for width in widths)
        self.enlarge = Upsample()
        self.register_buffer("mean_w", torch.zeros(style))

    @property
    def config(self) -> dict[str, Any]:
        """The constructor's keywords, as JSON values."""
        return {
            "latent": self.latent,
            "style": self.style_width,
            "depth": self.depth,
            "widths": list(self.widths),
            "noise": self.noise,
        }

    def latents(self, n: int, seed: int) -> Float[Tensor, "n latent"]:
        """Random z, on the device of the network; the first rows are the same whatever n."""
        check_range(n, "n", low=1, integer=True)
        generator = torch.Generator().manual_seed(seed)
        rows = [torch.randn(self.latent, generator=generator) for _ in range(n)]
        return torch.stack(rows).to(self.mean_w.device)

    def style(self, z: Float[Tensor, "n latent"], truncation: float = 1.0) -> Float[Tensor, "n style"]:
        """Latents in Z to styles in W.

        Args:
            z: normal numbers.
            truncation: psi in w = mean + psi (w - mean): 1 leaves the styles as they are, smaller gives more usual images, 0 one image.

        Raises:
            DataError: another width than the network's.
            OptionError: truncation is not in [0, 1].
        """
        if z.ndim != 2 or z.shape[1] != self.latent:
            raise DataError(f"z must have shape (n, {self.latent}), got {tuple(z.shape)}")
        return self.truncate(self.mapping(z), truncation)

    def truncate(self, w: Float[Tensor, "n *style"], truncation: float) -> Float[Tensor, "n *style"]:
        """Styles in W or W+ pulled towards the mean style.

        Raises:
            OptionError: truncation is not in [0, 1].
        """
        check_range(truncation, "truncation", low=0, high=1)
        return w if truncation == 1.0 else self.mean_w + truncation * (w - self.mean_w)

    def spread(self, w: Float[Tensor, "n *style"]) -> Float[Tensor, "n layer style"]:
        """W to W+: the same w for every layer; what is in W+ already stays as it is.

        Raises:
            DataError: neither (n, style) nor (n, layers, style).
        """
        if w.ndim == 2 and w.shape[1] == self.style_width:
            return w[:, None].expand(-1, self.layers, -1)
        if w.ndim == 3 and tuple(w.shape[1:]) == (self.layers, self.style_width):
            return w
        raise DataError(
            f"w must have shape (n, {self.style_width}) or (n, {self.layers}, {self.style_width}), got {tuple(w.shape)}"
        )

    def swap(
        self, w: Float[Tensor, "n *style"], other: Float[Tensor, "n *other"], layers: tuple[int, int]
    ) -> Float[Tensor, "n layer style"]:
        """w+ that is `other` in layers first to last - 1 and w elsewhere: an edit of some layers, or the mixing of two styles.

        Args:
            w: in W or W+.
            other: in W or W+.
            layers: (first, last).

        Raises:
            OptionError: a range that is empty or not within the network's layers.
            DataError: wrong shapes.
        """
        first, last = layers
        if not 0 <= first < last <= self.layers:
            raise OptionError(f"layers={layers} must be (first, last) with 0 <= first < last <= {self.layers}")
        place = torch.arange(self.layers, device=w.device)[:, None]
        return torch.where((place >= first) & (place < last), self.spread(other), self.spread(w))

    def synthesize(
        self, w: Float[Tensor, "n *style"], *, noise: torch.Generator | None = None
    ) -> Float[Tensor, "n 3 side side"]:
        """Styles to images; differentiable in both modes.

        Args:
            w: in W (n, style) or W+ (n, layers, style).
            noise: where the noise inputs come from; without it they are zero.

        Returns:
            Images in [-1, 1].

        Raises:
            DataError: wrong shape.
            OptionError: noise for a network that has no noise inputs.
        """
        if noise is not None and not self.noise:
            raise OptionError("noise is given, but this generator was made without noise inputs (noise=False)")
        styles = self.spread(w)
        x = self.constant[None].expand(len(styles), -1, -1, -1)
        x = self.convolutions[0](x, styles[:, 0], noise)
        image = self._colors(0, x, styles[:, 1])
        for level in range(1, len(self.widths)):
            first = 2 * level - 1
            x = self.convolutions[first](x, styles[:, first], noise)
            x = self.convolutions[first + 1](x, styles[:, first + 1], noise)
            image = self.enlarge(image) + self._colors(level, x, styles[:, first + 2])
        return torch.tanh(image / math.sqrt(len(self.widths)))  # each level adds about the same

    def _colors(self, level: int, x: Tensor, w: Tensor) -> Tensor:
        layer: Any = self.colors[level]
        return layer(x, w) + layer.bias[:, None, None]

    def forward(
        self, z: Float[Tensor, "n latent"], truncation: float = 1.0, *, noise: torch.Generator | None = None
    ) -> Float[Tensor, "n 3 side side"]:
        """Latents to images in [-1, 1]; `synthesize(style(z, truncation))`."""
        return self.synthesize(self.style(z, truncation), noise=noise)

    @torch.no_grad()
    def follow(self, w: Float[Tensor, "n style"]) -> None:
        """Move the mean style towards that of a batch."""
        self.mean_w.lerp_(w.mean(0), 1 - FOLLOW)


class DiscriminatorBlock(nn.Module):
    """Two convolutions, the second to half the size, beside a 1 x 1 convolution; their sum over sqrt 2."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.first = Convolution(inputs, inputs, 3)
        self.second = Convolution(inputs, outputs, 3, halve=True)
        self.beside = Convolution(inputs, outputs, 1, halve=True, bias=False)

    def forward(self, x: Float[Tensor, "n inputs rows columns"]) -> Float[Tensor, "n outputs half_rows half_columns"]:
        """Features."""
        return (rectify(self.second(rectify(self.first(x)))) + self.beside(x)) / math.sqrt(2.0)


def minibatch_deviation(
    x: Float[Tensor, "n channel rows columns"], group: int
) -> Float[Tensor, "n one_more rows columns"]:
    """One more channel that says how much the images of a group differ (Karras et al. 2018, arXiv 1710.10196, section 3).

    Image i is in a group with images i + m, i + 2 m, ... with m = n / group; the standard deviation of each feature over the group is
    averaged over features and places.

    Raises:
        DataError: the group's size does not divide n.
    """
    n, channels, rows, columns = x.shape
    size = min(group, n)
    if n % size:
        raise DataError(f"{n} images cannot be divided into groups of {size}")
    parts = x.reshape(size, n // size, channels, rows, columns)
    deviation = (parts.var(0, correction=0) + 1e-8).sqrt().mean((1, 2, 3))
    return torch.cat([x, deviation.repeat(size)[:, None, None, None].expand(n, 1, rows, columns)], dim=1)


class Discriminator(nn.Module):
    """Images to one number each: above 0 what looks real. Residual, with the spread of each group of 4 images as a feature.

    Args:
        widths: channels at 4 x 4, 8 x 8, ... up to the size of the images.
        group: images whose spread is looked at together.
    """

    def __init__(self, widths: tuple[int, ...] = (128, 96, 64, 24), group: int = 4):
        super().__init__()
        self.group = group
        self.colors = Convolution(3, widths[-1], 1)
        sizes = widths[::-1]
        self.blocks = nn.ModuleList(DiscriminatorBlock(a, b) for a, b in pairwise(sizes))
        self.last = Convolution(widths[0] + 1, widths[0], 3)
        self.hidden = Dense(widths[0] * SMALLEST**2, widths[0])
        self.score = Dense(widths[0], 1)

    def forward(self, images: Float[Tensor, "n 3 side side"]) -> Float[Tensor, " n"]:
        """Scores (logits)."""
        x = rectify(self.colors(images))
        for block in self.blocks:
            x = block(x)
        x = rectify(self.last(minibatch_deviation(x, self.group)))
        return self.score(rectify(self.hidden(x.flatten(1))))[:, 0]
