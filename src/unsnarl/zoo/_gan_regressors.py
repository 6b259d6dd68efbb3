"""What reads the factors of a coloured sprite from its image: a small network trained on renders, half of them degraded.

The sprites it learns from have independent factors, so that what it says of one does not lean on another. It can be
differentiated, so that a path in a generator's latents can be followed by what it does to each factor.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from unsnarl.data._color_sprites import CIRCULAR, NAMES, RANGES, draw_sprites, render_color_sprites, sprite_table
from unsnarl.data._factors import FactorTable
from unsnarl.data._sprites import SHAPES
from unsnarl.data.scenes import to_signed
from unsnarl.errors import DataError
from unsnarl.training import EMA, Task
from unsnarl.zoo._degrade import degrade
from unsnarl.zoo._networks import ResidualBlock, average_writer, read_network
from unsnarl.zoo._recipe import Recipe
from unsnarl.zoo._schedule import adamw, cosine_rate, set_rate

BATCH, STEPS, DEGRADED = 64, 3_000, 0.5
FEATURES = 128
LINES = tuple(name for name in RANGES if name != CIRCULAR)  # the factors that are numbers on a line
SURE_SHAPE, SURE_HUE, OUTSIDE = 0.9, 0.9, 0.1


class FactorNetwork(nn.Module):
    """Signed images (n, 3, 32, 32) to 128 features, and from them to shape (3 logits), hue (sine, cosine) and five numbers.

    The five are in standard deviations from the middle of their range.
    """

    def __init__(self, width: int = 48):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, width // 2, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(width // 2, width, 4, stride=2, padding=1),
            ResidualBlock(width),
            nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
            ResidualBlock(2 * width),
            nn.GroupNorm(8, 2 * width),
            nn.SiLU(),
            nn.Conv2d(2 * width, 64, 4, stride=2, padding=1),
            nn.SiLU(),
            nn.Flatten(1),
            nn.Linear(64 * 16, FEATURES),
            nn.SiLU(),
        )
        self.head = nn.Linear(FEATURES, len(SHAPES) + 2 + len(LINES))

    def forward(self, images: Float[Tensor, "n 3 32 32"]) -> tuple[Tensor, Tensor, Tensor]:
        """Shape logits (n, 3), sine and cosine of the hue (n, 2), numbers (n, 5)."""
        return self.split(self.head(self.body(images)))

    @staticmethod
    def split(told: Float[Tensor, "n value"]) -> tuple[Tensor, Tensor, Tensor]:
        """The head's values by what they are."""
        shape, hue, numbers = told.split([len(SHAPES), 2, len(LINES)], dim=1)
        return shape, hue, numbers


def _middles() -> tuple[Float[np.ndarray, " number"], Float[np.ndarray, " number"]]:
    ends = np.array([RANGES[name] for name in LINES])
    return ends.mean(1), (ends[:, 1] - ends[:, 0]) / np.sqrt(12.0)


