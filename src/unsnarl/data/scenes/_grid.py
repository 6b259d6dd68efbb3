"""Scenes with one object as a grid of factors, for what wants observations and a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int
from torch import Tensor

from unsnarl.arrays import check_choice, check_range
from unsnarl.data._shapes3d import check_factor_indices
from unsnarl.data._simulator import Simulator, images
from unsnarl.data.scenes import _draws as numbers
from unsnarl.data.scenes import _words as words
from unsnarl.data.scenes._draws import uniforms
from unsnarl.data.scenes._render import render_scenes
from unsnarl.data.scenes._scene import Scene, SceneObject, check_word
from unsnarl.data.scenes._things import BODY_NUMBERS
from unsnarl.errors import OptionError, UnknownNameError

FRAMES = {"none": (None, None), "black": ("even", "tick"), "white": ("odd", "tick")}
FACTORS: dict[str, Any] = {
    "kind": words.THINGS,
    "identity": 8,
    "color": words.COLOR_NAMES,
    "texture": words.TEXTURES,
    "size": words.SIZE_NAMES[:4],
    "facing": words.FACINGS,
    "turn": words.TURNS,
    "x": 5,
    "y": 5,
    "pattern": words.PATTERNS,
    "background": words.COLOR_NAMES,
    "style": words.STYLES,
    "frame": tuple(FRAMES),
}
HELD: dict[str, Any] = {
    "kind": "cat",
    "identity": 0,
    "color": "red",
    "texture": "plain",
    "size": "medium",
    "facing": "right",
    "turn": "upright",
    "x": 0.5,
    "y": 0.5,
    "pattern": "plain",
    "background": "cyan",
    "style": "none",
    "frame": "none",
}
IDENTITIES = 1000
TILT = 25.0
MOST_IMAGES = 2_000_000
_SEED = 7  # of the bodies


class Scenes(Simulator):
    """One object before a background: 13 factors, the same drawing as the captioned scenes.

    `identity` k stands for the body and second colour of the k-th thing of a kind (primitives do not have one, and show
    no facing); x and y run from 0 (left, top) to 1 (right, bottom) of the range in which the largest size of the grid
    stays inside. Any combination may be drawn, the held-out pairs of the streams too; name them in `leave_out` to keep
    them away.

    Args:
        size: number of scenes drawn; None renders the whole grid once, in order (up to 2,000,000 images).
        image_size: 32 or 64 pixels.
        factors: factor name -> the values, or how many (for kinds the first of things and primitives, for identity, x
            and y any number), in the order the table should have; None is all 13 of the six things.
        held: values of factors that do not vary; others keep their default (an upright red cat on cyan).
        seed: seed of the draws.
        correlate: pairs of factors drawn together, see `Simulator`.
        leave_out: factor combinations never drawn, see `Simulator`.
        only_left_out: draw only from the combinations left out.

    Raises:
        UnknownNameError: a factor that does not exist.
        OptionError: a value or number of values that is not allowed.

    Examples:
        >>> cats = Scenes(None, factors={"identity": 3, "color": 8, "turn": ["upright", "tilted"]}, held={"kind": "cat"})
        >>> tuple(cats.observations.shape), cats.factor_sizes
        ((48, 3, 32, 32), [3, 8, 2])
    """

    def __init__(
        self,
        size: int | None = 10_000,
        *,
        image_size: int = 32,
        factors: Mapping[str, int | Sequence[Any]] | None = None,
        held: Mapping[str, Any] | None = None,
        seed: int = 0,
        correlate: Mapping[tuple[str, str], float] | None = None,
        leave_out: Iterable[Mapping[str, Any]] = (),
        only_left_out: bool = False,
    ):
        check_choice(image_size, (32, 64), "image_size")
        self.image_size = image_size
        chosen = FACTORS if factors is None else factors
        if not chosen:
            raise OptionError("factors names no factor")
        self.grid = {name: _values(name, values) for name, values in chosen.items()}
        self.held = dict(HELD)
        for name, value in (held or {}).items():
            if name not in HELD:
                raise UnknownNameError("factor of scenes", name, list(HELD))
            if name in self.grid:
                raise OptionError(f"{name!r} is in factors and in held; it can either vary or be held")
            self.held[name] = _value(name, value, "held")
        count = int(np.prod([len(v) for v in self.grid.values()], dtype=np.float64))
        if size is None and count > MOST_IMAGES:
            raise OptionError(
                f"size=None would render {count:,} images; give a size, or fewer factors (at most {MOST_IMAGES:,})"
            )
        sizes = self.grid.get("size", [self.held["size"]])
        self._margin = min(0.5 * max(words.SIZES[str(s)][1] for s in sizes) + 1.0 / 32, 0.46)
        super().__init__(size, seed=seed, correlate=correlate, leave_out=leave_out, only_left_out=only_left_out)

    def render_indices(self, indices: Int[np.ndarray, "n factor"]) -> Tensor:
        """Images of shape (n, 3, image_size, image_size), uint8."""
        return images(render_scenes(self.scenes(indices), self.image_size).images)

    def scenes(self, indices: Int[np.ndarray, "n factor"]) -> list[Scene]:
        """The scenes behind grid indices, of which `render_scenes` gives the masks too."""
        checked = check_factor_indices(indices, self.grid, self.factor_sizes)
        columns = [self.grid[name][checked[:, i]].tolist() for i, name in enumerate(self.grid)]
        names = list(self.grid)
        return [self._scene(self.held | dict(zip(names, row, strict=True))) for row in zip(*columns, strict=True)]

    def _scene(self, value: dict[str, Any]) -> Scene:
        kind, identity = value["kind"], int(value["identity"])
        accent, body = words.SHADE, (0.5,) * BODY_NUMBERS
        if kind in words.THINGS:
            number = words.THINGS.index(kind) * IDENTITIES + identity
            drawn = uniforms(_SEED, numbers.INSTANCE, np.array([number]), count=BODY_NUMBERS + 1)[0].tolist()
            body = tuple(drawn[:BODY_NUMBERS])
            others = len(words.COLOR_NAMES) - 1
            place = words.COLOR_NAMES.index(value["color"]) + 1 + (int(drawn[-1] * others) + identity) % others
            accent = words.COLOR_NAMES[place % len(words.COLOR_NAMES)]
        x, y = (self._margin + (1 - 2 * self._margin) * float(value[axis]) for axis in ("x", "y"))
        one = SceneObject(
            kind,
            value["color"],
            accent,
            value["texture"],
            body,
            value["size"],
            facing=value["facing"],
            turn=value["turn"],
            tilt=TILT,
            x=x,
            y=y,
        )
        parity, beat = FRAMES[value["frame"]]
        return Scene((one,), value["pattern"], value["background"], (0.25, 0.25), value["style"], parity, beat)


def _values(name: str, values: Any) -> np.ndarray:
    if name not in FACTORS:
        raise UnknownNameError("factor of scenes", name, list(FACTORS))
    label = f"factors[{name!r}]"
    if isinstance(values, int | np.integer) and not isinstance(values, bool):
        if name in ("x", "y"):
            check_range(values, label, low=2, high=1000, integer=True)
            return np.linspace(0.0, 1.0, int(values))
        if name == "identity":
            check_range(values, label, low=2, high=IDENTITIES, integer=True)
            return np.arange(int(values))
        named = (*words.THINGS, *words.PRIMITIVES, words.FRUIT) if name == "kind" else FACTORS[name]
        check_range(values, label, low=2, high=len(named), integer=True)
        return np.array(named[: int(values)])
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise OptionError(
            f"{label}={values!r} must be a number of values or a list of values; use held= for a single one"
        )
    listed = [_value(name, v, "factors") for v in values]
    if len(set(listed)) < max(2, len(listed)):
        raise OptionError(f"{label}={listed!r} must be two or more different values")
    return np.array(listed)


def _value(name: str, value: Any, argument: str) -> Any:
    label = f"{argument}[{name!r}]"
    if name in ("x", "y"):
        check_range(value, label, low=0, high=1)
        return float(value)
    if name == "identity":
        check_range(value, label, low=0, high=IDENTITIES - 1, integer=True)
        return int(value)
    if name == "frame":
        check_choice(value, tuple(FRAMES), label)
    else:
        check_word(name, value)
    return str(value)
