"""Endless streams of captioned scenes: scene i of seed s is always the same, and nothing is stored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from unsnarl.arrays import check_choice
from unsnarl.data.scenes import _draws as numbers
from unsnarl.data.scenes._captions import Caption, draw_caption
from unsnarl.data.scenes._compose import PINS, draw_instance, draw_scene, place
from unsnarl.data.scenes._draws import Draws, check_seed, checked_indices, uniforms
from unsnarl.data.scenes._held_out import is_personal
from unsnarl.data.scenes._render import RenderedScenes, render_scenes
from unsnarl.data.scenes._scene import Scene, SceneObject, check_word
from unsnarl.data.scenes._words import STYLES, THINGS, TURNS_OF
from unsnarl.errors import OptionError, UnknownNameError


@dataclass(frozen=True)
class SceneBatch:
    """Some scenes with their captions, images and masks."""

    scenes: list[Scene]
    captions: list[Caption]
    drawn: RenderedScenes

    @property
    def images(self) -> UInt8[Tensor, "n 3 side side"]:
        """Images, 0 to 255; `to_signed` brings them to [-1, 1]."""
        return torch.from_numpy(self.drawn.images)

    @property
    def texts(self) -> list[str]:
        """The captions as plain text."""
        return [caption.text for caption in self.captions]

    def __len__(self) -> int:
        return len(self.scenes)


class SceneStream:
    """Scenes 0, 1, 2, ... of a seed, each a pure function of the seed and its number.

    Training can stop at any step and go on from there, and two programs that read the same numbers see the same scenes.
    Streams never show the held-out pairs or anything near the personal instances.

    Args:
        seed: seed of the stream.
        held_out: "never", or "only" for a stream in which every scene shows a held-out pair (to test composition).
        image_size: 32 or 64 pixels.

    Raises:
        OptionError: a seed, size or option outside its range.

    Examples:
        >>> stream = SceneStream(seed=0)
        >>> batch = stream.batch(range(1000, 1004))
        >>> tuple(batch.images.shape), batch.scenes[0] == stream[1000]
        ((4, 3, 32, 32), True)
    """

    def __init__(self, seed: int = 0, *, held_out: str = "never", image_size: int = 32):
        self.seed = check_seed(seed)
        check_choice(held_out, ("never", "only"), "held_out")
        check_choice(image_size, (32, 64), "image_size")
        self.held_out, self.image_size = held_out, image_size

    def __repr__(self) -> str:
        return f"SceneStream(seed={self.seed}, held_out={self.held_out!r}, image_size={self.image_size})"

    def __getitem__(self, index: Any) -> Any:
        """The scene of a number, or the list of scenes of a slice, a range or an array of numbers."""
        if isinstance(index, int | np.integer) and not isinstance(index, bool):
            return self.scenes([index])[0]
        return self.scenes(index)

    def __iter__(self) -> Iterator[Scene]:
        start = 0
        while True:
            yield from self.scenes(range(start, start + 256))
            start += 256

    def scenes(self, indices: Any) -> list[Scene]:
        """The scenes of some numbers."""
        return [draw_scene(draws, self.held_out) for draws in self._draws(numbers.SCENE, indices)]

    def captions(self, indices: Any, scenes: Sequence[Scene] | None = None) -> list[Caption]:
        """The captions of some numbers; of other scenes in the same wording where `scenes` are given."""
        rows = checked_indices(indices)
        scenes = self.scenes(rows) if scenes is None else scenes
        if len(scenes) != len(rows):
            raise OptionError(f"{len(scenes)} scenes were given for {len(rows)} indices")
        return [draw_caption(s, d) for s, d in zip(scenes, self._draws(numbers.CAPTION, rows), strict=True)]

    def batch(self, indices: Any) -> SceneBatch:
        """Scenes, captions, images and masks of some numbers."""
        scenes = self.scenes(indices)
        return SceneBatch(scenes, self.captions(indices, scenes), render_scenes(scenes, self.image_size))

    def intervene(self, indices: Any, of: int = 0, **changes: Any) -> SceneBatch:
        """The same scenes with some factors changed, everything else kept: the exact counterfactuals.

        The captions are those of the changed scenes, in the wording of the old ones as far as that fits.

        Args:
            indices: numbers of scenes.
            of: which object the factors of an object are about.
            changes: see `Scene.intervene`.
        """
        scenes = [scene.intervene(of, **changes) for scene in self.scenes(indices)]
        return SceneBatch(scenes, self.captions(indices, scenes), render_scenes(scenes, self.image_size))

    def _draws(self, purpose: int, indices: Any) -> Iterator[Draws]:
        rows = checked_indices(indices)
        first = uniforms(self.seed, purpose, rows).tolist()
        for index, start in zip(rows.tolist(), first, strict=True):
            yield Draws(self.seed, purpose, index, start)


def random_instance(seed: int, index: int, kind: str | None = None) -> SceneObject:
    """Instance number `index` of a seed: a thing that is not personal, to be shown by `photo` any number of times.

    Args:
        seed: seed.
        index: number of the instance.
        kind: one of the things; drawn if absent.

    Raises:
        OptionError: a negative number, or a kind that is not one of the six things.
    """
    if kind is not None:
        check_choice(kind, THINGS, "kind")
    draws = Draws(check_seed(seed), numbers.INSTANCE, check_seed(index, "index"))
    chosen = kind or draws.one_of(THINGS)
    while True:
        one = draw_instance(draws, chosen)
        if not is_personal(one):
            return one


def photo(
    instances: SceneObject | Sequence[SceneObject],
    seed: int,
    index: int,
    *,
    sizes: Sequence[str] | None = None,
    style: str = "none",
    **pins: Any,
) -> Scene:
    """Photo number `index` of an instance, or of two or three: random pose, place, size and background.

    Args:
        instances: what to show; identities are kept, poses and places drawn anew.
        seed: seed of the photos.
        index: number of the photo.
        sizes: size words of the instances, where they should not be drawn.
        style: style of the image.
        pins: factors that should not be drawn: `pattern`, `background`, `phase`, and `facing`, `turn` and `tilt`
            of the first.

    Raises:
        OptionError: a number, word or pinned value that is not allowed.
        UnknownNameError: a pin that does not exist.

    Examples:
        >>> cat = random_instance(0, 7, kind="cat")
        >>> scene = photo(cat, seed=0, index=3, background="green", turn="tilted")
        >>> scene.background, scene.objects[0].turn, scene.objects[0].identity == cat.identity
        ('green', 'tilted', True)
    """
    shown = (instances,) if isinstance(instances, SceneObject) else tuple(instances)
    if not 1 <= len(shown) <= 3 or not all(isinstance(one, SceneObject) for one in shown):
        raise OptionError("instances must be one SceneObject, or two or three of them")
    if sizes is not None and len(sizes) != len(shown):
        raise OptionError(f"sizes holds {len(sizes)} words for {len(shown)} instances")
    for name, value in pins.items():
        if name not in PINS:
            raise UnknownNameError("pin", name, list(PINS))
        if name not in ("phase", "tilt"):
            check_word(name, value)
    if "turn" in pins and pins["turn"] not in TURNS_OF[shown[0].kind]:
        raise OptionError(f"turn={pins['turn']!r} cannot be seen in a {shown[0].kind}")
    check_choice(style, STYLES, "style")
    draws = Draws(check_seed(seed), numbers.PHOTO, check_seed(index, "index"))
    return place(shown, draws, style=style, pins=pins, sizes=sizes)


def nearest_instance(instance: SceneObject, stream: SceneStream, indices: Any) -> tuple[float, SceneObject | None]:
    """The thing in some scenes of a stream that is most like an instance, to check that it is not known by heart.

    The distance adds up 1 for another main colour, 1 for another second colour, 1/2 for another texture, and the mean
    absolute difference of the bodies' numbers; things of another kind are not compared. The region around a personal
    instance keeps every distance at 1 or more.

    Returns:
        The smallest distance and the object; infinite and None where the scenes show no thing of that kind.
    """
    best: tuple[float, SceneObject | None] = (float("inf"), None)
    for scene in stream.scenes(indices):
        for one in scene.objects:
            if one.kind == instance.kind:
                bodies = zip(one.body, instance.body, strict=True)
                distance = float(one.color != instance.color) + float(one.accent != instance.accent)
                distance += 0.5 * (one.texture != instance.texture)
                distance += sum(abs(a - b) for a, b in bodies) / len(instance.body)
                if distance < best[0]:
                    best = distance, one
    return best
