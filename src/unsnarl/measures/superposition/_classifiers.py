"""Image classifiers whose layers are measured: an MLP and a small CNN for digits, a ResNet-18 for 32 x 32 colour.

Sizes are those of Bereska et al. 2025. Two classes give one output (a logit), more give one each. `measured_layers` names
the layers whose output is measured, all of them behind a ReLU.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from unsnarl.arrays import check_choice, check_range
from unsnarl.errors import OptionError

Images = Float[Tensor, "batch channel height width"]
Logits = Float[Tensor, "batch out"]


class DigitMLP(nn.Module):
    """Three hidden layers of 4, 2 and 1 times `width`, each a linear map and a ReLU."""

    measured_layers: Sequence[str] = ("relu1", "relu2", "relu3")

    def __init__(self, shape: Sequence[int] = (1, 28, 28), classes: int = 10, *, width: int = 32):
        super().__init__()
        sizes = [math.prod(shape), 4 * width, 2 * width, width]
        for number in (1, 2, 3):
            setattr(self, f"fc{number}", nn.Linear(sizes[number - 1], sizes[number]))
            setattr(self, f"relu{number}", nn.ReLU())
        self.fc4 = nn.Linear(width, outputs(classes))

    def forward(self, x: Images) -> Logits:
        """Class logits."""
        h = x.flatten(1)
        for number in (1, 2, 3):
            h = getattr(self, f"relu{number}")(getattr(self, f"fc{number}")(h))
        return self.fc4(h)


class DigitCNN(nn.Module):
    """Two 3 x 3 convolutions of `width` and 2 `width` channels, each halved by max-pooling, and a layer of 4 `width`."""

    measured_layers: Sequence[str] = ("conv1", "conv2", "fc1")

    def __init__(self, shape: Sequence[int] = (1, 28, 28), classes: int = 10, *, width: int = 16):
        super().__init__()
        channels, height, breadth = shape
        self.conv1 = nn.Sequential(nn.Conv2d(channels, width, 3, padding=1), nn.ReLU())
        self.conv2 = nn.Sequential(nn.Conv2d(width, 2 * width, 3, padding=1), nn.ReLU())
        flat = 2 * width * (height // 4) * (breadth // 4)
        self.fc1 = nn.Sequential(nn.Linear(flat, 4 * width), nn.ReLU())
        self.fc2 = nn.Linear(4 * width, outputs(classes))

    def forward(self, x: Images) -> Logits:
        """Class logits."""
        x = F.max_pool2d(self.conv1(x), 2)
        x = F.max_pool2d(self.conv2(x), 2)
        return self.fc2(self.fc1(x.flatten(1)))


class ResNet18(nn.Module):
    """The residual network of 18 layers with a 3 x 3 stem and no max-pooling, for 32 x 32 images (He et al. 2016)."""

    measured_layers: Sequence[str] = ("relu", "layer1", "layer2", "layer3", "layer4", "avgpool")

    def __init__(self, shape: Sequence[int] = (3, 32, 32), classes: int = 10, *, width: int = 64):
        super().__init__()
        self.conv1 = nn.Conv2d(shape[0], width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()
        for number, (before, after) in enumerate([(1, 1), (1, 2), (2, 4), (4, 8)], start=1):
            stride = 1 if number == 1 else 2
            blocks = [_Block(before * width, after * width, stride), _Block(after * width, after * width, 1)]
            setattr(self, f"layer{number}", nn.Sequential(*blocks))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(8 * width, outputs(classes))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Images) -> Logits:
        """Class logits."""
        x = self.relu(self.bn1(self.conv1(x)))
        for name in self.measured_layers[1:]:
            x = getattr(self, name)(x)
        return self.fc(x.flatten(1))


class _Block(nn.Module):
    """Two convolutions and a shortcut, projected where the shape changes."""

    def __init__(self, before: int, after: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or before != after:
            self.shortcut = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(h)) + self.shortcut(x))


CLASSIFIERS = {"mlp": DigitMLP, "cnn": DigitCNN, "resnet18": ResNet18}


def outputs(classes: int) -> int:
    """One logit for two classes, otherwise one for each."""
    return 1 if classes == 2 else classes


def make_classifier(
    kind: str, shape: Sequence[int], classes: int, *, width: int | None = None, seed: int = 0
) -> nn.Module:
    """A classifier by name, its first weights drawn from `seed` without touching torch's global state.

    Raises:
        OptionError: an unknown kind, fewer than two classes, or images too small for it.
    """
    check_choice(kind, tuple(CLASSIFIERS), "classifier")
    check_range(classes, "classes", low=2, integer=True)
    if width is not None:
        check_range(width, "width", low=1, integer=True)
    if len(shape) != 3 or (kind == "cnn" and min(shape[1:]) < 4):
        raise OptionError(f"classifier={kind!r} needs images (channels, height, width), got shape {tuple(shape)}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        options = {} if width is None else {"width": int(width)}
        return CLASSIFIERS[kind](shape, classes, **options)
