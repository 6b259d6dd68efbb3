"""What no scene of a stream ever shows: some (shape, colour) and (kind, style) pairs, and the personal instances.

A generator trained on a stream can be asked for the pairs, to see whether it composes; and the personal instances are
new to it, with a region around them: a stream draws no thing of the same kind with the same two colours, whatever its
texture and body.
"""

from __future__ import annotations

from unsnarl.data.scenes._scene import Scene, SceneObject

# 6 of 64 pairs (9.4 %), no shape or colour twice, so that each is known from at least seven other pairs
HELD_OUT_COLORS = frozenset(
    {
        ("circle", "purple"),
        ("square", "green"),
        ("triangle", "yellow"),
        ("star", "blue"),
        ("ring", "red"),
        ("heart", "orange"),
    }
)
# 3 of 56 pairs (5.4 %)
HELD_OUT_STYLES = frozenset({("cat", "mosaic"), ("house", "neon"), ("star", "sketch")})

# kind, colour, accent, texture of every personal instance; their bodies come from its number in `PERSONAL`
SOLO = (
    "cat cyan blue spotted",
    "fish red pink banded",
    "house green red checked",
    "robot yellow orange spotted",
    "tree blue pink banded",
    "cup green purple checked",
    "cat orange green plain",
    "fish blue green spotted",
    "house purple cyan checked",
    "robot pink purple plain",
    "tree yellow orange spotted",
    "cup yellow pink checked",
)
PAIRS = (
    ("house red blue plain", "robot purple yellow spotted"),
    ("fish yellow cyan banded", "house orange blue plain"),
    ("house cyan red spotted", "cup blue orange banded"),
    ("cat cyan pink checked", "cup blue yellow spotted"),
    ("cat yellow red banded", "house blue purple checked"),
    ("fish blue purple plain", "robot red pink banded"),
    ("fish green orange checked", "tree cyan pink plain"),
    ("fish orange blue spotted", "cup cyan red checked"),
    ("robot purple orange plain", "cup green blue spotted"),
    ("cat blue yellow banded", "tree orange cyan plain"),
)
TRIPLES = (
    ("cat blue cyan spotted", "house yellow orange banded", "cup red orange checked"),
    ("fish purple red spotted", "robot green blue banded", "tree pink blue checked"),
    ("cat green yellow plain", "robot orange yellow banded", "fish purple blue checked"),
    ("house yellow red plain", "tree purple cyan spotted", "cup pink blue checked"),
)
PERSONAL = (*SOLO, *(one for pair in PAIRS for one in pair), *(one for triple in TRIPLES for one in triple))
PERSONAL_PALETTES = frozenset(tuple(one.split()[:3]) for one in PERSONAL)


def is_personal(thing: SceneObject) -> bool:
    """Whether an object lies in the region around a personal instance."""
    return (thing.kind, thing.color, thing.accent) in PERSONAL_PALETTES


def may_be_drawn(thing: SceneObject, style: str) -> bool:
    """Whether a stream may draw this object in an image of this style."""
    if (thing.kind, thing.color) in HELD_OUT_COLORS or (thing.kind, style) in HELD_OUT_STYLES:
        return False
    return not is_personal(thing)


def held_out_in(scene: Scene) -> list[tuple[str, ...]]:
    """The held-out pairs and personal palettes that a scene shows; empty for every scene of a training stream.

    Examples:
        >>> held_out_in(Scene((SceneObject("circle", "purple"), SceneObject("cat", "red")), style="mosaic"))
        [('circle', 'purple'), ('cat', 'mosaic')]
    """
    found: list[tuple[str, ...]] = []
    for one in scene.objects:
        for pair, held in (
            ((one.kind, one.color), HELD_OUT_COLORS),
            ((one.kind, scene.style), HELD_OUT_STYLES),
            ((one.kind, one.color, one.accent), PERSONAL_PALETTES),
        ):
            if pair in held:
                found.append(pair)
    return found