@dataclass(frozen=True, eq=False)
class SpriteReading(Mapping[str, np.ndarray]):
    """What is read in n images: a mapping from factor to (n,) values, shapes by name, the others in the simulator's units.

    Attributes:
        factors: the mapping.
        shape_probabilities: (n, 3), in the order of `SHAPES`.
        hue_length: (n,) length of the sine and cosine read, 1 where the hue is sure and near 0 where it could be any.
    """

    factors: dict[str, np.ndarray]
    shape_probabilities: Float[np.ndarray, "n 3"]
    hue_length: Float[np.ndarray, " n"]

    def __getitem__(self, name: str) -> np.ndarray:
        return self.factors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.factors)

    def __len__(self) -> int:
        return len(self.factors)

    @property
    def sure(self) -> Bool[np.ndarray, " n"]:
        """Where one shape has probability 0.9, the hue is clear (length 0.9) and every number within a tenth of its range."""
        sure = (self.shape_probabilities.max(1) >= SURE_SHAPE) & (self.hue_length >= SURE_HUE)
        for name in LINES:
            low, high = RANGES[name]
            slack = OUTSIDE * (high - low)
            sure &= (self[name] >= low - slack) & (self[name] <= high + slack)
        return sure

    @property
    def rows(self) -> Float[np.ndarray, "n 7"]:
        """The factors as numbers that can be rendered: shapes by place, what lies outside a range moved to its end."""
        columns = [self.shape_probabilities.argmax(1).astype(np.float64)]
        columns += [np.clip(self[name], *RANGES[name]) for name in RANGES]
        return np.stack(columns, axis=1)

    def numeric(self) -> tuple[Float[np.ndarray, "n column"], list[str]]:
        """Everything as numbers on a line, with the factor of each column: probabilities of shapes, sine and cosine of the hue."""
        angle = 2 * np.pi * self[CIRCULAR]
        columns = [*self.shape_probabilities.T, np.sin(angle), np.cos(angle), *(self[name] for name in LINES)]
        return np.stack(columns, axis=1), ["shape"] * len(SHAPES) + [CIRCULAR] * 2 + list(LINES)

    def table(self) -> FactorTable:
        """The factors as a table that measures and learners take."""
        return sprite_table(self.rows)


class FactorRegressors:
    """Reads sprites.

    Args:
        network: a `FactorNetwork` that is trained, or a module that answers like one.

    Examples:
        `regressors.read(images)["size"]`
    """

    def __init__(self, network: Any):
        self.network = network.eval()

    def predict(self, images: Float[Tensor, "n channel height width"]) -> dict[str, Tensor]:
        """What the network says, differentiable.

        Args:
            images: in [-1, 1].

        Returns:
            "shape" (n, 3) logits, "hue" (n, 2) sine and cosine, every other factor (n,) in its own unit.

        Raises:
            DataError: images of another shape.
        """
        _check_images(images)
        shape, hue, numbers = self.network(images)
        middle, spread = (torch.as_tensor(v, dtype=numbers.dtype, device=numbers.device) for v in _middles())
        lines = (middle + spread * numbers).unbind(1)
        return {"shape": shape, CIRCULAR: hue, **dict(zip(LINES, lines, strict=True))}

    def read(self, images: Float[Tensor, "n channel height width"], rows: int = 256) -> SpriteReading:
        """What is in each image.

        Args:
            images: in [-1, 1].
            rows: how many at a time.

        Raises:
            DataError: images of another shape, or not finite.
        """
        _check_images(images)
        if not bool(images.isfinite().all()):
            raise DataError("images must be finite")
        with torch.inference_mode():
            parts = [self.predict(part) for part in images.split(rows)]
        told = {name: torch.cat([p[name] for p in parts]).double().cpu() for name in parts[0]}
        probabilities = torch.softmax(told["shape"], dim=1).numpy()
        sine, cosine = told[CIRCULAR].numpy().T
        values = {
            "shape": np.array(SHAPES)[probabilities.argmax(1)],
            CIRCULAR: (np.arctan2(sine, cosine) / (2 * np.pi)) % 1.0,
            **{name: told[name].numpy() for name in LINES},
        }
        return SpriteReading({name: values[name] for name in NAMES}, probabilities, np.hypot(sine, cosine))

    def features(self, images: Float[Tensor, "n channel height width"], rows: int = 256) -> Float[Tensor, "n feature"]:
        """The 128 features that the factors are read from, for distances between sets of images."""
        _check_images(images)
        with torch.inference_mode():
            return torch.cat([self.network.body(part) for part in images.split(rows)])


def _check_images(images: Any) -> None:
    if not isinstance(images, Tensor) or images.ndim != 4 or tuple(images.shape[1:]) != (3, 32, 32):
        raise DataError(f"images must be a tensor of shape (n, 3, 32, 32), got {getattr(images, 'shape', images)!r}")


