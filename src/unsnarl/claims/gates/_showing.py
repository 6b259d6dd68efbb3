"""Which factors of an object an image shows at all: those whose other values would have made another image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float

from unsnarl.data.scenes import Scene, render_scenes
from unsnarl.zoo._oracle import OF_OBJECT

SHOWS = 1.0  # as far as one channel of one pixel from dark to full, or a half of four
ROWS = 512


def least_changes(scenes: Sequence[Scene], rows: int = ROWS) -> dict[str, Float[np.ndarray, "n object"]]:
    """How far, at least, an image would move if one factor of one object had another value.

    Distances are Euclidean, over all pixels and channels in [0, 1]; a factor with a distance of 0 cannot be read by anyone. The
    feet of a circle that stands on its head, the texture of a cat of six pixels: what is hard or impossible to see
    has short distances, whatever the reader. Takes about a millisecond an object and value.

    Args:
        scenes: n scenes.
        rows: how many images are drawn at a time.

    Returns:
        Factor -> distance of every object of every scene; not a number where there is no such object.
    """
    most = max((len(scene.objects) for scene in scenes), default=0)
    least = {name: np.full((len(scenes), most), np.inf) for name in OF_OBJECT}
    for start in range(0, len(scenes), rows):
        part = range(start, min(len(scenes), start + rows))
        images = render_scenes([scenes[i] for i in part]).images
        others = [(i, *one) for i in part for one in _others(scenes[i])]
        for first in range(0, len(others), rows):
            some = others[first : first + rows]
            drawn = render_scenes([scene for *_, scene in some]).images
            steps = (drawn.astype(np.float64) - images[[i - start for i, *_ in some]]) / 255
            for (i, k, name, _), length in zip(some, np.sqrt((steps**2).sum((1, 2, 3))), strict=True):
                least[name][i, k] = min(least[name][i, k], length)
    return {name: np.where(np.isinf(values), np.nan, values) for name, values in least.items()}


def _others(scene: Scene) -> Iterator[tuple[int, str, Scene]]:
    for k, one in enumerate(scene.objects):
        for name, values in OF_OBJECT.items():
            for value in values:
                if value != getattr(one, name):
                    yield k, name, scene.intervene(of=k, **{name: value})
