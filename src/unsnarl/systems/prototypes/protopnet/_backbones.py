"""Networks that turn images into maps of latent vectors: a small built-in one, models of the Hugging Face Hub, anyone's module."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from unsnarl.errors import DataError, FileError, MissingExtraError, OptionError

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class SmallCNN(nn.Sequential):
    """Four 3 x 3 convolutions with batch normalisation and ReLU; the first three halve the image: 64 pixels give 8 x 8.

    Batch normalisation keeps amplitudes: normalising each image by itself would hide its contrast and saturation.

    Args:
        channels: of the images.
        widths: channels of the four convolutions.
    """

    def __init__(self, channels: int = 3, widths: tuple[int, int, int, int] = (24, 48, 96, 96)):
        layers: list[nn.Module] = []
        for place, (before, after) in enumerate(zip((channels, *widths), widths, strict=False)):
            stride = 2 if place < 3 else 1
            layers += [nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
        super().__init__(*layers)


class HubBackbone(nn.Module):
    """An image model of transformers whose last hidden state is a map, or tokens that form one.

    Convolutional models (ResNet, ConvNeXt) give (batch, channel, height, width). Of a vision transformer (DINOv2, ViT)
    the tokens of image patches are laid out as they lie in the image; class and register tokens come first and are left out.
    """

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, x: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch channel rows columns"]:
        """The map."""
        hidden = self.model(pixel_values=x).last_hidden_state
        if hidden.ndim == 4:
            return hidden
        config: Any = self.model.config
        side = config.patch_size
        tall, wide = (side, side) if isinstance(side, int) else side
        rows, columns = x.shape[2] // tall, x.shape[3] // wide
        first = hidden.shape[1] - rows * columns
        if first < 0:
            raise DataError(
                f"the backbone gives {hidden.shape[1]} tokens for {rows} x {columns} patches; it has no map of the image"
            )
        return hidden[:, first:].transpose(1, 2).unflatten(2, (rows, columns))


def hub_backbone(name: str, config: dict[str, Any] | None = None) -> HubBackbone:
    """A model of the hub or of a folder with its weights; given its `config`, the same networks with fresh ones.

    Raises:
        MissingExtraError: transformers is not installed.
        FileError: no such model, or the hub cannot be reached.
    """
    try:
        import transformers
    except ImportError:
        raise MissingExtraError("transformers", "language") from None
    if config is not None:
        options = dict(config)
        return HubBackbone(
            transformers.AutoModel.from_config(transformers.AutoConfig.for_model(options.pop("model_type"), **options))
        )
    try:
        return HubBackbone(transformers.AutoModel.from_pretrained(name))
    except (OSError, ValueError) as error:
        raise FileError(
            f"backbone={name!r} is neither 'cnn', nor a folder, nor a model of the hub that can be reached "
            f"({str(error).strip().splitlines()[0]})"
        ) from None


def map_shape(backbone: nn.Module, shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """(channels, rows, columns) of the map of one image.

    Raises:
        OptionError: what the backbone gives is no map.
    """
    was = backbone.training
    with torch.inference_mode():
        out = backbone.eval()(torch.zeros(1, *shape))
    backbone.train(was)
    if not isinstance(out, Tensor) or out.ndim != 4:
        found = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
        raise OptionError(
            f"backbone must give maps (batch, channel, height, width), got {found}; leave out pooling and classifier"
        )
    return out.shape[1], out.shape[2], out.shape[3]


def receptive_field(
    network: nn.Module, shape: tuple[int, int, int], position: tuple[int, int], *, probes: int = 2
) -> Int[Tensor, "4"]:
    """The part of the input that one place of the map sees: top, bottom, left, right in pixels, ends excluded.

    Found as the box of pixels with a gradient other than zero, over a few random inputs; so it holds for any network,
    resizing included. A transformer sees the whole image.

    Cost: `probes` passes forward and back of one image.
    """
    generator = torch.Generator().manual_seed(0)
    device = next(network.parameters()).device
    seen = torch.zeros(shape[1:], dtype=torch.bool, device=device)
    for _ in range(probes):
        x = torch.rand(1, *shape, generator=generator).to(device).requires_grad_(True)
        with torch.enable_grad():
            row, column = position
            (gradient,) = torch.autograd.grad(network(x)[0, :, row, column].sum(), x)
        seen |= (gradient[0] != 0).any(dim=0)
    rows, columns = seen.any(dim=1).nonzero().flatten(), seen.any(dim=0).nonzero().flatten()
    if not len(rows):
        return torch.tensor([0, shape[1], 0, shape[2]])
    return torch.stack([rows[0], rows[-1] + 1, columns[0], columns[-1] + 1]).cpu()
