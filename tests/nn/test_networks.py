"""Encoders and decoders: layer by layer as published, and against a forward pass written in plain NumPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from unsnarl.errors import OptionError
from unsnarl.nn import (
    ARCHITECTURES,
    Architecture,
    ConvDecoder,
    ConvEncoder,
    DenseDecoder,
    DenseEncoder,
    StyleBlock,
    StyleDecoder,
    find_architecture,
)

WIDTHS = [32] * 3 + [64] * 3 + [128] * 3 + [256] * 3
KERNELS = [3, 3, 4] * 4
STRIDES = [1, 1, 2] * 4


def size_of(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


# ---- the published networks, from the description ---------------------------------------------------------------------


def test_the_published_encoder_layer_by_layer():
    encoder = ARCHITECTURES["published"].encoder((3, 64, 64), 12)
    layers = list(encoder.conv)
    assert [type(layer) for layer in layers] == [nn.Conv2d, nn.InstanceNorm2d, nn.LeakyReLU] * 12
    channels = [3, *WIDTHS]
    for i, (conv, norm, leaky) in enumerate(zip(layers[::3], layers[1::3], layers[2::3], strict=True)):
        assert (conv.in_channels, conv.out_channels) == (channels[i], channels[i + 1])
        assert conv.kernel_size == (KERNELS[i],) * 2
        assert conv.stride == (STRIDES[i],) * 2
        assert conv.padding == (1, 1)
        assert conv.bias is None
        assert (norm.eps, norm.affine, norm.track_running_stats) == (1e-6, True, False)
        assert leaky.negative_slope == 0.2
    assert [type(layer) for layer in encoder.body] == [nn.Linear, nn.ReLU] * 2
    assert [(layer.in_features, layer.out_features) for layer in encoder.body[::2]] == [(256 * 4 * 4, 256), (256, 256)]
    assert (encoder.head.in_features, encoder.head.out_features) == (256, 12)


def test_the_published_encoder_has_the_number_of_parameters_of_its_description():
    channels = [3, *WIDTHS]
    expected = sum(channels[i] * channels[i + 1] * KERNELS[i] ** 2 + 2 * channels[i + 1] for i in range(12))
    expected += 4096 * 256 + 256 + 256 * 256 + 256 + 256 * 12 + 12
    assert size_of(ARCHITECTURES["published"].encoder((3, 64, 64), 12)) == expected == 3_684_524


def test_the_published_decoder_layer_by_layer():
    decoder = ARCHITECTURES["published"].make_decoder(12, (3, 64, 64))
    assert isinstance(decoder, StyleDecoder)
    assert [type(layer) for layer in decoder.mapping] == [nn.Linear, nn.ReLU] * 2
    assert [(layer.in_features, layer.out_features) for layer in decoder.mapping[::2]] == [(12, 256), (256, 256)]
    assert decoder.constant.shape == (256, 4, 4)
    assert torch.all(decoder.constant == 0.1)
    channels = [256, *reversed(WIDTHS)]
    assert len(decoder.blocks) == 12
    for i, block in enumerate(decoder.blocks):
        conv = block.conv
        assert isinstance(conv, nn.ConvTranspose2d)
        assert (conv.in_channels, conv.out_channels) == (channels[i], channels[i + 1])
        assert (conv.kernel_size, conv.stride) == ((KERNELS[i],) * 2, (STRIDES[i],) * 2)
        assert (conv.padding, conv.output_padding, conv.bias) == ((1, 1), (0, 0), None)
        assert (block.style.in_features, block.style.out_features) == (256, 2 * channels[i + 1])
    last = decoder.to_image
    assert (last.in_channels, last.out_channels, last.kernel_size, last.padding) == (32, 3, (3, 3), (1, 1))
    assert last.bias is None


def test_the_published_decoder_has_the_number_of_parameters_of_its_description():
    channels = [256, *reversed(WIDTHS)]
    expected = 12 * 256 + 256 + 256 * 256 + 256 + 256 * 4 * 4 + 32 * 3 * 9
    expected += sum(channels[i] * channels[i + 1] * KERNELS[i] ** 2 for i in range(12))
    expected += sum((256 + 1) * 2 * width for width in WIDTHS)
    assert size_of(ARCHITECTURES["published"].make_decoder(12, (3, 64, 64))) == expected


def test_the_published_small_and_dense_networks():
    encoder = ARCHITECTURES["published-small"].encoder((3, 64, 64), 12)
    assert [(c.out_channels, c.kernel_size, c.stride) for c in encoder.conv[::3]] == [
        (width, (4, 4), (2, 2)) for width in (64, 128, 256, 512)
    ]
    assert [(layer.in_features, layer.out_features) for layer in encoder.body[::2]] == [(512 * 4 * 4, 512)]
    dense = ARCHITECTURES["published-dense"].encoder((3, 64, 64), 12)
    assert [type(layer) for layer in dense.body] == [nn.Linear, nn.LayerNorm, nn.ReLU] * 4
    assert [layer.out_features for layer in dense.body[::3]] == [2048] * 4


def test_convolutions_start_as_in_the_published_layers():
    torch.manual_seed(0)
    for module, fan_in in [
        (ConvEncoder((3, 16, 16), 2, (32, 64), 2, (8,)).conv[6], 32 * 9),
        (StyleBlock(32, 64, 4, 2, 8).conv, 32 * 16),
        (ConvDecoder(2, (3, 16, 16), (64, 32), 1, (8,)).conv[0], 32 * 16),
    ]:
        bound = 1 / math.sqrt(fan_in)
        weight = module.weight.detach()
        assert float(weight.abs().max()) <= bound
        assert float(weight.abs().max()) > 0.99 * bound
        assert abs(float(weight.std()) / (bound / math.sqrt(3)) - 1) < 0.03


# ---- plain NumPy ------------------------------------------------------------------------------------------------------


def conv(x: np.ndarray, weight: np.ndarray, stride: int) -> np.ndarray:
    """Cross-correlation with one pixel of zeros around."""
    n, _, height, width = x.shape
    out, _, k, _ = weight.shape
    x = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    rows, columns = (height + 2 - k) // stride + 1, (width + 2 - k) // stride + 1
    y = np.zeros((n, out, rows, columns))
    for i in range(rows):
        for j in range(columns):
            patch = x[:, :, i * stride : i * stride + k, j * stride : j * stride + k]
            y[:, :, i, j] = np.einsum("ncab,ocab->no", patch, weight)
    return y


def conv_transpose(x: np.ndarray, weight: np.ndarray, stride: int) -> np.ndarray:
    """Each input pixel stamps the kernel on the output; one pixel is cut off all around."""
    n, _, height, width = x.shape
    _, out, k, _ = weight.shape
    y = np.zeros((n, out, (height - 1) * stride + k, (width - 1) * stride + k))
    for i in range(height):
        for j in range(width):
            stamp = np.einsum("nc,coab->noab", x[:, :, i, j], weight)
            y[:, :, i * stride : i * stride + k, j * stride : j * stride + k] += stamp
    return y[:, :, 1:-1, 1:-1]


def leaky(x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x, 0.2 * x)


def instance_norm(x: np.ndarray) -> np.ndarray:
    mean, variance = x.mean(axis=(2, 3), keepdims=True), x.var(axis=(2, 3), keepdims=True)
    return (x - mean) / np.sqrt(variance + 1e-6)


def double(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().double().numpy()


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (4, 2)])
def test_an_encoder_block_is_conv_then_norm_then_leaky(kernel: int, stride: int):
    torch.manual_seed(1)
    encoder = ConvEncoder((2, 8, 8), 1, (5,), 1 if kernel == 4 else 2, (3,))
    block = encoder.conv[:3]
    assert block[0].kernel_size == (kernel, kernel)
    nn.init.normal_(block[1].weight)
    nn.init.normal_(block[1].bias)
    x = torch.randn(3, 2, 8, 8)
    normed = instance_norm(conv(double(x), double(block[0].weight), stride))
    expected = leaky(normed * double(block[1].weight)[:, None, None] + double(block[1].bias)[:, None, None])
    np.testing.assert_allclose(block(x.clone()).detach().numpy(), expected, atol=1e-5)


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (4, 2)])
def test_a_style_block_is_conv_then_leaky_then_norm_then_style(kernel: int, stride: int):
    torch.manual_seed(2)
    block = StyleBlock(4, 3, kernel, stride, 6)
    x, w = torch.randn(5, 4, 4, 4), torch.randn(5, 6)
    style = np.maximum(double(w) @ double(block.style.weight).T + double(block.style.bias), 0)
    scale, shift = style[:, :3, None, None], style[:, 3:, None, None]
    expected = instance_norm(leaky(conv_transpose(double(x), double(block.conv.weight), stride))) * scale + shift
    assert (style == 0).any()
    np.testing.assert_allclose(block(x, w).detach().numpy(), expected, atol=1e-5)


def test_a_whole_encoder_and_decoder_in_numpy():
    torch.manual_seed(3)
    encoder = ConvEncoder((2, 8, 8), 3, (4, 6), 1, (7, 5))
    x = torch.rand(3, 2, 8, 8)
    map_ = double(x)
    for i in (0, 3):
        map_ = leaky(instance_norm(conv(map_, double(encoder.conv[i].weight), 2)))
    features = map_.reshape(3, -1)
    for i in (0, 2):
        features = np.maximum(features @ double(encoder.body[i].weight).T + double(encoder.body[i].bias), 0)
    z = features @ double(encoder.head.weight).T + double(encoder.head.bias)
    np.testing.assert_allclose(encoder.features(x).detach().numpy(), features, atol=1e-5)
    np.testing.assert_allclose(encoder(x).detach().numpy(), z, atol=1e-5)

    decoder = StyleDecoder(3, (2, 8, 8), (4, 6), 1, (7, 5))
    nn.init.normal_(decoder.constant)
    w = z
    for i in (0, 2):
        w = np.maximum(w @ double(decoder.mapping[i].weight).T + double(decoder.mapping[i].bias), 0)
    map_ = np.repeat(double(decoder.constant)[None], 3, axis=0)
    for block, channels in zip(decoder.blocks, (6, 4), strict=True):
        style = np.maximum(w @ double(block.style.weight).T + double(block.style.bias), 0)[:, :, None, None]
        map_ = instance_norm(leaky(conv_transpose(map_, double(block.conv.weight), 2)))
        map_ = map_ * style[:, :channels] + style[:, channels:]
    expected = conv(map_, double(decoder.to_image.weight), 1)
    np.testing.assert_allclose(decoder(torch.from_numpy(z).float()).detach().numpy(), expected, atol=2e-5)


# ---- shapes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 16, 16), (3, 16, 24), (2, 4, 8)])
@pytest.mark.parametrize("decoder", ["style", "plain"])
@pytest.mark.parametrize("depth", [1, 2])
def test_images_of_several_sizes_come_back_in_their_shape(shape: tuple[int, ...], decoder: str, depth: int):
    architecture = Architecture(widths=(4, 8), depth=depth, hidden=(16,), decoder=decoder)
    encoder, back = architecture.encoder(shape, 5), architecture.make_decoder(5, shape)
    z = encoder(torch.rand(3, *shape))
    assert z.shape == (3, 5)
    assert encoder.features(torch.rand(3, *shape)).shape == (3, encoder.feature_size) == (3, 16)
    assert back(z).shape == (3, *shape)


@pytest.mark.parametrize("shape", [(7,), (3, 4, 4)])
def test_dense_networks_take_observations_of_any_shape(shape: tuple[int, ...]):
    encoder, decoder = DenseEncoder(shape, 4, (16, 8)), DenseDecoder(4, shape, (8, 16))
    z = encoder(torch.rand(3, *shape))
    assert z.shape == (3, 4)
    assert encoder.features(torch.rand(3, *shape)).shape == (3, encoder.feature_size) == (3, 8)
    assert decoder(z).shape == (3, *shape)


def test_every_image_is_encoded_on_its_own():
    torch.manual_seed(0)
    architecture = Architecture(widths=(4, 8), depth=1, hidden=(16,))
    encoder, decoder = architecture.encoder((1, 8, 8), 3), architecture.make_decoder(3, (1, 8, 8))
    x = torch.rand(6, 1, 8, 8)
    torch.testing.assert_close(encoder(x)[2:3], encoder(x[2:3]))
    torch.testing.assert_close(decoder(encoder(x))[2:3], decoder(encoder(x[2:3])))


# ---- choosing ---------------------------------------------------------------------------------------------------------


def test_auto_takes_the_published_networks_for_images_and_dense_ones_for_tables():
    assert find_architecture("auto", (3, 64, 64)) is ARCHITECTURES["published"]
    assert find_architecture("auto", (9,)) is ARCHITECTURES["laptop-dense"]
    mine = Architecture(widths=[4], hidden=[8])
    assert mine.widths == (4,)
    assert find_architecture(mine, (9,)) is mine
    assert find_architecture(mine.to_dict(), (9,)) == mine


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: ARCHITECTURES["published"].encoder((3, 24, 32), 2),
            "images of shape (3, 24, 32) (channels, height, width) cannot be halved 4 times; height and width must be "
            "multiples of 16, and one of them larger: give fewer widths or pad the images",
        ),
        (
            lambda: ARCHITECTURES["published"].make_decoder(2, (3, 16, 16)),
            "images of shape (3, 16, 16) (channels, height, width) cannot be halved 4 times; height and width must be "
            "multiples of 16, and one of them larger: give fewer widths or pad the images",
        ),
        (
            lambda: ARCHITECTURES["laptop"].encoder((9,), 2),
            "convolutions need images (channels, height, width), but one observation has shape (9,); take a network of "
            "kind 'dense'",
        ),
        (
            lambda: find_architecture("huge", (9,)),
            "network='huge' is not allowed; choose one of 'auto', 'published', 'published-small', 'published-dense', "
            "'laptop', 'laptop-dense'",
        ),
        (lambda: Architecture(kind="dens"), "kind='dens' is not allowed; choose one of 'conv', 'dense'"),
        (lambda: Architecture(decoder="deep"), "decoder='deep' is not allowed; choose one of 'style', 'plain'"),
        (lambda: Architecture(depth=0), "depth=0 must be an integer at least 1"),
        (lambda: Architecture(widths=()), "widths is empty; give at least one width"),
        (lambda: Architecture(kind="dense", hidden=()), "hidden is empty; give at least one width"),
        (lambda: Architecture(hidden=(8, 0)), "a width in hidden=0 must be an integer at least 1"),
    ],
)
def test_networks_that_cannot_be_made(make, message: str):
    with pytest.raises(OptionError) as caught:
        make()
    assert str(caught.value) == message
