"""Schematic faces: drawn frames, 20 landmarks, and 35 numbers a frame.

A face has an identity (shape, skin and hair, distances, a resting mouth and brow) and an expression: the curve of the
mouth, the brows and the opening of the eyes follow a facial valence. Lengths are in widths of the frame, y points down.

The 20 landmarks: 3 a brow (outer end, middle, inner end), 4 an eye (outer corner, upper lid, inner corner, lower lid), 6 of
the mouth (corners, upper and lower lip in the middle, lower lip halfway to each corner). A landmark finder is not at hand,
so they are the drawn ones plus a finder's error of .4 % of the frame's width. They are moved and turned so that the eyes
are level about the origin, and become 35 numbers: of the 9 mirror pairs half the distance, mean height (18) and difference
of heights (9), of the 2 points in the middle x and y (4), the roll of the head (1), and the colour of the cheeks, read
from the pixels of the drawn frame (3).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float, UInt8

IDENTITIES = 12
FRAME_SIZE = 48
LANDMARKS = 20
FINDER_ERROR = 0.004

_PAIRS = ("brow outer", "brow middle", "brow inner", "eye outer", "upper lid", "eye inner", "lower lid", "mouth corner")
_PAIR_NAMES = (*_PAIRS, "lower lip side")
VISION_NAMES = (
    *(f"{name} {what}" for name in _PAIR_NAMES for what in ("x", "y")),
    *(f"{name} slant" for name in _PAIR_NAMES),
    *(f"{name} {axis}" for name in ("upper lip", "lower lip") for axis in "xy"),
    "roll",
    *(f"skin {colour}" for colour in ("red", "green", "blue")),
)
"""Names of the 35 numbers: lengths in hundredths of the frame's width, roll in hundredths of a radian, colours 0 to 1."""

Points = Float[np.ndarray, "frame 20 2"]

# Light to dark, and between; hair as it comes.
_SKIN = "f6d7c3 eac0a0 d9a57f c68863 a86b46 8a5236 6d3f2a 52301f f2cfb0 e0b18f b97a57 7a4a30"
_HAIR = "2b1d14 5a3a22 8a5a2b c79a4b d8c08a 1a1a1a 7d7d7d b5482a 3d2817 6b4423 101018 a0a0a0"


@dataclass(frozen=True)
class Identity:
    """What stays the same in one person's face; lengths in widths of the frame."""

    half_width: float
    half_height: float
    eye_distance: float
    eye_height: float
    eye_width: float
    eye_opening: float
    brow_gap: float
    brow_length: float
    brow_slope: float
    brow_thickness: float
    mouth_height: float
    mouth_width: float
    mouth_rest: float
    lip_thickness: float
    skin: Float[np.ndarray, " 3"]
    hair: Float[np.ndarray, " 3"]


_MEASURES = [name for name in Identity.__dataclass_fields__ if name not in ("skin", "hair")]


@lru_cache
def identities() -> tuple[Identity, ...]:
    """The twelve people; the same in every data set."""
    rng = np.random.default_rng(20)
    low = np.array([0.30, 0.40, 0.11, 0.06, 0.045, 0.022, 0.055, 0.045, -0.012, 0.008, 0.19, 0.085, -0.02, 0.008])
    high = np.array([0.38, 0.46, 0.16, 0.12, 0.062, 0.034, 0.085, 0.065, 0.012, 0.017, 0.25, 0.135, 0.02, 0.014])
    # spread evenly in each measure, so that no two people are alike by chance
    places = (np.stack([rng.permutation(IDENTITIES) for _ in low]) + 0.5) / IDENTITIES
    measures = low[:, None] + places * (high - low)[:, None]
    people = []
    for one, skin, hair in zip(measures.T, _SKIN.split(), _HAIR.split(), strict=True):
        named = dict(zip(_MEASURES, map(float, one), strict=True))
        people.append(Identity(skin=_rgb(skin), hair=_rgb(hair), **named))
    return tuple(people)


def _rgb(code: str) -> Float[np.ndarray, " 3"]:
    return np.array([int(code[i : i + 2], 16) / 255 for i in (0, 2, 4)])


def face_landmarks(identity: int, expression: Float[np.ndarray, "frame 5"], pose: Float[np.ndarray, " 4"]) -> Points:
    """The 20 landmarks of each frame, in widths of the frame from its upper left corner.

    Args:
        identity: number of the person, 0 to 11.
        expression: (mouth, brow, eye valence, mouth opening 0 to 1, lid 0 to 1) of each frame.
        pose: roll, shift right, shift down, light.
    """
    return _place(_upright(identities()[identity], expression), pose)


