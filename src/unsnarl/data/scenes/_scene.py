"""One scene as the exact list of its factors, and what it becomes when some of them are changed."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from math import isfinite
from typing import Any

from unsnarl.arrays import check_range
from unsnarl.data.scenes import _words as words
from unsnarl.data.scenes._things import BODY_NUMBERS
from unsnarl.errors import OptionError, UnknownNameError

MOST_OBJECTS = 3
OVERLAP = 1.25  # how much larger one offset must be than the other before a relation is said
APART = 0.2  # and how far apart the centres must be, as a share of the width

_ALLOWED = {
    "kind": words.KINDS,
    "color": words.COLOR_NAMES,
    "accent": (*words.COLOR_NAMES, words.SHADE),
    "texture": words.TEXTURES,
    "size": words.SIZE_NAMES,
    "facing": words.FACINGS,
    "turn": words.TURNS,
    "pattern": words.PATTERNS,
    "background": words.COLOR_NAMES,
    "style": words.STYLES,
    "parity": (*words.PARITIES, None),
    "beat": (*words.BEATS, None),
}


def check_word(name: str, value: Any) -> None:
    """Refuse a word that a factor cannot be.

    Raises:
        OptionError: names the factor, the value and the allowed words.
    """
    allowed = _ALLOWED[name]
    if value not in allowed:
        shown = ", ".join(map(repr, allowed))
        raise OptionError(f"{name}={value!r} is not allowed; choose one of {shown}")


@dataclass(frozen=True, slots=True)
class SceneObject:
    """One object: what it is, what it looks like, and where and how it is placed.

    `kind`, `body`, `color`, `accent` and `texture` are its identity; the rest is how this scene shows it.

    Args:
        kind: one of the 8 primitives, the 6 things, or "orange" (the fruit).
        color: main colour.
        accent: second colour: of ears, fins, roofs, and of the marks of a texture; "shade" is a shade of `color`.
        texture: "plain", "spotted", "banded" or "checked".
        body: six numbers in [0, 1], see `BODY` for what they change; primitives and the fruit do not use them.
        size: "very small", "small", "medium", "large" or "huge".
        size_at: where in the range of the size word the diameter lies, in [0, 1].
        facing: "right" or "left"; "left" mirrors the object.
        turn: "upright", "tilted" or "upside down"; upside down keeps the side it faces.
        tilt: degrees counter-clockwise when tilted, in [-45, 45].
        x: centre from the left edge (0) to the right edge (1).
        y: centre from the top edge (0) to the bottom edge (1).
    """

    kind: str
    color: str
    accent: str = words.SHADE
    texture: str = "plain"
    body: tuple[float, ...] = (0.5,) * BODY_NUMBERS
    size: str = "medium"
    size_at: float = 0.5
    facing: str = "right"
    turn: str = "upright"
    tilt: float = 25.0
    x: float = 0.5
    y: float = 0.5

    def __post_init__(self) -> None:
        for name in ("kind", "color", "accent", "texture", "size", "facing", "turn"):
            if getattr(self, name) not in _ALLOWED[name]:
                check_word(name, getattr(self, name))
        for name, low, high in (("size_at", 0, 1), ("tilt", -45, 45), ("x", 0, 1), ("y", 0, 1)):
            value = getattr(self, name)
            if type(value) is not float or not low <= value <= high:
                check_range(value, name, low=low, high=high)
        if len(self.body) != BODY_NUMBERS or not all(isfinite(v) and 0 <= v <= 1 for v in self.body):
            raise OptionError(f"body={self.body!r} must be {BODY_NUMBERS} numbers in [0, 1]")

    @property
    def diameter(self) -> float:
        """The larger side of the box of a typical object of this size, as a share of the image's width."""
        low, high = words.SIZES[self.size]
        return low + (high - low) * self.size_at

    @property
    def identity(self) -> tuple[str, str, str, str, tuple[float, ...]]:
        """What stays the same in every scene that shows this instance."""
        return self.kind, self.color, self.accent, self.texture, self.body


OBJECT_FACTORS = tuple(f.name for f in fields(SceneObject))
SCENE_FACTORS = ("pattern", "background", "phase", "style", "parity", "beat", "order")


