"""Draw the sheet of captioned scenes: what there is, how it looks, and what a counterfactual changes.

python docs/draw_scenes.py [OUT.png]
"""

from __future__ import annotations

import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from unsnarl.data import scenes as s
from unsnarl.data.scenes import Scene, SceneObject, SceneStream, random_instance, render_scenes

SIDE = 32
GREY = 196
COLUMNS = 12


def pictures(scenes: list[Scene], size: int = SIDE) -> list[np.ndarray]:
    return list(render_scenes(scenes, size).images.transpose(0, 2, 3, 1))


def strip(images: list[np.ndarray], gap: int = 2) -> np.ndarray:
    """Images in a row on grey, so that a white frame can be seen."""
    framed = [np.pad(image, ((gap, gap), (0, gap), (0, 0)), constant_values=GREY) for image in images]
    return np.pad(np.concatenate(framed, axis=1), ((0, 0), (gap, 0), (0, 0)), constant_values=GREY)


def other(color: str, step: int) -> str:
    names = list(s.COLORS)
    return names[(names.index(color) + step) % len(names)]


def shown(one: SceneObject, **changes: object) -> Scene:
    """One object on a plain ground of another colour."""
    return Scene((replace(one, **changes),), background=other(one.color, 4))  # type: ignore[arg-type]


def rows() -> list[tuple[str, np.ndarray]]:
    out = []
    colors = list(s.COLORS)
    shapes = [SceneObject(kind, colors[i % 8], size="large") for i, kind in enumerate(s.PRIMITIVES)]
    fruit = [SceneObject("orange", "orange", size=size) for size in ("large", "medium", "small", "very small")]
    out.append(
        ("primitives; the fruit\n'orange' in four sizes", strip(pictures([shown(o) for o in (*shapes, *fruit)])))
    )
    for k, kind in enumerate(s.THINGS):
        things = [random_instance(1, 100 * k + i, kind) for i in range(COLUMNS)]
        sizes = ["large"] * 5 + ["medium"] * 4 + ["small"] * 2 + ["very small"]
        made = [shown(o, size=size) for o, size in zip(things, sizes, strict=True)]
        out.append((f"{kind}: twelve\ninstances", strip(pictures(made))))
    one = [random_instance(1, i, kind) for i, kind in enumerate(s.THINGS)]
    poses = [("right", "upright"), ("left", "upright"), ("right", "tilted"), ("left", "upside down")]
    for first in (0, 3):
        made = [shown(o, size="large", facing=f, turn=t) for o in one[first : first + 3] for f, t in poses]
        out.append(("one instance facing right,\nleft, tilted, upside down", strip(pictures(made))))
    made = [
        shown(replace(o, texture=t), size="large")
        for o in (SceneObject("circle", "blue"), one[0], one[1])
        for t in s.TEXTURES
    ]
    out.append(("textures: plain, spotted,\nbanded, checked", strip(pictures(made))))
    grounds = [Scene((), p, c, (0.2, 0.4)) for c in ("blue", "yellow") for p in s.PATTERNS]
    out.append(("backgrounds: plain, striped,\ncheckered, dotted, wavy, gradient", strip(pictures(grounds))))
    frames = [("odd", "tick"), ("odd", "tock"), ("even", "tick"), ("even", "tock")]
    tones = [Scene((), "plain", c) for c in s.COLORS]
    tones += [Scene((), "gradient", "green", parity=p, beat=b) for p, b in frames]
    out.append(("8 colours; odd tick, odd tock,\neven tick, even tock", strip(pictures(tones))))
    for style in s.STYLES[1:]:
        made = []
        for i, kind in enumerate((*s.THINGS, *s.PRIMITIVES[2:])):
            thing = random_instance(2, i, kind) if kind in s.THINGS else SceneObject(kind, colors[(3 * i) % 8])
            ground = other(thing.color, 4)
            made.append(Scene((replace(thing, size="large"),), s.PATTERNS[i % 6], ground, style=style))
        out.append((f"in {style} style", strip(pictures(made))))
    return out


