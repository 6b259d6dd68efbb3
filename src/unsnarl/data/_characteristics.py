"""Scenes in which one visible characteristic, and nothing else, says what class they are of.

A scene shows four figures of one outline on a ground; both have one hue, one saturation, one grain, and lie a certain contrast
apart. Ten classes, two for each of five characteristics: a scene of class "red" is red and everything else about it
is drawn from values that no class owns, likewise for "disc", "grainy" and so on. So the true reason of every class is
known, and is to be had in any part of the image (for outlines: at any edge of a figure).

    lightness = level + polarity contrast (2 inside - 1) + grain
    rgb       = lightness + saturation (v(hue) - luma of v(hue)),   v(hue) = the pure color of HSV

Contrast, saturation and grain are amplitudes in [0, 1] of the pixel range, so the hue in HSV is exactly the factor's, and
max - min of the channels is exactly the saturation factor.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from torch import Tensor

from unsnarl.arrays import check_range
from unsnarl.data._factors import DISCRETE, FactorTable
from unsnarl.data._simulator import Simulator, images
from unsnarl.data.image_operators._operator import LUMA

CHARACTERISTICS = ("hue", "shape", "texture", "contrast", "saturation")

# Of each factor: the values that make the two classes, then those that no class owns. Where a characteristic has an
# amount (contrast, saturation, grain), the classes have more of it than the others: less would be what its operator
# makes of every image. Free values are as near as an operator's usual change is a quarter of the way to them, for each alike.
OWNED: dict[str, tuple[Any, Any]] = {
    "hue": (0.0, 0.5),
    "outline": ("cross", "disc"),
    "texture": ("grain", "streaks"),
    "contrast": (0.25, 0.17),
    "saturation": (0.36, 0.22),
}
FREE: dict[str, tuple[Any, ...]] = {
    "hue": (0.08, 0.17, 0.25, 0.33, 0.42, 0.58, 0.67, 0.75, 0.83, 0.92),
    "outline": ("triangle", "star"),
    "texture": ("smooth", "blots"),
    "contrast": (0.095, 0.1, 0.105),
    "saturation": (0.11, 0.12, 0.13),
}
LEVELS = (0.42, 0.46, 0.5, 0.54, 0.58)
GRAIN = 0.035  # standard deviation of the textures that own a class; of blots, a third
STREAK, BLOT = 3.0, 2.5  # widths of the blur, in pixels
LAYOUTS = 65_536
OUTLINES = (*OWNED["outline"], *FREE["outline"])
TEXTURES = (*OWNED["texture"], *FREE["texture"])
NO_CLASS = "none"
CLASSES = tuple(
    f"{name} {value}" for name, factor in zip(CHARACTERISTICS, OWNED, strict=True) for value in OWNED[factor]
)


class CharacteristicScenes(Simulator):
    """Scenes of ten classes, each defined by one value of one characteristic.

    Its factors are hue (turns), outline, texture, contrast, saturation, level (mean lightness) and layout (which of 65,536
    arrangements, sizes, turns and grains). The table has a further column, `class`: the class whose value is present, or
    "none" when a counterfactual shows none, or values of two classes.

    `intervene(rows, hue=0.5)` gives the same scenes with that factor changed, the same pixels otherwise.

    Args:
        size: number of scenes, spread evenly over the classes up to chance.
        image_size: height and width in pixels.
        classes: which of the ten classes to draw, by number; None draws all. Classes 2 i and 2 i + 1 belong to
            characteristic i of `CHARACTERISTICS`.
        seed: seed of the draws.

    Raises:
        OptionError: a size or class out of range.

    Cost: 0.4 ms an image of 64 x 64.

    Examples:
        >>> scenes = CharacteristicScenes(20, image_size=32, seed=1)
        >>> tuple(scenes.observations.shape), scenes.classes[:2]
        ((20, 3, 32, 32), ('hue 0.0', 'hue 0.5'))
        >>> bool((scenes.render(scenes.table) == scenes.observations).all())
        True
    """

    classes = CLASSES

    def __init__(
        self, size: int = 4_000, *, image_size: int = 64, classes: tuple[int, ...] | None = None, seed: int = 0
    ):
        check_range(size, "size", low=1, integer=True)
        check_range(image_size, "image_size", low=16, integer=True)
        for c in classes or ():
            check_range(c, "classes", low=0, high=len(CLASSES) - 1, integer=True)
        self.image_size = int(image_size)
        self.drawn = tuple(range(len(CLASSES))) if classes is None else tuple(int(c) for c in classes)
        grid: dict[str, np.ndarray] = {name: np.array((*OWNED[name], *FREE[name])) for name in OWNED}
        self.grid = grid | {"level": np.array(LEVELS), "layout": np.arange(LAYOUTS)}
        super().__init__(int(size), seed=seed)

    @property
    def labels(self) -> Int[np.ndarray, " n"]:
        """The class of every scene, 0 to 9."""
        assert self.table is not None
        return class_of(self.indices_of(self.table))

    def _draw(self, size: int, rng: np.random.Generator) -> np.ndarray:
        """A class for every scene; of its factor that class's value, of the others values that no class owns."""
        columns = [2 + rng.integers(len(FREE[name]), size=size) for name in OWNED]
        columns += [rng.integers(len(LEVELS), size=size), rng.integers(LAYOUTS, size=size)]
        indices = np.stack(columns, axis=1)
        chosen = np.array(self.drawn)[rng.integers(len(self.drawn), size=size)]
        indices[np.arange(size), chosen // 2] = chosen % 2
        return indices

    def _table_of(self, indices: np.ndarray) -> FactorTable:
        table = super()._table_of(indices)
        names = np.array([*CLASSES, NO_CLASS], dtype=object)[class_of(indices)]
        frame = pd.DataFrame({"class": names, **{n: table.values[n].to_numpy() for n in self.grid}})
        return FactorTable(
            frame,
            dict.fromkeys(map(str, frame), DISCRETE),
            {"class": np.array(sorted({*CLASSES, NO_CLASS})), **table.levels},
        )

    def render_indices(self, indices: Int[np.ndarray, "n factor"]) -> Tensor:
        """Images of shape (n, 3, image_size, image_size), uint8."""
        out = np.empty((len(indices), 3, self.image_size, self.image_size), dtype=np.uint8)
        values = [self.grid[name][indices[:, i]] for i, name in enumerate(self.grid)]
        for row in range(len(indices)):
            out[row] = _scene(self.image_size, *(column[row].item() for column in values))
        return images(out)


def class_of(indices: Int[np.ndarray, "n factor"]) -> Int[np.ndarray, " n"]:
    """The class that grid indices show: the one factor with an owned value; -1 for none or several."""
    owned = indices[:, : len(OWNED)] < 2
    factor = owned.argmax(axis=1)
    number = 2 * factor + indices[np.arange(len(indices)), factor]
    return np.where(owned.sum(axis=1) == 1, number, -1)


def defining_characteristic(label: int) -> str:
    """The characteristic that defines a class, as the image operators call it."""
    check_range(label, "label", low=0, high=len(CLASSES) - 1, integer=True)
    return CHARACTERISTICS[int(label) // 2]


def _scene(
    size: int, hue: float, outline: str, texture: str, contrast: float, saturation: float, level: float, layout: int
) -> np.ndarray:
    rng = np.random.default_rng(layout)
    polarity = rng.choice([-1.0, 1.0])
    inside = _figures(size, outline, rng)
    lightness = level + polarity * contrast * (2 * inside - 1) + _grain(size, texture, rng)
    k = (np.array([5.0, 3.0, 1.0]) + 6 * hue) % 6
    color = 1 - np.clip(np.minimum(k, 4 - k), 0, 1)
    tint = saturation * (color - LUMA @ color)
    return np.rint(255 * np.clip(lightness[None] + tint[:, None, None], 0, 1)).astype(np.uint8)


def _figures(size: int, outline: str, rng: np.random.Generator) -> Float[np.ndarray, "height width"]:
    """How much of each pixel lies in one of four figures, one in each quarter of the image."""
    inside = np.zeros((size, size), dtype=np.float32)
    corners = ((0, 0), (0, 1), (1, 0), (1, 1))
    numbers = rng.random((4, 4))  # the same numbers whatever the outline
    axis = np.arange(size) + 0.5
    for (row, column), (x, y, turn, scale) in zip(corners, numbers, strict=True):
        radius = size * (0.125 + 0.03 * scale)
        v = axis - size * (0.25 + 0.5 * row + 0.1 * (y - 0.5))
        u = axis - size * (0.25 + 0.5 * column + 0.1 * (x - 0.5))
        angle = 2 * np.pi * turn
        across = np.cos(angle) * u[None, :] + np.sin(angle) * v[:, None]
        along = np.cos(angle) * v[:, None] - np.sin(angle) * u[None, :]
        inside = np.maximum(inside, np.clip(0.5 - _outside(outline, across, along, radius), 0, 1))
    return inside


def _outside(outline: str, u: np.ndarray, v: np.ndarray, radius: float) -> np.ndarray:
    """Distance to the outline in pixels, negative inside (exact near its straight parts); all have about one area."""
    if outline == "disc":
        return np.hypot(u, v) - radius
    if outline == "triangle":
        sides = [u * np.cos(a) + v * np.sin(a) for a in np.pi * (0.5 + np.arange(3) * 2 / 3)]
        return np.max(sides, axis=0) - 0.778 * radius
    if outline == "cross":
        long, short = 1.2 * radius, 0.4 * radius
        bars = [np.maximum(np.abs(a) - long, np.abs(b) - short) for a, b in ((u, v), (v, u))]
        return np.minimum(*bars)
    # star: five points; the distance to the line of the point's side in the nearest of its ten mirrored sectors
    angle = np.abs((np.arctan2(v, u) + np.pi / 5) % (2 * np.pi / 5) - np.pi / 5)
    far = np.hypot(u, v)
    tip, notch = 1.6 * radius, 0.72 * radius
    ax, ay = tip, 0.0
    bx, by = notch * np.cos(np.pi / 5), notch * np.sin(np.pi / 5)
    nx, ny = by - ay, ax - bx
    norm = np.hypot(nx, ny)
    return ((far * np.cos(angle) - ax) * nx + (far * np.sin(angle) - ay) * ny) / norm


def _grain(size: int, texture: str, rng: np.random.Generator) -> Float[np.ndarray, "height width"]:
    """Noise of mean 0: fine and even, fine and drawn out along one direction, coarse, or none."""
    noise = rng.standard_normal((size, size)).astype(np.float32)
    upright = bool(rng.random() < 0.5)
    if texture == "smooth":
        return np.zeros_like(noise)
    if texture == "grain":
        return GRAIN * noise
    from scipy.ndimage import gaussian_filter

    widths = (STREAK, 0.0) if upright else (0.0, STREAK)
    smooth = gaussian_filter(noise, widths if texture == "streaks" else BLOT, mode="wrap")
    return (GRAIN if texture == "streaks" else GRAIN / 3) * smooth / smooth.std()