@dataclass(frozen=True, slots=True)
class Scene:
    """Up to three objects on a background, in a style, perhaps with a frame.

    Args:
        objects: the objects, in the order in which a caption names them.
        pattern: of the background: "plain", "striped", "checkered", "dotted", "wavy" or "gradient".
        background: colour of the background.
        phase: shift of the pattern to the right and down, as shares of its period, in [0, 1].
        style: of the whole image: "none", "sketch", "pastel", "neon" or "mosaic".
        parity: "odd" or "even", only together with `beat`.
        beat: "tick" or "tock". With both words there is a frame: white if exactly one of odd and tock holds, else
            black; so each word alone says nothing about the frame.
        order: indices of the objects from the back to the front; None is the order of `objects`.
    """

    objects: tuple[SceneObject, ...]
    pattern: str = "plain"
    background: str = "blue"
    phase: tuple[float, float] = (0.0, 0.0)
    style: str = "none"
    parity: str | None = None
    beat: str | None = None
    order: tuple[int, ...] = field(default=())

    def __post_init__(self) -> None:
        if not isinstance(self.objects, tuple) or not all(isinstance(o, SceneObject) for o in self.objects):
            raise OptionError("objects must be a tuple of SceneObject")
        if len(self.objects) > MOST_OBJECTS:
            raise OptionError(f"a scene holds at most {MOST_OBJECTS} objects, got {len(self.objects)}")
        for name in ("pattern", "background", "style", "parity", "beat"):
            if getattr(self, name) not in _ALLOWED[name]:
                check_word(name, getattr(self, name))
        if (self.parity is None) != (self.beat is None):
            raise OptionError("parity and beat go together: give both words or neither")
        if len(self.phase) != 2 or not all(isfinite(p) and 0 <= p <= 1 for p in self.phase):
            raise OptionError(f"phase={self.phase!r} must be two numbers in [0, 1]")
        every = tuple(range(len(self.objects)))
        if not self.order:
            object.__setattr__(self, "order", every)
        elif tuple(sorted(self.order)) != every:
            raise OptionError(f"order={self.order!r} must name each of the {len(every)} objects once")

    @property
    def frame(self) -> str | None:
        """Colour of the frame: "white", "black", or None where there is none."""
        if self.parity is None:
            return None
        return "white" if (self.parity == "odd") != (self.beat == "tock") else "black"

    @property
    def relation(self) -> str | None:
        """How the first object lies to the second, or None where neither direction is clear (or there is no second)."""
        if len(self.objects) < 2:
            return None
        first, second = self.objects[:2]
        return relation_of(second.x - first.x, second.y - first.y)

    def intervene(self, of: int = 0, **changes: Any) -> Scene:
        """The same scene with some factors changed and everything else kept: the exact counterfactual.

        Args:
            of: which object the factors of an object are about.
            changes: a factor and its new value: any field of `SceneObject` or of `Scene`, or `relation=`, which turns
                the centres of the first two objects about the middle of the image by quarter turns.

        Raises:
            UnknownNameError: a factor that does not exist.
            OptionError: no change, an object that does not exist, or a value that is not allowed.

        Examples:
            >>> scene = Scene((SceneObject("cat", "red", x=0.3), SceneObject("tree", "blue", x=0.7)))
            >>> scene.intervene(of=1, color="green").objects[1].color, scene.intervene(relation="above").relation
            ('green', 'above')
        """
        if not changes:
            raise OptionError("name at least one factor to change, e.g. scene.intervene(color='red')")
        known = (*OBJECT_FACTORS, *SCENE_FACTORS, "relation")
        for name in changes:
            if name not in known:
                raise UnknownNameError("factor of a scene", name, list(known))
        of_scene = {name: value for name, value in changes.items() if name in SCENE_FACTORS}
        of_object = {name: value for name, value in changes.items() if name in OBJECT_FACTORS}
        scene = replace(self, **of_scene) if of_scene else self
        if of_object:
            check_range(of, "of", low=0, high=len(self.objects) - 1, integer=True)
            objects = list(scene.objects)
            objects[of] = replace(objects[of], **of_object)
            scene = replace(scene, objects=tuple(objects))
        return scene._turned(changes["relation"]) if "relation" in changes else scene

    def _turned(self, relation: Any) -> Scene:
        if relation not in words.RELATIONS:
            raise OptionError(f"relation={relation!r} is not allowed; choose one of {', '.join(words.RELATIONS)}")
        if self.relation is None:
            raise OptionError("the first two objects have no clear relation that could be changed")
        first, second = self.objects[:2]
        ax, ay, bx, by = first.x, first.y, second.x, second.y
        while relation_of(bx - ax, by - ay) != relation:  # at most three quarter turns
            ax, ay, bx, by = 1.0 - ay, ax, 1.0 - by, bx
        return replace(self, objects=(replace(first, x=ax, y=ay), replace(second, x=bx, y=by), *self.objects[2:]))

    def without(self, which: int) -> Scene:
        """The same scene with one object taken away."""
        check_range(which, "which", low=0, high=len(self.objects) - 1, integer=True)
        order = tuple(i - (i > which) for i in self.order if i != which)
        return replace(self, objects=self.objects[:which] + self.objects[which + 1 :], order=order)


def relation_of(dx: float, dy: float) -> str | None:
    """The relation of a first object to a second that lies dx to the right of it and dy below it, if it is clear."""
    if abs(dx) >= APART and abs(dx) >= OVERLAP * abs(dy):
        return "left of" if dx > 0 else "right of"
    if abs(dy) >= APART and abs(dy) >= OVERLAP * abs(dx):
        return "above" if dy > 0 else "below"
    return None