def counterfactuals() -> list[tuple[str, np.ndarray]]:
    base = Scene(
        (
            replace(
                random_instance(1, 3, "cat"),
                texture="plain",
                x=0.3,
                y=0.55,
                size="medium",
                color="purple",
                accent="yellow",
            ),
            SceneObject("heart", "red", x=0.72, y=0.6, size="small"),
        ),
        "checkered",
        "cyan",
        (0.2, 0.3),
    )
    changes = [
        ("scene", {}),
        ("color=green", {"color": "green"}),
        ("kind=robot", {"kind": "robot"}),
        ("facing=left", {"facing": "left"}),
        ("texture=\nbanded", {"texture": "banded"}),
        ("size=large", {"size": "large"}),
        ("relation=\nabove", {"relation": "above"}),
        ("of=1,\nkind=star", {"of": 1, "kind": "star"}),
        ("pattern=\nwavy", {"pattern": "wavy"}),
        ("background=\npink", {"background": "pink"}),
        ("style=neon", {"style": "neon"}),
        ("odd, tick", {"parity": "odd", "beat": "tick"}),
    ]
    scenes = [base if not c else base.intervene(**c) for _, c in changes]  # type: ignore[arg-type]
    drawn = render_scenes(scenes)
    images = list(drawn.images.transpose(0, 2, 3, 1))
    masks = []
    for visible in drawn.visible:
        mask = np.full((SIDE, SIDE, 3), 40, dtype=float)
        for cover, color in zip(visible, ((255, 170, 60), (90, 200, 255)), strict=True):
            share = cover[..., None] / 255
            mask = mask * (1 - share) + share * np.array(color)
        masks.append(mask.astype(np.uint8))
    changed = []
    for image in images:
        differs = (image != images[0]).any(axis=-1)
        changed.append(np.where(differs[..., None], np.uint8(255), np.uint8(40)).repeat(3, axis=-1))
    names = [name for name, _ in changes]
    return [
        ("|".join(names), strip(images)),
        ("masks of the two objects", strip(masks)),
        ("pixels that changed", strip(changed)),
    ]


def sheet(path: Path) -> None:
    upper, lower = rows(), counterfactuals()
    batch = SceneStream(4).batch(range(24))
    figure = Figure(figsize=(11, 21))
    grid = figure.add_gridspec(
        len(upper) + len(lower),
        1,
        left=0.19,
        right=0.99,
        top=0.995,
        bottom=0.21,
        hspace=0.06,
        height_ratios=[1] * len(upper) + [1.75, 1, 1],
    )
    for i, (label, image) in enumerate(upper + lower):
        ax = figure.add_subplot(grid[i])
        ax.imshow(image, interpolation="nearest")
        ax.set_anchor("S")
        ax.axis("off")
        if "|" in label:
            for k, name in enumerate(label.split("|")):
                ax.text(k * (SIDE + 2) + SIDE / 2 + 2, -2, name, fontsize=7, ha="center", va="bottom")
            label = "one factor changed,\neverything else kept"
        ax.text(-6, SIDE / 2 + 2, label, fontsize=8, ha="right", va="center")
    figure.text(0.5, 0.2, "scenes 0 to 23 of SceneStream(4), with their captions", fontsize=9, ha="center", va="top")
    grid = figure.add_gridspec(2, 12, left=0.01, right=0.99, top=0.185, bottom=0.045, hspace=0.9, wspace=0.1)
    for i, (image, text) in enumerate(zip(batch.drawn.images.transpose(0, 2, 3, 1), batch.texts, strict=True)):
        ax = figure.add_subplot(grid[i // 12, i % 12])
        ax.imshow(np.pad(image, ((1, 1), (1, 1), (0, 0)), constant_values=GREY), interpolation="nearest")
        ax.axis("off")
        ax.text(17, 36, "\n".join(textwrap.wrap(text or "(empty)", 17)), fontsize=6, ha="center", va="top")
    figure.savefig(path, dpi=130)


if __name__ == "__main__":
    sheet(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "images" / "scenes.png")