def _upright(who: Identity, expression: Float[np.ndarray, "frame 5"]) -> Points:
    """Landmarks of a level face about the origin; order: left half outside in, right half outside in, the middle."""
    mouth, brow, eye, opening, lid = expression.T
    n = len(expression)
    opened = who.eye_opening * np.clip(1 + 0.35 * eye, 0.2, None) * lid
    curve = who.mouth_rest + 0.05 * mouth
    gap = 0.03 * opening
    eye_x, eye_y = np.full(n, who.eye_distance), np.full(n, -who.eye_height)
    brow_y = eye_y - who.brow_gap - 0.018 * brow
    slope = who.brow_slope + 0.018 * brow  # inner ends go down in anger
    mouth_y = np.full(n, who.mouth_height)
    right = np.stack(
        [
            np.stack([eye_x + who.brow_length, brow_y + 0.012], -1),
            np.stack([eye_x, brow_y - 0.5 * slope], -1),
            np.stack([eye_x - who.brow_length, brow_y - slope + 0.004], -1),
            np.stack([eye_x + who.eye_width, eye_y], -1),
            np.stack([eye_x, eye_y - opened], -1),
            np.stack([eye_x - who.eye_width, eye_y], -1),
            np.stack([eye_x, eye_y + opened], -1),
            np.stack([np.full(n, who.mouth_width), mouth_y - curve], -1),
            np.stack([np.full(n, who.mouth_width / 2), mouth_y - curve / 4 + 0.75 * gap], -1),
        ],
        axis=1,
    )
    middle = np.stack([np.stack([0 * mouth_y, mouth_y], -1), np.stack([0 * mouth_y, mouth_y + gap], -1)], axis=1)
    return np.concatenate([right * [-1, 1], right, middle], axis=1)


def _turn(angle: float) -> Float[np.ndarray, "2 2"]:
    return np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])  # of row vectors


def _place(points: Points, pose: Float[np.ndarray, " 4"]) -> Points:
    return points @ _turn(float(pose[0])) + 0.5 + pose[1:3]


