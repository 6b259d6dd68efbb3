"""How a random scene comes about: objects, their places, background, style and frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import cos, log2, radians, sin
from typing import Any

from unsnarl.data.scenes import _words as words
from unsnarl.data.scenes._draws import Draws
from unsnarl.data.scenes._held_out import HELD_OUT_COLORS, HELD_OUT_STYLES, is_personal, may_be_drawn
from unsnarl.data.scenes._scene import APART, OVERLAP, Scene, SceneObject
from unsnarl.data.scenes._things import BODY_NUMBERS

COUNTS = ((1, 0.55), (2, 0.39), (3, 0.06))
KINDS = (("thing", 0.55), ("primitive", 0.40), ("fruit", 0.05))
GROUPS = {"thing": words.THINGS, "primitive": words.PRIMITIVES, "fruit": (words.FRUIT,)}
STYLES = (("none", 0.6), *((style, 0.1) for style in words.STYLES[1:]))
PATTERNS = (("plain", 0.25), *((pattern, 0.15) for pattern in words.PATTERNS[1:]))
TEXTURES = (("plain", 0.4), *((texture, 0.2) for texture in words.TEXTURES[1:]))
TURNS = (("upright", 0.7), ("tilted", 0.18), ("upside down", 0.12))
SIZES = (("very small", 0.15), ("small", 0.2), ("medium", 0.3), ("large", 0.25), ("huge", 0.1))
PAIR_SIZES = (  # two medium ones already overlap a little
    (("small", "small"), 0.3),
    (("small", "medium"), 0.35),
    (("very small", "medium"), 0.12),
    (("very small", "large"), 0.08),
    (("very small", "small"), 0.05),
    (("medium", "medium"), 0.1),
)
TRIPLE_SIZES = ("very small", "small")
FRAME_SHARE = 0.2
RELATION_SHARE = 0.8  # of scenes with two objects; in the others they lie diagonally
TILTS = (18.0, 32.0)
EDGE = 2.0 / 32  # objects keep off the ring where a frame may be
MOST_OVERLAP = 0.25  # of the smaller one of two boxes; tried again up to TRIES times
CLOSE = 0.85  # neighbours may overlap by this factor of the sum of their radii
TRIES = 24
POSE_PINS = ("facing", "turn", "tilt")
PINS = ("pattern", "background", "phase", *POSE_PINS)


def draw_scene(draws: Draws, held_out: str = "never") -> Scene:
    """A scene from the distribution of the streams.

    Args:
        draws: random numbers.
        held_out: "never", or "only" for a scene that shows a held-out pair.
    """
    count = draws.weighted(COUNTS)
    style = draws.weighted(STYLES)
    forced: dict[str, str] = {}
    if held_out == "only":
        if draws.chance(0.6):
            forced["kind"], forced["color"] = draws.one_of(sorted(HELD_OUT_COLORS))
            while (forced["kind"], style) in HELD_OUT_STYLES:
                style = draws.weighted(STYLES)
        else:
            forced["kind"], style = draws.one_of(sorted(HELD_OUT_STYLES))
    objects: list[SceneObject] = []
    for k in range(count):
        objects.append(_draw_object(draws, style, objects, forced if k == 0 else {}))
    return place(objects, draws, style=style, frame=draws.chance(FRAME_SHARE))


def _draw_object(draws: Draws, style: str, others: Sequence[SceneObject], forced: Mapping[str, str]) -> SceneObject:
    while True:
        group = draws.weighted(KINDS)
        kind = forced.get("kind") or draws.one_of(GROUPS[group])
        if any(o.kind == kind for o in others):
            continue  # every noun of a caption means one object
        one = draw_instance(draws, kind, forced.get("color"))
        if is_personal(one):
            continue
        if forced:
            if "color" in forced or (one.kind, one.color) not in HELD_OUT_COLORS:
                return one
        elif may_be_drawn(one, style):
            return one


def draw_instance(draws: Draws, kind: str, color: str | None = None) -> SceneObject:
    """The identity of a random object of a kind: body, two colours and texture."""
    if kind == words.FRUIT:
        return SceneObject(kind, "orange")
    main = color or draws.one_of(words.COLOR_NAMES)
    texture = draws.weighted(TEXTURES)
    if kind in words.PRIMITIVES:
        return SceneObject(kind, main, texture=texture)
    accent = draws.one_of([c for c in words.COLOR_NAMES if c != main])
    return SceneObject(kind, main, accent, texture, tuple(draws.uniform() for _ in range(BODY_NUMBERS)))


def _draw_pose(draws: Draws, one: SceneObject) -> dict[str, Any]:
    """A side to face and a turn, as far as a person can see them in an object of this kind."""
    facing = draws.one_of(words.FACINGS) if one.kind in words.THINGS else "right"
    turn = draws.weighted(TURNS)
    tilt = draws.uniform(*TILTS) * (1.0 if draws.chance(0.5) else -1.0)
    return {"facing": facing, "turn": turn if turn in words.TURNS_OF[one.kind] else "upright", "tilt": tilt}


def place(
    instances: Sequence[SceneObject],
    draws: Draws,
    *,
    style: str = "none",
    frame: bool = False,
    pins: Mapping[str, Any] | None = None,
    sizes: Sequence[str] | None = None,
) -> Scene:
    """A scene that shows the instances in random poses, sizes and places before a random background.

    Args:
        instances: what is shown.
        draws: random numbers.
        style: of the image.
        frame: whether there is a frame, of random words.
        pins: factors that are not drawn: "pattern", "background", "phase", or "facing", "turn" and "tilt" of the first object.
        sizes: size words of the objects; drawn if absent.
    """
    pins = pins or {}
    count = len(instances)
    if sizes is None:
        if count == 1:
            sizes = (draws.weighted(SIZES),)
        elif count == 2:
            sizes = draws.shuffled(draws.weighted(PAIR_SIZES))
        else:
            sizes = [draws.one_of(TRIPLE_SIZES) for _ in instances]
    poses = []
    for k, (one, size) in enumerate(zip(instances, sizes, strict=True)):
        pose = _draw_pose(draws, one) | {"size": size, "size_at": draws.uniform()}
        if k == 0:
            pose |= {name: pins[name] for name in POSE_PINS if name in pins}
        poses.append(pose)
    centers = _centers([_reach(pose) for pose in poses], draws)
    taken = {one.color for one in instances}
    background = pins.get("background") or draws.one_of([c for c in words.COLOR_NAMES if c not in taken])
    return Scene(
        tuple(replace(one, x=x, y=y, **pose) for one, pose, (x, y) in zip(instances, poses, centers, strict=True)),
        pattern=pins.get("pattern") or draws.weighted(PATTERNS),
        background=background,
        phase=pins.get("phase") or (draws.uniform(), draws.uniform()),
        style=style,
        parity=draws.one_of(words.PARITIES) if frame else None,
        beat=draws.one_of(words.BEATS) if frame else None,
        order=_order([_diameter(pose) for pose in poses], draws),
    )


def _diameter(pose: Mapping[str, Any]) -> float:
    low, high = words.SIZES[pose["size"]]
    return low + (high - low) * pose["size_at"]


def _reach(pose: Mapping[str, Any]) -> float:
    """Half the side of the box around an object in this pose and size."""
    turn = radians(abs(pose["tilt"])) if pose["turn"] == "tilted" else 0.0
    return 0.5 * _diameter(pose) * (cos(turn) + sin(turn))


def _order(diameters: Sequence[float], draws: Draws) -> tuple[int, ...]:
    """From the back to the front: any order, but what is clearly larger never hides what is smaller."""
    order = draws.shuffled(range(len(diameters)))
    return tuple(sorted(order, key=lambda k: -round(4 * log2(diameters[k]))))


def _within(reach: float, draws: Draws) -> float:
    low = min(EDGE + reach, 0.47)
    return draws.uniform(low, 1.0 - low)


def _centers(reaches: Sequence[float], draws: Draws) -> list[tuple[float, float]]:
    if len(reaches) == 1:
        return [(_within(reaches[0], draws), _within(reaches[0], draws))]
    related = len(reaches) == 2 and draws.chance(RELATION_SHARE)
    best: list[tuple[float, float]] = []
    least = float("inf")
    for _ in range(TRIES):
        if len(reaches) == 2:
            tried = _pair(reaches[0], reaches[1], related, draws)
        else:
            tried = [(_within(r, draws), _within(r, draws)) for r in reaches]
        hidden = max(_overlap(tried, reaches, i, j) for i in range(len(tried)) for j in range(i))
        if hidden < least:
            least, best = hidden, tried
        if least < MOST_OVERLAP:
            break
    return best


def _overlap(centers: Sequence[tuple[float, float]], reaches: Sequence[float], i: int, j: int) -> float:
    """Shared part of two boxes, as a share of the smaller one."""
    smaller = 2.0 * min(reaches[i], reaches[j])
    sides = [
        min(max(0.0, reaches[i] + reaches[j] - abs(a - b)), smaller)
        for a, b in zip(centers[i], centers[j], strict=True)
    ]
    return sides[0] * sides[1] / smaller**2


def _pair(first: float, second: float, related: bool, draws: Draws) -> list[tuple[float, float]]:
    """Centres of two objects: one clearly beside or over the other where they are `related`, else diagonal."""
    low = [min(EDGE + r, 0.47) for r in (first, second)]
    room = 1.0 - low[0] - low[1]
    apart = max(APART + 0.01, CLOSE * (first + second))
    if related:
        along = draws.uniform(min(apart, room), room)
        start = draws.uniform(low[0], low[0] + room - along)
        main = start, start + along
        side = along / (OVERLAP + 0.05)
        a = draws.uniform(low[0], 1.0 - low[0])
        b = draws.uniform(max(low[1], a - side), min(1.0 - low[1], a + side))
        places = [(main[0], a), (main[1], b)]
        if draws.chance(0.5):
            places = [(1.0 - x, y) for x, y in places]
        return [(y, x) for x, y in places] if draws.chance(0.5) else places
    along = draws.uniform(min(0.8 * apart, room), room)
    across = along * draws.uniform(0.9, 1.1)
    across = min(across, room)
    x, y = (draws.uniform(low[0], low[0] + room - s) for s in (along, across))
    places = [(x, y), (x + along, y + across)]
    if draws.chance(0.5):
        places = [(1.0 - x, y) for x, y in places]
    return [(x, 1.0 - y) for x, y in places] if draws.chance(0.5) else places