def factor_changes(before: SpriteReading, after: SpriteReading) -> dict[str, Float[np.ndarray, " n"]]:
    """How far each factor moved, in units in which all factors are alike.

    The unit is the root of half the mean squared distance of two independent sprites, which for a number on a line is its
    standard deviation. A hue moves the shorter way round; its sign is that of the way. A shape moves by half the absolute change
    of its probabilities, without a sign.

    Raises:
        DataError: readings of different numbers of images.
    """
    if len(before.hue_length) != len(after.hue_length):
        raise DataError(f"before holds {len(before.hue_length)} images and after {len(after.hue_length)}")
    moved = 0.5 * np.abs(after.shape_probabilities - before.shape_probabilities).sum(1)
    turned = (after[CIRCULAR] - before[CIRCULAR] + 0.5) % 1.0 - 0.5
    changes = {
        "shape": moved / np.sqrt(0.5 * (1 - 1 / len(SHAPES))),
        CIRCULAR: turned / np.sqrt(1 / 24),
    }
    for name, spread in zip(LINES, _middles()[1], strict=True):
        changes[name] = (after[name] - before[name]) / spread
    return changes


class RegressorBatches:
    """Step t -> signed images of independent sprites and what should be read in them: shape, sine and cosine, numbers."""

    def __init__(self, batch_size: int, seed: int):
        self.batch_size, self.seed = batch_size, seed

    def __call__(self, step: int) -> tuple[Tensor, ...]:
        return sprite_targets(draw_sprites(self.batch_size, np.random.default_rng([self.seed, step, 37])))


def sprite_targets(rows: Float[np.ndarray, "n 7"]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Signed images (n, 3, 32, 32), shapes (n,), sine and cosine of the hue (n, 2), the other numbers (n, 5)."""
    middle, spread = _middles()
    angle = 2 * np.pi * rows[:, NAMES.index(CIRCULAR)]
    numbers = (rows[:, [NAMES.index(name) for name in LINES]] - middle) / spread
    return (
        to_signed(render_color_sprites(rows)),
        torch.from_numpy(rows[:, 0].astype(np.int64)),
        torch.from_numpy(np.stack([np.sin(angle), np.cos(angle)], axis=1)).float(),
        torch.from_numpy(numbers).float(),
    )


class RegressorTask(Task):
    """Cross-entropy of the shape plus mean squared errors of hue and numbers; what is kept is the average over the last steps."""

    def __init__(self, *, steps: int, lr: float = 2e-3, degraded: float = DEGRADED, width: int = 48):
        super().__init__()
        self.network = FactorNetwork(width)
        self.average = EMA(self.network, steps=200)
        self.steps, self.lr, self.degraded = steps, lr, degraded

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """AdamW."""
        optimizer = adamw(self.network, lr=self.lr, weight_decay=0.01, betas=(0.9, 0.99), clip_norm=5.0)
        self.average.follow(self.network, optimizer)
        return {"main": optimizer}

    def forward(
        self, phase: str, batch: tuple[Tensor, ...], step: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """The three losses and their sum."""
        set_rate(self.optimizers_["main"], cosine_rate(step, self.steps, 200))
        images, shape, hue, numbers = batch
        told = self.network(degrade(images, generator, self.degraded))
        losses = {
            "shape": functional.cross_entropy(told[0], shape),
            "hue": functional.mse_loss(told[1], hue),
            "numbers": functional.mse_loss(told[2], numbers),
        }
        return {"loss": torch.stack(list(losses.values())).sum(), **losses}


def _load(folder: Path) -> FactorRegressors:
    return FactorRegressors(read_network(FactorNetwork(), folder))


GAN_REGRESSORS = Recipe(
    name="gan-regressors",
    summary="reads shape, hue, size, orientation, place and background of a coloured sprite; differentiable",
    make=lambda models, steps: RegressorTask(steps=steps),
    batches=lambda models: RegressorBatches(BATCH, seed=10),
    export=average_writer("FactorNetwork"),
    load=_load,
    steps=STEPS,
    batch_size=BATCH,
    seed=10,
    data="coloured sprites, half of them made worse",
    settings={"degraded": DEGRADED},
)
