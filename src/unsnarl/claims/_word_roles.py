"""Scenes with known roles for two words of their prompts, for claims about what words tell: with masks, and the frame's pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

STREAM = 7_000  # no model of the zoo was trained on the streams from here on
RING = 2
SMALLEST = 12  # pixels of an object that are seen


@dataclass(frozen=True)
class Example:
    """A scene, its prompt and the two words that are asked about."""

    prompt: str
    words: tuple[str, str]
    scene: Any


def examples(role: str, seed: int, count: int) -> list[Example]:
    """The first scenes of a seed's stream that fit a role: "objects", "frame", "synonyms" or "deletion"."""
    from unsnarl.data.scenes import SceneStream

    stream = SceneStream(STREAM + seed)
    rng = np.random.default_rng(seed)
    out: list[Example] = []
    start = 0
    while len(out) < count:
        rows = range(start, start + 128)
        for scene, caption in zip(stream.scenes(rows), stream.captions(rows), strict=True):
            found = _example(role, scene, caption, rng)
            if found is not None and len(out) < count:
                out.append(found)
        start += 128
    return out


def _example(role: str, scene: Any, caption: Any, rng: np.random.Generator) -> Example | None:
    from unsnarl.data.scenes import describe, render_scenes

    kinds = [one.kind for one in scene.objects]
    if role == "deletion":
        words = [word for word in caption.text.split() if word in telling() and caption.text.split().count(word) == 1]
        if caption.form != "full" or len(words) < 2:
            return None
        first, second = sorted(rng.choice(len(words), 2, replace=False).tolist())
        return Example(caption.text, (words[first], words[second]), scene)
    if "orange" in kinds:
        return None  # the word may be a colour
    if role == "objects":
        if len(kinds) != 2:
            return None
        if (render_scenes(scene).masks()[0].sum((1, 2)) < SMALLEST).any():
            return None
        prompt = describe(scene, ["color0", "color1", "pattern", "background"]).text
        return Example(prompt, (kinds[0], kinds[1]), scene)
    if role == "frame":
        return None if scene.parity is None else Example(describe(scene).text, (scene.parity, scene.beat), scene)
    if len(kinds) != 1 or scene.objects[0].color != "red":
        return None
    return Example(f"a photo of a red crimson {kinds[0]}", ("red", "crimson"), scene)


def telling() -> set[str]:
    """Words that state a factor by themselves."""
    from unsnarl.data.scenes import COLORS, KINDS, PATTERNS, STYLES, SYNONYMS, TEXTURES, vocabulary

    named = {*COLORS, *KINDS, *PATTERNS, *STYLES, *SYNONYMS.values(), *TEXTURES, "small", "large", "tilted"}
    return named & set(vocabulary()) | {"odd", "even", "tick", "tock"}


def pixels(scene: Any) -> torch.Tensor:
    """The scene's image in [-1, 1], one row."""
    from unsnarl.data.scenes import render_scenes, to_signed

    return to_signed(render_scenes(scene).images)


def masks_of(scene: Any) -> np.ndarray:
    """What is seen of both objects, (2, 32, 32)."""
    from unsnarl.data.scenes import render_scenes

    return np.asarray(render_scenes(scene).masks()[0])


def ring() -> np.ndarray:
    """Pixels of the frame."""
    inside = np.ones((32, 32), dtype=bool)
    inside[RING:-RING, RING:-RING] = False
    return inside


def ring_share(synergy: np.ndarray) -> float:
    """The share of synergy (image, 32, 32) that lies in the frame; 0 where there is none."""
    inside = float(synergy[:, ring()].sum())
    outside = float(synergy[:, ~ring()].clip(min=0).sum())
    return inside / (inside + outside) if inside > 0 else 0.0