def draw_faces(
    identity: int,
    expression: Float[np.ndarray, "frame 5"],
    pose: Float[np.ndarray, " 4"],
    *,
    size: int = FRAME_SIZE,
) -> UInt8[np.ndarray, "frame size size 3"]:
    """Frames of a face with smooth edges, on a grey ground; arguments as of `face_landmarks`.

    Cost: about 0.7 ms a frame of 48 x 48.
    """
    who = identities()[identity]
    points = _upright(who, expression).astype(np.float32)[:, None, None]  # frame, 1, 1, landmark, axis
    grid = (np.stack(np.meshgrid(np.arange(size), np.arange(size)), -1) + 0.5) / size - 0.5 - pose[1:3]
    x, y = np.moveaxis((grid @ _turn(-float(pose[0]))).astype(np.float32), -1, 0)
    pixel = 1 / size
    image = np.full((len(expression), size, size, 3), 0.82, dtype=np.float32)

    def paint(where: Float[np.ndarray, "..."], colour: Float[np.ndarray, " 3"]) -> None:
        amount = np.clip(where, 0, 1, dtype=np.float32)[..., None]
        image[:] += amount * (colour.astype(np.float32) - image)

    def ellipse(cx: float, cy: float, rx: float, ry: Float[np.ndarray, "..."] | float) -> Float[np.ndarray, "..."]:
        ry = np.maximum(ry, 1e-3)
        reach = np.sqrt(((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2)
        return 0.5 + (1 - reach) * np.minimum(rx, ry) / pixel

    def stroke(left: float, right: float, height: Float[np.ndarray, "..."], half: float) -> Float[np.ndarray, "..."]:
        ends = 0.5 + np.minimum(x - left, right - x) / pixel
        return np.minimum(0.5 + (half - np.abs(y - height)) / pixel, ends)

    dark = np.array([0.10, 0.08, 0.08])
    paint(ellipse(0, -0.02, who.half_width + 0.03, who.half_height + 0.02), who.hair * pose[3])
    paint(ellipse(0, 0.04, who.half_width, who.half_height - 0.02), who.skin * pose[3])
    for side, first in ((-1, 0), (1, 9)):
        outer, mid, inner = (points[..., first + k, 1] for k in range(3))
        place = (side * x - who.eye_distance) / who.brow_length  # -1 at the inner end, 1 at the outer
        height = mid + (outer - inner) / 2 * place + ((outer + inner) / 2 - mid) * place**2
        a, b = sorted((side * (who.eye_distance - who.brow_length), side * (who.eye_distance + who.brow_length)))
        paint(stroke(a, b, height, who.brow_thickness), who.hair * 0.8)
        opened = points[..., first + 6, 1] + who.eye_height
        white = ellipse(side * who.eye_distance, -who.eye_height, who.eye_width, opened)
        paint(white, np.array([0.97, 0.97, 0.97]))
        paint(np.minimum(white, ellipse(side * who.eye_distance, -who.eye_height, 0.024, 0.024)), dark)
        lid = np.abs((side * x - who.eye_distance) / who.eye_width)
        rim = -who.eye_height - opened * np.sqrt(np.clip(1 - lid**2, 0, 1))
        paint(np.minimum(stroke(-1, 1, rim, 0.006), 0.5 + (1 - lid) * who.eye_width / pixel), dark)
    corner, upper, lower = points[..., 16, 1], points[..., 18, 1], points[..., 19, 1]
    share = (x / who.mouth_width) ** 2
    top = upper + (corner - upper) * share
    bottom = lower + (corner - lower) * share
    within = 0.5 + (who.mouth_width - np.abs(x)) / pixel
    paint(np.minimum(0.5 + np.minimum(y - top, bottom - y) / pixel, within), np.array([0.35, 0.05, 0.08]))
    for line in (top, bottom):
        paint(np.minimum(0.5 + (who.lip_thickness - np.abs(y - line)) / pixel, within), np.array([0.68, 0.20, 0.22]))
    return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)


def face_features(
    identity: int,
    expression: Float[np.ndarray, "frame 5"],
    pose: Float[np.ndarray, " 4"],
    noise: Float[np.ndarray, "frame 40"],
) -> Float[np.ndarray, "frame 35"]:
    """The 35 numbers of each frame, named in `VISION_NAMES`.

    Args:
        identity: number of the person, 0 to 11.
        expression: as of `face_landmarks`.
        pose: as of `face_landmarks`.
        noise: standard normal numbers, for the error of the landmark finder.
    """
    found = face_landmarks(identity, expression, pose) + FINDER_ERROR * noise.reshape(-1, LANDMARKS, 2)
    left, right = found[:, 3:7].mean(axis=1), found[:, 12:16].mean(axis=1)
    across = right - left
    roll = np.arctan2(across[:, 1], across[:, 0])
    moved = found - ((left + right) / 2)[:, None]
    cos, sin = np.cos(roll)[:, None], np.sin(roll)[:, None]
    level = np.stack([moved[..., 0] * cos + moved[..., 1] * sin, moved[..., 1] * cos - moved[..., 0] * sin], axis=-1)
    pairs, mirrored, middle = level[:, 9:18], level[:, :9], level[:, 18:]
    spread = (pairs[..., 0] - mirrored[..., 0]) / 2
    height = (pairs[..., 1] + mirrored[..., 1]) / 2
    slant = pairs[..., 1] - mirrored[..., 1]
    n = len(found)
    lengths = [np.stack([spread, height], axis=-1).reshape(n, 18), slant, middle.reshape(n, 4), roll[:, None]]
    frames = draw_faces(identity, expression, pose)
    return np.concatenate([*(100 * part for part in lengths), _cheeks(frames, identity, expression, pose)], axis=1)


def _cheeks(
    frames: UInt8[np.ndarray, "frame size size 3"],
    identity: int,
    expression: Float[np.ndarray, "frame 5"],
    pose: Float[np.ndarray, " 4"],
) -> Float[np.ndarray, "frame 3"]:
    """Mean colour of 3 x 3 pixels on either cheek, below the outer corners of the eyes."""
    who = identities()[identity]
    spots = np.array([[-who.eye_distance, 0.06], [who.eye_distance, 0.06]]) @ _turn(float(pose[0])) + 0.5 + pose[1:3]
    size = frames.shape[1]
    column, row = np.clip((spots * size).astype(int), 1, size - 2).T
    patches = [frames[:, r - 1 : r + 2, c - 1 : c + 2] for r, c in zip(row, column, strict=True)]
    return np.mean(patches, axis=(0, 2, 3)) / 255
