"""Layers of StyleGAN2 (Karras et al. 2020, arXiv 1912.04958): modulated convolutions, resampling with a binomial filter.

Weights are drawn with variance 1 and scaled to 1 / sqrt(fan-in) as they are used, so that Adam's step is equally large for all of
them (Karras et al. 2018, arXiv 1710.10196). Resampling filters with [1, 3, 3, 1], which keeps edges from sticking to the
pixel grid. All of it can be differentiated twice, and by forward mode.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

TAPS = (1.0, 3.0, 3.0, 1.0)
SLOPE = 0.2  # of the leaky rectifier


def rectify(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Leaky rectifier times sqrt 2, which keeps the variance."""
    return functional.leaky_relu(x, SLOPE) * math.sqrt(2.0)


def _filter() -> Float[Tensor, "1 1 4 4"]:
    taps = torch.tensor(TAPS)
    square = taps[:, None] * taps[None, :]
    return (square / square.sum())[None, None]


class Blur(nn.Module):
    """The binomial filter on every channel, with zeros around.

    Args:
        padding: pixels of zeros on each side; the image grows by 2 padding - 3.
        gain: the result is multiplied by it.
    """

    kernel: Tensor

    def __init__(self, padding: int, gain: float = 1.0):
        super().__init__()
        self.padding = padding
        self.register_buffer("kernel", gain * _filter(), persistent=False)

    def forward(self, x: Float[Tensor, "n channel rows columns"]) -> Float[Tensor, "n channel out_rows out_columns"]:
        """The filtered channels."""
        channels = x.shape[1]
        return functional.conv2d(x, self.kernel.repeat(channels, 1, 1, 1), padding=self.padding, groups=channels)


class Upsample(nn.Module):
    """Twice as many rows and columns, filtered."""

    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("kernel", 4.0 * _filter(), persistent=False)

    def forward(self, x: Float[Tensor, "n channel rows columns"]) -> Float[Tensor, "n channel up_rows up_columns"]:
        """The larger image."""
        channels = x.shape[1]
        kernel = self.kernel.repeat(channels, 1, 1, 1)
        return functional.conv_transpose2d(x, kernel, stride=2, padding=1, groups=channels)


class Dense(nn.Module):
    """A linear layer with scaled weights.

    Args:
        inputs: width of the input.
        outputs: width of the output.
        bias: every bias at first.
        rate: learns at this share of the learning rate.
    """

    def __init__(self, inputs: int, outputs: int, *, bias: float = 0.0, rate: float = 1.0):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / rate)
        self.bias = nn.Parameter(torch.full((outputs,), bias / rate))
        self.scale, self.rate = rate / math.sqrt(inputs), rate

    def forward(self, x: Float[Tensor, "*n inputs"]) -> Float[Tensor, "*n outputs"]:
        """W x + b."""
        return functional.linear(x, self.weight * self.scale, self.bias * self.rate)


class Convolution(nn.Module):
    """A convolution with scaled weights; with `halve`, filtered and of half as many rows and columns.

    Args:
        inputs: channels.
        outputs: channels.
        size: rows and columns of the kernel, odd.
        halve: every second row and column.
        bias: whether there is one.
    """

    def __init__(self, inputs: int, outputs: int, size: int, *, halve: bool = False, bias: bool = True):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, size, size))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.scale, self.size = 1.0 / math.sqrt(inputs * size**2), size
        self.blur = Blur((size + 1) // 2) if halve else None

    def forward(self, x: Float[Tensor, "n inputs rows columns"]) -> Float[Tensor, "n outputs out_rows out_columns"]:
        """The convolved channels."""
        weight = self.weight * self.scale
        if self.blur is None:
            return functional.conv2d(x, weight, self.bias, padding=self.size // 2)
        return functional.conv2d(self.blur(x), weight, self.bias, stride=2)


class ModulatedConvolution(nn.Module):
    """A convolution whose input channels are scaled by a style, s = A w, and whose output is scaled back (eqs. 1 and 3).

        y_j = sum_{i,k} s_i v_ijk x_i / sqrt( sum_{i,k} (s_i v_ijk)^2 + 1e-8 )

    The style scales the input rather than the weights, which is the same sum and needs one convolution for all images.

    Args:
        inputs: channels.
        outputs: channels.
        size: rows and columns of the kernel, odd.
        style: width of w.
        double: twice as many rows and columns, by a transposed convolution and the filter.
        demodulate: False leaves the denominator out, as the layers that put out colours do.
    """

    def __init__(
        self, inputs: int, outputs: int, size: int, style: int, *, double: bool = False, demodulate: bool = True
    ):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, size, size))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.affine = Dense(style, inputs, bias=1.0)
        self.scale, self.size, self.demodulate = 1.0 / math.sqrt(inputs * size**2), size, demodulate
        self.blur = Blur(1, gain=4.0) if double else None

    def forward(
        self, x: Float[Tensor, "n inputs rows columns"], w: Float[Tensor, "n style"]
    ) -> Float[Tensor, "n outputs out_rows out_columns"]:
        """The convolved channels; the bias, which comes after noise, is left to the caller."""
        style = self.affine(w)
        weight = self.weight * self.scale
        x = x * style[:, :, None, None]
        if self.blur is None:
            y = functional.conv2d(x, weight, padding=self.size // 2)
        else:
            y = self.blur(functional.conv_transpose2d(x, weight.transpose(0, 1), stride=2))
        if self.demodulate:
            power = style.square() @ weight.square().sum((2, 3)).T
            y = y * torch.rsqrt(power + 1e-8)[:, :, None, None]
        return y
