"""Batches of captioned scenes as tensors, each a pure function of the seed and the step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from unsnarl.data.scenes import (
    COLORS,
    PATTERNS,
    PRIMITIVES,
    RELATIONS,
    TEXTURES,
    THINGS,
    Caption,
    Scene,
    SceneStream,
    describe,
    held_out_in,
    to_signed,
)
from unsnarl.data.scenes._words import OPPOSITE
from unsnarl.zoo._oracle import targets_of
from unsnarl.zoo._tokenizer import LENGTH


def token_ids(tokenizer: Any, texts: Sequence[str]) -> Int[Tensor, "n token"]:
    """Texts as token ids, padded to the tokenizer's length."""
    encoded = tokenizer(list(texts), padding="max_length", max_length=LENGTH, truncation=True, return_tensors="pt")
    return encoded.input_ids


class CaptionedBatches:
    """Step t -> signed images (batch, 3, side, side) in [-1, 1] and token ids (batch, 24) of scenes number t b to t b + b - 1.

    Args:
        tokenizer: of the captions.
        batch_size: scenes a step.
        seed: of the stream.
        image_size: 32 or 64 pixels.
        targets: also give the tensors of `OracleTargets`.
    """

    def __init__(self, tokenizer: Any, batch_size: int, seed: int = 0, image_size: int = 32, *, targets: bool = False):
        self.tokenizer, self.batch_size, self.targets = tokenizer, batch_size, targets
        self.stream = SceneStream(seed, image_size=image_size)

    def __call__(self, step: int) -> tuple[Tensor, ...]:
        batch = self.stream.batch(range(step * self.batch_size, (step + 1) * self.batch_size))
        targets = targets_of(batch.scenes, batch.drawn).tensors() if self.targets else ()
        return to_signed(batch.images), token_ids(self.tokenizer, batch.texts), *targets


class ContrastiveBatches(CaptionedBatches):
    """As `CaptionedBatches`, with captions that are wrong in one thing, and which captions are true of which images.

    Gives images, ids, ids of the altered captions, whether an altered caption is there, and `true` (batch, batch):
    whether caption j holds of image i, so that it is not learned as a wrong one. Empty captions are left out by
    describing those scenes in full.
    """

    def __call__(self, step: int) -> tuple[Tensor, ...]:  # type: ignore[override]
        numbers = range(step * self.batch_size, (step + 1) * self.batch_size)
        batch = self.stream.batch(numbers)
        captions = [c if c.text else describe(scene) for c, scene in zip(batch.captions, batch.scenes, strict=True)]
        generator = np.random.default_rng([self.stream.seed, step, 17])
        wrong: list[Caption | None] = [None] * len(batch.scenes)
        for _ in range(3):  # what was changed need not be said: then something else is
            for i, scene in enumerate(batch.scenes):
                other = altered_scene(scene, generator) if wrong[i] is None else None
                if other is not None:
                    caption = self.stream.captions([numbers[i]], [other])[0]
                    wrong[i] = caption if caption.text and not holds(caption, scene) else None
        return (
            to_signed(batch.images),
            token_ids(self.tokenizer, [c.text for c in captions]),
            token_ids(self.tokenizer, [c.text if c else "" for c in wrong]),
            torch.tensor([c is not None for c in wrong]),
            captions_true_of(captions, batch.scenes),
        )


def altered_scene(scene: Scene, generator: np.random.Generator) -> Scene | None:
    """The scene with one thing changed that a caption could say, for a hard negative; None where that is not allowed.

    With two objects or more their colours or textures are swapped, or the relation is turned round; else colour, kind,
    texture, background or pattern of one thing is drawn anew.
    """
    first = scene.objects[0] if scene.objects else None
    kinds = ["background", "pattern"]
    if first is not None:
        kinds += ["color", "color", "texture", "kind"]
    if len(scene.objects) > 1:
        kinds += ["swap color"] * 6 + ["swap texture"] * 2 + (["relation"] * 6 if scene.relation else [])
    what = kinds[generator.integers(len(kinds))]
    if what == "relation":
        assert scene.relation in RELATIONS
        other = scene.intervene(relation=OPPOSITE[scene.relation])
    elif what.startswith("swap"):
        name = what.removeprefix("swap ")
        a, b = scene.objects[:2]
        swapped = (replace(a, **{name: getattr(b, name)}), replace(b, **{name: getattr(a, name)}))
        other = replace(scene, objects=(*swapped, *scene.objects[2:]))
    elif what in ("background", "pattern"):
        choices = list(COLORS) if what == "background" else list(PATTERNS)
        change: dict[str, Any] = {what: choices[generator.integers(len(choices))]}
        other = scene.intervene(**change)
    else:
        place = int(generator.integers(len(scene.objects)))
        kind = scene.objects[place].kind
        if what == "kind":
            group = THINGS if kind in THINGS else PRIMITIVES if kind in PRIMITIVES else ()
            if not group:
                return None
            other = scene.intervene(of=place, kind=group[generator.integers(len(group))], turn="upright")
        else:
            values = list(COLORS) if what == "color" else list(TEXTURES)
            other = scene.intervene(of=place, **{what: values[generator.integers(len(values))]})
    return None if other == scene or held_out_in(other) else other


def _said_of(caption: Caption) -> tuple[dict[int, dict[str, str]], dict[str, str]]:
    of_objects: dict[int, dict[str, str]] = {}
    of_scene: dict[str, str] = {}
    for factor, of, value in caption.stated:
        if of is None or factor == "relation":
            of_scene[factor] = value
        else:
            of_objects.setdefault(of, {})[factor] = value
    return of_objects, of_scene


def holds(caption: Caption, scene: Scene) -> bool:
    """Whether all that a caption states is true of a scene, whichever of its objects are meant."""
    of_objects, of_scene = _said_of(caption)
    for factor, value in of_scene.items():
        if getattr(scene, factor) != value:
            return False
    taken: set[int] = set()
    for facts in of_objects.values():
        fits = [
            k
            for k, one in enumerate(scene.objects)
            if k not in taken and all(getattr(one, name) == value for name, value in facts.items())
        ]
        if not fits:
            return False
        if len(of_objects) > 1:
            taken.add(fits[0])
    return True


def captions_true_of(captions: Sequence[Caption], scenes: Sequence[Scene]) -> Bool[Tensor, "scene caption"]:
    """Which captions are true of which scenes: [i, j] for scene i and caption j."""
    true = torch.zeros(len(scenes), len(captions), dtype=torch.bool)
    facts = [_facts(scene) for scene in scenes]
    for j, caption in enumerate(captions):
        said = {(factor, value) for factor, _, value in caption.stated}
        for i, scene in enumerate(scenes):
            if said <= facts[i] and holds(caption, scene):
                true[i, j] = True
    return true


def _facts(scene: Scene) -> set[tuple[str, Any]]:
    """Everything a caption could state of a scene, without whose it is."""
    facts: set[tuple[str, Any]] = {
        (name, getattr(scene, name)) for name in ("pattern", "background", "style", "parity", "beat", "relation")
    }
    for one in scene.objects:
        facts |= {(name, getattr(one, name)) for name in ("kind", "color", "texture", "size", "turn", "facing")}
    return facts
